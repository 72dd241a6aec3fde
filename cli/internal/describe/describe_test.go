package describe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"millrace.dev/cli/internal/fakeapi"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/scheme"
)

// TestMain has times written in one zone wherever the tests run: descriptions write them in that of the reader.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// populated is an api with the objects of testdata, at a fixed time.
func populated(t *testing.T) *fakeapi.API {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "objects.json"))
	if err != nil {
		t.Fatal(err)
	}
	var documents []json.RawMessage
	if err := json.Unmarshal(body, &documents); err != nil {
		t.Fatal(err)
	}
	api := fakeapi.Start(t)
	api.Now = func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }
	for _, d := range documents {
		obj, _, err := scheme.Decode(d)
		if err != nil {
			t.Fatal(err)
		}
		api.Put(obj)
	}
	return api
}

// TestDescribe compares with texts that agree with kubectl's but for what is listed here: values of fields that kubectl cannot look
// up, the capacity of ephemeral volumes, which it leaves out, and the lease of a node, which there is none of.
func TestDescribe(t *testing.T) {
	api := populated(t)
	for file, args := range map[string]string{
		"pod": "pod web", "pending": "pod/pend", "node": "node n1", "namespace": "ns team", "configmap": "cm cm", "secret": "secret sec",
	} {
		t.Run(file, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", file+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			got := api.Run(New, "", append([]string{"describe"}, strings.Fields(args)...)...)
			if diff := cmp.Diff(string(want), got.Out); diff != "" || got.Code != 0 {
				t.Errorf("describe %s (-want +got):\n%s%s", args, diff, got.Err)
			}
		})
	}
}

func TestDescribeSeveral(t *testing.T) {
	api := populated(t)
	names := func(text string) (names []string) {
		for line := range strings.Lines(text) {
			if name, ok := strings.CutPrefix(line, "Name:"); ok {
				names = append(names, strings.TrimSpace(name))
			}
		}
		return names
	}
	for _, c := range []struct {
		name       string
		args       []string
		want       []string
		wantEvents bool
		wantErr    string
	}{
		{name: "all", args: []string{"pods"}, want: []string{"web", "pend"}},
		{name: "all namespaces", args: []string{"pods", "-A"}, want: []string{"web", "pend", "done"}},
		{name: "selector", args: []string{"pods", "-l", "app=web"}, want: []string{"web"}, wantEvents: true},
		{name: "events wanted", args: []string{"pods", "--show-events"}, want: []string{"web", "pend"}, wantEvents: true},
		{name: "events not wanted", args: []string{"pod", "web", "--show-events=false"}, want: []string{"web"}},
		{name: "beginning of a name", args: []string{"pods", "we"}, want: []string{"web"}},
		{name: "no such beginning", args: []string{"pods", "x"}, wantErr: "Error from server (NotFound): pods \"x\" not found\n"},
		{name: "pair is no beginning", args: []string{"pods/we"}, wantErr: "Error from server (NotFound): pods \"we\" not found\n"},
		{name: "one of two", args: []string{"pods", "x", "web"}, want: []string{"web"}, wantErr: "Error from server (NotFound): pods \"x\" not found\n"},
		{name: "none", args: []string{"secrets", "-n", "team"}, wantErr: "No resources found in team namespace.\n"},
		{name: "no type", wantErr: "error: You must specify the type of resource to describe. Use \"millrace api-resources\" for a complete list of supported resources.\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := api.Run(New, "", append([]string{"describe"}, c.args...)...)
			if diff := cmp.Diff(c.want, names(got.Out)); diff != "" || got.Err != c.wantErr {
				t.Errorf("describe %v (-want +got):\n%s%s", c.args, diff, got.Err)
			}
			if events := strings.Contains(got.Out, "\nEvents:"); events != c.wantEvents {
				t.Errorf("describe %v shows events: %v", c.args, events)
			}
		})
	}
}

// TestSecretsAreNotTold: how much a secret holds is told, not what.
func TestSecretsAreNotTold(t *testing.T) {
	got := populated(t).Run(New, "", "describe", "secret", "sec")
	if strings.Contains(got.Out, "secret") || strings.Contains(got.Out, "c2VjcmV0") || !strings.Contains(got.Out, "password:  6 bytes") {
		t.Errorf("describe secret:\n%s", got.Out)
	}
}

// TestDescribeFields: a kind without a view of its own is told field by field.
func TestDescribeFields(t *testing.T) {
	api := populated(t)
	got := api.Run(New, "", "describe", "event", "e1")
	want := `Name:             e1
Namespace:        default
Labels:           <none>
Annotations:      <none>
API Version:      v1
Count:            1
`
	if !strings.HasPrefix(got.Out, want) || !strings.Contains(got.Out, "Involved Object:\n  API Version:   v1\n") || !strings.HasSuffix(got.Out, "Events:       <none>\n") {
		t.Errorf("describe event:\n%s%s\nwant\n%s", got.Out, got.Err, want)
	}
}

func TestFieldsOfLists(t *testing.T) {
	w := newWriter(time.Time{})
	tellFields(w, 0, map[string]any{"list": []any{"a", map[string]any{"podIP": "1", "weird_name": 2}}})
	want := "List:\n  a\n  Pod IP:      1\n  weird_name:  2\n"
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"creationTimestamp": "Creation Timestamp", "apiVersion": "API Version", "uid": "UID", "podIP": "Pod IP",
		"kind": "Kind", "some.name": "some.name",
	} {
		if got := words(name); got != want {
			t.Errorf("words(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestContainerField(t *testing.T) {
	quantity := apiresource.MustParse
	c := &corev1.Container{Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{"cpu": quantity("1500m")}, Requests: corev1.ResourceList{"memory": quantity("100Mi")},
	}}
	for _, f := range []struct {
		resource, divisor, want string
	}{
		{"limits.cpu", "0", "2"},
		{"limits.cpu", "1m", "1500"},
		{"limits.memory", "0", "node allocatable"},
		{"requests.memory", "1Mi", "100"},
		{"requests.cpu", "0", "0"},
	} {
		if got := containerField(c, &corev1.ResourceFieldSelector{Resource: f.resource, Divisor: quantity(f.divisor)}); got != f.want {
			t.Errorf("%s in %s: %s, want %s", f.resource, f.divisor, got, f.want)
		}
	}
}

// TestEveryKindCanBeDescribed: no view fails on an object that says nothing.
func TestEveryKindCanBeDescribed(t *testing.T) {
	api := fakeapi.Start(t)
	f, _, _ := api.Factory()
	c, err := f.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range scheme.All() {
		obj := kind.New()
		obj.SetName("x")
		raw, err := json.Marshal(obj)
		if err != nil {
			t.Fatal(err)
		}
		d := &describer{api: c, now: time.Now, events: true}
		text, err := d.describe(t.Context(), &resource.Object{Kind: kind, Name: "x", Raw: raw})
		if err != nil || !strings.HasPrefix(text, "Name:") {
			t.Errorf("describe %s: %v\n%s", kind.Resource(), err, text)
		}
	}
}
