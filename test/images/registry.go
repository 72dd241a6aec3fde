package images

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// logLimit is how many requests a registry remembers: more than any test makes.
const logLimit = 10_000

// Request is one request that a registry has been asked.
type Request struct {
	Method     string
	Path       string // such as /v2/library/nginx/manifests/latest
	Namespace  string // the registry that the caller means: query ns; empty if it asks for none as a mirror
	Repository string // full name of the repository; empty for the ping and for tokens
	Range      string // header
	User       string // who it is from; empty: nobody, or a token for nobody
	Status     int    // of the answer; 0: not answered yet
}

// Authenticated reports whether the request named a user that the registry knows.
func (r Request) Authenticated() bool { return r.User != "" }

// Registry serves the images of a store over HTTP, read only, as a mirror of every registry that they are named after: query
// ns names the registry, the path the repository in it. Without ns the path may begin with the registry; else it is of
// docker.io. Safe for concurrent use; what is set counts from the next request on.
type Registry struct {
	store *Store

	mu           sync.Mutex
	repositories map[string]map[string]v1.Descriptor // manifests by full name of the repository and by tag
	faults       map[string]Fault                    // by full name of the repository
	auth         Auth
	tokens       map[string]grant
	log          []*Request
}

// NewRegistry returns a registry of the images that store has now, which everybody may read.
func NewRegistry(store *Store) *Registry {
	r := &Registry{
		store: store, repositories: map[string]map[string]v1.Descriptor{}, faults: map[string]Fault{}, tokens: map[string]grant{},
	}
	for name, d := range store.images {
		r.tag(name, d)
	}
	return r
}

// Tag makes name stand for the image that from stands for, as a push to this registry would. Both may be short.
func (r *Registry) Tag(name, from string) error {
	repository, tag := splitTag(FullName(from))
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.repositories[repository][tag]
	if !ok {
		return fmt.Errorf("tag %s: there is no %s", name, from)
	}
	r.tag(FullName(name), d)
	return nil
}

func (r *Registry) tag(fullName string, d v1.Descriptor) {
	repository, tag := splitTag(fullName)
	if r.repositories[repository] == nil {
		r.repositories[repository] = map[string]v1.Descriptor{}
	}
	r.repositories[repository][tag] = d
}

// Requests returns the requests so far, the oldest first. Of very many only the latest are kept.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Request, len(r.log))
	for i, logged := range r.log {
		all[i] = *logged
	}
	return all
}

// ServeHTTP answers one request of the distribution API, or for a token.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	t := parseTarget(req)
	logged := r.record(req, t)
	answer := &answerWriter{ResponseWriter: w}
	defer func() { // deferred: a connection that is cut ends with a panic
		r.mu.Lock()
		defer r.mu.Unlock()
		logged.Status = answer.status
		logged.User = cmp.Or(logged.User, answer.user)
	}()
	switch {
	case req.URL.Path == tokenPath:
		r.serveToken(answer, req)
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		fail(answer, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read only")
	case t.kind == kindPing:
		r.servePing(answer, req)
	default:
		r.serveTarget(answer, req, t)
	}
}

// record adds a request to the log.
func (r *Registry) record(req *http.Request, t target) *Request {
	logged := &Request{
		Method: req.Method, Path: req.URL.Path, Namespace: req.URL.Query().Get("ns"), Repository: t.repository,
		Range: req.Header.Get("Range"), User: r.user(req),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, logged)
	if len(r.log) > logLimit {
		r.log = slices.Delete(r.log, 0, len(r.log)-logLimit)
	}
	return logged
}

// What a request is for.
const (
	kindPing      = "ping"
	kindManifests = "manifests"
	kindBlobs     = "blobs"
	kindTags      = "tags"
	kindUnknown   = "unknown"
)

// target is what a request is for.
type target struct {
	kind       string
	path       string // of the repository, as it stands in the URL
	repository string // its full name
	reference  string // tag or digest
}

func parseTarget(req *http.Request) target {
	rest, ok := strings.CutPrefix(req.URL.Path, "/v2/")
	if rest == "" && ok || req.URL.Path == "/v2" {
		return target{kind: kindPing}
	}
	parts := strings.Split(rest, "/")
	if n := len(parts); ok && n >= 3 {
		if kind := parts[n-2]; kind == kindManifests || kind == kindBlobs || kind == kindTags {
			path := strings.Join(parts[:n-2], "/")
			return target{kind: kind, path: path, repository: mirrored(req.URL.Query().Get("ns"), path), reference: parts[n-1]}
		}
	}
	return target{kind: kindUnknown}
}

// mirrored returns the full name of the repository at path of the registry ns.
func mirrored(ns, path string) string {
	if ns == "" {
		return fullRepository(path)
	}
	return fullRepository(ns + "/" + path)
}

// serveTarget answers for one repository: first its fault, then who may read it, then what is asked.
func (r *Registry) serveTarget(w *answerWriter, req *http.Request, t target) {
	fault := r.fault(t.repository)
	if fault.Status != 0 {
		fault.fail(w)
		return
	}
	if !r.mayRead(req, t) {
		r.challenge(w, req, t.path)
		return
	}
	r.mu.Lock()
	tags := maps.Clone(r.repositories[t.repository])
	r.mu.Unlock()
	switch {
	case t.kind == kindUnknown:
		http.NotFound(w, req)
	case len(tags) == 0:
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry: "+t.repository)
	case t.kind == kindManifests:
		r.serveManifest(w, req, tags, t.reference)
	case t.kind == kindBlobs:
		r.serveBlob(w, req, fault, t.reference)
	default:
		writeJSON(w, http.StatusOK, map[string]any{"name": t.path, "tags": slices.Sorted(maps.Keys(tags))})
	}
}

// serveManifest answers with the manifest of a tag, or of a digest that a tag stands for.
func (r *Registry) serveManifest(w *answerWriter, req *http.Request, tags map[string]v1.Descriptor, reference string) {
	d, ok := tags[reference]
	for _, other := range tags {
		if other.Digest.String() == reference {
			d, ok = other, true
		}
	}
	if !ok {
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown: "+reference)
		return
	}
	w.Header().Set("Content-Type", string(d.MediaType))
	r.serveContent(w, req, d.Digest)
}

// serveBlob answers with a blob or a range of it, at the pace of the fault.
func (r *Registry) serveBlob(w *answerWriter, req *http.Request, fault Fault, reference string) {
	digest, err := v1.NewHash(reference)
	if err != nil {
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	w.body = fault.body(req.Context(), w.ResponseWriter)
	w.Header().Set("Content-Type", "application/octet-stream")
	r.serveContent(w, req, digest)
}

// serveContent answers with a blob of the store. The standard library does ranges and HEAD.
func (r *Registry) serveContent(w *answerWriter, req *http.Request, digest v1.Hash) {
	f, err := os.Open(r.store.blobPath(digest))
	if err != nil {
		fail(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry: "+digest.String())
		return
	}
	defer func() { _ = f.Close() }()
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Etag", strconv.Quote(digest.String()))
	http.ServeContent(w, req, "", created, f)
}

// fail answers with an error as the distribution API words it.
func fail(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
