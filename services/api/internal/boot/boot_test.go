package boot_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/boot"
)

// server is the NATS server as boot asks about it.
type server struct {
	mu        sync.Mutex
	id        string
	alone     bool
	torn      bool
	fail      int // how often the boot check fails before it succeeds
	connected chan struct{}
	ensured   atomic.Int32 // how often its streams were made
}

func alone(id string) *server { return &server{id: id, alone: true, connected: make(chan struct{}, 1)} }

func (s *server) Server() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

func (s *server) Alone() bool { return s.alone }

var errAway = errors.New("the server is away")

func (s *server) Torn(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail > 0 {
		s.fail--
		return false, errAway
	}
	return s.torn, nil
}

func (s *server) Reconnected() (<-chan struct{}, func()) { return s.connected, func() {} }

// restart makes the server another instance and tells of the new connection.
func (s *server) restart(id string) {
	s.mu.Lock()
	s.id = id
	s.mu.Unlock()
	s.connected <- struct{}{}
}

func of(s *apitest.State, nats *server) *boot.Boot {
	streams := func(context.Context) error { nats.ensured.Add(1); return nil }
	return &boot.Boot{View: s.View, Writer: s.Writer, Server: nats, Streams: streams, Source: apitest.Source, Now: time.Now}
}

// inBubble runs a test against an empty bucket. Time is virtual.
func inBubble(t *testing.T, test func(t *testing.T, s *apitest.State)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, apitest.New(t, view.Config{})) })
}

func ensure(t *testing.T, b *boot.Boot) {
	t.Helper()
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatalf("Ensure = %v", err)
	}
	if err := b.View.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func epoch(t *testing.T, s *apitest.State) (e state.EpochBody) {
	t.Helper()
	s.Fresh(t)
	if err := json.Unmarshal(s.View.Body(state.Epoch), &e); err != nil {
		t.Fatalf("epoch: %v", err)
	}
	return e
}

func namespaceRef(name string) state.ObjectRef {
	return state.ObjectRef{Resource: scheme.Namespaces, Name: name}
}

var first = []string{"default", "kube-node-lease", "kube-public", "kube-system"}

func TestEnsureMakesWhatMustExist(t *testing.T) {
	inBubble(t, func(t *testing.T, s *apitest.State) {
		b := of(s, alone("s1"))
		ensure(t, b)
		var names []string
		for _, r := range s.View.List(scheme.Namespaces, "") {
			names = append(names, r.Ref.Name)
			namespace, _ := view.As[*corev1.Namespace](r)
			want := apitest.Namespace(r.Ref.Name)
			want.UID, want.ResourceVersion = namespace.UID, namespace.ResourceVersion
			want.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
			if diff := cmp.Diff(want, namespace); diff != "" || namespace.UID == "" {
				t.Errorf("namespace with uid %q (-want +got):\n%s", namespace.UID, diff)
			}
			if s.View.Stamp(state.StampNamespace, r.Ref.Name).Revision == 0 {
				t.Errorf("namespace %s has no stamp: nothing can be created in it", r.Ref.Name)
			}
		}
		if diff := cmp.Diff(first, names); diff != "" {
			t.Errorf("namespaces (-want +got):\n%s", diff)
		}
		if s.View.Stamp(state.StampScheduler, state.TheScheduler).Revision == 0 {
			t.Error("the scheduler has no stamp: nothing can be assigned")
		}
		if diff := cmp.Diff(state.EpochBody{Server: "s1"}, epoch(t, s)); diff != "" {
			t.Errorf("epoch (-want +got):\n%s", diff)
		}

		written := len(s.Writes.All())
		ensure(t, b)
		ensure(t, of(s, alone("s1")))
		if now := len(s.Writes.All()); now != written {
			t.Errorf("once more: %d writes, want none", now-written)
		}
	})
}

func TestEnsureLeavesWhatIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T, s *apitest.State) {
		mine := apitest.Namespace("default")
		mine.Labels["team"] = "shop"
		s.Put(t, mine)
		revision := s.View.Revision(state.ObjectKey(namespaceRef("default")))
		ensure(t, of(s, alone("s1")))
		if now := s.View.Revision(state.ObjectKey(namespaceRef("default"))); now != revision {
			t.Errorf("the namespace went from %d to %d", revision, now)
		}
	})
}

// What was removed comes back over its tombstone (P2).
func TestP2_EnsureMakesAgainWhatWasRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, s *apitest.State) {
		b := of(s, alone("s1"))
		ensure(t, b)
		ref := namespaceRef(corev1.NamespaceNodeLease)
		record := s.View.Object(ref)
		namespace, _ := view.As[*corev1.Namespace](record)
		removal, err := state.Removal(namespace.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		stamp := s.View.Stamp(state.StampNamespace, ref.Name)
		stamp.End = true
		batch := events.NamespaceDeleted.Batch(events.Meta{Source: apitest.Source}, stamp)
		batch.Add(removal)
		if _, err := s.Writer.Put(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		ensure(t, b)
		if s.View.Object(ref) == nil || s.View.Stamp(state.StampNamespace, ref.Name).Revision == 0 {
			t.Error("it or its stamp is missing")
		}
	})
}

// A server that cannot be asked, or a write that fails, delays a start and does not end it.
func TestEnsureTriesAgain(t *testing.T) {
	t.Run("the server is away", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *apitest.State) {
			nats := alone("s1")
			nats.fail = 3
			began := time.Now()
			ensure(t, of(s, nats))
			if waited := time.Since(began); waited < 300*time.Millisecond || waited > time.Second {
				t.Errorf("prepared after %s, want it after three pauses of 100ms", waited)
			}
		})
	})
	t.Run("the store cannot be written", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *apitest.State) {
			began := time.Now()
			s.Store.SetFault(func([]events.Message) memstore.Fault {
				if time.Since(began) < time.Minute {
					return memstore.LostSend
				}
				return memstore.OK
			})
			ensure(t, of(s, alone("s1")))
			if s.View.Object(namespaceRef("default")) == nil {
				t.Error("it is prepared, but the namespace default is missing")
			}
		})
	})
	t.Run("until it is stopped", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *apitest.State) {
			nats := alone("s1")
			nats.fail = 1 << 30
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errAway)
			defer cancel()
			if err := of(s, nats).Ensure(ctx); !errors.Is(err, errAway) {
				t.Errorf("Ensure = %v, want the cause of its end", err)
			}
		})
	})
}

// On one server the epoch names the instance, and only another instance begins another (P15). Servers that hold the state together
// lose nothing: the first epoch lasts.
func TestP15_EpochIsThatOfTheServer(t *testing.T) {
	tests := []struct {
		name        string
		had         string // the server of the epoch that is there; empty: none
		server      *server
		want        state.EpochBody
		wantWritten bool
	}{
		{"the first", "", alone("s1"), state.EpochBody{Server: "s1"}, true},
		{"of the same server", "s1", alone("s1"), state.EpochBody{Server: "s1"}, false},
		{"of another server", "s1", alone("s2"), state.EpochBody{Server: "s2"}, true},
		{"of another server that found a torn batch", "s1", &server{id: "s2", alone: true, torn: true}, state.EpochBody{Server: "s2", Torn: true}, true},
		{"the first of several servers", "", &server{id: "s1"}, state.EpochBody{Server: "s1"}, true},
		{"of one of several servers", "s1", &server{id: "s2"}, state.EpochBody{Server: "s1"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *apitest.State) {
				if tt.had != "" {
					if err := of(s, alone(tt.had)).Epoch(t.Context()); err != nil {
						t.Fatal(err)
					}
					s.Fresh(t)
				}
				before := s.View.Revision(state.Epoch)
				if err := of(s, tt.server).Epoch(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, epoch(t, s)); diff != "" {
					t.Errorf("epoch (-want +got):\n%s", diff)
				}
				if now := s.View.Revision(state.Epoch); (now > before) != tt.wantWritten {
					t.Errorf("the epoch went from %d to %d; want it written: %v", before, now, tt.wantWritten)
				}
			})
		})
	}
}

// A connection to another instance begins another epoch, whatever goes wrong at first; one to the same does not (P15).
func TestP15_KeepBeginsAnEpochAtEveryServer(t *testing.T) {
	inBubble(t, func(t *testing.T, s *apitest.State) {
		nats := alone("s1")
		b := of(s, nats)
		ensure(t, b)
		apitest.Run(t, b.Keep)
		before := s.View.Revision(state.Epoch)
		nats.restart("s1")
		apitest.Elapse(time.Second)
		if nats.ensured.Load() == 0 {
			t.Error("streams in memory went with a server and were not made again")
		}
		s.Fresh(t)
		if now := s.View.Revision(state.Epoch); now != before {
			t.Errorf("a new connection to the same server moved the epoch from %d to %d", before, now)
		}
		nats.mu.Lock()
		nats.fail = 5
		nats.mu.Unlock()
		nats.restart("s2")
		apitest.Elapse(time.Second)
		if got := epoch(t, s).Server; got != "s2" {
			t.Errorf("the epoch names %s, want s2", got)
		}
	})
}

var _ boot.Server = (*server)(nil)

// Replicas that start at once make everything once: what one has made, no other replaces (P1).
func TestP1_ReplicasThatStartAtOnce(t *testing.T) {
	for range 30 {
		inBubble(t, func(t *testing.T, s *apitest.State) {
			replicas := []*apitest.State{s, s.Replica(t, "api-2", view.Config{}), s.Replica(t, "api-3", view.Config{})}
			var wg sync.WaitGroup
			for _, r := range replicas {
				wg.Go(func() { ensure(t, of(r, alone("s1"))) })
			}
			wg.Wait()
			keys := []state.Key{state.Epoch, state.StampKey(state.StampScheduler, state.TheScheduler)}
			for _, name := range first {
				keys = append(keys, state.ObjectKey(namespaceRef(name)), state.StampKey(state.StampNamespace, name))
			}
			for _, key := range keys {
				e, err := s.Store.Read(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if event, err := events.Decode(e.Header); err != nil || event.PrevRevision != 0 {
					t.Errorf("%s replaced revision %d, %v; want it made once", key, event.PrevRevision, err)
				}
			}
		})
	}
}
