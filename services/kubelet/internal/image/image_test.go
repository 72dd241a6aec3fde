package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/services/kubelet/internal/image/imagetest"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/containerd"
	"millrace.dev/services/kubelet/internal/runtime/containerd/daemon"
	"millrace.dev/services/kubelet/internal/runtime/containerd/daemon/daemontest"
)

// fixture is a store over a containerd of its own, with a registry that is everybody's mirror.
type fixture struct {
	*testing.T
	store    *Store
	registry *imagetest.Registry
	server   *httptest.Server
	daemon   *daemon.Daemon
	image    imagetest.Image
}

func newFixture(t *testing.T, change func(c *Config)) *fixture {
	t.Helper()
	f := &fixture{T: t, registry: imagetest.NewRegistry(), daemon: daemontest.Start(t)}
	f.server = httptest.NewServer(f.registry)
	t.Cleanup(f.server.Close)
	f.image = imagetest.New(t, imagetest.Config{
		Entrypoint: []string{"/entry"}, Cmd: []string{"run"}, Env: []string{"A=b"}, User: "web", WorkingDir: "/srv",
		StopSignal: "SIGQUIT", Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"80/tcp": {}},
	}, imagetest.Layer(t, "big", 1<<20), imagetest.Layer(t, "small", 1000))
	f.registry.Push(t, "library/app:1", f.image)
	cfg := Config{Mirrors: []Mirror{{Prefix: "*", Endpoints: []string{f.server.URL}, Exclusive: true}}}
	if change != nil {
		change(&cfg)
	}
	conn, err := containerd.Dial(f.daemon.Address(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.store, err = New(cfg, conn); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) pull(name string) Image {
	f.Helper()
	img, err := f.store.Pull(f.Context(), PullRequest{Name: name})
	if err != nil {
		f.Fatal(err)
	}
	return img
}

func TestPull(t *testing.T) {
	f := newFixture(t, nil)
	var done, all int64
	img, err := f.store.Pull(t.Context(), PullRequest{Name: "app:1", Progress: func(d, a int64) { done, all = d, a }})
	if err != nil {
		t.Fatal(err)
	}
	want := Image{
		Digest: imagetest.Digest(f.image.Manifest), Names: []string{"docker.io/library/app:1"},
		SizeBytes: int64(len(f.image.Config) + len(f.image.Layers[0]) + len(f.image.Layers[1])),
		Config: Settings{
			Entrypoint: []string{"/entry"}, Cmd: []string{"run"}, Env: []string{"A=b"}, User: "web", WorkingDir: "/srv",
			StopSignal: "SIGQUIT", Volumes: []string{"/data"}, ExposedPorts: []string{"80/tcp"},
		},
	}
	if diff := cmp.Diff(want, img); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	if done != want.SizeBytes || all != want.SizeBytes {
		t.Errorf("progress ended at %d of %d, want %d", done, all, want.SizeBytes)
	}
	if got := f.registry.Requests()[0]; got != "HEAD /v2/library/app/manifests/1?ns=docker.io" {
		t.Errorf("the mirror was asked %s", got)
	}
	got, err := f.store.Get(t.Context(), "docker.io/library/app:1")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("get: %v (-want +got):\n%s", err, diff)
	}

	byDigest := f.pull("app@" + want.Digest)
	if byDigest.Digest != want.Digest || byDigest.Names[0] != "docker.io/library/app@"+want.Digest {
		t.Errorf("by digest: %+v", byDigest)
	}
	list, err := f.store.List(t.Context())
	if err != nil || len(list) != 1 || len(list[0].Names) != 2 {
		t.Fatalf("list: %+v, %v", list, err)
	}
	if diff := cmp.Diff([]string{"docker.io/library/app@" + want.Digest}, list[0].RepoDigests()); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := f.store.Remove(t.Context(), want.Digest); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.store.Get(t.Context(), "app:1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
	if list, err := f.store.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
	f.pull("app:1") // everything anew
}

func TestPullErrors(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.StallTimeout = time.Second })
	f.registry.Push(t, "private/app:1", f.image)
	layer := imagetest.Digest(f.image.Layers[0])
	unauthorized := func(auth string) Credentials {
		c, err := ParseDockerConfigJSON([]byte(`{"auths":{"docker.io":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(auth)) + `"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tests := []struct {
		name string
		req  PullRequest
		hook func(w http.ResponseWriter, r *http.Request) bool
		kind error
		text []string
	}{
		{
			name: "not there", req: PullRequest{Name: "nothing:1"}, kind: ErrNotFound,
			text: []string{`failed to pull and unpack image "docker.io/library/nothing:1": failed to resolve reference "docker.io/library/nothing:1": docker.io/library/nothing:1: not found`},
		},
		{name: "no such name", req: PullRequest{Name: "Not A Name"}, kind: ErrInvalidName, text: []string{`couldn't parse image name "Not A Name": invalid reference format`}},
		{name: "no credentials", req: PullRequest{Name: "private/app:1"}, kind: ErrUnauthorized, text: []string{`"docker.io/private/app:1"`, "401 Unauthorized"}},
		{name: "wrong credentials", req: PullRequest{Name: "private/app:1", Credentials: unauthorized("bob:wrong")}, kind: ErrUnauthorized, text: []string{"401 Unauthorized"}},
		{
			name: "too many", req: PullRequest{Name: "app:1"}, kind: ErrRateLimited, text: []string{"429 Too Many Requests", "toomanyrequests: You have reached your pull rate limit."},
			hook: func(w http.ResponseWriter, _ *http.Request) bool {
				imagetest.Fail(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
				return true
			},
		},
		{
			name: "forbidden", req: PullRequest{Name: "app:1"}, kind: ErrUnauthorized, text: []string{"403 Forbidden"},
			hook: func(w http.ResponseWriter, _ *http.Request) bool {
				imagetest.Fail(w, http.StatusForbidden, "DENIED", "not you")
				return true
			},
		},
		{
			name: "broken registry", req: PullRequest{Name: "app:1"}, kind: ErrRegistryUnavailable, text: []string{"500 Internal Server Error"},
			hook: func(w http.ResponseWriter, _ *http.Request) bool {
				imagetest.Fail(w, http.StatusInternalServerError, "UNKNOWN", "oops")
				return true
			},
		},
		{
			name: "cut off", req: PullRequest{Name: "app:1"}, kind: ErrRegistryUnavailable,
			hook: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, layer) {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(f.image.Layers[0])))
				_, _ = w.Write(f.image.Layers[0][:1000])
				panic(http.ErrAbortHandler)
			},
		},
		{
			name: "stalled", req: PullRequest{Name: "app:1"}, kind: ErrTimeout, text: []string{"no progress for 1s"},
			hook: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, layer) {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(f.image.Layers[0])))
				_, _ = w.Write(f.image.Layers[0][:1000])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.registry.SetHook(tt.hook)
			_, err := f.store.Pull(t.Context(), tt.req)
			failed, ok := errors.AsType[*PullError](err)
			if !ok || !errors.Is(err, tt.kind) {
				t.Fatalf("error is %v (%T), want kind %v", err, err, tt.kind)
			}
			for _, text := range tt.text {
				if !strings.Contains(failed.Error(), text) {
					t.Errorf("error is %q, want %q in it", failed, text)
				}
			}
		})
	}
	f.registry.SetHook(nil)
	if _, err := f.store.Pull(t.Context(), PullRequest{Name: "private/app:1", Credentials: Merge(unauthorized("bob:wrong"), unauthorized("bob:s3cret"))}); err != nil {
		t.Errorf("the second of two credentials: %v", err)
	}
	f.pull("app:1") // nothing hinders it any more
}

func TestPullWithoutARegistry(t *testing.T) {
	f := newFixture(t, nil)
	f.server.Close()
	_, err := f.store.Pull(t.Context(), PullRequest{Name: "app:1"})
	if !errors.Is(err, ErrRegistryUnavailable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error is %v", err)
	}
}

func TestFallBackToTheRegistry(t *testing.T) {
	upstream := imagetest.NewRegistry()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	f := newFixture(t, func(c *Config) { c.Mirrors[0].Exclusive = false })
	other := imagetest.New(t, imagetest.Config{Cmd: []string{"other"}}, imagetest.Layer(t, "other", 10))
	upstream.Push(t, "team/app:1", f.image)
	upstream.Push(t, "team/other:1", other)
	f.registry.Push(t, "team/app:1", f.image)
	f.pull(host + "/team/app:1")
	if got := upstream.Requests(); len(got) != 0 {
		t.Errorf("the registry was asked for what its mirror has: %v", got)
	}
	if img := f.pull(host + "/team/other:1"); img.Digest != imagetest.Digest(other.Manifest) {
		t.Errorf("got %+v", img)
	}
	f.server.Close() // a mirror that is dead
	f.pull(host + "/team/app:1")
}

func TestPullsAreShared(t *testing.T) {
	f := newFixture(t, nil)
	hold := make(chan struct{})
	var heads atomic.Int32
	f.registry.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			heads.Add(1)
			<-hold
		}
		return false
	})
	// The first one gives up; the others must not suffer for it.
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := f.store.Pull(ctx, PullRequest{Name: "app:1"})
		gaveUp <- err
	}()
	for heads.Load() == 0 {
		runtimeYield()
	}
	var wg sync.WaitGroup
	var reports atomic.Int32
	for range 5 {
		wg.Go(func() {
			req := PullRequest{Name: "docker.io/library/app:1", Progress: func(int64, int64) { reports.Add(1) }}
			if _, err := f.store.Pull(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("the first one: %v", err)
	}
	close(hold)
	wg.Wait()
	if n := heads.Load(); n > 3 || reports.Load() < 5 {
		t.Errorf("%d requests, %d reports", n, reports.Load())
	}
}

// runtimeYield waits a moment for another goroutine.
func runtimeYield() {
	timer := time.NewTimer(time.Millisecond)
	<-timer.C
}

func TestOnlySoManyAtOnce(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxPulls = 2 })
	var now, most atomic.Int32
	f.registry.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			most.Store(max(most.Load(), now.Add(1)))
			timer := time.NewTimer(50 * time.Millisecond)
			<-timer.C
			now.Add(-1)
		}
		return false
	})
	var wg sync.WaitGroup
	for i := range 6 {
		name := fmt.Sprintf("library/app%d:1", i)
		f.registry.Push(t, name, f.image)
		wg.Go(func() { f.pull(name) })
	}
	wg.Wait()
	if most.Load() > 2 {
		t.Errorf("%d pulls at once", most.Load())
	}
}

func TestPullAcrossTheDaemonsDeath(t *testing.T) {
	f := newFixture(t, nil)
	var once sync.Once
	layer := imagetest.Digest(f.image.Layers[0])
	f.registry.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, layer) {
			once.Do(func() {
				if err := f.daemon.Kill(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		return false
	})
	_, err := f.store.Pull(t.Context(), PullRequest{Name: "app:1"})
	if !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("error is %v", err)
	}
	if _, err := f.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := f.store.Pull(t.Context(), PullRequest{Name: "app:1"})
		if err == nil {
			break
		}
		if !errors.Is(err, runtime.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
		runtimeYield()
	}
}

func TestNormalize(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for name, want := range map[string]string{
		"nginx": "docker.io/library/nginx:latest", "nginx:1": "docker.io/library/nginx:1", "a/b": "docker.io/a/b:latest",
		"localhost:5000/x": "localhost:5000/x:latest", "nginx:1@" + digest: "docker.io/library/nginx@" + digest,
	} {
		if got, err := Normalize(name); err != nil || got != want {
			t.Errorf("Normalize(%s) = %s, %v, want %s", name, got, err, want)
		}
	}
}

func TestMirrorOf(t *testing.T) {
	n, err := newNetwork(Config{Mirrors: []Mirror{
		{Prefix: "*", Endpoints: []string{"http://all"}},
		{Prefix: "docker.io", Endpoints: []string{"http://hub"}},
		{Prefix: "docker.io/library/", Endpoints: []string{"http://library"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"docker.io/library/nginx:1": "http://library", "docker.io/team/x:1": "http://hub", "docker.iou/x:1": "http://all", "quay.io/x:1": "http://all",
	} {
		if m := n.mirrorOf(name); m == nil || m.Endpoints[0] != want {
			t.Errorf("mirrorOf(%s) = %+v, want %s", name, m, want)
		}
	}
	for _, bad := range []Mirror{{}, {Prefix: "*"}, {Prefix: "*", Endpoints: []string{"registry:5000"}}, {Prefix: "*", Endpoints: []string{"ftp://x"}}} {
		if _, err := newNetwork(Config{Mirrors: []Mirror{bad}}); err == nil {
			t.Errorf("mirror %+v was accepted", bad)
		}
	}
}

func TestCredentials(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("hub:p:w"))
	c, err := ParseDockerConfigJSON([]byte(`{"auths":{
		"https://index.docker.io/v1/":{"auth":"` + basic + `"},
		"registry.example:5000":{"username":"all","password":"x"},
		"registry.example:5000/team":{"username":"team","password":"x"},
		"*.wild.example":{"username":"wild","password":"x","identitytoken":"t"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	old, err := ParseDockerCfg([]byte(`{"old.example":{"username":"old","password":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	c = Merge(c, old, Credentials{})
	for name, want := range map[string][]string{
		"docker.io/library/nginx:1": {"hub"}, "registry.example:5000/team/app:1": {"team", "all"}, "registry.example:5000/other:1": {"all"},
		"registry.example/other:1": nil, "a.wild.example/x:1": {"wild"}, "a.b.wild.example/x:1": nil, "wild.example/x:1": nil, "old.example/x:1": {"old"},
	} {
		var got []string
		for _, a := range c.For(name) {
			got = append(got, a.Username)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if a := c.For("docker.io/x:1")[0]; a.Password != "p:w" || strings.Contains(fmt.Sprint(a), "p:w") || strings.Contains(a.LogValue().String(), "p:w") {
		t.Errorf("password %q, shown as %v", a.Password, a)
	}
	for _, bad := range []string{"", "what", `{"auths":{"x":{"auth":"!"}}}`, `{"auths":{"x":{"auth":"aGk="}}}`} {
		if _, err := ParseDockerConfigJSON([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
