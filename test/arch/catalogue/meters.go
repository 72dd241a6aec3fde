package catalogue

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Meter is one meter as the code makes it.
type Meter struct {
	Name, Help string
	Method     string // of telemetry.Registry
	Labels     []string
	Package    string
}

// kinds are the methods of telemetry.Registry that make meters, with what each makes and the end that its names have.
var kinds = map[string]struct{ kind, unit, suffix string }{
	"Counter": {"counter", "", "_total"},
	"Gauge":   {"gauge", "", ""},
	"Seconds": {"histogram", "seconds", "_seconds"},
	"Sizes":   {"histogram", "", ""},
}

// Metrics is docs/metrics.md, from the sources below root.
func Metrics(root string) (string, error) {
	var found []Meter
	for _, folder := range []string{"pkg", "services"} {
		meters, err := walk(root, folder)
		if err != nil {
			return "", err
		}
		found = append(found, meters...)
	}
	if problems := Faults(found); len(problems) > 0 {
		return "", errors.New(strings.Join(problems, "\n"))
	}
	slices.SortFunc(found, func(a, b Meter) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	b.WriteString(declared + "# Meters\n\nEach service serves its meters as Prometheus text under `/metrics` at the address that its setting `health` names, beside\n" +
		"`/healthz`, `/readyz` and `/version`. Labels have values out of small sets; names and uids of objects are never among them.\n" +
		"Beside those below there are the meters of the Go runtime (`go_…`) and of the process (`process_…`).\n\n" +
		"A histogram in seconds has 20 buckets from 100 µs, each twice the one before; one of counts has 11, from 1.\n\n" +
		"| meter | kind | unit | labels | meaning | made in |\n|---|---|---|---|---|---|\n")
	for _, m := range found {
		labels := "–"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | `%s` |\n", m.Name, kinds[m.Method].kind, unit(m), labels, m.Help, m.Package)
	}
	return b.String(), nil
}

// unit is that of a meter: of its method, or the last word of its name. Counters without bytes or seconds in it count events.
func unit(m Meter) string {
	if u := kinds[m.Method].unit; u != "" {
		return u
	}
	words := strings.Split(strings.TrimSuffix(m.Name, "_total"), "_")
	last := words[len(words)-1]
	if m.Method == "Counter" && last != "bytes" && last != "seconds" {
		return "events"
	}
	return last
}

var meterName = regexp.MustCompile(`^millrace(_[a-z0-9]+){2,}$`)

// Faults says what is wrong with meters.
func Faults(meters []Meter) (problems []string) {
	seen := map[string]string{}
	for _, m := range meters {
		fault := func(what string) {
			problems = append(problems, fmt.Sprintf("%s: meter %s %s", m.Package, m.Name, what))
		}
		switch kind := kinds[m.Method]; {
		case !meterName.MatchString(m.Name):
			fault("is not named millrace_<what>_<unit>")
		case !strings.HasSuffix(m.Name, kind.suffix):
			fault("is a " + m.Method + ": its name must end in " + kind.suffix)
		case kind.kind != "counter" && strings.HasSuffix(m.Name, "_total"):
			fault("is no counter: only their names end in _total")
		case m.Help == "" || !strings.HasSuffix(m.Help, "."):
			fault("needs a help text that is a sentence")
		case seen[m.Name] != "":
			fault("is made in " + seen[m.Name] + " too")
		}
		for _, label := range m.Labels {
			if slices.Contains([]string{"name", "namespace", "uid", "pod", "node", "id"}, label) {
				fault("has the label " + label + ", whose values have no end")
			}
		}
		seen[m.Name] = m.Package
	}
	return problems
}

// walk finds the meters that are made below a folder.
func walk(root, folder string) ([]Meter, error) {
	var found []Meter
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		meters, err := metersOf(file, filepath.ToSlash(relative))
		found = append(found, meters...)
		return err
	})
	return found, err
}

// metersOf finds the meters that a file makes. Only what is written out can be told: a name or label that is computed is an error.
func metersOf(file *ast.File, folder string) (found []Meter, err error) {
	if !importsTelemetry(file) {
		return nil, nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || kinds[selector.Sel.Name].kind == "" {
			return true
		}
		m := Meter{Name: text(call.Args[0]), Help: text(call.Args[1]), Method: selector.Sel.Name, Package: folder}
		for _, argument := range call.Args[2:] {
			m.Labels = append(m.Labels, text(argument))
		}
		if m.Name == "" || slices.Contains(m.Labels, "") {
			err = errors.Join(err, fmt.Errorf("%s: a %s is made with a name or label that is not written out: write it out", folder, m.Method))
		}
		found = append(found, m)
		return true
	})
	return found, err
}

func importsTelemetry(file *ast.File) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return text(i.Path) == "millrace.dev/pkg/telemetry" })
}
