package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/root"
	"millrace.dev/pkg/auth"
)

// home is a directory with a file of contexts.
type home struct {
	t    *testing.T
	file string
}

func newHome(t *testing.T) *home { return &home{t: t, file: filepath.Join(t.TempDir(), "config")} }

// run runs "millrace config" with args; what it prints has CONFIG for the name of the file.
func (h *home) run(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	var out, err bytes.Buffer
	f := factory.New(factory.Streams{Out: &out, Err: &err}, func(name string) string {
		return map[string]string{contextfile.Variable: h.file}[name]
	})
	code = root.Main(h.t.Context(), f, []root.Section{{Title: "Commands", Verbs: []*cobra.Command{New(f)}}}, append([]string{"config"}, args...))
	short := func(b *bytes.Buffer) string { return strings.ReplaceAll(b.String(), h.file, "CONFIG") }
	return short(&out), short(&err), code
}

func (h *home) mustRun(args ...string) string {
	h.t.Helper()
	stdout, stderr, code := h.run(args...)
	if code != 0 {
		h.t.Fatalf("config %v: code %d, %s", args, code, stderr)
	}
	return stdout
}

// TestWords walks through the life of a file; every sentence is kubectl's.
func TestWords(t *testing.T) {
	h := newHome(t)
	for _, step := range []struct {
		args, want, wantErr string
	}{
		{args: "current-context", wantErr: "error: current-context is not set\n"},
		{args: "get-contexts", want: "CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE\n"},
		{args: "set-cluster a --server=nats://1.2.3.4:4222", want: "Cluster \"a\" set.\n"},
		{args: "set-credentials u --credential=/keys/u.creds", want: "User \"u\" set.\n"},
		{args: "set-context c --cluster=a --user=u --namespace=ns1", want: "Context \"c\" created.\n"},
		{args: "use-context c", want: "Switched to context \"c\".\n"},
		{args: "current-context", want: "c\n"},
		{args: "set-context --current --namespace=zzz", want: "Context \"c\" modified.\n"},
		{args: "set-context d --cluster=a", want: "Context \"d\" created.\n"},
		{args: "get-contexts", want: "CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE\n*         c      a         u          zzz\n          d      a                    \n"},
		{args: "get-contexts -o name", want: "c\nd\n"},
		{args: "get-contexts d nope --no-headers", want: "      d     a           \n", wantErr: "error: context nope not found\n"},
		{args: "get-clusters", want: "NAME\na\n"},
		{args: "get-users", want: "NAME\nu\n"},
		{args: "rename-context d e", want: "Context \"d\" renamed to \"e\".\n"},
		{args: "rename-context dd e", wantErr: "error: cannot rename the context \"dd\", it's not in CONFIG\n"},
		{args: "rename-context c e", wantErr: "error: cannot rename the context \"c\", the context \"e\" already exists in CONFIG\n"},
		{args: "rename-context c f", want: "Context \"c\" renamed to \"f\".\n"},
		{args: "current-context", want: "f\n"},
		{args: "use-context x", wantErr: "error: no context exists with the name: \"x\"\n"},
		{args: "set-context", wantErr: "error: you must specify a non-empty context name or --current\n"},
		{args: "set-context x --current", wantErr: "error: you cannot specify both a context name and --current\n"},
		{args: "unset contexts.f.namespace", want: "Property \"contexts.f.namespace\" unset.\n"},
		{args: "get-contexts f --no-headers", want: "*     f     a     u     \n"},
		{args: "unset contexts.nope", want: "Property \"contexts.nope\" unset.\n"},
		{args: "unset clusters.a.colour", wantErr: "error: there is no property \"clusters.a.colour\": entries of clusters have no field \"colour\"\n"},
		{args: "unset foo", wantErr: "error: there is no property \"foo\": it must be current-context, or the name of an entry behind contexts., clusters. or users., which a field may follow\n"},
		{args: "delete-context nope", wantErr: "error: cannot delete context nope, not in CONFIG\n"},
		{args: "delete-context e", want: "deleted context e from CONFIG\n"},
		{args: "delete-context f", want: "deleted context f from CONFIG\n", wantErr: "warning: this removed your active context, use \"millrace config use-context\" to select a different one\n"},
		{args: "delete-cluster a", want: "deleted cluster a from CONFIG\n"},
		{args: "delete-cluster a", wantErr: "error: cannot delete cluster a, not in CONFIG\n"},
		{args: "delete-user u", want: "deleted user u from CONFIG\n"},
		{args: "delete-user u", wantErr: "error: cannot delete user u, not in CONFIG\n"},
		{args: "unset current-context", want: "Property \"current-context\" unset.\n"},
		{args: "view --minify", wantErr: "error: current-context must exist in order to minify\n"},
		{args: "set-cluster x --embed-certs", wantErr: "error: you must specify a --certificate-authority to embed\n"},
		{args: "set-credentials x --embed-credential", wantErr: "error: you must specify a --credential to embed\n"},
		{args: "set-credentials x --embed-credential --credential=/no/such", wantErr: "error: could not read credential file /no/such: open /no/such: no such file or directory\n"},
		{args: "bogus", wantErr: "error: unknown command \"bogus\"\nSee 'millrace config -h' for help and examples\n"},
	} {
		stdout, stderr, code := h.run(strings.Fields(step.args)...)
		if stdout != step.want || stderr != step.wantErr {
			t.Errorf("config %s:\n%q\n%q\nwant\n%q\n%q", step.args, stdout, stderr, step.want, step.wantErr)
		}
		if failed := strings.HasPrefix(step.wantErr, "error"); failed != (code == 1) {
			t.Errorf("config %s: exit code %d", step.args, code)
		}
	}
}

func TestWrongCallShowsHelp(t *testing.T) {
	h := newHome(t)
	for _, args := range []string{"use-context", "rename-context a", "delete-user a b", "unset", "set-cluster"} {
		stdout, stderr, code := h.run(strings.Fields(args)...)
		if !strings.Contains(stdout, "Usage:\n  millrace config "+strings.Fields(args)[0]) || !strings.HasPrefix(stderr, "error: Unexpected args: [") || code != 1 {
			t.Errorf("config %s: code %d\n%s\n%s", args, code, stdout, stderr)
		}
	}
	if stdout, stderr, code := h.run(); !strings.Contains(stdout, "Available Commands:") || stderr != "" || code != 1 {
		t.Errorf("config: code %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestView(t *testing.T) {
	h := newHome(t)
	dir := filepath.Dir(h.file)
	for name, text := range map[string]string{"ca.crt": "cert", "u.creds": "the credential"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.mustRun("set-cluster", "a", "--server=nats://a", "--certificate-authority="+filepath.Join(dir, "ca.crt"), "--embed-certs")
	h.mustRun("set-cluster", "b", "--server=nats://b", "--certificate-authority="+filepath.Join(dir, "ca.crt"))
	h.mustRun("set-credentials", "u", "--credential="+filepath.Join(dir, "u.creds"))
	h.mustRun("set-context", "a", "--cluster=a", "--user=u")
	h.mustRun("set-context", "b", "--cluster=b", "--user=u")
	h.mustRun("use-context", "b")
	if err := contextfile.Edit(contextfile.Files{h.file}, func(c *contextfile.Config) error {
		c.SetUser("inline", contextfile.User{CredentialData: "a secret"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	all := h.mustRun("view")
	for _, want := range []string{"certificate-authority-data: DATA+OMITTED\n", "credential-data: REDACTED\n", "credential: " + filepath.Join(dir, "u.creds") + "\n", "current-context: b\n", "kind: Config\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("view without %q:\n%s", want, all)
		}
	}
	if raw := h.mustRun("view", "--raw"); !strings.Contains(raw, "certificate-authority-data: Y2VydA==\n") || !strings.Contains(raw, "credential-data: a secret\n") {
		t.Errorf("view --raw:\n%s", raw)
	}
	want := `apiVersion: v1
clusters:
- cluster:
    certificate-authority: ` + filepath.Join(dir, "ca.crt") + `
    server: nats://b
  name: b
contexts:
- context:
    cluster: b
    user: u
  name: b
current-context: b
kind: Config
users:
- name: u
  user:
    credential: ` + filepath.Join(dir, "u.creds") + "\n"
	if diff := cmp.Diff(want, h.mustRun("view", "--minify")); diff != "" {
		t.Errorf("view --minify (-want +got):\n%s", diff)
	}
	if flat := h.mustRun("view", "--minify", "--flatten", "--context=a"); !strings.Contains(flat, "server: nats://a\n") || !strings.Contains(flat, "credential-data: the credential\n") || strings.Contains(flat, "nats://b") {
		t.Errorf("view --minify --flatten --context=a:\n%s", flat)
	}
	if json := h.mustRun("view", "-o", "json"); !strings.HasPrefix(json, "{\n    \"apiVersion\": \"v1\",\n") {
		t.Errorf("view -o json:\n%s", json)
	}
	if _, stderr, _ := h.run("view", "--minify", "--context=nope"); stderr != "error: cannot locate context nope\n" {
		t.Errorf("view of a context that is not there: %s", stderr)
	}
}

func TestSetCredentialsChecksWhatItEmbeds(t *testing.T) {
	a, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	credential, err := a.Mint(auth.RoleUser, "bob", 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := credential.Format()
	if err != nil {
		t.Fatal(err)
	}
	h := newHome(t)
	file := filepath.Join(filepath.Dir(h.file), "bob.creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	h.mustRun("set-credentials", "bob", "--embed-credential", "--credential="+file)
	c, err := contextfile.Load(contextfile.Files{h.file})
	if err != nil {
		t.Fatal(err)
	}
	if u, _ := c.User("bob"); u.CredentialData != string(text) || u.Credential != "" {
		t.Errorf("embedded: %+v", u)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := h.run("set-credentials", "eve", "--embed-credential", "--credential="+file); code != 1 || !strings.Contains(stderr, "read credential") {
		t.Errorf("nonsense is embedded: %s", stderr)
	}
}

func TestNamesWithDots(t *testing.T) {
	h := newHome(t)
	h.mustRun("set-context", "a.b.c", "--namespace=x", "--cluster=y")
	h.mustRun("unset", "contexts.a.b.c.namespace")
	if got := h.mustRun("get-contexts", "--no-headers"); got != "      a.b.c   y           \n" {
		t.Errorf("after the namespace is unset: %q", got)
	}
	h.mustRun("unset", "contexts.a.b.c")
	if got := h.mustRun("get-contexts", "--no-headers"); got != "" {
		t.Errorf("after the context is unset: %q", got)
	}
}
