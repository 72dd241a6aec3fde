package scheme

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// goTypes knows which Go type stands for which kind.
var goTypes = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	return s
}()

// ErrNoKind says that a document does not name its kind.
var ErrNoKind = errors.New("Object 'Kind' or 'apiVersion' is missing")

// UnservedError says that a document names a kind or version which the cluster does not serve.
type UnservedError struct{ GVK schema.GroupVersionKind }

func (e *UnservedError) Error() string {
	return fmt.Sprintf("no matches for kind %q in version %q", e.GVK.Kind, e.GVK.GroupVersion())
}

// FieldFault says what a strict reader has against a field.
type FieldFault int

// The faults of strict reading.
const (
	UnknownField   FieldFault = iota // no field of this name belongs here
	DuplicateField                   // the field is given twice; the last one counts
)

// FieldError is one thing that a strict reader refuses although the document can be read.
type FieldError struct {
	Kind FieldFault
	Path string // the field, as "spec.containers[0].imag"; of a key that YAML gives twice only the key itself
	text string
}

func (f *FieldError) Error() string { return f.text }

// StrictError lists what a strict reader refuses although the document can be read.
type StrictError struct{ Faults []*FieldError }

func (e *StrictError) Error() string {
	texts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		texts[i] = f.Error()
	}
	return "strict decoding error: " + strings.Join(texts, ", ")
}

// Unwrap gives the single faults.
func (e *StrictError) Unwrap() []error {
	faults := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		faults[i] = f
	}
	return faults
}

// Decode reads one YAML or JSON document into the Go type of the kind that it names.
//
// The object is returned with its TypeMeta set. A [*StrictError] comes together with the object, so that the caller may
// choose to ignore it; with any other error (unreadable text, [ErrNoKind], [*UnservedError], a value of the wrong type)
// the object is nil. The kind is returned whenever it is known.
func Decode(document []byte) (Object, *Kind, error) {
	raw, faults, err := toJSON(document)
	if err != nil {
		return nil, nil, err
	}
	kind, err := kindOf(raw)
	if err != nil {
		return nil, nil, err
	}
	obj, err := decodeJSON(raw, kind, &faults)
	if err != nil {
		return nil, kind, err
	}
	if len(faults) > 0 {
		return obj, kind, &StrictError{Faults: faults}
	}
	return obj, kind, nil
}

func decodeJSON(raw []byte, kind *Kind, faults *[]*FieldError) (Object, error) {
	obj := kind.New()
	strict, err := kjson.UnmarshalStrict(raw, obj)
	if err != nil {
		return nil, err
	}
	for _, s := range strict {
		f := &FieldError{text: s.Error()}
		if strings.HasPrefix(f.text, "duplicate field") {
			f.Kind = DuplicateField
		}
		if at, ok := errors.AsType[kjson.FieldError](s); ok {
			f.Path = at.FieldPath()
		}
		*faults = append(*faults, f)
	}
	obj.GetObjectKind().SetGroupVersionKind(kind.GVK())
	return obj, nil
}

// toJSON turns a document into JSON. Keys that YAML gives twice are faults; the last one counts.
func toJSON(document []byte) (raw []byte, faults []*FieldError, err error) {
	if trimmed := bytes.TrimSpace(document); len(trimmed) > 0 && trimmed[0] == '{' {
		if json.Valid(trimmed) { // YAML in flow style begins with the same brace
			return trimmed, nil, nil
		}
	}
	raw, strictErr := yaml.YAMLToJSONStrict(document)
	if strictErr == nil {
		return raw, nil, nil
	}
	raw, err = yaml.YAMLToJSON(document)
	if err != nil {
		return nil, nil, err
	}
	return raw, duplicateKeys(strictErr), nil
}

var keyGivenTwice = regexp.MustCompile(`line \d+: key "(.*)" already set in map`)

// duplicateKeys makes a fault of every line in which YAML complains of a key; the first bears the head of the complaint.
func duplicateKeys(complaint error) (faults []*FieldError) {
	head, lines, found := strings.Cut(complaint.Error(), "\n")
	if !found {
		return []*FieldError{{Kind: DuplicateField, text: head}}
	}
	for line := range strings.SplitSeq(lines, "\n") {
		f := &FieldError{Kind: DuplicateField, text: strings.TrimSpace(line)}
		if m := keyGivenTwice.FindStringSubmatch(line); m != nil {
			f.Path = m[1]
		}
		faults = append(faults, f)
	}
	faults[0].text = head + " " + faults[0].text
	return faults
}

func kindOf(raw []byte) (*Kind, error) {
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &meta); err != nil {
		return nil, fmt.Errorf("couldn't get version/kind; json parse error: %w", err)
	}
	if meta.APIVersion == "" || meta.Kind == "" {
		return nil, ErrNoKind
	}
	gv, err := schema.ParseGroupVersion(meta.APIVersion)
	if err != nil {
		return nil, err
	}
	kind, ok := ByGVK(gv.WithKind(meta.Kind))
	if !ok {
		return nil, &UnservedError{GVK: gv.WithKind(meta.Kind)}
	}
	return kind, nil
}
