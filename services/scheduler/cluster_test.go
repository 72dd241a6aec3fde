package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/note"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/view"
	"millrace.dev/services/scheduler/internal/cache"
	"millrace.dev/services/scheduler/internal/queue"
)

// cluster is a bucket that the test fills as the api does.
type cluster struct {
	t testing.TB
	*memstore.Store
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, Store: memstore.New(nil)}
	c.decide(func() *events.Batch {
		return c.batch(events.StampMoved.Info(), state.Stamp{Kind: state.StampScheduler, ID: state.TheScheduler})
	})
	return c
}

func (c *cluster) read(key state.Key) store.Entry {
	c.t.Helper()
	e, err := c.Read(c.t.Context(), key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		c.t.Fatal(err)
	}
	return e
}

// Revision, Body and Report make the bucket a [state.Seen].
func (c *cluster) Revision(key state.Key) uint64 { return c.read(key).Revision }

func (c *cluster) Body(key state.Key) []byte {
	if e := c.read(key); !e.Removed {
		return e.Body
	}
	return nil
}

func (c *cluster) Report(state.Key) string { return "" }

func (c *cluster) batch(t events.Info, stamps ...state.Stamp) *events.Batch {
	b := events.Type[corev1.Pod](t).Batch(events.Meta{Source: "/test"})
	for _, s := range stamps {
		s.Revision = c.Revision(s.Key())
		b.Stamps = append(b.Stamps, s)
	}
	return b
}

// decide writes what makes decides, again if a scheduler was quicker.
func (c *cluster) decide(makes func() *events.Batch) {
	c.t.Helper()
	for {
		messages, err := makes().Messages("test", time.Now())
		if err == nil {
			_, err = c.Write(c.t.Context(), messages)
		}
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			c.t.Fatal(err)
		}
		return
	}
}

// putPod creates a pod, or gives it another content.
func (c *cluster) putPod(pod *corev1.Pod) {
	c.t.Helper()
	c.decide(func() *events.Batch {
		b := c.batch(events.PodUpdated.Info())
		c.add(b, c.pod(pod.Name), pod)
		return b
	})
}

func (c *cluster) removePod(name string) {
	c.t.Helper()
	c.decide(func() *events.Batch {
		b := c.batch(events.PodDeleted.Info())
		c.add(b, c.pod(name), nil)
		return b
	})
}

func (c *cluster) add(b *events.Batch, before, after *corev1.Pod) {
	c.t.Helper()
	changes, err := state.PodChange(c, before, after)
	if err != nil {
		c.t.Fatal(err)
	}
	b.Add(changes...)
}

// putNode joins a node, or changes it; its stamp moves with it.
func (c *cluster) putNode(n *objtest.NodeBuilder) {
	c.t.Helper()
	node := n.Obj()
	c.decide(func() *events.Batch {
		change, err := state.ObjectChange(node, c.Revision(state.ObjectKey(state.RefOf(node))))
		if err != nil {
			c.t.Fatal(err)
		}
		b := c.batch(events.NodeUpdated.Info(), state.Stamp{Kind: state.StampNode, ID: node.Name})
		b.Add(change)
		return b
	})
}

func (c *cluster) removeNode(name string) {
	c.t.Helper()
	key := state.ObjectKey(state.ObjectRef{Resource: scheme.Nodes, Name: name})
	c.decide(func() *events.Batch {
		e := c.read(key)
		b := c.batch(events.NodeDeleted.Info(), state.Stamp{Kind: state.StampNode, ID: name, End: true})
		b.Add(state.Change{Key: key, Replaces: e.Revision, Body: e.Body, Remove: true})
		return b
	})
}

// pod is a pod of the namespace default as it now is; nil if it is gone.
func (c *cluster) pod(name string) *corev1.Pod {
	c.t.Helper()
	e := c.read(state.ObjectKey(state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: name}))
	if e.Revision == 0 || e.Removed {
		return nil
	}
	var pod corev1.Pod
	if err := state.Decode(e.Body, e.Revision, &pod); err != nil {
		c.t.Fatal(err)
	}
	return &pod
}

// place is where a pod runs; "-" if it has no node.
func (c *cluster) place(name string) string {
	c.t.Helper()
	switch pod := c.pod(name); {
	case pod == nil:
		return "gone"
	case pod.Spec.NodeName == "":
		return "-"
	default:
		return pod.Spec.NodeName
	}
}

func (c *cluster) wantPlaces(want map[string]string) {
	c.t.Helper()
	got := map[string]string{}
	for name := range want {
		got[name] = c.place(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("places (-want +got):\n%s", diff)
	}
}

func (c *cluster) wantCondition(name string, want corev1.PodCondition) {
	c.t.Helper()
	want.Type = corev1.PodScheduled
	got := podinfo.Condition(c.pod(name).Status.Conditions, corev1.PodScheduled)
	if got == nil {
		c.t.Errorf("%s has no condition PodScheduled", name)
		return
	}
	had := *got
	had.LastTransitionTime.Reset()
	if diff := cmp.Diff(want, had); diff != "" {
		c.t.Errorf("condition of %s (-want +got):\n%s", name, diff)
	}
}

func (c *cluster) last() uint64 {
	c.t.Helper()
	p, err := c.Last(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return p.Sequence
}

// interposed is a store that a scheduler writes through; the test sees each write before it is done and after it.
type interposed struct {
	store.Store
	before func([]events.Message) error
	after  func([]events.Message, error)
}

func (s *interposed) Write(ctx context.Context, messages []events.Message) (uint64, error) {
	if s.before != nil {
		if err := s.before(messages); err != nil {
			return 0, err
		}
	}
	first, err := s.Store.Write(ctx, messages)
	if s.after != nil {
		s.after(messages, err)
	}
	return first, err
}

// process is one scheduler with its view and its writer, as a process has them.
type process struct {
	*scheduler
	t    testing.TB
	mu   sync.Mutex
	told []string // its notes: "Scheduled a: ..."
}

// newProcess makes a scheduler over s, whose view is loaded when it returns.
func newProcess(t testing.TB, name string, s store.Store) *process {
	t.Helper()
	p := &process{t: t}
	q := queue.New(filters())
	c := cache.New(corev1.DefaultSchedulerName, q)
	v := view.New(s, view.Config{Process: name, Source: "/" + name, Subscribers: []view.Subscriber{c.Changed}})
	w := commit.New(s, commit.Config{Service: state.Scheduler, Process: name, View: v})
	p.scheduler = &scheduler{
		view: v, writer: w, cache: c, queue: q, source: "/" + name, now: time.Now, filters: filters(), scorers: scorers(),
		notes: note.New(corev1.DefaultSchedulerName, "", p.tell),
	}
	p.start(v.Run)
	p.start(w.Run)
	if err := v.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) tell(event *corev1.Event, _ []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, fmt.Sprintf("%s %s: %s", event.Reason, event.InvolvedObject.Name, event.Message))
	return nil
}

// notes are what it has told so far.
func (p *process) noted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(slices.Values(p.told))
}

// start runs a member until the test ends or the returned function is called.
func (p *process) start(member func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := member(ctx); !errors.Is(err, context.Canceled) {
			p.t.Errorf("a member ended with %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	p.t.Cleanup(stop)
	return stop
}

// settle lets everything happen that happens within a while.
func settle() {
	<-time.NewTimer(time.Second).C // virtual
	synctest.Wait()
}
