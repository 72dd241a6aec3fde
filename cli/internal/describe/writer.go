package describe

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"millrace.dev/cli/internal/print"
)

const (
	// indent is how far each level stands to the right.
	indent = "  "
	// maxAnnotation is how many characters of an annotation stand on one line (kubectl).
	maxAnnotation = 140
	none          = "<none>"
)

// writer writes lines in levels, with values below each other where lines that follow each other have a tab.
type writer struct {
	text strings.Builder
	tab  *tabwriter.Writer
	now  time.Time
}

func newWriter(now time.Time) *writer {
	w := &writer{now: now}
	w.tab = tabwriter.NewWriter(&w.text, 0, 8, 2, ' ', 0)
	return w
}

// String is all that was written.
func (w *writer) String() string {
	w.flush()
	return w.text.String()
}

// flush aligns what was written so far. It writes into memory, which never fails; so does put.
func (w *writer) flush() { _ = w.tab.Flush() }

// put writes text as it is but for what would command a terminal.
func (w *writer) put(level int, format string, args ...any) {
	text := print.Harmless(fmt.Sprintf(format, args...))
	_, _ = fmt.Fprint(w.tab, strings.Repeat(indent, level), text)
}

// line writes one line.
func (w *writer) line(level int, format string, args ...any) { w.put(level, format+"\n", args...) }

// field writes a name and its value.
func (w *writer) field(level int, name string, value any) { w.line(level, "%s:\t%v", name, value) }

// fieldUnlessEmpty writes a name and its value if it has one.
func (w *writer) fieldUnlessEmpty(level int, name, value string) {
	if value != "" {
		w.field(level, name, value)
	}
}

// list writes a name and values, a line each.
func (w *writer) list(level int, name string, values []string) {
	if len(values) == 0 {
		values = []string{none}
	}
	for i, value := range values {
		if i == 0 {
			w.line(level, "%s:\t%s", name, value)
		} else {
			w.line(level, "\t%s", value)
		}
	}
}

// pairs writes a name and a map, in the order of its keys.
func (w *writer) pairs(level int, name string, pairs map[string]string) {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		lines = append(lines, key+"="+pairs[key])
	}
	w.list(level, name, lines)
}

// annotations writes annotations; long ones get lines of their own, cut where they are too long.
func (w *writer) annotations(annotations map[string]string) {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if key == "kubectl.kubernetes.io/last-applied-configuration" {
			continue
		}
		value := strings.TrimSuffix(annotations[key], "\n")
		if len(value)+len(key)+2 <= maxAnnotation && !strings.Contains(value, "\n") {
			lines = append(lines, key+": "+value)
			continue
		}
		lines = append(lines, key+":")
		for line := range strings.SplitSeq(value, "\n") {
			lines = append(lines, "  "+shorten(line, maxAnnotation-2))
		}
	}
	w.list(0, "Annotations", lines)
}

func shorten(text string, limit int) string {
	if len(text) > limit {
		return text[:limit] + "..."
	}
	return text
}

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}

// date is a time as kubectl's descriptions write it.
func date(t time.Time) string { return t.Format(time.RFC1123Z) }

// age is how long ago t was.
func (w *writer) age(t time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(w.now.Sub(t))
}

// truth is a truth value as kubectl's descriptions write it.
func truth(value bool) string {
	if value {
		return "True"
	}
	return "False"
}
