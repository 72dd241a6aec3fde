package commit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/store/storetest"
	"millrace.dev/pkg/view"
)

// slow is a store whose first write waits until the test lets it go, so that what comes meanwhile queues; it remembers the
// writes.
type slow struct {
	store.Store
	hold chan struct{}

	mu     sync.Mutex
	writes [][]events.Message
}

func (s *slow) Write(ctx context.Context, messages []events.Message) (uint64, error) {
	s.mu.Lock()
	s.writes = append(s.writes, messages)
	first := len(s.writes) == 1
	s.mu.Unlock()
	if first && s.hold != nil {
		<-s.hold
	}
	return s.Store.Write(ctx, messages)
}

func (s *slow) seen() [][]events.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]events.Message(nil), s.writes...)
}

func start(t testing.TB, s store.Store, config commit.Config) *commit.Writer {
	t.Helper()
	if config.Service == "" {
		config.Service = state.API
	}
	config.Process = "test"
	w := commit.New(s, config)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { ends(t, w.Run(ctx)) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return w
}

func withView(t testing.TB, s store.Store) *view.View {
	t.Helper()
	v := view.New(s, view.Config{Process: "test"})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { ends(t, v.Run(ctx)) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	if err := v.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

func ends(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}

func batch(changes ...state.Change) *events.Batch {
	b := events.ConfigWritten.Batch(events.Meta{Source: "/test"})
	b.Add(changes...)
	return b
}

func put(t testing.TB, w *commit.Writer, b *events.Batch) uint64 {
	t.Helper()
	result, err := w.Put(t.Context(), b)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	return result.Last()
}

// queued puts batches while the first write is held, then lets it go; it gives their errors in order.
func queued(t *testing.T, s *slow, w *commit.Writer, batches ...*events.Batch) []error {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { put(t, w, batch(storetest.Change("first", 0, "1"))) })
	for len(s.seen()) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the first write never came")
		}
	}
	errs := make([]error, len(batches))
	for i, b := range batches {
		wg.Go(func() { _, errs[i] = w.Put(t.Context(), b) })
		commit.AwaitQueued(w, i+1)
	}
	close(s.hold)
	wg.Wait()
	return errs
}

func stores(t *testing.T, test func(t *testing.T, s store.Store)) {
	t.Run("memory", func(t *testing.T) { test(t, memstore.New(nil)) })
	t.Run("jetstream", func(t *testing.T) { test(t, natstest.Run(t).Open()) })
}

func TestWhatQueuesGoesAsOneCommit(t *testing.T) {
	stores(t, func(t *testing.T, inner store.Store) {
		s := &slow{Store: inner, hold: make(chan struct{})}
		w := start(t, s, commit.Config{})
		var batches []*events.Batch
		for i := range 20 {
			batches = append(batches, batch(storetest.Change(fmt.Sprint(i), 0, "1")))
		}
		for i, err := range queued(t, s, w, batches...) {
			if err != nil {
				t.Errorf("batch %d: %v", i, err)
			}
		}
		if got := s.seen(); len(got) != 2 || len(got[1]) != 20 {
			t.Errorf("%d writes, want 2: one held, one with all 20 that queued", len(got))
		}
	})
}

func TestRevisionsAreThoseOfEachEntry(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		w := start(t, s, commit.Config{})
		removed := put(t, w, batch(storetest.Change("gone", 0, "1")))
		removal := storetest.Change("gone", removed, "1")
		removal.Remove = true
		b := batch(removal, storetest.Change("a", 0, "1"), storetest.Change("b", 0, "1"))
		result, err := w.Put(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range b.Entries {
			got, err := s.Read(t.Context(), e.Key)
			if err != nil || got.Revision != result.Revisions[i] {
				t.Errorf("%s is at %d, %v; Put said %d", e.Key, got.Revision, err, result.Revisions[i])
			}
		}
	})
}

func TestP11_OrderInsideACommit(t *testing.T) {
	s := &slow{Store: memstore.New(nil), hold: make(chan struct{})}
	w := start(t, s, commit.Config{})
	guard := put1(t, s.Store, "guard")
	pod := state.Change{Key: state.ObjectKey(state.ObjectRef{Resource: "pods", Namespace: "d", Name: "p"}), Body: []byte("{}")}
	order := state.Change{Key: state.OrderKey("n2", "d", "p"), Body: []byte("{}")}
	node := events.NodeJoined.Batch(events.Meta{Source: "/test"}, state.Stamp{Kind: state.StampNode, ID: "n1"})
	node.Add(state.Change{Key: state.ObjectKey(state.ObjectRef{Resource: "nodes", Name: "n1"}), Body: []byte("{}")})
	node.AddAs(events.ClaimTaken.Info(), state.Change{Key: state.ClaimKey(state.ClaimPodCIDR, "x"), Body: []byte("{}")})
	created := events.PodCreated.Batch(events.Meta{Source: "/test"}, state.Stamp{Kind: state.StampNode, ID: "n2"})
	created.Add(order, pod)
	created.Check(storetest.Change("guard", 0, "").Key, guard)
	for _, err := range queued(t, s, w, node, created) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, m := range s.seen()[1] {
		got = append(got, string(m.Key))
	}
	want := "beat.test.1 claim.podcidr.x object.nodes.=.n1 object.pods.d.p edge.order.n2.d.p stamp.node.n1 stamp.node.n2"
	if strings.Join(got, " ") != want {
		t.Errorf("written in the order\n%s\nwant\n%s", strings.Join(got, " "), want)
	}
}

func put1(t testing.TB, s store.Store, name string) uint64 {
	t.Helper()
	first, err := s.Write(t.Context(), storetest.Messages(t, storetest.Change(name, 0, "1")))
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func TestP12_ConflictFailsOnlyWhatIsStale(t *testing.T) {
	for _, viewed := range []bool{true, false} {
		t.Run(fmt.Sprintf("view=%v", viewed), func(t *testing.T) {
			stores(t, func(t *testing.T, inner store.Store) {
				s := &slow{Store: inner, hold: make(chan struct{})}
				config := commit.Config{}
				if viewed {
					config.View = withView(t, inner)
				}
				w := start(t, s, config)
				put1(t, inner, "taken")
				batches := []*events.Batch{
					batch(storetest.Change("a", 0, "1")), batch(storetest.Change("taken", 0, "2")),
					batch(storetest.Change("b", 0, "1"), storetest.Change("c", 0, "1")), batch(storetest.Change("d", 77, "1")),
					batch(storetest.Change("e", 0, "1")),
				}
				errs := queued(t, s, w, batches...)
				for i, stale := range []bool{false, true, false, true, false} {
					if got := errors.Is(errs[i], store.ErrConflict); got != stale || (!stale && errs[i] != nil) {
						t.Errorf("batch %d: %v, want stale %v", i, errs[i], stale)
					}
				}
			})
		})
	}
}

func TestP12_WriteInFlightIsRetried(t *testing.T) {
	s := memstore.New(nil)
	refusals := 2
	s.SetFault(func([]events.Message) memstore.Fault {
		if refusals > 0 {
			refusals--
			return memstore.Conflict
		}
		return memstore.OK
	})
	put(t, start(t, s, commit.Config{}), batch(storetest.Change("a", 0, "1")))
}

func TestP13_LostAcknowledgementIsReadBack(t *testing.T) {
	tests := []struct {
		name  string
		fault []memstore.Fault
	}{
		{"written, acknowledgement lost", []memstore.Fault{memstore.LostAck}},
		{"not written, then written", []memstore.Fault{memstore.LostSend, memstore.OK}},
		{"not written, then written and the acknowledgement lost", []memstore.Fault{memstore.LostSend, memstore.LostAck}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := memstore.New(nil)
			faults := tt.fault
			s.SetFault(func([]events.Message) memstore.Fault {
				if len(faults) == 0 {
					return memstore.OK
				}
				f := faults[0]
				faults = faults[1:]
				return f
			})
			w := start(t, s, commit.Config{})
			b := batch(storetest.Change("a", 0, "1"), storetest.Change("b", 0, "1"))
			revision := put(t, w, b)
			got, err := s.Read(t.Context(), storetest.Change("b", 0, "").Key)
			if err != nil || got.Revision != revision {
				t.Errorf("b is at %d, %v; Put said %d", got.Revision, err, revision)
			}
			if last, _ := s.Last(t.Context()); last.Sequence != 2 {
				t.Errorf("%d messages were written, want 2: the retry must not write twice", last.Sequence)
			}
		})
	}
}

func TestP13_UnknownStaysUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		s.SetFault(func([]events.Message) memstore.Fault { return memstore.LostSend })
		_, err := start(t, s, commit.Config{}).Put(t.Context(), batch(storetest.Change("a", 0, "1")))
		if !errors.Is(err, store.ErrUnknown) {
			t.Errorf("Put = %v, want ErrUnknown", err)
		}
	})
}

func TestP14_QueuesAreServedInTurn(t *testing.T) {
	s := &slow{Store: memstore.New(nil), hold: make(chan struct{})}
	w := start(t, s, commit.Config{})
	var batches []*events.Batch
	for i := range 30 { // 1,200 bulk messages are already waiting when one request comes
		b := batch()
		b.Queue = events.QueueBulk
		for j := range 40 {
			b.Add(storetest.Change(fmt.Sprintf("bulk-%d-%d", i, j), 0, "1"))
		}
		batches = append(batches, b)
	}
	urgent := batch(storetest.Change("urgent", 0, "1"))
	for _, err := range queued(t, s, w, append(batches, urgent)...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, next := false, s.seen()[1]
	for _, m := range next {
		found = found || m.Key == urgent.Entries[0].Key
	}
	if !found || len(next) > 101 {
		t.Errorf("the next commit has %d messages, with the request that came last: %v; want at most 100 of the bulk and the request", len(next), found)
	}
}

func TestBatchesOfOneKeyKeepTheirOrder(t *testing.T) {
	s := &slow{Store: memstore.New(nil), hold: make(chan struct{})}
	w := start(t, s, commit.Config{})
	// The second expects what the first will be written at: the held write takes sequence 1.
	errs := queued(t, s, w, batch(storetest.Change("a", 0, "1")), batch(storetest.Change("a", 2, "2")))
	if errs[0] != nil || errs[1] != nil {
		t.Errorf("errors %v, want none", errs)
	}
}

func TestP2_ExpiredTombstoneIsExpectedOnce(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		w := start(t, s, commit.Config{View: tombstones{}})
		put(t, w, batch(storetest.Change("a", 5, "1"))) // 5 was the tombstone of a, which has expired
		_, err := w.Put(t.Context(), batch(storetest.Change("b", 4, "1")))
		if !errors.Is(err, store.ErrConflict) { // 4 was b itself, before it was removed
			t.Errorf("Put of a change that knows nothing of the removal = %v, want ErrConflict", err)
		}
	})
}

// tombstones is a view in which everything was removed at 5.
type tombstones struct{}

func (tombstones) Await(context.Context, uint64) error { return nil }
func (tombstones) Revision(state.Key) uint64           { return 5 }
func (tombstones) Tombstone(state.Key) uint64          { return 5 }

// The owner is removed, and its stamp with it; then even the tombstone of the stamp is gone. Who decided before loses all
// the same: nothing gives birth to the stamp again.
func TestP9_StampOfARemovedOwnerRefusesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		v := withView(t, s)
		w := start(t, s, commit.Config{View: v})
		node := func(replaces uint64, stamp state.Stamp) *events.Batch {
			b := events.NodeJoined.Batch(events.Meta{Source: "/test"}, stamp)
			b.Add(state.Change{
				Key: state.ObjectKey(state.ObjectRef{Resource: "nodes", Name: "n1"}), Replaces: replaces, Body: []byte("{}"), Remove: stamp.End,
			})
			return b
		}
		born, err := w.Put(t.Context(), node(0, state.Stamp{Kind: state.StampNode, ID: "n1"}))
		if err != nil {
			t.Fatal(err)
		}
		late := state.Stamp{Kind: state.StampNode, ID: "n1", Revision: born.Stamps[0]}
		end := late
		end.End = true
		if _, err := w.Put(t.Context(), node(born.Last(), end)); err != nil {
			t.Fatal(err)
		}
		if err := v.Fresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.NewTimer(state.TombstoneTTL + time.Second).C // virtual
		member := events.ConfigWritten.Batch(events.Meta{Source: "/test"}, late)
		member.Add(storetest.Change("member", 0, "1"))
		if _, err := w.Put(t.Context(), member); !errors.Is(err, store.ErrConflict) {
			t.Errorf("Put with the stamp of a node that is gone = %v, want ErrConflict", err)
		}
	})
}

func TestPermit(t *testing.T) {
	pod := state.Change{Key: state.ObjectKey(state.ObjectRef{Resource: "pods", Namespace: "d", Name: "p"}), Body: []byte("{}")}
	assigned := func(stamps ...state.Stamp) *events.Batch {
		b := events.PodAssigned.Batch(events.Meta{Source: "/test"}, stamps...)
		b.Add(pod)
		return b
	}
	nodeStamp, schedulerStamp := state.Stamp{Kind: state.StampNode, ID: "n1"}, state.Stamp{Kind: state.StampScheduler, ID: state.TheScheduler}
	created := func(stamps ...state.Stamp) *events.Batch {
		b := events.PodCreated.Batch(events.Meta{Source: "/test"}, stamps...)
		b.Add(pod, state.Change{Key: state.OrderKey("n1", "d", "p"), Body: []byte("{}")})
		return b
	}
	reported := events.PodReported.Batch(events.Meta{Source: "/test"})
	reported.Add(pod)
	large := batch(storetest.Change("a", 0, strings.Repeat("x", store.MaxMessage)))
	tests := []struct {
		name    string
		service state.Service
		batch   *events.Batch
		want    string // in the error; "": allowed
	}{
		{"scheduler assigns with its own and the node's stamp", state.Scheduler, assigned(nodeStamp, schedulerStamp), ""},
		{"without the stamp of all assignments", state.Scheduler, assigned(nodeStamp), "needs a stamp of kind scheduler"},
		{"a pod is created on a node", state.API, created(nodeStamp), ""},
		{"a pod is created on a node without its stamp", state.API, created(), "needs the stamp of the node of edge.order.n1.d.p"},
		{"a pod is created on a node with another's stamp", state.API, created(state.Stamp{Kind: state.StampNode, ID: "n2"}), "needs the stamp of the node of edge.order.n1.d.p"},
		{"a set decision without its stamp", state.Scheduler, assigned(), "needs a stamp of kind node"},
		{"with a stamp of another kind", state.Scheduler, assigned(schedulerStamp), "needs a stamp of kind node"},
		{"scheduler writes what nodes report", state.Scheduler, reported, "may not write events of type dev.millrace.pod.reported"},
		{"controller writes a ConfigMap", state.Controller, batch(storetest.Change("a", 0, "1")), "controller may not write object.configmaps"},
		{"nothing to write", state.API, batch(), "without a change"},
		{"too large", state.API, large, "the limit is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := start(t, memstore.New(nil), commit.Config{Service: tt.service}).Put(t.Context(), tt.batch)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Put = %v, want it allowed", err)
			case tt.want != "" && (!errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Put = %v, want ErrInvalid that says %q", err, tt.want)
			}
		})
	}
}

// Whatever goes wrong with single writes: a batch that was acknowledged is there, one that was refused is not, and no
// increment is lost or doubled.
func TestPutProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		random := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		s := memstore.New(nil)
		s.SetFault(func([]events.Message) memstore.Fault {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(4) > 0 {
				return memstore.OK
			}
			return memstore.Fault(1 + random.IntN(3))
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := commit.New(s, commit.Config{Service: state.API, Process: "test"})
		go w.Run(ctx) //nolint:errcheck // it ends with ctx
		var wg sync.WaitGroup
		counts := make([]struct{ sure, maybe int }, 3)
		for worker := range 6 {
			wg.Go(func() {
				key := worker % len(counts)
				for range 5 {
					written, unsure := increment(ctx, s, w, fmt.Sprint(key))
					mu.Lock()
					if written {
						counts[key].sure++
					} else if unsure {
						counts[key].maybe++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for key, c := range counts {
			n := 0
			if got, err := s.Read(ctx, storetest.Change(fmt.Sprint(key), 0, "").Key); err == nil {
				fmt.Sscan(string(got.Body), &n) //nolint:errcheck // increment wrote it
			}
			if n < c.sure || n > c.sure+c.maybe {
				rt.Fatalf("key %d counts %d; %d increments were acknowledged, %d are unknown", key, n, c.sure, c.maybe)
			}
		}
	})
}

func increment(ctx context.Context, s store.Store, w *commit.Writer, name string) (written, unsure bool) {
	n := 0
	got, err := s.Read(ctx, storetest.Change(name, 0, "").Key)
	if err == nil {
		fmt.Sscan(string(got.Body), &n) //nolint:errcheck // an earlier increment wrote it
	}
	_, err = w.Put(ctx, batch(storetest.Change(name, got.Revision, fmt.Sprint(n+1))))
	return err == nil, errors.Is(err, store.ErrUnknown)
}
