package create

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/fakeapi"
)

const two = "# two of them\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {generateName: b-}\n"

const notSent = `apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  namespace: default
---
apiVersion: v1
kind: Pod
metadata:
  generateName: b-
  namespace: default
`

func TestCreate(t *testing.T) {
	for _, c := range []struct {
		name, input string
		args        []string
		want        fakeapi.Result
		wantOptions metav1.CreateOptions // of every request
		wantSent    int
	}{
		{
			name: "sentences", input: two, args: []string{"-f", "-"}, want: fakeapi.Result{Out: "configmap/a created\npod/b-xyz created\n"},
			wantSent: 2, wantOptions: metav1.CreateOptions{FieldValidation: "Strict", FieldManager: "millrace-create"},
		},
		{
			name: "names", input: two, args: []string{"-f", "-", "-o", "name", "--field-manager=me"}, want: fakeapi.Result{Out: "configmap/a\npod/b-xyz\n"},
			wantSent: 2, wantOptions: metav1.CreateOptions{FieldValidation: "Strict", FieldManager: "me"},
		},
		{
			name: "by a template", input: two, args: []string{"-f", "-", "-o", "jsonpath={.kind}/{.metadata.name} "}, want: fakeapi.Result{Out: "ConfigMap/a Pod/b-xyz "},
			wantSent: 2, wantOptions: metav1.CreateOptions{FieldValidation: "Strict", FieldManager: "millrace-create"},
		},
		{name: "nothing is sent", input: two, args: []string{"-f", "-", "--dry-run=client", "-o", "yaml"}, want: fakeapi.Result{Out: notSent}},
		{name: "nothing is sent, in a sentence", input: two, args: []string{"-f", "-", "--dry-run"}, want: fakeapi.Result{Out: "configmap/a created (dry run)\npod/<unknown> created (dry run)\n"}},
		{
			name: "nothing is kept", input: two, args: []string{"-f", "-", "--dry-run=server"},
			want:     fakeapi.Result{Out: "configmap/a created (server dry run)\npod/b-xyz created (server dry run)\n"},
			wantSent: 2, wantOptions: metav1.CreateOptions{FieldValidation: "Strict", FieldManager: "millrace-create", DryRun: []string{"All"}},
		},
		{
			name: "warnings", input: two, args: []string{"-f", "-", "--validate=warn", "-l", "!x", "-o", "name"},
			want:     fakeapi.Result{Out: "configmap/a\npod/b-xyz\n", Err: "Warning: unknown field \"spec.foo\"\nWarning: unknown field \"spec.foo\"\n"},
			wantSent: 2, wantOptions: metav1.CreateOptions{FieldValidation: "Warn", FieldManager: "millrace-create"},
		},
		{
			name: "no validation", input: two, args: []string{"-f", "-", "--validate=false"}, want: fakeapi.Result{Out: "configmap/a created\npod/b-xyz created\n"},
			wantSent: 2, wantOptions: metav1.CreateOptions{FieldValidation: "Ignore", FieldManager: "millrace-create"},
		},
		{
			name: "the rest goes on", input: "a: b\n---\n" + two + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", args: []string{"-f", "-"},
			want: fakeapi.Result{
				Out: "configmap/a created\npod/b-xyz created\n", Code: 1,
				Err: "unable to decode \"STDIN\": Object 'Kind' is missing in '{\"a\":\"b\"}'\n" +
					"Error from server (AlreadyExists): error when creating \"STDIN\": configmaps \"a\" already exists\n",
			},
			wantSent: 3, wantOptions: metav1.CreateOptions{FieldValidation: "Strict", FieldManager: "millrace-create"},
		},
		{name: "no file", want: fakeapi.Result{Code: 1, Err: "error: must specify one of -f and -k\n"}},
		{name: "no object", input: "\n", args: []string{"-f", "-"}, want: fakeapi.Result{Code: 1, Err: "error: no objects passed to create\n"}},
		{name: "arguments", args: []string{"x"}, want: fakeapi.Result{Code: 1, Err: "error: Unexpected args: [x]\nSee 'millrace create -h' for help and examples\n"}},
		{name: "dry run", args: []string{"-f", "-", "--dry-run=x"}, want: fakeapi.Result{Code: 1, Err: "error: Invalid dry-run value (x). Must be \"none\", \"server\", or \"client\".\n"}},
		{name: "validation", args: []string{"-f", "-", "--validate=x"}, want: fakeapi.Result{Code: 1, Err: "error: invalid - validate option \"x\"; must be one of: strict (or true), warn, ignore (or false)\n"}},
		{name: "format", args: []string{"-f", "-", "-o", "wide"}, want: fakeapi.Result{
			Code: 1, Err: "error: unable to match a printer suitable for the output format \"wide\", allowed formats are: " +
				"go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,yaml\n",
		}},
		{name: "bad template", input: two, args: []string{"-f", "-", "-o", "jsonpath={.x"}, want: fakeapi.Result{Code: 1, Err: "error: error parsing jsonpath {.x, unclosed action\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := fakeapi.Start(t)
			got := api.Run(New, c.input, append([]string{"create"}, c.args...)...)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("create (-want +got):\n%s", diff)
			}
			requests := api.Requests("create")
			if len(requests) != c.wantSent {
				t.Errorf("%d requests, want %d", len(requests), c.wantSent)
			}
			for _, r := range requests {
				var options metav1.CreateOptions
				if err := json.Unmarshal(r.Options, &options); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.wantOptions, options); diff != "" {
					t.Errorf("options (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestCreateSendsWhatWasWritten: the api sees the lines of the person, where they are in the file.
func TestCreateSendsWhatWasWritten(t *testing.T) {
	api := fakeapi.Start(t)
	api.Run(New, two, "create", "-f", "-", "-n", "team")
	requests := api.Requests("create")
	if len(requests) != 2 {
		t.Fatalf("%d requests", len(requests))
	}
	if got, want := requests[0].Manifest, "\n\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"; got != want {
		t.Errorf("manifest %q, want %q", got, want)
	}
	if requests[0].Namespace != "team" || requests[0].Resource != "configmaps" {
		t.Errorf("sent to %s in %q", requests[0].Resource, requests[0].Namespace)
	}
}
