package print

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"millrace.dev/cli/internal/resource"
)

// Sort orders objects by a field, such as ".metadata.name". Objects without it come first; that none has it is an error.
func Sort(objects []*resource.Object, field string) error {
	path, err := parsePath(field)
	if err != nil {
		return err
	}
	type keyed struct {
		object *resource.Object
		key    any
	}
	all, found := make([]keyed, len(objects)), false
	for i, o := range objects {
		content, err := o.Content()
		if err != nil {
			return err
		}
		all[i] = keyed{o, path.in(content)}
		found = found || all[i].key != nil
	}
	if !found && len(objects) > 0 {
		return fmt.Errorf("couldn't find any field with path \"{%s}\" in the list of objects", path.text)
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return compare(a.key, b.key) })
	for i := range all {
		objects[i] = all[i].object
	}
	return nil
}

// path leads to a field of an object.
type path struct {
	text  string // as kubectl writes it: ".metadata.name"
	steps []any  // names and, as int, places in lists
}

// parsePath reads a path: ".a.b", "{.a.b}", "a.b[0]", ".a['b.c']", ".a.b\.c".
func parsePath(text string) (path, error) {
	inner := strings.TrimSpace(text)
	if strings.HasPrefix(inner, "{") && strings.HasSuffix(inner, "}") {
		inner = inner[1 : len(inner)-1]
	}
	inner = strings.TrimPrefix(inner, "$")
	if !strings.HasPrefix(inner, ".") && !strings.HasPrefix(inner, "[") {
		inner = "." + inner
	}
	p := path{text: inner}
	for rest := inner; rest != ""; {
		var step any
		var ok bool
		if step, rest, ok = nextStep(rest); !ok {
			return path{}, fmt.Errorf("--sort-by takes the path of one field, such as .metadata.name or .status.containerStatuses[0].restartCount: %q is none", text)
		}
		p.steps = append(p.steps, step)
	}
	return p, nil
}

// nextStep takes the first step off a path.
func nextStep(text string) (step any, rest string, ok bool) {
	if inner, found := strings.CutPrefix(text, "["); found {
		inner, rest, ok = strings.Cut(inner, "]")
		if quoted := strings.Trim(inner, `'"`); ok && len(quoted) == len(inner)-2 && quoted != "" {
			return quoted, rest, true
		}
		place, err := strconv.Atoi(inner)
		return place, rest, ok && err == nil
	}
	text = text[1:] // the dot
	var name strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			name.WriteByte(text[i])
		case c == '.' || c == '[':
			return name.String(), text[i:], name.Len() > 0
		case strings.IndexByte("*?()@{}", c) >= 0:
			return nil, "", false
		default:
			name.WriteByte(c)
		}
	}
	return name.String(), "", name.Len() > 0
}

// in is what the path leads to; nil: nothing.
func (p path) in(value any) any {
	for _, step := range p.steps {
		switch at := step.(type) {
		case string:
			m, _ := value.(map[string]any)
			value = m[at]
		case int:
			list, _ := value.([]any)
			if at < 0 {
				at += len(list)
			}
			if at < 0 || at >= len(list) {
				return nil
			}
			value = list[at]
		}
	}
	return value
}

// compare orders values as kubectl does: nothing first, numbers and quantities by size, texts with the numbers in them by
// theirs.
func compare(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	x, xErr := apiresource.ParseQuantity(fmt.Sprint(a))
	y, yErr := apiresource.ParseQuantity(fmt.Sprint(b))
	if xErr == nil && yErr == nil {
		return x.Cmp(y)
	}
	return compareNaturally(fmt.Sprint(a), fmt.Sprint(b))
}

// compareNaturally orders texts so that "pod-9" comes before "pod-10".
func compareNaturally(a, b string) int {
	for a != "" && b != "" {
		digitsA, digitsB := leadingDigits(a), leadingDigits(b)
		if digitsA == "" || digitsB == "" {
			if a[0] != b[0] {
				return int(a[0]) - int(b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		x, y := strings.TrimLeft(digitsA, "0"), strings.TrimLeft(digitsB, "0")
		switch {
		case len(x) != len(y):
			return len(x) - len(y)
		case x != y:
			return strings.Compare(x, y)
		case len(digitsA) != len(digitsB):
			return len(digitsA) - len(digitsB)
		}
		a, b = a[len(digitsA):], b[len(digitsB):]
	}
	return len(a) - len(b)
}

func leadingDigits(text string) string {
	return text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
}
