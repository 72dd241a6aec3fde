package scheme_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
)

func TestDecode(t *testing.T) {
	want := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: "c"},
		Data:       map[string]string{"a": "b"},
	}
	for name, document := range map[string]string{
		"yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: b\n",
		"yaml flow": "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}}",
		"json":      ` {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"b"}}`,
		"comments":  "# a comment\n\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c} # another\ndata: {a: b}\n",
	} {
		obj, kind, err := scheme.Decode([]byte(document))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(obj, scheme.Object(want)) {
			t.Errorf("%s: got %+v, want %+v", name, obj, want)
		}
		if kind.Name != "ConfigMap" {
			t.Errorf("%s: kind %s", name, kind.Name)
		}
	}
}

func TestDecodeStrict(t *testing.T) {
	tests := []struct {
		name, document, text string
		want                 []string // the faults: kind and path
	}{
		{
			name:     "unknown fields",
			document: "apiVersion: v1\nkind: Pod\nmetadata: {nmae: p}\nspec: {containers: [{imag: x}], Volumes: []}\n",
			text:     `strict decoding error: unknown field "metadata.nmae", unknown field "spec.Volumes", unknown field "spec.containers[0].imag"`,
			want:     []string{"unknown metadata.nmae", "unknown spec.Volumes", "unknown spec.containers[0].imag"},
		},
		{
			name:     "keys of YAML that are given twice",
			document: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: b\n  a: c\n  d: e\n  d: f\nfoo: bar\n",
			text:     `strict decoding error: yaml: unmarshal errors: line 6: key "a" already set in map, line 8: key "d" already set in map, unknown field "foo"`,
			want:     []string{"duplicate a", "duplicate d", "unknown foo"},
		},
		{
			name:     "fields of JSON that are given twice",
			document: `{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"b"},"data":{"a":"c"}}`,
			text:     `strict decoding error: duplicate field "data"`,
			want:     []string{"duplicate data"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			obj, kind, err := scheme.Decode([]byte(tt.document))
			strict, ok := errors.AsType[*scheme.StrictError](err)
			if !ok || obj == nil || kind == nil {
				t.Fatalf("Decode = %v, %v, %v; want the object, its kind and a StrictError", obj, kind, err)
			}
			if err.Error() != tt.text {
				t.Errorf("error %s\nwant  %s", err, tt.text)
			}
			var faults []string
			for _, f := range strict.Faults {
				faults = append(faults, fmt.Sprintf("%s %s", map[scheme.FieldFault]string{scheme.UnknownField: "unknown", scheme.DuplicateField: "duplicate"}[f.Kind], f.Path))
			}
			if !slices.Equal(faults, tt.want) {
				t.Errorf("faults %q, want %q", faults, tt.want)
			}
			if single, ok := errors.AsType[*scheme.FieldError](err); !ok || single != strict.Faults[0] {
				t.Errorf("the error does not wrap its faults")
			}
		})
	}
}

// The last of two values counts, as it does for whoever reads the document without being strict.
func TestDecodeTakesTheLastValue(t *testing.T) {
	for _, document := range []string{
		"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: b\n  a: c\n",
		`{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"b","a":"c"}}`,
	} {
		obj, _, err := scheme.Decode([]byte(document))
		if obj == nil {
			t.Fatalf("%s: %v", document, err)
		}
		if got := obj.(*corev1.ConfigMap).Data["a"]; got != "c" {
			t.Errorf("%s: a = %q, want c", document, got)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name, document, text string
		kind                 string // the kind that is known nevertheless
	}{
		{"nothing", "", "Object 'Kind' or 'apiVersion' is missing", ""},
		{"no kind", "apiVersion: v1\nknid: Pod\n", "Object 'Kind' or 'apiVersion' is missing", ""},
		{"no version", "kind: Pod\n", "Object 'Kind' or 'apiVersion' is missing", ""},
		{"kind in another case", "apiVersion: v1\nKind: Pod\n", "Object 'Kind' or 'apiVersion' is missing", ""},
		{"unknown kind", "apiVersion: v1\nkind: Prod\n", `no matches for kind "Prod" in version "v1"`, ""},
		{"unknown version", "apiVersion: v2\nkind: Pod\n", `no matches for kind "Pod" in version "v2"`, ""},
		{"no version at all", "apiVersion: a/b/c\nkind: Pod\n", "unexpected GroupVersion string: a/b/c", ""},
		{"a list", "- a\n", "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion\\\"\"; Kind string \"json:\\\"kind\\\"\" }", ""},
		{"a tab", "a:\n  b: c\n\td: e\n", "yaml: line 3: found a tab character that violates indentation", ""},
		{"no JSON and no YAML", "{]", "yaml: did not find expected node content", ""},
		{"a wrong type", "apiVersion: v1\nkind: Pod\nspec: {hostPID: never}\n", "json: cannot unmarshal string into Go struct field PodSpec.spec.hostPID of type bool", "Pod"},
		{"a wrong type below an embedded structure", "apiVersion: v1\nkind: Pod\nspec: {volumes: [{fc: {lun: a}}]}\n", "json: cannot unmarshal string into Go struct field FCVolumeSource.spec.volumes.VolumeSource.fc.lun of type int32", "Pod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			obj, kind, err := scheme.Decode([]byte(tt.document))
			if obj != nil || err == nil {
				t.Fatalf("Decode = %v, %v; want no object and an error", obj, err)
			}
			if err.Error() != tt.text {
				t.Errorf("error %s\nwant  %s", err, tt.text)
			}
			if known := kind != nil; known != (tt.kind != "") || (known && kind.Name != tt.kind) {
				t.Errorf("kind = %v, want %q", kind, tt.kind)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a}]}\n", "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: b\n  a: c\n",
		`{"apiVersion":"v1","kind":"Secret","data":{"a":"YQ=="}}`, "- 1\n", "{]", "a: &a [*a]\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		obj, kind, err := scheme.Decode(document)
		if err == nil && (obj == nil || kind == nil) {
			t.Errorf("Decode = %v, %v without an error", obj, kind)
		}
		if obj != nil && obj.GetObjectKind().GroupVersionKind() != kind.GVK() {
			t.Errorf("the object says it is a %v, its kind is %v", obj.GetObjectKind().GroupVersionKind(), kind.GVK())
		}
	})
}
