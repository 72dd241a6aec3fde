package delete

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/cli/internal/fakeapi"
)

func pod(name string, finalizers ...string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{"app": name}, Finalizers: finalizers}}
}

func populated(t *testing.T) *fakeapi.API {
	api := fakeapi.Start(t)
	api.Put(pod("a"), pod("b"), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	return api
}

const abNotFound = "Error from server (NotFound): pods \"x\" not found\n"

func TestDelete(t *testing.T) {
	background, none := metav1.DeletePropagationBackground, []metav1.DeleteOptions(nil)
	plain := metav1.DeleteOptions{PropagationPolicy: &background}
	graced := func(seconds int64) metav1.DeleteOptions {
		return metav1.DeleteOptions{PropagationPolicy: &background, GracePeriodSeconds: &seconds}
	}
	orphan := metav1.DeletePropagationOrphan
	const forced = "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.\n"
	for _, c := range []struct {
		name, input string
		args        []string
		want        fakeapi.Result
		wantOptions []metav1.DeleteOptions
	}{
		{name: "name", args: []string{"pod", "a"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\n"}, wantOptions: []metav1.DeleteOptions{plain}},
		{name: "pairs", args: []string{"pod/a", "pod/b", "-o", "name"}, want: fakeapi.Result{Out: "pod/a\npod/b\n"}, wantOptions: []metav1.DeleteOptions{plain, plain}},
		{
			name: "what has no namespace", args: []string{"node", "n1", "-n", "default"}, wantOptions: []metav1.DeleteOptions{plain},
			want: fakeapi.Result{Out: "node \"n1\" deleted\n", Err: "Warning: deleting cluster-scoped resources, not scoped to the provided namespace\n"},
		},
		{name: "all", args: []string{"pods", "--all"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\npod \"b\" deleted from default namespace\n"}, wantOptions: []metav1.DeleteOptions{plain, plain}},
		{name: "selector", args: []string{"pods", "-l", "app=b"}, want: fakeapi.Result{Out: "pod \"b\" deleted from default namespace\n"}, wantOptions: []metav1.DeleteOptions{plain}},
		{name: "selector of none", args: []string{"pods", "-l", "app=z"}, want: fakeapi.Result{Out: "No resources found\n"}},
		{
			name: "file", input: "apiVersion: v1\nkind: Pod\nmetadata: {name: a}", args: []string{"-f", "-"},
			want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\n"}, wantOptions: []metav1.DeleteOptions{plain},
		},
		{name: "now", args: []string{"pod", "a", "--now"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\n"}, wantOptions: []metav1.DeleteOptions{graced(1)}},
		{name: "grace period", args: []string{"pod", "a", "--grace-period=7"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\n"}, wantOptions: []metav1.DeleteOptions{graced(7)}},
		{name: "no grace without force", args: []string{"pod", "a", "--grace-period=0"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\n"}, wantOptions: []metav1.DeleteOptions{graced(1)}},
		{name: "force", args: []string{"pod", "a", "--force"}, want: fakeapi.Result{Out: "pod \"a\" force deleted from default namespace\n", Err: forced}, wantOptions: []metav1.DeleteOptions{graced(0)}},
		{
			name: "cascade", args: []string{"pod", "a", "--cascade=orphan"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\n"},
			wantOptions: []metav1.DeleteOptions{{PropagationPolicy: &orphan}},
		},
		{
			name: "not there", args: []string{"pod", "x", "a"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace\n", Err: abNotFound, Code: 1},
			wantOptions: []metav1.DeleteOptions{plain, plain},
		},
		{name: "not there, ignored", args: []string{"pod", "x", "--ignore-not-found"}, wantOptions: []metav1.DeleteOptions{plain}},
		{
			name: "not there, of a file", input: "apiVersion: v1\nkind: Pod\nmetadata: {name: x}", args: []string{"-f", "-"}, wantOptions: []metav1.DeleteOptions{plain},
			want: fakeapi.Result{Err: "Error from server (NotFound): error when deleting \"STDIN\": pods \"x\" not found\n", Code: 1},
		},
		{name: "nothing is sent", args: []string{"pod", "a", "--dry-run=client"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace (dry run)\n"}, wantOptions: none},
		{name: "nothing is sent, not there", args: []string{"pod", "x", "--dry-run=client"}, want: fakeapi.Result{Err: abNotFound, Code: 1}},
		{
			name: "nothing is kept", args: []string{"pod", "a", "--dry-run=server"}, want: fakeapi.Result{Out: "pod \"a\" deleted from default namespace (server dry run)\n"},
			wantOptions: []metav1.DeleteOptions{{PropagationPolicy: &background, DryRun: []string{"All"}}},
		},
		{
			name: "confirmed", input: "y\n", args: []string{"pods", "--all", "-i"}, wantOptions: []metav1.DeleteOptions{plain, plain},
			want: fakeapi.Result{Out: "You are about to delete the following 2 resource(s):\npod/a\npod/b\nDo you want to continue? (y/N): pod \"a\" deleted from default namespace\npod \"b\" deleted from default namespace\n"},
		},
		{
			name: "not confirmed", input: "\n", args: []string{"pod", "a", "-i"},
			want: fakeapi.Result{Out: "You are about to delete the following 1 resource(s):\npod/a\nDo you want to continue? (y/N): deletion is cancelled\n"},
		},
		{name: "no name", args: []string{"pods"}, want: fakeapi.Result{Err: "error: resource(s) were provided, but no name was specified\n", Code: 1}},
		{name: "all and selector", args: []string{"pods", "--all", "-l", "a=b"}, want: fakeapi.Result{Err: "error: cannot set --all and --selector at the same time\n", Code: 1}},
		{name: "all and fields", args: []string{"pods", "--all", "--field-selector=a=b"}, want: fakeapi.Result{Err: "error: cannot set --all and --field-selector at the same time\n", Code: 1}},
		{name: "now and grace", args: []string{"pod", "a", "--now", "--grace-period=2"}, want: fakeapi.Result{Err: "error: --now and --grace-period cannot be specified together\n", Code: 1}},
		{name: "force and grace", args: []string{"pod", "a", "--force", "--grace-period=2"}, want: fakeapi.Result{Err: "error: --force and --grace-period greater than 0 cannot be specified together\n", Code: 1}},
		{name: "output", args: []string{"pod", "a", "-o", "json"}, want: fakeapi.Result{Err: "error: unexpected -o output mode: json. We only support '-o name'\n", Code: 1}},
		{name: "bad cascade", args: []string{"pod", "a", "--cascade=x"}, want: fakeapi.Result{Err: "error: invalid cascade value (x). Must be \"background\", \"foreground\", or \"orphan\"\n", Code: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := populated(t)
			if diff := cmp.Diff(c.want, api.Run(New, c.input, append([]string{"delete"}, c.args...)...)); diff != "" {
				t.Errorf("delete %v (-want +got):\n%s", c.args, diff)
			}
			var options []metav1.DeleteOptions
			for _, r := range api.Requests("delete") {
				var o metav1.DeleteOptions
				if err := json.Unmarshal(r.Options, &o); err != nil {
					t.Fatal(err)
				}
				options = append(options, o)
			}
			if diff := cmp.Diff(c.wantOptions, options); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeleteWaits(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("held", "example.com/hold"))
	r := api.Begin(New, &bytes.Buffer{}, "delete", "pod", "held")
	fakeapi.Await(t, "a watch", func() bool { return len(api.Requests("watch")) == 1 })
	api.Put(pod("held", "example.com/hold"))
	api.Remove(pod("held"))
	if code := r.Wait(); code != 0 || !strings.HasPrefix(r.Out.String(), `pod "held" deleted`) {
		t.Errorf("delete: code %d, %s%s", code, r.Out.String(), r.Err.String())
	}
}

func TestDeleteDoesNotWait(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("held", "example.com/hold"))
	if got := api.Run(New, "", "delete", "pod", "held", "--wait=false"); got.Code != 0 || len(api.Requests("watch")) > 0 {
		t.Errorf("delete: %+v", got)
	}
}

func TestDeleteGivesUp(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("held", "example.com/hold"))
	want := fakeapi.Result{Out: "pod \"held\" deleted from default namespace\n", Err: "error: timed out waiting for the condition on pods/held\n", Code: 1}
	if diff := cmp.Diff(want, api.Run(New, "", "delete", "pod", "held", "--timeout=100ms")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
