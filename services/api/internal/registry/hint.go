package registry

import (
	"reflect"
	"strings"
)

// nearestField is the field that someone meant who wrote path, whose last name no field has: the one beside it whose name
// is the closest, if it is close enough. obj is of the type of the whole document.
func nearestField(obj any, path string) string {
	names := strings.Split(path, ".")
	t := reflect.TypeOf(obj)
	for _, name := range names[:len(names)-1] {
		if t = fieldType(t, name); t == nil {
			return ""
		}
	}
	written, _, _ := strings.Cut(names[len(names)-1], "[")
	nearest, distance := "", tolerance(written)+1
	eachField(structOf(t), func(name string, _ reflect.Type) {
		if len(written) >= len(name)+distance {
			return // too long to be meant, and perhaps too long to compare
		}
		if d := editDistance(strings.ToLower(written), strings.ToLower(name)); d < distance {
			nearest, distance = name, d
		}
	})
	return nearest
}

// tolerance is how many letters may be wrong in a name before it is another word.
func tolerance(name string) int { return min(max(len(name)/3, 1), 3) }

// fieldType is the type of what stands under name in a value of type t; nil if that is not known.
func fieldType(t reflect.Type, name string) (found reflect.Type) {
	name, _, _ = strings.Cut(name, "[")
	t = elementOf(t)
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	eachField(structOf(t), func(candidate string, of reflect.Type) {
		if candidate == name {
			found = of
		}
	})
	return found
}

// elementOf looks through pointers and lists.
func elementOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	return t
}

// structOf is the structure in which the fields of t stand; nil if it has none.
func structOf(t reflect.Type) reflect.Type {
	if t = elementOf(t); t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

// eachField calls f for every field of t by the name it has in documents, those of embedded structures too.
func eachField(t reflect.Type, f func(name string, of reflect.Type)) {
	if t == nil {
		return
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "" && field.Anonymous:
			eachField(structOf(field.Type), f)
		case name != "" && name != "-":
			f(name, field.Type)
		}
	}
}

// editDistance counts the letters to insert, drop, replace or swap with their neighbour that turn a into b.
func editDistance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
