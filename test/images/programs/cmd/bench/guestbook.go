package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The services by which a guestbook's front end finds its backends, as the corpus names them.
const (
	guestbookPrimary = "agnhost-primary"
	guestbookReplica = "agnhost-replica"
)

// guestbook is all three tiers of the guestbook: the front end, and the primary and the replicas of its store.
func guestbook(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("guestbook", flag.ContinueOnError)
	port := flags.Int("http-port", 80, "port to answer on")
	backend := flags.Int("backend-port", 6379, "port of the primary and of the replicas")
	primary := flags.String("replicaof", "", "host of the primary; empty: this is no replica")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := newBook()
	b.primary = "http://" + net.JoinHostPort(guestbookPrimary, strconv.Itoa(*backend))
	b.replica = "http://" + net.JoinHostPort(guestbookReplica, strconv.Itoa(*backend))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, fmt.Sprintf(":%d", *port), b.handler()) })
	if *primary != "" {
		from := "http://" + net.JoinHostPort(*primary, strconv.Itoa(*backend))
		g.Go(func() error { return b.follow(ctx, out, from, *port) })
	}
	return g.Wait()
}

// book is a store of texts that replicas can follow, and the front end of a store elsewhere.
type book struct {
	primary, replica string // base URLs of the backends that the front end asks
	client           *http.Client

	mu       sync.Mutex
	texts    map[string]string
	replicas map[string]bool // base URLs to tell of every change; who cannot be told has gone
}

func newBook() *book {
	return &book{texts: map[string]string{}, replicas: map[string]bool{}, client: &http.Client{Timeout: 5 * time.Second}}
}

func (b *book) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", text(func(*http.Request) string { return "guestbook\n" }))
	mux.HandleFunc("/healthz", text(func(*http.Request) string { return "ok" }))
	mux.HandleFunc("/get", text(func(r *http.Request) string { return b.get(r.FormValue("key")) }))
	mux.HandleFunc("/set", b.serveSet)
	mux.HandleFunc("/register", b.serveRegister)
	mux.HandleFunc("/guestbook", b.serveFrontend)
	return mux
}

func (b *book) get(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.texts[key]
}

// serveSet stores a text and tells the replicas before it answers.
func (b *book) serveSet(_ http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.texts[r.FormValue("key")] = r.FormValue("value")
	change := url.Values{"key": {r.FormValue("key")}, "value": {r.FormValue("value")}}
	for replica := range b.replicas {
		if _, err := b.ask(r.Context(), replica+"/set?"+change.Encode()); err != nil {
			delete(b.replicas, replica)
		}
	}
}

// serveRegister adds the caller, who listens on the given port, to the replicas and answers with all texts.
func (b *book) serveRegister(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replicas["http://"+net.JoinHostPort(host, r.FormValue("port"))] = true
	answer(w, b.texts)
}

// serveFrontend writes through the primary and reads from a replica.
func (b *book) serveFrontend(w http.ResponseWriter, r *http.Request) {
	query := url.Values{"key": {r.FormValue("key")}, "value": {r.FormValue("value")}}.Encode()
	reply := map[string]string{}
	var err error
	switch r.FormValue("cmd") {
	case "set":
		reply["message"] = "Updated"
		_, err = b.ask(r.Context(), b.primary+"/set?"+query)
	case "get":
		var body []byte
		body, err = b.ask(r.Context(), b.replica+"/get?"+query)
		reply["data"] = string(body)
	default:
		http.Error(w, "cmd must be get or set", http.StatusBadRequest)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, reply)
}

// follow keeps this book a replica of the one at primary until ctx ends: it registers again every second, because a primary
// that has been replaced knows no replicas.
func (b *book) follow(ctx context.Context, out io.Writer, primary string, port int) error {
	for {
		if err := b.register(ctx, primary, port); err != nil && ctx.Err() == nil {
			_, _ = fmt.Fprintf(out, "register with %s: %v\n", primary, err)
		}
		if !pause(ctx, time.Second) {
			return nil
		}
	}
}

// register makes the book at primary tell this one of every change from now on, and copies the texts it has.
func (b *book) register(ctx context.Context, primary string, port int) error {
	body, err := b.ask(ctx, fmt.Sprintf("%s/register?port=%d", primary, port))
	if err != nil {
		return err
	}
	texts := map[string]string{}
	if err := json.Unmarshal(body, &texts); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.Copy(b.texts, texts)
	return nil
}

// ask gets a URL and returns the body of its answer; any status but 200 is an error.
func (b *book) ask(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", url, resp.Status)
	}
	return body, nil
}
