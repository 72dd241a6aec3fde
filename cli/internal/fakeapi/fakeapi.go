// Package fakeapi is an api in the memory of a test: it answers on the subjects of the real one over a real NATS server, keeps
// objects without rules or defaults, and remembers what it was asked. How the CLI and the real api get on is shown by the scripts in
// test/script; here a test says what the api does.
package fakeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/factory"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// API is a running fake. Its methods are safe for concurrent use.
type API struct {
	Now func() time.Time // the clock of the factories; set it before they are made

	t      testing.TB
	server *natstest.Server
	nc     *wire.Conn

	mu       sync.Mutex
	revision int
	objects  []*object // in the order in which they were put
	log      []change
	moved    chan struct{} // closed and replaced at every change
	requests []Request
	failures map[string]error
	sessions func(context.Context, Session)
	wg       sync.WaitGroup
}

// object is one live object.
type object struct {
	ref state.ObjectRef
	obj scheme.Object
	raw json.RawMessage
}

// change is one event of a watch.
type change struct {
	revision int
	typ      string
	ref      state.ObjectRef
	raw      json.RawMessage
}

// Request is what the fake was asked.
type Request struct {
	Verb, Resource, Namespace string
	client.Request
}

// Session is a byte stream that a client has begun.
type Session struct {
	*wire.Session
	Verb    string
	Pod     state.ObjectRef
	Options json.RawMessage
}

// node is where all pods are, as far as sessions go.
const node = "n1"

// Identity is who the factories of the fake speak as.
const Identity = "alice"

// Start runs a fake that ends with the test.
func Start(t testing.TB) *API {
	t.Helper()
	server := natstest.Run(t)
	a := &API{Now: time.Now, t: t, server: server, nc: server.Connect(), moved: make(chan struct{}), failures: map[string]error{}}
	ctx, stop := context.WithCancel(t.Context())
	a.wg.Go(func() {
		err := wire.Serve(ctx, a.nc, wire.Service{Subject: "api.>", Limit: 64, Handle: a.handle})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the fake api ended: %v", err)
		}
	})
	if err := a.nc.FlushTimeout(10 * time.Second); err != nil { // the server must know that someone answers
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		a.wg.Wait()
	})
	return a
}

// Buffer is a buffer that one goroutine may write and another read.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Factory makes a factory whose context is the fake's, with the flags that all verbs share already parsed, and what is written.
func (a *API) Factory() (f *factory.Factory, stdout, stderr *Buffer) {
	a.t.Helper()
	file := filepath.Join(a.t.TempDir(), "config")
	err := contextfile.Edit(contextfile.Files{file}, func(c *contextfile.Config) error {
		c.Put(Identity, contextfile.Cluster{Server: a.server.ClientURL()}, contextfile.User{})
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	stdout, stderr = &Buffer{}, &Buffer{}
	f = factory.New(factory.Streams{In: &bytes.Buffer{}, Out: stdout, Err: stderr}, func(name string) string {
		return map[string]string{contextfile.Variable: file}[name]
	})
	f.Now = a.Now
	a.t.Cleanup(f.Close)
	return f, stdout, stderr
}

// Put makes objects, or changes them; those without a namespace are put into "default" if they need one.
func (a *API) Put(objects ...scheme.Object) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, obj := range objects {
		if _, err := a.put(obj); err != nil {
			a.t.Fatal(err)
		}
	}
}

// put keeps one object. Caller holds mu.
func (a *API) put(obj scheme.Object) (json.RawMessage, error) {
	kind, ok := scheme.Of(obj)
	if !ok {
		return nil, fmt.Errorf("no kind for %T", obj)
	}
	obj = obj.DeepCopyObject().(scheme.Object)
	obj.GetObjectKind().SetGroupVersionKind(kind.GVK())
	if !kind.ClusterScoped && obj.GetNamespace() == "" {
		obj.SetNamespace("default")
	}
	a.revision++
	obj.SetResourceVersion(strconv.Itoa(a.revision))
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	ref := state.RefOf(obj)
	typ := "ADDED"
	if had := a.find(ref); had != nil {
		typ = "MODIFIED"
		had.obj, had.raw = obj, raw
	} else {
		a.objects = append(a.objects, &object{ref: ref, obj: obj, raw: raw})
	}
	a.changed(change{typ: typ, ref: ref, raw: raw})
	return raw, nil
}

// Remove takes an object away.
func (a *API) Remove(obj scheme.Object) {
	a.t.Helper()
	kind, _ := scheme.Of(obj)
	ref := state.RefOf(obj)
	if !kind.ClusterScoped && ref.Namespace == "" {
		ref.Namespace = "default"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.remove(ref) == nil {
		a.t.Fatalf("there is no %s to remove", ref)
	}
}

// remove takes an object away; nil: there is none. Caller holds mu.
func (a *API) remove(ref state.ObjectRef) *object {
	for i, o := range a.objects {
		if o.ref == ref {
			a.objects = append(a.objects[:i:i], a.objects[i+1:]...)
			a.revision++
			a.changed(change{typ: "DELETED", ref: ref, raw: o.raw})
			return o
		}
	}
	return nil
}

func (a *API) changed(c change) {
	c.revision = a.revision
	a.log = append(a.log, c)
	close(a.moved)
	a.moved = make(chan struct{})
}

// find is a live object; nil: there is none. Caller holds mu.
func (a *API) find(ref state.ObjectRef) *object {
	for _, o := range a.objects {
		if o.ref == ref {
			return o
		}
	}
	return nil
}

// Expire forgets every change so far: a watch from before is told that its version has expired.
func (a *API) Expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revision++
	a.log = []change{{revision: a.revision}}
	close(a.moved)
	a.moved = make(chan struct{})
}

// Fail has every request with a verb for a resource fail.
func (a *API) Fail(verb, resource string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures[verb+" "+resource] = err
}

// Serve has sessions served by serve.
func (a *API) Serve(serve func(context.Context, Session)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions = serve
}

// Requests are what the fake was asked, with one verb.
func (a *API) Requests(verb string) []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	var with []Request
	for _, r := range a.requests {
		if r.Verb == verb {
			with = append(with, r)
		}
	}
	return with
}

// Await waits until done holds; it is asked again whenever something may have changed.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: waited in vain", what)
		case <-tick.C:
		}
	}
}

func notFound(ref state.ObjectRef) error {
	return apierrors.NewNotFound(schema.ParseGroupResource(ref.Resource), ref.Name)
}
