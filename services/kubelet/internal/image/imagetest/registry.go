package imagetest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Registry serves images over HTTP as far as a pull needs it. It is a handler for httptest.
type Registry struct {
	mu        sync.Mutex
	manifests map[string][]byte // "library/busybox:1" and "library/busybox@sha256:..."
	blobs     map[string][]byte
	requests  []string

	hook Hook

	// User and Password are demanded for repositories that begin with "private/".
	User, Password string
}

// Hook may answer a request in the place of the registry; it reports whether it did.
type Hook func(w http.ResponseWriter, r *http.Request) bool

// SetHook lets h see every request from now on; nil: no hook.
func (r *Registry) SetHook(h Hook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = h
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	return &Registry{manifests: map[string][]byte{}, blobs: map[string][]byte{}, User: "bob", Password: "s3cret"}
}

// Push adds an image as "repository:tag".
func (r *Registry) Push(t testing.TB, name string, i Image) {
	t.Helper()
	repository, _, ok := strings.Cut(name, ":")
	if !ok {
		t.Fatalf("push %s: no tag", name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manifests[name] = i.Manifest
	r.manifests[repository+"@"+Digest(i.Manifest)] = i.Manifest
	for _, blob := range append([][]byte{i.Config}, i.Layers...) {
		r.blobs[Digest(blob)] = blob
	}
}

// Requests are those that were made, as "GET /v2/...", with "?ns=" where a mirror was asked.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.requests...)
}

// ServeHTTP answers one request.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	line := req.Method + " " + req.URL.Path
	if ns := req.URL.Query().Get("ns"); ns != "" {
		line += "?ns=" + ns
	}
	r.requests = append(r.requests, line)
	hook := r.hook
	r.mu.Unlock()
	if hook != nil && hook(w, req) {
		return
	}
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	if user, password, _ := req.BasicAuth(); strings.HasPrefix(path, "private/") && (user != r.User || password != r.Password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		Fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	if repository, ref, ok := strings.Cut(path, "/manifests/"); ok {
		separator := ":"
		if strings.HasPrefix(ref, "sha256:") {
			separator = "@"
		}
		r.answer(w, req, r.manifests, repository+separator+ref, typeManifest)
		return
	}
	if _, digest, ok := strings.Cut(path, "/blobs/"); ok {
		r.answer(w, req, r.blobs, digest, "application/octet-stream")
		return
	}
	Fail(w, http.StatusNotFound, "NOT_FOUND", "what is this")
}

func (r *Registry) answer(w http.ResponseWriter, req *http.Request, from map[string][]byte, key, mediaType string) {
	r.mu.Lock()
	body, ok := from[key]
	r.mu.Unlock()
	if !ok {
		Fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", Digest(body))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may have gone
	}
}

// Fail answers with an error in a registry's format.
func Fail(w http.ResponseWriter, status int, code, message string) {
	body, err := json.Marshal(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
	if err != nil {
		panic(err)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
}
