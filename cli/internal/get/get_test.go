package get

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/cli/internal/fakeapi"
	"millrace.dev/pkg/scheme"
)

func pod(namespace, name, phase string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}}}
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	p.Status.Phase = corev1.PodPhase(phase)
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}}
	return p
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
}

func populated(t *testing.T) *fakeapi.API {
	api := fakeapi.Start(t)
	api.Put(pod("default", "web-10", "Running"), pod("default", "web-9", "Pending"), pod("team", "db", "Running"), configMap("settings"))
	return api
}

const podsOfDefault = `NAME     READY   STATUS    RESTARTS   AGE
web-10   0/1     Running   0          <unknown>
web-9    0/1     Pending   0          <unknown>
`

const oneAsYAML = `apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: default
  resourceVersion: "4"
`

const emptyList = `{
    "apiVersion": "v1",
    "items": [],
    "kind": "List",
    "metadata": {
        "resourceVersion": ""
    }
}
`

const allowed = "custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,wide,yaml"

func TestGet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	api := populated(t)
	for _, c := range []struct {
		name string
		args []string
		want fakeapi.Result
	}{
		{name: "set", args: []string{"pods"}, want: fakeapi.Result{Out: podsOfDefault}},
		{name: "several pages", args: []string{"pods", "--chunk-size=1"}, want: fakeapi.Result{Out: podsOfDefault}},
		{name: "sorted", args: []string{"po", "--sort-by=.metadata.name", "--no-headers"}, want: fakeapi.Result{
			Out: "web-9    0/1   Pending   0     <unknown>\nweb-10   0/1   Running   0     <unknown>\n",
		}},
		{name: "selected by label", args: []string{"pods", "-A", "-l", "app in (db)", "--show-labels"}, want: fakeapi.Result{
			Out: "NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE         LABELS\nteam        db     0/1     Running   0          <unknown>   app=db\n",
		}},
		{name: "selected by field", args: []string{"pods", "--field-selector", "status.phase=Pending", "-o", "name"}, want: fakeapi.Result{Out: "pod/web-9\n"}},
		{name: "several kinds", args: []string{"pods,cm"}, want: fakeapi.Result{Out: `NAME         READY   STATUS    RESTARTS   AGE
pod/web-10   0/1     Running   0          <unknown>
pod/web-9    0/1     Pending   0          <unknown>

NAME                 DATA   AGE
configmap/settings   0      <unknown>
`}},
		{name: "kind wanted", args: []string{"cm", "--show-kind"}, want: fakeapi.Result{Out: "NAME                 DATA   AGE\nconfigmap/settings   0      <unknown>\n"}},
		{name: "other namespace", args: []string{"pods", "-n", "team", "--no-headers"}, want: fakeapi.Result{Out: "db    0/1   Running   0     <unknown>\n"}},
		{name: "names", args: []string{"pods/web-9", "cm/settings", "-o", "name"}, want: fakeapi.Result{Out: "pod/web-9\nconfigmap/settings\n"}},
		{name: "one whole", args: []string{"cm", "settings", "-o", "yaml"}, want: fakeapi.Result{Out: oneAsYAML}},
		{name: "one of a file", args: []string{"-f", file, "-o", "yaml"}, want: fakeapi.Result{Out: oneAsYAML}},
		{name: "none of a kind", args: []string{"secrets"}, want: fakeapi.Result{Err: "No resources found in default namespace.\n"}},
		{name: "none anywhere", args: []string{"secrets", "-A"}, want: fakeapi.Result{Err: "No resources found\n"}},
		{name: "none of what has no namespace", args: []string{"nodes"}, want: fakeapi.Result{Err: "No resources found\n"}},
		{name: "none, as list", args: []string{"secrets", "-o", "json"}, want: fakeapi.Result{Out: emptyList}},
		{name: "none, ignored", args: []string{"secrets", "--ignore-not-found"}},
		{name: "not there", args: []string{"pod", "abc"}, want: fakeapi.Result{Code: 1, Err: "Error from server (NotFound): pods \"abc\" not found\n"}},
		{name: "not there, whole", args: []string{"pod", "abc", "-o", "yaml"}, want: fakeapi.Result{Code: 1, Err: "Error from server (NotFound): pods \"abc\" not found\n"}},
		{name: "not there, ignored", args: []string{"pod", "abc", "--ignore-not-found", "-o", "yaml"}},
		{name: "some not there", args: []string{"pod", "abc", "web-9", "xyz", "--no-headers"}, want: fakeapi.Result{
			Out: "web-9   0/1   Pending   0     <unknown>\n", Code: 1,
			Err: "Error from server (NotFound): pods \"abc\" not found\nError from server (NotFound): pods \"xyz\" not found\n",
		}},
		{name: "nothing asked for", want: fakeapi.Result{Code: 1, Err: "You must specify the type of resource to get. Use \"millrace api-resources\" for a complete list of supported resources.\n\n" +
			"error: Required resource not specified.\nSee 'millrace get -h' for help and examples\n"}},
		{name: "unknown type", args: []string{"foos"}, want: fakeapi.Result{Code: 1, Err: "error: the server doesn't have a resource type \"foos\"\n"}},
		{name: "unknown format", args: []string{"pods", "-o", "xml={.x}"}, want: fakeapi.Result{Code: 1, Err: "error: unable to match a printer suitable for the output format \"xml={.x}\", allowed formats are: " + allowed + "\n"}},
		{name: "list by path", args: []string{"pods,cm", "-o", `jsonpath={.kind}{range .items[*]} {.metadata.name}{end}{"\n"}`}, want: fakeapi.Result{Out: "List web-10 web-9 settings\n"}},
		{name: "list of one name by path", args: []string{"pods", "-o", "jsonpath={.items[0].metadata.name}", "-l", "app=web-9"}, want: fakeapi.Result{Out: "web-9"}},
		{name: "one by path", args: []string{"pod/web-9", "-o", "jsonpath={.metadata.name} {.metadata.managedFields[0].manager}"}, want: fakeapi.Result{Out: "web-9 m"}},
		{name: "none by path", args: []string{"secrets", "-o", "jsonpath={.kind} {.items}"}, want: fakeapi.Result{Out: "List []"}},
		{name: "bad path", args: []string{"pods", "-o", "jsonpath={.x"}, want: fakeapi.Result{Code: 1, Err: "error: error parsing jsonpath {.x, unclosed action\n"}},
		{name: "list by template", args: []string{"pods,cm", "-o", "go-template={{.kind}}{{range .items}} {{.metadata.name}}{{end}}"}, want: fakeapi.Result{Out: "List web-10 web-9 settings"}},
		{name: "one by template", args: []string{"pod/web-9", "--template={{.metadata.name}}"}, want: fakeapi.Result{Out: "web-9"}},
		{name: "own columns", args: []string{"pods", "-o", "custom-columns=N:.metadata.name,P:.status.phase"}, want: fakeapi.Result{Out: "N        P\nweb-10   Running\nweb-9    Pending\n"}},
		{name: "own columns without headers", args: []string{"cm", "settings", "-o", "custom-columns=N:.metadata.name", "--no-headers"}, want: fakeapi.Result{Out: "settings\n"}},
		{name: "own columns of nothing", args: []string{"secrets", "-o", "custom-columns=N:.metadata.name"}, want: fakeapi.Result{Out: "N\n"}},
		{name: "own columns and labels", args: []string{"pods", "-o", "custom-columns=N:.kind", "-L", "app"}, want: fakeapi.Result{Code: 1, Err: "error: --label-columns option cannot be used with custom-columns=N:.kind printer\n"}},
		{name: "labels beside a template", args: []string{"pods", "-o", "go-template={{.kind}}", "--show-labels"}, want: fakeapi.Result{Code: 1, Err: "error: --show-labels option cannot be used with go-template={{.kind}} printer\n"}},
		{name: "sorted list", args: []string{"pods", "--sort-by", "{.status.phase}", "-o", "jsonpath={.items[*].metadata.name}"}, want: fakeapi.Result{Out: "web-9 web-10"}},
		{name: "order of none has", args: []string{"pods,cm", "--sort-by", ".status.phase"}, want: fakeapi.Result{Code: 1, Err: "error: couldn't find any field with path \"{.status.phase}\" in the list of objects\n"}},
		{name: "order of one", args: []string{"cm", "settings", "--sort-by", ".status.phase", "-o", "name"}, want: fakeapi.Result{Out: "configmap/settings\n"}},
		{name: "bad order", args: []string{"pods", "--sort-by", ".a["}, want: fakeapi.Result{Code: 1, Err: "error: sorting error: unterminated array\n"}},
		{name: "bad order of names", args: []string{"pods", "--sort-by", "{.a}{.b}", "-o", "name"}, want: fakeapi.Result{Code: 1, Err: "error: unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'\n"}},
		{name: "labels as columns of no table", args: []string{"pods", "-o", "json", "--show-labels"}, want: fakeapi.Result{Code: 1, Err: "error: --show-labels option cannot be used with json printer\n"}},
		{name: "events of no watch", args: []string{"pods", "--output-watch-events"}, want: fakeapi.Result{Code: 1, Err: "error: --output-watch-events option can only be used with --watch or --watch-only\n"}},
		{name: "watch of two kinds", args: []string{"pods,cm", "-w"}, want: fakeapi.Result{Code: 1, Err: "error: you may only specify a single resource type\n"}},
		{name: "watch of two names", args: []string{"pods", "a", "b", "-w"}, want: fakeapi.Result{Code: 1, Err: "error: watch is only supported on individual resources and resource collections, 2 resources were found\n"}},
		{name: "watch of what is not there", args: []string{"pod", "abc", "-w"}, want: fakeapi.Result{Code: 1, Err: "Error from server (NotFound): pods \"abc\" not found\n"}},
		{name: "unknown flag", args: []string{"--foo"}, want: fakeapi.Result{Code: 1, Err: "error: unknown flag: --foo\nSee 'millrace get --help' for usage.\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, api.Run(New, "", append([]string{"get"}, c.args...)...)); diff != "" {
				t.Errorf("get %v (-want +got):\n%s", c.args, diff)
			}
		})
	}
}

func TestGetReadsInPages(t *testing.T) {
	api := fakeapi.Start(t)
	for i := range 1201 {
		api.Put(configMap(fmt.Sprintf("c%04d", i)))
	}
	got := api.Run(New, "", "get", "cm", "-o", "name")
	if lines := strings.Count(got.Out, "\n"); lines != 1201 {
		t.Errorf("%d objects, want 1201: %s", lines, got.Err)
	}
	if requests := len(api.Requests("list")); requests != 3 {
		t.Errorf("%d pages, want 3 of 500", requests)
	}
}

func TestGetShowsManagedFieldsOnlyWhenAsked(t *testing.T) {
	api := populated(t)
	if got := api.Run(New, "", "get", "pod", "web-9", "-o", "json"); strings.Contains(got.Out, "managedFields") {
		t.Errorf("managed fields are shown:\n%s", got.Out)
	}
	if got := api.Run(New, "", "get", "pod", "web-9", "-o", "json", "--show-managed-fields"); !strings.Contains(got.Out, "managedFields") {
		t.Errorf("managed fields are not shown:\n%s", got.Out)
	}
}

func TestGetThatIsRefused(t *testing.T) {
	api := populated(t)
	api.Fail("list", scheme.Pods, apierrors.NewForbidden(schema.GroupResource{Resource: scheme.Pods}, "", errors.New("no")))
	got := api.Run(New, "", "get", "pods,cm", "--no-headers")
	want := fakeapi.Result{Out: "configmap/settings   0     <unknown>\n", Err: "Error from server (Forbidden): pods is forbidden: no\n", Code: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{name: "set", args: []string{"pods", "-w"}, want: podsOfDefault + `web-9    0/1     Running   0          <unknown>
new      0/1     Pending   0          <unknown>
web-10   0/1     Running   0          <unknown>
`},
		{name: "changes only", args: []string{"pods", "--watch-only", "--output-watch-events"}, want: `EVENT      NAME    READY   STATUS    RESTARTS   AGE
MODIFIED   web-9   0/1     Running   0          <unknown>
ADDED      new     0/1     Pending   0          <unknown>
DELETED    web-10   0/1     Running   0          <unknown>
`},
		{name: "one", args: []string{"pod", "web-9", "-w", "--no-headers"}, want: "web-9   0/1   Pending   0     <unknown>\nweb-9   0/1   Running   0     <unknown>\n"},
		{name: "own columns", args: []string{"pods", "-w", "-o", "custom-columns=N:.metadata.name,P:.status.phase"}, want: `N        P
web-10   Running
web-9    Pending
web-9    Running
new      Pending
web-10   Running
`},
		{name: "own columns with events", args: []string{"pods", "--watch-only", "--output-watch-events", "-o", "custom-columns=N:.object.metadata.name,E:.type"}, want: `N       E
web-9   MODIFIED
new     ADDED
web-10   DELETED
`},
		{name: "template", args: []string{"pods", "-w", "--template={{.metadata.name}}={{.status.phase}} "}, want: "web-10=Running web-9=Pending web-9=Running new=Pending web-10=Running "},
		{name: "names", args: []string{"pods", "-w", "-o", "name"}, want: "pod/web-10\npod/web-9\npod/web-9\npod/new\npod/web-10\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := populated(t)
			r := api.Begin(New, nil, append([]string{"get"}, c.args...)...)
			fakeapi.Await(t, "a watch", func() bool { return len(api.Requests("watch")) == 1 })
			api.Put(pod("default", "web-9", "Running"), pod("default", "new", "Pending"))
			api.Remove(pod("default", "web-10", ""))
			fakeapi.Await(t, "events", func() bool { return len(r.Out.String()) >= len(c.want) })
			if code := r.Stop(); code != 0 {
				t.Errorf("exit code %d: %s", code, r.Err.String())
			}
			if diff := cmp.Diff(c.want, r.Out.String()); diff != "" {
				t.Errorf("get %v (-want +got):\n%s", c.args, diff)
			}
		})
	}
}

func TestWatchAsYAML(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(configMap("a"))
	r := api.Begin(New, nil, "get", "cm", "-w", "-o", "yaml", "--output-watch-events")
	fakeapi.Await(t, "a watch", func() bool { return len(api.Requests("watch")) == 1 })
	api.Remove(configMap("a"))
	of := func(typ string) string {
		return "object:\n  apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: a\n    namespace: default\n    resourceVersion: \"1\"\ntype: " + typ + "\n"
	}
	want := of("ADDED") + "---\n" + of("DELETED")
	fakeapi.Await(t, "events", func() bool { return len(r.Out.String()) >= len(want) })
	r.Stop()
	if diff := cmp.Diff(want, r.Out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatchByPath(t *testing.T) {
	const path = `jsonpath={.type}{.object.metadata.name}{range .object.spec.containers[*]} {.name}{end}{"\n"}`
	api := fakeapi.Start(t)
	api.Put(pod("default", "a", "Running"), pod("default", "b", "Running"))
	r := api.Begin(New, nil, "get", "pods", "-w", "--output-watch-events", "-o", path)
	fakeapi.Await(t, "a watch", func() bool { return len(api.Requests("watch")) == 1 })
	api.Remove(pod("default", "a", ""))
	const want = "ADDEDa c\nADDEDb c\nDELETEDa c\n"
	fakeapi.Await(t, "events", func() bool { return len(r.Out.String()) >= len(want) })
	r.Stop()
	if diff := cmp.Diff(want, r.Out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := api.Run(New, "", "get", "pods", "-w", "-o", "jsonpath={.kind[0]}")
	if want := "error: unable to output the provided object: error executing jsonpath \"{.kind[0]}\": "; !strings.HasPrefix(got.Err, want) || got.Code != 1 {
		t.Errorf("code %d, %s\nwant %s", got.Code, got.Err, want)
	}
}

// TestWatchAlignsWhatIsThere: the rows of what there is at first are one table.
func TestWatchAlignsWhatIsThere(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("default", "a", "Running"), pod("default", "a-longer-name", "Pending"))
	r := api.Begin(New, nil, "get", "pods", "-w", "-o", "custom-columns=NAME:.metadata.name,PHASE:.status.phase")
	fakeapi.Await(t, "a watch", func() bool { return len(api.Requests("watch")) == 1 })
	r.Stop()
	if diff := cmp.Diff("NAME            PHASE\na               Running\na-longer-name   Pending\n", r.Out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatchEndsInTime(t *testing.T) {
	api := populated(t)
	got := api.Run(New, "", "get", "pods", "-w", "--request-timeout=200ms")
	if diff := cmp.Diff(fakeapi.Result{Out: podsOfDefault}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
