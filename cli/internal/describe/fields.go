package describe

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode"

	"millrace.dev/cli/internal/resource"
)

// describeFields tells of an object field by field, for kinds that have no view of their own.
func describeFields(ctx context.Context, d *describer, w *writer, o *resource.Object) error {
	obj, err := o.Typed()
	if err != nil {
		return err
	}
	content, err := o.Content()
	if err != nil {
		return err
	}
	head(w, obj)
	if metadata, ok := content["metadata"].(map[string]any); ok {
		for _, told := range []string{"name", "namespace", "labels", "annotations", "managedFields"} {
			delete(metadata, told)
		}
	}
	tellFields(w, 0, content)
	return d.tellEvents(ctx, w, obj)
}

func tellFields(w *writer, level int, content map[string]any) {
	for name, value := range sorted(content) {
		switch value := value.(type) {
		case map[string]any:
			w.line(level, "%s:", words(name))
			tellFields(w, level+1, value)
		case []any:
			w.line(level, "%s:", words(name))
			for _, item := range value {
				if fields, ok := item.(map[string]any); ok {
					tellFields(w, level+1, fields)
				} else {
					w.line(level+1, "%v", item)
				}
			}
		default:
			w.field(level, words(name), value)
		}
	}
}

// acronyms are written in capitals.
var acronyms = []string{"api", "url", "uid", "guid"}

// words makes a title of a field's name: "creationTimestamp" becomes "Creation Timestamp", "podIP" "Pod IP". A name with other
// characters than letters stays as it is.
func words(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && r != '-' }) >= 0 {
		return name
	}
	var parts []string
	begin := 0
	runes := []rune(name)
	for i := 1; i <= len(runes); i++ {
		starts := i < len(runes) && unicode.IsUpper(runes[i]) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if i < len(runes) && !starts {
			continue
		}
		part := string(runes[begin:i])
		switch {
		case slices.Contains(acronyms, strings.ToLower(part)):
			part = strings.ToUpper(part)
		case strings.ToLower(part) == part:
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		parts = append(parts, part)
		begin = i
	}
	return strings.Join(parts, " ")
}

// sorted goes through a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
