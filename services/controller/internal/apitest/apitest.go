// Package apitest is the api for tests of reconcilers: a bucket in memory that is filled and changed as the api does it, with
// requests that can be refused, or carried out while their answer is lost.
package apitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
)

// Fault is what goes wrong with one request.
type Fault int

// The faults that a request can meet.
const (
	OK     Fault = iota
	Refuse       // nothing is done
	Lose         // it is done, but the caller is told store.ErrUnavailable
)

// API is the api, and the bucket that it fills. Safe for concurrent use.
type API struct {
	*memstore.Store
	t testing.TB
	// read and commit are the bucket's own, within the life of the test.
	read   func(state.Key) (store.Entry, error)
	commit func([]events.Message) error

	mu    sync.Mutex
	asked []string
	fault func(request string) Fault
}

// New makes an empty bucket.
func New(t testing.TB) *API {
	t.Helper()
	s := memstore.New(nil)
	return &API{
		Store: s, t: t, read: func(key state.Key) (store.Entry, error) { return s.Read(t.Context(), key) },
		commit: func(messages []events.Message) error {
			_, err := s.Write(t.Context(), messages)
			return err
		},
	}
}

// SetFault lets f decide what goes wrong with each request, such as "delete pods/default/a"; nil: nothing.
func (a *API) SetFault(f func(request string) Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = f
}

// Asked are the requests so far, refused ones too, in their order.
func (a *API) Asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// entry is the newest revision of a key; the zero Entry if there is none.
func (a *API) entry(key state.Key) store.Entry {
	a.t.Helper()
	e, err := a.read(key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		a.t.Fatal(err)
	}
	return e
}

// Revision implements [state.Seen].
func (a *API) Revision(key state.Key) uint64 { return a.entry(key).Revision }

// Body implements [state.Seen].
func (a *API) Body(key state.Key) []byte {
	if e := a.entry(key); !e.Removed {
		return e.Body
	}
	return nil
}

// Report implements [state.Seen].
func (a *API) Report(key state.Key) string { return a.entry(key).Header.Get("ce-report") }

// Object is an object as it now is; nil if there is none.
func (a *API) Object(ref state.ObjectRef) scheme.Object {
	a.t.Helper()
	e := a.entry(state.ObjectKey(ref))
	kind, ok := scheme.ByResource(ref.Resource)
	if !ok || e.Revision == 0 || e.Removed {
		return nil
	}
	obj := kind.New()
	if err := state.Decode(e.Body, e.Revision, obj); err != nil {
		a.t.Fatal(err)
	}
	return obj
}

// Node is a node as it now is; nil if there is none.
func (a *API) Node(name string) *corev1.Node {
	a.t.Helper()
	node, _ := a.Object(state.ObjectRef{Resource: scheme.Nodes, Name: name}).(*corev1.Node)
	return node
}

// Put writes obj, whatever was there, with everything that belongs to it: a pod's order, a node's stamp.
func (a *API) Put(obj scheme.Object) {
	a.t.Helper()
	a.decide(func() (*events.Batch, error) { return a.change(a.Object(state.RefOf(obj)), obj) })
}

// Remove removes an object at once.
func (a *API) Remove(ref state.ObjectRef) {
	a.t.Helper()
	a.decide(func() (*events.Batch, error) { return a.change(a.Object(ref), nil) })
}

// decide writes what makes decides, again if somebody else was quicker.
func (a *API) decide(makes func() (*events.Batch, error)) {
	a.t.Helper()
	for {
		b, err := makes()
		if err == nil {
			err = a.write(b)
		}
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			a.t.Fatal(err)
		}
		return
	}
}

func (a *API) write(b *events.Batch) error {
	if len(b.Entries) == 0 {
		return nil
	}
	messages, err := b.Messages("api", time.Now())
	if err != nil {
		return err
	}
	return a.commit(messages)
}

// change is the batch that turns before (nil: absent) into after (nil: gone).
func (a *API) change(before, after scheme.Object) (*events.Batch, error) {
	b := events.ConfigWritten.Batch(events.Meta{Source: "/api", Actor: "user:test"})
	if before == nil && after == nil {
		return b, nil
	}
	shown := after
	if after == nil {
		shown = before
	}
	if _, ok := shown.(*corev1.Pod); ok {
		old, _ := before.(*corev1.Pod)
		next, _ := after.(*corev1.Pod)
		changes, err := state.PodChange(a, old, next)
		b.Add(changes...)
		return b, err
	}
	key := state.ObjectKey(state.RefOf(shown))
	var c state.Change
	var err error
	if after == nil {
		c, err = state.Removal(before)
	} else {
		c, err = state.ObjectChange(after, a.Revision(key))
		c.Report = a.Report(key)
	}
	b.Add(c)
	if node, ok := shown.(*corev1.Node); ok {
		stamp := state.Stamp{Kind: state.StampNode, ID: node.Name, End: c.Remove}
		stamp.Revision = a.Revision(stamp.Key())
		b.Stamps = append(b.Stamps, stamp)
	}
	return b, err
}

// ask notes a request, carries it out, and meets it with a fault.
func (a *API) ask(request string, do func() error) error {
	a.mu.Lock()
	a.asked = append(a.asked, request)
	fault := OK
	if a.fault != nil {
		fault = a.fault(request)
	}
	a.mu.Unlock()
	if fault == Refuse {
		return fmt.Errorf("%s: %w", request, store.ErrUnavailable)
	}
	if err := do(); err != nil {
		return err
	}
	if fault == Lose {
		return fmt.Errorf("%s: %w", request, store.ErrUnavailable)
	}
	return nil
}

// answered is an error as it arrives from the api.
func answered(err *apierrors.StatusError) error { return &wire.StatusError{StatusError: *err} }

func resource(name string) schema.GroupResource { return schema.GroupResource{Resource: name} }

// Delete asks for the end of an object, as [client.Client.Delete] does.
func (a *API) Delete(_ context.Context, ref state.ObjectRef, o metav1.DeleteOptions) (*client.Answer, error) {
	return &client.Answer{}, a.ask("delete "+ref.String(), func() error {
		old := a.Object(ref)
		switch {
		case old == nil:
			return answered(apierrors.NewNotFound(resource(ref.Resource), ref.Name))
		case o.Preconditions != nil && o.Preconditions.UID != nil && *o.Preconditions.UID != old.GetUID():
			return answered(apierrors.NewConflict(resource(ref.Resource), ref.Name, errors.New("Precondition failed: UID")))
		}
		b, err := a.change(old, end(old.DeepCopyObject().(scheme.Object), o))
		if err != nil {
			return err
		}
		return a.write(b)
	})
}

// end marks an object for its end; nil if it goes at once.
func end(obj scheme.Object, o metav1.DeleteOptions) scheme.Object {
	grace := int64(0)
	if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName != "" && !podinfo.Finished(pod) {
		grace = int64(podinfo.GracePeriod(pod) / time.Second)
		if o.GracePeriodSeconds != nil {
			grace = *o.GracePeriodSeconds
		}
	}
	if _, isNamespace := obj.(*corev1.Namespace); grace == 0 && !isNamespace && len(obj.GetFinalizers()) == 0 {
		return nil
	}
	at := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second).Truncate(time.Second))
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
	return obj
}

// Update replaces one object at the version that it names, as [client.Client.Update] does; of a namespace that is finalized
// only its finalizers.
func (a *API) Update(_ context.Context, kind, _ string, r client.Request, _ metav1.UpdateOptions) (*client.Answer, error) {
	k, ok := scheme.ByResource(kind)
	if !ok || len(r.Objects) != 1 {
		return nil, fmt.Errorf("update of %d %s is not what a reconciler asks for", len(r.Objects), kind)
	}
	next := k.New()
	if err := json.Unmarshal(r.Objects[0], next); err != nil {
		return nil, err
	}
	ref := state.RefOf(next)
	answer := &client.Answer{}
	err := a.ask("update "+ref.String(), func() error {
		if err := a.update(next, r.Subresource); err != nil {
			return err
		}
		body, err := json.Marshal(a.Object(ref))
		answer.Objects = append(answer.Objects, body)
		return err
	})
	return answer, err
}

func (a *API) update(next scheme.Object, subresource string) error {
	ref := state.RefOf(next)
	old := a.Object(ref)
	switch {
	case old == nil:
		return answered(apierrors.NewNotFound(resource(ref.Resource), ref.Name))
	case next.GetResourceVersion() != "" && next.GetResourceVersion() != old.GetResourceVersion():
		return answered(apierrors.NewConflict(resource(ref.Resource), ref.Name, errors.New("the object has been modified; please apply your changes to the latest version and try again")))
	}
	after := old.DeepCopyObject().(scheme.Object)
	switch obj := after.(type) {
	case *corev1.Node:
		obj.Spec, obj.Labels = next.(*corev1.Node).Spec, next.GetLabels()
	case *corev1.Namespace:
		if subresource != client.Finalize {
			return errors.New("update of a namespace is not what a reconciler asks for")
		}
		obj.Spec.Finalizers = next.(*corev1.Namespace).Spec.Finalizers
	}
	b, err := a.change(old, after)
	if err != nil {
		return err
	}
	return a.write(b)
}

// Start runs a member until the test ends or the returned function is called, as if its process were killed.
func (a *API) Start(member func(context.Context) error) (stop func()) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := member(ctx); !errors.Is(err, context.Canceled) {
			a.t.Errorf("a member ended with %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	a.t.Cleanup(stop)
	return stop
}

// View is a live view of the bucket, loaded, and a writer that uses it; both over s, which may be the bucket itself.
func (a *API) View(s store.Store, c view.Config) (*view.View, *commit.Writer) {
	a.t.Helper()
	c.Process, c.Source = "controller", "/controller"
	v := view.New(s, c)
	w := commit.New(s, commit.Config{Service: state.Controller, Process: c.Process, View: v})
	a.Start(v.Run)
	a.Start(w.Run)
	if err := v.Fresh(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	return v, w
}

// Interposed is a store whose writes the test sees before they are done; an error refuses one.
type Interposed struct {
	store.Store
	Before func([]events.Message) error
}

// Write implements [store.Store].
func (s *Interposed) Write(ctx context.Context, messages []events.Message) (uint64, error) {
	if s.Before != nil {
		if err := s.Before(messages); err != nil {
			return 0, err
		}
	}
	return s.Store.Write(ctx, messages)
}

// Elapse lets d go by, inside a bubble of testing/synctest, with everything that happens within.
func Elapse(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}
