package images

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// build makes some images. The Debian packages are those that all tests of the machine share.
func build(t *testing.T, dir string, only ...string) Result {
	t.Helper()
	result, err := Build(t.Context(), Config{Dir: dir, Packages: filepath.Join(DefaultDir(), "packages"), Only: only})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mirror sends every request to one registry and says which one was meant, as a node does.
type mirror struct{ to *url.URL }

func (m mirror) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	query := r.URL.Query()
	query.Set("ns", strings.TrimPrefix(r.URL.Host, "index.")) // Docker's client alone calls docker.io so
	r.URL.RawQuery = query.Encode()
	r.URL.Scheme, r.URL.Host, r.Host = m.to.Scheme, m.to.Host, ""
	return http.DefaultTransport.RoundTrip(r)
}

func TestBuildAndPullBack(t *testing.T) {
	dir := t.TempDir()
	result := build(t, dir, "busybox", "pause", "nginx")
	if len(result.Kept) > 0 || !slices.Contains(result.Built, "docker.io/library/nginx:1.14.2") {
		t.Errorf("first build: built %q and kept %q", result.Built, result.Kept)
	}
	store := open(t, dir)
	server := httptest.NewServer(NewRegistry(store))
	defer server.Close()
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string]string{}
	for _, image := range result.Built {
		ref, err := name.ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pull(ref, remote.WithContext(t.Context()), remote.WithTransport(mirror{to}))
		if err != nil {
			t.Fatalf("pull %s: %v", image, err)
		}
		if d, _ := store.Image(image); d.Digest.String() != got {
			t.Errorf("pull %s: %s, want %s", image, got, d.Digest)
		}
		if other, ok := digests[got]; ok {
			t.Errorf("%s and %s are one image", image, other)
		}
		digests[got] = image
	}
	ref, err := name.ParseReference("nginx:1.14.2")
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref, remote.WithContext(t.Context()), remote.WithTransport(mirror{to}))
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{config.OS, config.Architecture, config.Created.Format(time.RFC3339), config.Config.StopSignal}
	want := []string{"linux", "amd64", "1970-01-01T00:00:00Z", "SIGQUIT"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}

	// The same inputs give the same digests elsewhere.
	elsewhere := t.TempDir()
	build(t, elsewhere, "busybox", "pause")
	for name, again := range open(t, elsewhere).images {
		if first, _ := store.Image(name); first.Digest != again.Digest {
			t.Errorf("%s is %s here and %s there", name, first.Digest, again.Digest)
		}
	}
}

func TestBuildMakesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	all := build(t, dir, "pause").Built
	image, _ := open(t, dir).Image(all[0])
	manifest := filepath.Join(dir, "blobs", "sha256", image.Digest.Hex)
	layer := largest(t, filepath.Dir(manifest))
	for _, tt := range []struct {
		name   string
		damage func() error
		want   []string // built again
	}{
		{name: "nothing", damage: func() error { return nil }},
		{name: "a manifest is gone", damage: func() error { return os.Remove(manifest) }, want: all[:1]},
		{name: "a layer is short", damage: func() error { return os.Truncate(layer, 10) }, want: all},
		{name: "a layer is gone", damage: func() error { return os.Remove(layer) }, want: all},
		{name: "the index is gone", damage: func() error { return os.Remove(filepath.Join(dir, "index.json")) }, want: all},
		{name: "a file is half written", damage: func() error {
			return os.WriteFile(filepath.Join(filepath.Dir(manifest), ".part-1"), []byte("x"), 0o600)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.damage(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, build(t, dir, "pause").Built); diff != "" {
				t.Errorf("built again (-want +got):\n%s", diff)
			}
			for _, name := range all {
				if d, ok := open(t, dir).Image(name); !ok || !open(t, dir).whole(d) {
					t.Errorf("%s is not whole", name)
				}
			}
		})
	}
}

// largest returns the path of the largest file in a folder: a layer.
func largest(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found string
	var size int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > size {
			found, size = e.Name(), info.Size()
		}
	}
	return filepath.Join(folder, found)
}

func TestBuildsWaitForEachOther(t *testing.T) {
	dir := t.TempDir()
	var results [2]Result
	var building sync.WaitGroup
	for i := range results {
		building.Go(func() { results[i] = build(t, dir, "pause") })
	}
	building.Wait()
	built := len(results[0].Built) + len(results[1].Built)
	if want := len(results[0].Built) + len(results[0].Kept); built != want {
		t.Errorf("two builds at once made %d images, want each of %d once", built, want)
	}
}

func TestBuildKeepsWhatItIsNotAskedFor(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.put("millrace.test/other:v1", "", image), store.writeIndex()); err != nil {
		t.Fatal(err)
	}
	build(t, dir, "pause")
	for _, name := range []string{"registry.k8s.io/pause:3.8", "millrace.test/other:v1"} {
		if _, ok := open(t, dir).Image(name); !ok {
			t.Errorf("there is no %s", name)
		}
	}
	if _, err := Build(t.Context(), Config{Dir: dir, Only: []string{"pause", "none"}}); err == nil {
		t.Error("build of an image that is not in the table: no error")
	}
}

func TestStorePrune(t *testing.T) {
	dir := t.TempDir()
	named := build(t, dir, "pause").Built
	stray := filepath.Join(dir, "blobs", "sha256", strings.Repeat("a", 64))
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	store := open(t, dir)
	for _, tt := range []struct {
		name string
		age  time.Duration
		want bool
	}{
		{name: "young", age: keepUnnamed / 2, want: true},
		{name: "old", age: 2 * keepUnnamed, want: false},
	} {
		if err := store.prune(time.Now().Add(tt.age)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(stray); (err == nil) != tt.want {
			t.Errorf("%s blob without a name: %v", tt.name, err)
		}
	}
	for _, name := range named {
		if d, _ := store.Image(name); !store.whole(d) {
			t.Errorf("prune took something of %s", name)
		}
	}
}

func TestStoreForgetsOtherNames(t *testing.T) {
	s := Store{images: map[string]v1.Descriptor{"a": {}, "b": {}}}
	if !s.keepOnly([]string{"a", "c"}) || s.keepOnly([]string{"a"}) {
		t.Error("keepOnly does not say what it has done")
	}
	if _, ok := s.Image("b"); ok {
		t.Error("b is still there")
	}
}
