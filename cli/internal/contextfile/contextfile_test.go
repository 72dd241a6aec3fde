package contextfile

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, files ...string) *Config {
	t.Helper()
	c, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const two = `apiVersion: v1
kind: Config
clusters:
- name: local
  cluster: {server: "nats://127.0.0.1:4222"}
- name: far
  cluster: {server: "tls://far:4222", certificate-authority-data: Y2VydA==}
- name: nowhere
  cluster: {}
users:
- name: admin
  user: {credential: keys/admin.creds}
- name: guest
  user: {credential-data: "the text"}
contexts:
- name: local
  context: {cluster: local, user: admin, namespace: team}
- name: far
  context: {cluster: far, user: guest}
- name: broken
  context: {cluster: gone, user: admin}
current-context: local
`

func TestLocate(t *testing.T) {
	environment := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	for _, c := range []struct {
		name, flag  string
		environment map[string]string
		want        Files
		wantErr     bool
	}{
		{name: "flag wins", flag: "/f", environment: map[string]string{Variable: "/a", "HOME": "/h"}, want: Files{"/f"}},
		{name: "chain", environment: map[string]string{Variable: "/a::/b", "HOME": "/h"}, want: Files{"/a", "/b"}},
		{name: "home", environment: map[string]string{"HOME": "/h"}, want: Files{"/h/.millrace/config"}},
		{name: "nowhere", wantErr: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Locate(c.flag, environment(c.environment))
			if (err != nil) != c.wantErr {
				t.Fatalf("Locate: %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Locate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	config := mustLoad(t, write(t, filepath.Join(t.TempDir(), "config"), two))
	for _, c := range []struct {
		name      string
		overrides Overrides
		want      Target
		wantErr   string
	}{
		{name: "current", want: Target{Context: "local", User: "admin", Server: "nats://127.0.0.1:4222", Namespace: "team"}},
		{name: "other context", overrides: Overrides{Context: "far"}, want: Target{Context: "far", User: "guest", Server: "tls://far:4222", Namespace: "default"}},
		{
			name: "namespace named", overrides: Overrides{Namespace: "x"},
			want: Target{Context: "local", User: "admin", Server: "nats://127.0.0.1:4222", Namespace: "x", NamespaceNamed: true},
		},
		{
			name: "cluster, user and server named", overrides: Overrides{Cluster: "far", User: "guest", Server: "nats://here"},
			want: Target{Context: "local", User: "guest", Server: "nats://here", Namespace: "team"},
		},
		{name: "no such context", overrides: Overrides{Context: "nope"}, wantErr: "Error in configuration: context was not found for specified context: nope"},
		{name: "no such cluster", overrides: Overrides{Context: "broken"}, wantErr: `Error in configuration: cluster "gone" does not exist`},
		{name: "no such user", overrides: Overrides{User: "nope"}, wantErr: `Error in configuration: auth info "nope" does not exist`},
		{name: "no server", overrides: Overrides{Cluster: "nowhere"}, wantErr: `Error in configuration: cluster "nowhere" has no server defined`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Resolve(c.overrides)
			if c.wantErr != "" {
				if _, ok := errors.AsType[*ConfigurationError](err); !ok || err.Error() != c.wantErr {
					t.Fatalf("Resolve: got %v, want %s", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got.cluster, got.user = Cluster{}, User{}
			if diff := cmp.Diff(&c.want, got, cmp.AllowUnexported(Target{})); diff != "" {
				t.Errorf("Resolve (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretsOfTarget(t *testing.T) {
	dir := t.TempDir()
	config := mustLoad(t, write(t, filepath.Join(dir, "config"), two))
	local, err := config.Resolve(Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Credential(); err == nil {
		t.Error("the credential is read although its file is missing")
	}
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "keys", "admin.creds"), "from the file")
	if got, err := local.Credential(); err != nil || string(got) != "from the file" {
		t.Errorf("credential beside the config file: got %q, %v", got, err)
	}
	far, err := config.Resolve(Overrides{Context: "far"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := far.Credential(); err != nil || string(got) != "the text" {
		t.Errorf("credential in the config file: got %q, %v", got, err)
	}
	if got, err := far.Authorities(); err != nil || string(got) != "cert" {
		t.Errorf("authorities: got %q, %v", got, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, text := range []string{"{", "contexst: []", "apiVersion: v2", "kind: Pod"} {
		if _, err := Load(Files{write(t, filepath.Join(t.TempDir(), "config"), text)}); err == nil {
			t.Errorf("Load takes %q", text)
		}
	}
}

func TestEditChain(t *testing.T) {
	dir := t.TempDir()
	files := Files{
		filepath.Join(dir, "absent"),
		write(t, filepath.Join(dir, "a"), "contexts: [{name: a, context: {cluster: ca, user: ua}}]"),
		write(t, filepath.Join(dir, "b"), two),
	}
	err := Edit(files, func(c *Config) error {
		c.SetCluster("new", Cluster{Server: "nats://new"})
		c.SetContext("far", Context{Cluster: "far", User: "guest", Namespace: "moved"})
		c.SetCurrentContext("far")
		if got := c.DeleteUser("nope"); got != "" {
			t.Errorf("DeleteUser of nobody: %q", got)
		}
		if got, want := c.DeleteCluster("nowhere"), files[2]; got != want {
			t.Errorf("DeleteCluster: got %q, want %q", got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(files[0]); err == nil {
		t.Error("a file that needed no change was made")
	}
	a, b := mustLoad(t, files[1]), mustLoad(t, files[2])
	if _, ok := a.Cluster("new"); !ok {
		t.Error("a new entry is not in the first file that exists")
	}
	if got, _ := b.Context("far"); got.Namespace != "moved" {
		t.Errorf("an entry was not changed where it stands: %+v", got)
	}
	if a.CurrentContext() != "" || b.CurrentContext() != "far" {
		t.Errorf("current context: %q and %q", a.CurrentContext(), b.CurrentContext())
	}
	if info, err := os.Stat(files[2]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of a changed file: %v, %v", info, err)
	}
}

func TestEditKeepsWhatFails(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "config"), two)
	want := errors.New("no")
	if err := Edit(Files{path}, func(c *Config) error { c.SetCurrentContext("far"); return want }); !errors.Is(err, want) {
		t.Fatalf("Edit: %v", err)
	}
	if got := mustLoad(t, path).CurrentContext(); got != "local" {
		t.Errorf("a change that failed was kept: %q", got)
	}
}

func TestEditFollowsLink(t *testing.T) {
	dir := t.TempDir()
	real, link := write(t, filepath.Join(dir, "real"), two), filepath.Join(dir, "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := (Files{link}).Forget("local"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
	if _, ok := mustLoad(t, real).Context("local"); ok {
		t.Error("the file behind the link was not changed")
	}
}

func TestRememberAndForget(t *testing.T) {
	files := Files{filepath.Join(t.TempDir(), "new", "config")}
	if err := files.Remember("mine", "nats://127.0.0.1:4222", "/keys/admin.creds"); err != nil {
		t.Fatal(err)
	}
	if err := Edit(files, func(c *Config) error {
		c.SetContext("mine", Context{Cluster: "mine", User: "mine", Namespace: "kept"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := files.Remember("mine", "nats://127.0.0.1:5222", "/keys/admin.creds"); err != nil {
		t.Fatal(err)
	}
	got, err := mustLoad(t, files...).Resolve(Overrides{})
	if err != nil || got.Server != "nats://127.0.0.1:5222" || got.Namespace != "kept" || got.user.Credential != "/keys/admin.creds" {
		t.Errorf("after Remember: %+v, %v", got, err)
	}
	if err := files.Forget("mine"); err != nil {
		t.Fatal(err)
	}
	want := Document{APIVersion: "v1", Kind: "Config"}
	if diff := cmp.Diff(want, mustLoad(t, files...).Document()); diff != "" {
		t.Errorf("after Forget (-want +got):\n%s", diff)
	}
}

func TestEditsExcludeEachOther(t *testing.T) {
	files := Files{filepath.Join(t.TempDir(), "config")}
	var wg sync.WaitGroup
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, name := range names {
		wg.Go(func() {
			if err := files.Remember(name, "nats://"+name, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(mustLoad(t, files...).Document().Contexts); got != len(names) {
		t.Errorf("%d of %d contexts were kept", got, len(names))
	}
}
