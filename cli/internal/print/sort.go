package print

import (
	"fmt"
	"slices"
	"strings"

	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/util/jsonpath"

	"millrace.dev/cli/internal/resource"
)

// Order is by a field of objects.
type Order struct {
	text string // the path of the field, as kubectl writes it: "{.metadata.name}"
	path *jsonpath.JSONPath
}

// ParseOrder reads the path of a field: ".metadata.name", "metadata.name" or "{.metadata.name}".
func ParseOrder(field string) (*Order, error) {
	text, err := completePath(field)
	if err != nil {
		return nil, err
	}
	path, err := parsePath(text)
	if err != nil {
		return nil, err
	}
	return &Order{text: text, path: path}, nil
}

// Sort orders objects. Those without the field come first; that none has it is an error.
func (o *Order) Sort(objects []*resource.Object) error {
	type keyed struct {
		object *resource.Object
		key    any
	}
	all, found := make([]keyed, len(objects)), false
	for i, object := range objects {
		content, err := object.Content()
		if err != nil {
			return err
		}
		values, err := o.path.FindResults(content)
		if err != nil {
			return fmt.Errorf("failed to get the value of %s at %s: %w", object, o.text, err)
		}
		all[i] = keyed{object: object}
		if len(values) > 0 && len(values[0]) > 0 {
			all[i].key, found = values[0][0].Interface(), true
		}
	}
	if !found && len(objects) > 0 {
		return fmt.Errorf("couldn't find any field with path %q in the list of objects", o.text)
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return compare(a.key, b.key) })
	for i := range all {
		objects[i] = all[i].object
	}
	return nil
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
