package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// network is how registries are reached: connections are shared by all pulls.
type network struct {
	transport *http.Transport
	stall     time.Duration
	mirrors   []mirror
}

// mirror is a [Mirror] that was checked.
type mirror struct {
	Mirror
	endpoints []*url.URL
}

func newNetwork(cfg Config) (*network, error) {
	const (
		dialTimeout = 10 * time.Second
		idleTimeout = 30 * time.Second
		perHost     = 8
	)
	n := &network{stall: cfg.StallTimeout}
	n.transport = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: idleTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: cfg.StallTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   perHost,
		ForceAttemptHTTP2:     true,
	}
	var errs []error
	for _, m := range cfg.Mirrors {
		checked := mirror{Mirror: m}
		if m.Prefix == "" || len(m.Endpoints) == 0 {
			errs = append(errs, fmt.Errorf("mirror %q: want a prefix and endpoints", m.Prefix))
		}
		for _, text := range m.Endpoints {
			u, err := url.Parse(text)
			if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
				errs = append(errs, fmt.Errorf("mirror %q: endpoint %q: want http:// or https:// and a host", m.Prefix, text))
				continue
			}
			checked.endpoints = append(checked.endpoints, u)
		}
		n.mirrors = append(n.mirrors, checked)
	}
	return n, errors.Join(errs...)
}

// mirrorOf is the mirror with the longest prefix that fits a full name; nil if there is none.
func (n *network) mirrorOf(name string) *mirror {
	var best *mirror
	for i := range n.mirrors {
		m := &n.mirrors[i]
		fits := m.Prefix == "*" || name == m.Prefix || strings.HasPrefix(name, strings.TrimSuffix(m.Prefix, "/")+"/")
		if fits && (best == nil || best.Prefix == "*" || (m.Prefix != "*" && len(m.Prefix) > len(best.Prefix))) {
			best = m
		}
	}
	return best
}

// transfer is one pull with one pair of credentials.
type transfer struct {
	net      *network
	ref      string
	auth     Auth
	progress *progress

	mu  sync.Mutex
	bad *badAnswer
}

// badAnswer is an answer of a registry that was an error.
type badAnswer struct {
	code         int
	status, text string
}

func (b *badAnswer) is(code int) bool { return b != nil && b.code == code }

func (n *network) transfer(ref string, auth Auth, p *progress) *transfer {
	return &transfer{net: n, ref: ref, auth: auth, progress: p}
}

// hosts are where an image is looked for: the endpoints of its mirror, then its registry. The credentials of the registry
// hold for its mirrors too: an authorizer is asked with the host it talks to, which the pod's secrets do not name.
func (t *transfer) hosts(registry string) ([]docker.RegistryHost, error) {
	c := &http.Client{Transport: t}
	authorizer := docker.NewDockerAuthorizer(docker.WithAuthClient(c), docker.WithAuthCreds(t.credentials))
	host := func(scheme, host, path string) docker.RegistryHost {
		return docker.RegistryHost{
			Client: c, Authorizer: authorizer, Host: host, Scheme: scheme, Path: strings.TrimSuffix(path, "/") + "/v2",
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		}
	}
	var hosts []docker.RegistryHost
	if m := t.net.mirrorOf(t.ref); m != nil {
		for _, u := range m.endpoints {
			hosts = append(hosts, host(u.Scheme, u.Host, u.Path))
		}
		if m.Exclusive {
			return hosts, nil
		}
	}
	name, err := docker.DefaultHost(registry)
	if err != nil {
		return nil, err
	}
	scheme := "https"
	if local, err := docker.MatchLocalhost(registry); err == nil && local {
		scheme = "http"
	}
	return append(hosts, host(scheme, name, "")), nil
}

func (t *transfer) credentials(string) (username, secret string, err error) {
	if t.auth.IdentityToken != "" {
		return "", t.auth.IdentityToken, nil
	}
	return t.auth.Username, t.auth.Password, nil
}

// lastBad is the last bad answer after which no good one came from the same request.
func (t *transfer) lastBad() *badAnswer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bad
}

// RoundTrip notes bad answers, counts what comes and ends what stalls.
func (t *transfer) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := t.net.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		t.note(req, resp)
	} else {
		t.clear(resp)
	}
	body := &body{ReadCloser: resp.Body, cancel: cancel, stall: t.net.stall}
	if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") && resp.StatusCode < http.StatusMultipleChoices {
		body.count = t.progress.add
	}
	body.timer = time.AfterFunc(t.net.stall, func() { cancel(errStalled) })
	body.ctx = func() error { return context.Cause(ctx) }
	resp.Body = body
	return resp, nil
}

// errStalled ends a transfer that gets nothing.
var errStalled = errors.New("no progress")

// maxErrorBytes is how much of the text of an error is read.
const maxErrorBytes = 4 << 10

// note keeps a bad answer. One to HEAD has no text, so that it is asked for where the text says why.
func (t *transfer) note(req *http.Request, resp *http.Response) {
	bad := &badAnswer{code: resp.StatusCode, status: resp.Status}
	switch {
	case req.Method == http.MethodHead && resp.StatusCode == http.StatusTooManyRequests:
		get := req.Clone(req.Context())
		get.Method = http.MethodGet
		if again, err := t.net.transport.RoundTrip(get); err == nil {
			bad.text = errorText(again.Body)
			_ = again.Body.Close()
		}
	case req.Method != http.MethodHead:
		var text bytes.Buffer
		bad.text = errorText(io.TeeReader(resp.Body, &text))
		resp.Body = readCloser{Reader: io.MultiReader(&text, resp.Body), Closer: resp.Body}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// A registry that lacks the image does not hide what another one said.
	if t.bad == nil || resp.StatusCode != http.StatusNotFound || t.bad.code == http.StatusNotFound {
		t.bad = bad
	}
}

// clear forgets a challenge that was answered.
func (t *transfer) clear(*http.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bad = nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// errorText is what a registry says in the format of its specification.
func errorText(r io.Reader) string {
	raw, err := io.ReadAll(io.LimitReader(r, maxErrorBytes))
	if err != nil {
		return ""
	}
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(raw, &answer) != nil {
		return ""
	}
	var texts []string
	for _, e := range answer.Errors {
		texts = append(texts, strings.ToLower(strings.ReplaceAll(e.Code, "_", ""))+": "+e.Message)
	}
	return strings.Join(texts, ", ")
}

// body is an answer that is counted and watched.
type body struct {
	io.ReadCloser
	count  func(n int64) // nil: not counted
	cancel context.CancelCauseFunc
	ctx    func() error
	timer  *time.Timer
	stall  time.Duration
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.timer.Reset(b.stall)
	if n > 0 && b.count != nil {
		b.count(int64(n))
	}
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(b.ctx(), errStalled) {
		err = fmt.Errorf("%w for %v", errStalled, b.stall)
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// throttle lets something pass ten times a second.
type throttle struct{ last time.Time }

func (t *throttle) allow() bool {
	const pause = 100 * time.Millisecond
	now := time.Now()
	if now.Sub(t.last) < pause {
		return false
	}
	t.last = now
	return true
}
