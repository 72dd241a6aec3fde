package print

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/scheme"
)

func TestParseFormat(t *testing.T) {
	for text, want := range map[string]string{"": Table, "json": JSON, "YAML": YAML, "wide": Wide} {
		if got, err := ParseFormat(text, JSON, Name, Wide, YAML); got != want || err != nil {
			t.Errorf("ParseFormat(%q) = %q, %v", text, got, err)
		}
	}
	const want = `unable to match a printer suitable for the output format "jsonpath", allowed formats are: json,yaml`
	if _, err := ParseFormat("jsonpath", JSON, YAML); err == nil || err.Error() != want {
		t.Errorf("ParseFormat: %v", err)
	}
}

func TestEncoders(t *testing.T) {
	values := []any{map[string]any{"b": int64(9007199254740993), "a": "x<y\n"}, ListOf(nil)}
	for format, want := range map[string]string{
		JSON: `{
    "a": "x\u003cy\n",
    "b": 9007199254740993
}
{
    "apiVersion": "v1",
    "items": [],
    "kind": "List",
    "metadata": {
        "resourceVersion": ""
    }
}
`,
		YAML: `a: |
  x<y
b: 9007199254740993
---
apiVersion: v1
items: []
kind: List
metadata:
  resourceVersion: ""
`,
	} {
		var out bytes.Buffer
		encoder := NewEncoder(&out, format)
		for _, value := range values {
			if err := encoder.Encode(value); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

func TestOmitManagedFields(t *testing.T) {
	o := map[string]any{"metadata": map[string]any{"name": "a", "managedFields": []any{}}}
	OmitManagedFields(o)
	OmitManagedFields(map[string]any{})
	if diff := cmp.Diff(map[string]any{"metadata": map[string]any{"name": "a"}}, o); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSort(t *testing.T) {
	kind, _ := scheme.ByResource(scheme.Pods)
	bodies := []string{
		`{"metadata":{"name":"pod-10","labels":{"a.b/c":"z"}},"spec":{"containers":[{"n":2,"q":"1Gi"}]}}`,
		`{"metadata":{"name":"pod-9"},"spec":{"containers":[{"n":10,"q":"500Mi"}]}}`,
		`{"metadata":{"name":"pod-09","labels":{"a.b/c":"y"}},"spec":{"containers":[{"n":1}]}}`,
	}
	for _, c := range []struct{ field, want, wantErr string }{
		{field: ".metadata.name", want: "pod-9 pod-09 pod-10"},
		{field: "{.metadata.name}", want: "pod-9 pod-09 pod-10"},
		{field: "metadata.name", want: "pod-9 pod-09 pod-10"},
		{field: ".spec.containers[0].n", want: "pod-09 pod-10 pod-9"},
		{field: ".spec.containers[-1].q", want: "pod-09 pod-9 pod-10"},
		{field: `.metadata.labels.a\.b/c`, want: "pod-9 pod-09 pod-10"},
		{field: ".spec.nodeName", wantErr: `couldn't find any field with path "{.spec.nodeName}" in the list of objects`},
		{field: `{.spec.containers[?(@.n>1)].q}`, want: "pod-09 pod-9 pod-10"},
		{field: ".spec.containers[1].n", wantErr: "failed to get the value of pod/pod-10 at {.spec.containers[1].n}: array index out of bounds: index 1, length 1"},
		{field: "{.metadata.name", wantErr: "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"},
		{field: ".a[", wantErr: "unterminated array"},
	} {
		t.Run(c.field, func(t *testing.T) {
			var objects []*resource.Object
			for _, body := range bodies {
				o, err := resource.Of(kind, json.RawMessage(body))
				if err != nil {
					t.Fatal(err)
				}
				objects = append(objects, o)
			}
			order, err := ParseOrder(c.field)
			if err == nil {
				err = order.Sort(objects)
			}
			if (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("Sort: %v, want %q", err, c.wantErr)
			}
			var names []string
			for _, o := range objects {
				names = append(names, o.Name)
			}
			if got := strings.Join(names, " "); err == nil && got != c.want {
				t.Errorf("Sort: %s, want %s", got, c.want)
			}
		})
	}
	order, err := ParseOrder(".metadata.name")
	if err != nil {
		t.Fatal(err)
	}
	if err := order.Sort(nil); err != nil {
		t.Errorf("Sort of nothing: %v", err)
	}
}
