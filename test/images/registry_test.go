package images

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// served is a registry of small random images on loopback.
type served struct {
	*Registry
	t      *testing.T
	url    string
	images map[string]v1.Image
}

func serve(t *testing.T, names ...string) *served {
	t.Helper()
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, images: map[string]v1.Image{}}
	for _, n := range names {
		image, err := random.Image(10_000, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.put(n, "", image); err != nil {
			t.Fatal(err)
		}
		s.images[n] = image
	}
	s.Registry = NewRegistry(store)
	server := httptest.NewServer(s.Registry)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// got is an answer of a registry.
type got struct {
	status int
	header http.Header
	length int64
	body   string // if it ended too early, it says so
}

// do asks for a path of the registry, with headers given as name and value in turn.
func (s *served) do(method, path string, headers ...string) got {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		body = append(body, " then "+err.Error()...)
	}
	return got{status: resp.StatusCode, header: resp.Header, length: resp.ContentLength, body: string(body)}
}

func (s *served) status(path string, headers ...string) int {
	s.t.Helper()
	return s.do(http.MethodGet, path, headers...).status
}

func (s *served) digest(name string) string {
	s.t.Helper()
	d, err := s.images[name].Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return d.String()
}

// blob returns the path and the bytes of the one layer of busybox.
func (s *served) blob() (path, body string) {
	s.t.Helper()
	layers, err := s.images[hubBusybox].Layers()
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	all, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("/v2/library/busybox/blobs/%s?ns=docker.io", digest), string(all)
}

// pull pulls an image straight from the registry, layers and all, and returns its digest.
func (s *served) pull(image string, auth authn.Authenticator) (string, error) {
	s.t.Helper()
	ref, err := name.ParseReference(strings.TrimPrefix(s.url, "http://") + "/" + FullName(image))
	if err != nil {
		s.t.Fatal(err)
	}
	return pull(ref, remote.WithContext(s.t.Context()), remote.WithAuth(auth), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
}

// pull pulls an image, layers and all, and returns its digest.
func pull(ref name.Reference, options ...remote.Option) (string, error) {
	pulled, err := remote.Image(ref, options...)
	if err != nil {
		return "", err
	}
	layers, err := pulled.Layers()
	if err != nil {
		return "", err
	}
	for _, l := range layers {
		body, err := l.Compressed()
		if err != nil {
			return "", err
		}
		_, err = io.Copy(io.Discard, body) // which checks the digest
		if err := body.Close(); err != nil {
			return "", err
		}
		if err != nil {
			return "", err
		}
	}
	digest, err := pulled.Digest()
	return digest.String(), err
}

const (
	hubBusybox = "docker.io/library/busybox:latest"
	k8sBusybox = "registry.k8s.io/busybox:latest"
	oldBusybox = "docker.io/library/busybox:1.28"
	hubNested  = "docker.io/hashicorp/http-echo:1.0"
)

func TestMirrorQueryTellsRegistriesApart(t *testing.T) {
	s := serve(t, hubBusybox, k8sBusybox, oldBusybox, hubNested)
	for _, tt := range []struct{ name, path, want string }{
		{name: "docker.io as a mirror", path: "/v2/library/busybox/manifests/latest?ns=docker.io", want: hubBusybox},
		{name: "another tag", path: "/v2/library/busybox/manifests/1.28?ns=docker.io", want: oldBusybox},
		{name: "another registry", path: "/v2/busybox/manifests/latest?ns=registry.k8s.io", want: k8sBusybox},
		{name: "short path", path: "/v2/busybox/manifests/latest?ns=docker.io", want: hubBusybox},
		{name: "a folder", path: "/v2/hashicorp/http-echo/manifests/1.0?ns=docker.io", want: hubNested},
		{name: "no mirror", path: "/v2/library/busybox/manifests/latest", want: hubBusybox},
		{name: "no mirror, registry in the path", path: "/v2/registry.k8s.io/busybox/manifests/latest", want: k8sBusybox},
		{name: "by digest", path: "/v2/library/busybox/manifests/" + s.digest(oldBusybox) + "?ns=docker.io", want: oldBusybox},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := s.do(method, tt.path)
				if got := a.header.Get("Docker-Content-Digest"); a.status != http.StatusOK || got != s.digest(tt.want) {
					t.Errorf("%s %s: %d and %q, want that of %s: %s", method, tt.path, a.status, got, tt.want, a.body)
				}
				if method == http.MethodHead && (a.body != "" || a.length <= 0) {
					t.Errorf("HEAD %s: body %q, length %d; want none, and the length of the manifest", tt.path, a.body, a.length)
				}
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	s := serve(t, hubBusybox, k8sBusybox)
	nothing := "sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct {
		name, method, path string
		want               int
		wantCode           string
	}{
		{name: "repository", path: "/v2/library/nginx/manifests/latest?ns=docker.io", want: 404, wantCode: "NAME_UNKNOWN"},
		{name: "registry", path: "/v2/library/busybox/manifests/latest?ns=quay.io", want: 404, wantCode: "NAME_UNKNOWN"},
		{name: "tag", path: "/v2/library/busybox/manifests/2?ns=docker.io", want: 404, wantCode: "MANIFEST_UNKNOWN"},
		{
			name: "manifest of another repository", path: "/v2/library/busybox/manifests/" + s.digest(k8sBusybox), want: 404,
			wantCode: "MANIFEST_UNKNOWN",
		},
		{name: "blob", path: "/v2/library/busybox/blobs/" + nothing, want: 404, wantCode: "BLOB_UNKNOWN"},
		{name: "no digest", path: "/v2/library/busybox/blobs/..%2F..%2Findex.json", want: 404},
		{name: "bad digest", path: "/v2/library/busybox/blobs/sha256:..", want: 400, wantCode: "DIGEST_INVALID"},
		{name: "push", method: http.MethodPost, path: "/v2/library/busybox/blobs/uploads", want: 405, wantCode: "UNSUPPORTED"},
		{name: "elsewhere", path: "/", want: 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = http.MethodGet
			}
			a := s.do(method, tt.path)
			if a.status != tt.want || !strings.Contains(a.body, tt.wantCode) {
				t.Errorf("%s %s: %d %s, want %d with %q", method, tt.path, a.status, a.body, tt.want, tt.wantCode)
			}
		})
	}
}

func TestBlobRange(t *testing.T) {
	s := serve(t, hubBusybox)
	path, whole := s.blob()
	for _, tt := range []struct {
		name, header, want string
		status             int
	}{
		{name: "whole", want: whole, status: 200},
		{name: "middle", header: "bytes=100-199", want: whole[100:200], status: 206},
		{name: "rest", header: "bytes=1000-", want: whole[1000:], status: 206},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(http.MethodGet, path, "Range", tt.header)
			if a.status != tt.status || a.body != tt.want {
				t.Errorf("range %q: %d and %d bytes, want %d and %d bytes", tt.header, a.status, len(a.body), tt.status, len(tt.want))
			}
		})
	}
	if got := s.status(path, "Range", fmt.Sprintf("bytes=%d-", len(whole))); got != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("range behind the end: %d", got)
	}
}

func TestPullWithAuth(t *testing.T) {
	s := serve(t, hubBusybox, k8sBusybox)
	users := Auth{Users: map[string]string{"ada": "secret"}, Private: []string{"busybox"}}
	ada, mallory := &authn.Basic{Username: "ada", Password: "secret"}, &authn.Basic{Username: "ada", Password: "wrong"}
	for _, tt := range []struct {
		name, scheme, image string
		auth                authn.Authenticator
		wantErr             bool
	}{
		{name: "no auth", scheme: NoAuth, image: "busybox", auth: authn.Anonymous},
		{name: "basic, private, user", scheme: BasicAuth, image: "busybox", auth: ada},
		{name: "basic, private, nobody", scheme: BasicAuth, image: "busybox", auth: authn.Anonymous, wantErr: true},
		{name: "basic, private, wrong password", scheme: BasicAuth, image: "busybox", auth: mallory, wantErr: true},
		{name: "basic, public, nobody", scheme: BasicAuth, image: k8sBusybox, auth: authn.Anonymous},
		{name: "token, private, user", scheme: TokenAuth, image: "busybox", auth: ada},
		{name: "token, private, nobody", scheme: TokenAuth, image: "busybox", auth: authn.Anonymous, wantErr: true},
		{name: "token, private, wrong password", scheme: TokenAuth, image: "busybox", auth: mallory, wantErr: true},
		{name: "token, public, nobody", scheme: TokenAuth, image: k8sBusybox, auth: authn.Anonymous},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users.Scheme = tt.scheme
			s.SetAuth(users)
			got, err := s.pull(tt.image, tt.auth)
			if tt.wantErr {
				if err == nil || !strings.Contains(strings.ToUpper(err.Error()), "UNAUTHORIZED") {
					t.Errorf("pull %s: %v, want unauthorized", tt.image, err)
				}
				return
			}
			if err != nil || got != s.digest(FullName(tt.image)) {
				t.Errorf("pull %s: %s, %v, want %s", tt.image, got, err, s.digest(FullName(tt.image)))
			}
		})
	}
}

// A client that sends its name and password in a form gets a token that is good for what it asked for and nothing else.
func TestTokenByForm(t *testing.T) {
	s := serve(t, hubBusybox, hubNested)
	s.SetAuth(Auth{Scheme: TokenAuth, Users: map[string]string{"ada": "secret"}, Private: []string{"busybox", "hashicorp/http-echo"}})
	a := s.do(http.MethodGet, "/v2/library/busybox/manifests/latest")
	want := fmt.Sprintf(`Bearer realm="%s/token",service="millrace.test",scope="repository:library/busybox:pull"`, s.url)
	if got := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized || got != want {
		t.Errorf("without a token: %d, %q, want %q", a.status, got, want)
	}
	form := url.Values{"username": {"ada"}, "password": {"secret"}, "scope": {"repository:library/busybox:pull"}}
	body := s.do(http.MethodPost, "/token?"+form.Encode()).body
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		t.Fatalf("token %q: %v", body, err)
	}
	for path, want := range map[string]int{
		"/v2/library/busybox/manifests/latest":  http.StatusOK,
		"/v2/hashicorp/http-echo/manifests/1.0": http.StatusUnauthorized,
	} {
		if got := s.status(path, "Authorization", "Bearer "+token.AccessToken); got != want {
			t.Errorf("%s with a token for busybox: %d, want %d", path, got, want)
		}
	}
	log := s.Requests()
	if last := log[len(log)-3]; last.User != "ada" || last.Path != "/token" || last.Status != http.StatusOK {
		t.Errorf("the request for the token is logged as %+v", last)
	}
	s.SetAuth(Auth{Scheme: TokenAuth})
	if got := s.status("/v2/library/busybox/manifests/latest", "Authorization", "Bearer "+token.AccessToken); got != http.StatusUnauthorized {
		t.Errorf("with a token of before: %d, want %d", got, http.StatusUnauthorized)
	}
}

func TestScopePaths(t *testing.T) {
	got := scopePaths([]string{
		"repository:library/nginx:pull repository:a/b:pull,push", "repository:c:push", "registry:catalog:*", "repository:d:pull",
	})
	if diff := cmp.Diff([]string{"library/nginx", "a/b", "d"}, got); diff != "" {
		t.Errorf("scopePaths (-want +got):\n%s", diff)
	}
}

func TestFaultStatus(t *testing.T) {
	s := serve(t, hubBusybox, k8sBusybox)
	const path = "/v2/library/busybox/manifests/latest?ns=docker.io"
	for _, status := range []int{401, 404, 429, 500} {
		s.SetFault("busybox", Fault{Status: status, RetryAfter: 3 * time.Second})
		a := s.do(http.MethodGet, path)
		if a.status != status || a.header.Get("Retry-After") != "3" || !strings.Contains(a.body, `"errors"`) {
			t.Errorf("fault %d: %d, Retry-After %q, %s", status, a.status, a.header.Get("Retry-After"), a.body)
		}
		if got := s.status("/v2/busybox/manifests/latest?ns=registry.k8s.io"); got != http.StatusOK {
			t.Errorf("fault %d of docker.io: registry.k8s.io answers %d", status, got)
		}
	}
	s.SetFault("busybox", Fault{})
	if got := s.status(path); got != http.StatusOK {
		t.Errorf("without the fault: %d", got)
	}
	s.SetFault("busybox", Fault{Status: 500, Times: 2})
	var got []int
	for range 3 {
		got = append(got, s.status(path))
	}
	if diff := cmp.Diff([]int{500, 500, 200}, got); diff != "" {
		t.Errorf("fault of two requests (-want +got):\n%s", diff)
	}
}

func TestFaultCut(t *testing.T) {
	s := serve(t, hubBusybox)
	path, whole := s.blob()
	s.SetFault("busybox", Fault{CutAfter: 1000})
	if body := s.do(http.MethodGet, path).body; body != whole[:1000]+" then unexpected EOF" {
		t.Errorf("cut after 1000 bytes: got %d bytes", len(body))
	}
	// Who asks for the rest gets on.
	a := s.do(http.MethodGet, path, "Range", "bytes=1000-")
	if a.status != http.StatusPartialContent || a.body != whole[1000:2000]+" then unexpected EOF" {
		t.Errorf("the next piece: %d and %d bytes", a.status, len(a.body))
	}
	if got := s.status("/v2/library/busybox/manifests/latest"); got != http.StatusOK {
		t.Errorf("manifest: %d; a cut is for blobs", got)
	}
	for _, r := range s.Requests() {
		if r.Status == 0 {
			t.Errorf("no status of %s %s", r.Method, r.Path)
		}
	}
}

func TestFaultSlow(t *testing.T) {
	s := serve(t, hubBusybox)
	path, whole := s.blob()
	s.SetFault("busybox", Fault{SlowBytes: 5 * len(whole)})
	start := time.Now()
	body := s.do(http.MethodGet, path).body
	if took := time.Since(start); body != whole || took < 150*time.Millisecond {
		t.Errorf("a fifth of a second's bytes: got %d of %d in %v", len(body), len(whole), took)
	}
	s.SetFault("busybox", Fault{SlowBytes: slowSteps, CutAfter: 2})
	if body := s.do(http.MethodGet, path).body; body != whole[:2]+" then unexpected EOF" {
		t.Errorf("slow and cut: got %d bytes", len(body))
	}
}

func TestRequests(t *testing.T) {
	s := serve(t, hubBusybox)
	s.SetAuth(Auth{Scheme: BasicAuth, Users: map[string]string{"ada": "secret"}})
	path, _ := s.blob()
	s.do(http.MethodHead, "/v2/library/busybox/manifests/latest?ns=docker.io")
	s.do(http.MethodGet, path, "Range", "bytes=0-9", "Authorization", "Basic YWRhOnNlY3JldA==")
	s.do(http.MethodGet, "/v2/")
	path, _, _ = strings.Cut(path, "?")
	want := []Request{
		{
			Method: "HEAD", Path: "/v2/library/busybox/manifests/latest", Namespace: "docker.io", Repository: "docker.io/library/busybox",
			Status: 200,
		},
		{
			Method: "GET", Path: path, Namespace: "docker.io", Repository: "docker.io/library/busybox", Range: "bytes=0-9", User: "ada",
			Status: 206,
		},
		{Method: "GET", Path: "/v2/", Status: 401},
	}
	got := s.Requests()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Requests() (-want +got):\n%s", diff)
	}
	if got[0].Authenticated() || !got[1].Authenticated() {
		t.Errorf("Authenticated: %v and %v, want false and true", got[0].Authenticated(), got[1].Authenticated())
	}
}

func TestTag(t *testing.T) {
	s := serve(t, hubBusybox, oldBusybox)
	if err := s.Tag("busybox:moving", "busybox:1.28"); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag("millrace.test/new", "busybox"); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag("busybox:moving", "busybox:none"); err == nil {
		t.Error("Tag of an image that is not there: no error")
	}
	for image, want := range map[string]string{"busybox:moving": oldBusybox, "millrace.test/new": hubBusybox} {
		if got, err := s.pull(image, authn.Anonymous); err != nil || got != s.digest(want) {
			t.Errorf("pull %s: %s, %v, want %s", image, got, err, want)
		}
	}
	body := s.do(http.MethodGet, "/v2/library/busybox/tags/list?ns=docker.io").body
	if want := `{"name":"library/busybox","tags":["1.28","latest","moving"]}`; body != want {
		t.Errorf("tags: %s, want %s", body, want)
	}
}
