package images

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// How a registry wants to be asked.
const (
	NoAuth    = ""      // everybody may read everything
	BasicAuth = "basic" // name and password with each request for a private repository
	TokenAuth = "token" // a token with each request; those for private repositories are given to users only
)

const (
	tokenPath    = "/token"
	tokenService = "millrace.test"
	tokenSeconds = 300 // what callers are told; the tokens of a test do not end
)

// Auth says who may read what.
type Auth struct {
	Scheme  string            // NoAuth, BasicAuth or TokenAuth
	Users   map[string]string // passwords by name
	Private []string          // repositories that only users may read; their names may be short
}

// SetAuth says who may read what from now on. Tokens given out before are worth nothing any more.
func (r *Registry) SetAuth(a Auth) {
	private := make([]string, len(a.Private))
	for i, name := range a.Private {
		private[i] = fullRepository(name)
	}
	a.Private = private
	r.mu.Lock()
	defer r.mu.Unlock()
	r.auth = a
	clear(r.tokens)
}

// grant is what a token allows.
type grant struct {
	user  string   // empty: nobody, who may read what is public
	paths []string // of the repositories it is for
}

// user returns the name of the user whom the request proves to be from; empty: it proves none.
func (r *Registry) user(req *http.Request) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name, password, ok := req.BasicAuth(); ok && r.knows(name, password) {
		return name
	}
	return r.tokens[bearer(req)].user
}

// knows reports whether that is the password of a user. The caller holds the lock.
func (r *Registry) knows(name, password string) bool {
	want, ok := r.auth.Users[name]
	return ok && want == password
}

func bearer(req *http.Request) string {
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// mayRead reports whether the request may read its repository.
func (r *Registry) mayRead(req *http.Request, t target) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	private := slices.Contains(r.auth.Private, t.repository)
	switch r.auth.Scheme {
	case BasicAuth:
		name, password, _ := req.BasicAuth()
		return !private || r.knows(name, password)
	case TokenAuth:
		g, ok := r.tokens[bearer(req)]
		return ok && slices.Contains(g.paths, t.path) && (!private || g.user != "")
	}
	return true
}

// servePing tells callers how to authenticate, as public registries do: whoever proves nothing is asked to.
func (r *Registry) servePing(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	name, password, _ := req.BasicAuth()
	_, hasToken := r.tokens[bearer(req)]
	ok := r.auth.Scheme == NoAuth || r.auth.Scheme == BasicAuth && r.knows(name, password) || r.auth.Scheme == TokenAuth && hasToken
	r.mu.Unlock()
	if !ok {
		r.challenge(w, req, "")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{})
}

// challenge answers 401 and says how to do better.
func (r *Registry) challenge(w http.ResponseWriter, req *http.Request, path string) {
	r.mu.Lock()
	scheme := r.auth.Scheme
	r.mu.Unlock()
	value := `Basic realm="` + tokenService + `"`
	if scheme == TokenAuth {
		value = fmt.Sprintf(`Bearer realm="http://%s%s",service="%s"`, req.Host, tokenPath, tokenService)
		if path != "" {
			value += fmt.Sprintf(`,scope="repository:%s:pull"`, path)
		}
	}
	w.Header().Set("WWW-Authenticate", value)
	fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// serveToken gives out a token for the repositories of the scopes: a GET with basic authentication or without any, or the
// POST of a form with name and password. Both ways are in use.
func (r *Registry) serveToken(w *answerWriter, req *http.Request) {
	if err := req.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, "UNSUPPORTED", err.Error())
		return
	}
	name, password, named := req.BasicAuth()
	if !named && req.Form.Has("username") {
		name, password, named = req.Form.Get("username"), req.Form.Get("password"), true
	}
	token := rand.Text()
	r.mu.Lock()
	ok := !named || r.knows(name, password)
	if ok {
		r.tokens[token] = grant{user: name, paths: scopePaths(req.Form["scope"])}
	}
	r.mu.Unlock()
	if !ok {
		fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	w.user = name
	writeJSON(w, http.StatusOK, map[string]any{"token": token, "access_token": token, "expires_in": tokenSeconds})
}

// scopePaths returns the repositories that the scopes ask to pull from: "repository:library/nginx:pull", several in one
// scope or in several.
func scopePaths(scopes []string) []string {
	var paths []string
	for scope := range strings.FieldsSeq(strings.Join(scopes, " ")) {
		rest, ok := strings.CutPrefix(scope, "repository:")
		if i := strings.LastIndex(rest, ":"); ok && i > 0 && strings.Contains(rest[i:], "pull") {
			paths = append(paths, rest[:i])
		}
	}
	return paths
}
