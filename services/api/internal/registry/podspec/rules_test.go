package podspec

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

// What Kubernetes says of names, at the end of many texts.
const (
	badLabel      = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
	badSubdomain  = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`
	badNamePart   = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
	badLabelValue = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

// ruleTable lists pods by what is wrong with them, and what a user is told of each.
type ruleTable []struct {
	name string
	meta string // of the pod, besides its name; this and the following in YAML's flow style
	main string // of its container "main", which has an image
	init string // of its init container, which has an image; empty: it has none
	spec string // the rest of the spec, or all of it if it lists containers
	want []string
}

func (table ruleTable) run(t *testing.T) {
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			pod := decodePod(t, tt.meta, joinSpec(tt.main, tt.init, tt.spec))
			DefaultPod(pod)
			PreparePod(pod)
			before := pod.DeepCopy()
			at := check.Start()
			CheckPod(at, pod)
			CheckNewPod(at, pod)
			if diff := cmp.Diff(tt.want, texts(at)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, pod); diff != "" {
				t.Errorf("a check changed the pod (-before +after):\n%s", diff)
			}
		})
	}
}

func texts(at check.At) []string {
	var list []string
	for _, fault := range check.Unique(at.Faults()) {
		list = append(list, fault.Error())
	}
	return list
}

// joinSpec puts a spec together from the parts of a table.
func joinSpec(main, init, spec string) string {
	parts := []string{spec}
	if !strings.Contains(", "+spec, ", containers: [") {
		parts = append(parts, "containers: [{"+flow("name: main", "image: nginx", main)+"}]")
	}
	if init != "" {
		parts = append(parts, "initContainers: [{"+flow("name: init", "image: busybox", init)+"}]")
	}
	return flow(parts...)
}

// flow joins the fields of an object in YAML's flow style.
func flow(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// decodePod reads a pod that is given by parts of its YAML.
func decodePod(t testing.TB, meta, spec string) *corev1.Pod {
	t.Helper()
	obj, _, err := scheme.Decode([]byte("apiVersion: v1\nkind: Pod\nmetadata: {" + flow("name: p", "namespace: default", meta) + "}\nspec: {" + spec + "}"))
	if err != nil {
		t.Fatalf("decode %s: %v", spec, err)
	}
	return obj.(*corev1.Pod)
}
