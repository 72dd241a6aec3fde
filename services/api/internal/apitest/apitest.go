// Package apitest is what an api stands on, inside a test: the bucket in memory, a view of it, a writer and the key of Secrets; and
// requests as handlers get them off the wire. It is for tests alone. Everything works inside a synctest bubble and ends with
// the test.
package apitest

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/registry"
	"millrace.dev/services/api/internal/seal"
)

// Source is the source of the events that a test makes.
const Source = "/test"

// State is the bucket as one process sees and writes it.
type State struct {
	Store  *memstore.Store
	View   *view.View
	Writer *commit.Writer
	Sealer *seal.Sealer
	// Writes is the way of this process's writes into the bucket.
	Writes *Writes
}

// New makes an empty bucket and a process over it, called "api-1".
func New(t testing.TB, config view.Config) *State {
	t.Helper()
	sealer, err := seal.Load(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	first := &State{Store: memstore.New(nil), Sealer: sealer}
	return first.Replica(t, "api-1", config)
}

// Replica is another process over the same bucket.
func (s *State) Replica(t testing.TB, process string, config view.Config) *State {
	t.Helper()
	config.Process, config.Source = process, Source
	r := &State{Store: s.Store, Sealer: s.Sealer, Writes: &Writes{Store: s.Store}}
	r.View = view.New(s.Store, config)
	r.Writer = commit.New(r.Writes, commit.Config{Service: state.API, Process: process, View: r.View})
	Run(t, r.View.Run)
	Run(t, r.Writer.Run)
	r.Fresh(t)
	return r
}

// Writes is a bucket that remembers what is written and lets a test act in between.
type Writes struct {
	store.Store

	mu     sync.Mutex
	before func()
	all    [][]events.Message
}

// Before has f run, once, when the next write has been decided and before it is made.
func (w *Writes) Before(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = f
}

// All are the writes so far, those that failed too.
func (w *Writes) All() [][]events.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// Write implements [store.Store].
func (w *Writes) Write(ctx context.Context, messages []events.Message) (uint64, error) {
	w.mu.Lock()
	before := w.before
	w.before, w.all = nil, append(w.all, messages)
	w.mu.Unlock()
	if before != nil {
		before()
	}
	return w.Store.Write(ctx, messages)
}

// Run has a member of a service run until the test ends, and fails the test if it ends otherwise.
func Run(t testing.TB, member func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := member(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a member of the service ended with %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// Elapse lets time go by; inside a bubble that takes none.
func Elapse(d time.Duration) { <-time.NewTimer(d).C }

// Fresh waits until the view shows everything that has been written.
func (s *State) Fresh(t testing.TB) {
	t.Helper()
	if err := s.View.Fresh(t.Context()); err != nil {
		t.Fatalf("the view does not catch up: %v", err)
	}
}

// Namespace is an active namespace as the api makes it; its uid is derived from its name.
func Namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{corev1.LabelMetadataName: name},
		},
		Spec:   corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}},
		Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
	}
}

// ConfigMap is a ConfigMap in the namespace default with the given keys and values in turn.
func ConfigMap(name string, pairs ...string) *corev1.ConfigMap {
	c := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault, UID: types.UID("uid-" + name)},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if c.Data == nil {
			c.Data = map[string]string{}
		}
		c.Data[pairs[i]] = pairs[i+1]
	}
	return c
}

// Secret is an opaque Secret in the namespace default with the given keys and values in turn.
func Secret(name string, pairs ...string) *corev1.Secret {
	s := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault, UID: types.UID("uid-" + name)},
		Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		s.Data[pairs[i]] = []byte(pairs[i+1])
	}
	return s
}

// Put writes objects past the api, defaulted, each as its next revision with what belongs to it: a pod's order, the stamp of a new node
// or namespace, the claim of a node's range. It gives the revision of the last and returns when the view shows it.
func (s *State) Put(t testing.TB, objects ...scheme.Object) (revision uint64) {
	t.Helper()
	for _, obj := range objects {
		s.Fresh(t)
		result, err := s.Writer.Put(t.Context(), s.Batch(t, obj))
		if err != nil {
			t.Fatalf("put %T %s: %v", obj, obj.GetName(), err)
		}
		revision = result.Revisions[0]
		if err := s.View.Await(t.Context(), result.Max()); err != nil {
			t.Fatal(err)
		}
	}
	return revision
}

// Batch is what [State.Put] writes for one object.
func (s *State) Batch(t testing.TB, obj scheme.Object) *events.Batch {
	t.Helper()
	b, err := s.batch(obj)
	if err != nil {
		t.Fatalf("put %T %s: %v", obj, obj.GetName(), err)
	}
	return b
}

func (s *State) batch(obj scheme.Object) (*events.Batch, error) {
	obj = obj.DeepCopyObject().(scheme.Object)
	kind, _ := scheme.Of(obj)
	registry.For(kind).Default(obj)
	key := state.ObjectKey(state.RefOf(obj))
	meta := events.Meta{Source: Source}
	c, err := state.ObjectChange(obj, s.View.Revision(key))
	if err != nil {
		return nil, err
	}
	c.Report = s.View.Report(key)
	switch obj := obj.(type) {
	case *corev1.Pod:
		before, _ := view.As[*corev1.Pod](s.View.Get(key))
		changes, err := state.PodChange(s.View, before, obj)
		b := events.PodUpdated.Batch(meta)
		b.Add(changes...)
		return b, err
	case *corev1.Node:
		stamp := s.View.Stamp(state.StampNode, obj.Name)
		stamp.Revision = s.View.Revision(stamp.Key())
		b := events.NodeJoined.Batch(meta, stamp)
		b.Add(c)
		return b, s.claim(b, obj)
	case *corev1.Namespace:
		b := events.NamespaceUpdated.Batch(meta)
		if stamp := s.View.Stamp(state.StampNamespace, obj.Name); stamp.Revision == 0 || obj.DeletionTimestamp != nil {
			stamp.Revision = s.View.Revision(stamp.Key())
			b = events.NamespaceCreated.Batch(meta, stamp)
		}
		b.Add(c)
		return b, nil
	case *corev1.Secret:
		c.Body, err = s.Sealer.Seal(c.Key, c.Body)
	}
	b := events.ConfigWritten.Batch(meta)
	b.Add(c)
	return b, err
}

// claim adds the claim of a node's range if nobody has it.
func (s *State) claim(b *events.Batch, node *corev1.Node) error {
	key := state.ClaimKey(state.ClaimPodCIDR, node.Spec.PodCIDR)
	if node.Spec.PodCIDR == "" || s.View.Body(key) != nil {
		return nil
	}
	body, err := json.Marshal(state.RefOf(node))
	if err != nil {
		return err
	}
	b.AddAs(events.ClaimTaken.Info(), state.Change{Key: key, Replaces: s.View.Revision(key), Body: body})
	return nil
}

// Pod is a live pod of the namespace default as the view shows it; nil if there is none.
func (s *State) Pod(name string) *corev1.Pod {
	pod, _ := view.As[*corev1.Pod](s.View.Object(state.ObjectRef{Resource: scheme.Pods, Namespace: metav1.NamespaceDefault, Name: name}))
	return pod
}

// Node is a live node as the view shows it; nil if there is none.
func (s *State) Node(name string) *corev1.Node {
	node, _ := view.As[*corev1.Node](s.View.Object(state.ObjectRef{Resource: scheme.Nodes, Name: name}))
	return node
}

// Order is the order for a pod of the namespace default; nil if there is none.
func (s *State) Order(t testing.TB, node, pod string) *state.Order {
	t.Helper()
	body := s.View.Body(state.OrderKey(node, metav1.NamespaceDefault, pod))
	if body == nil {
		return nil
	}
	order, err := state.DecodeOrder(body)
	if err != nil {
		t.Fatal(err)
	}
	return order
}
