package boot_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/apitest"
)

// tear writes the first messages of a batch, one by one, as they are left by a power loss on one server.
func tear(t *testing.T, s *apitest.State, b *events.Batch, messages int) {
	t.Helper()
	all, err := b.Messages("api-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b events.Message) int { return cmp.Compare(events.Rank(a.Change), events.Rank(b.Change)) })
	for i := range min(messages, len(all)) {
		if _, err := s.Store.Write(t.Context(), all[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	s.Fresh(t)
}

// repair prepares the bucket at a server that found a torn batch.
func repair(t *testing.T, s *apitest.State) {
	t.Helper()
	nats := alone("s2")
	nats.torn = true
	ensure(t, of(s, nats))
}

// broken says what does not follow from the objects that there are.
func broken(t *testing.T, s *apitest.State) (faults []string) {
	t.Helper()
	orders := map[state.Key]bool{}
	for _, r := range s.View.List(scheme.Pods, "") {
		pod, _ := view.As[*corev1.Pod](r)
		if pod.Spec.NodeName == "" {
			continue
		}
		orders[state.OrderKey(pod.Spec.NodeName, pod.Namespace, pod.Name)] = true
		changes, err := state.PodChange(s.View, pod, pod.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		if len(changes) > 1 {
			faults = append(faults, "the order of "+pod.Name+" differs from it")
		}
		if changes[0].Remove {
			faults = append(faults, pod.Name+" should be gone")
		}
	}
	for resource, kind := range map[string]state.StampKind{scheme.Nodes: state.StampNode, scheme.Namespaces: state.StampNamespace} {
		for _, owner := range s.View.List(resource, "") {
			if s.View.Stamp(kind, owner.Ref.Name).Revision == 0 {
				faults = append(faults, owner.Ref.String()+" has no stamp")
			}
		}
	}
	records, _ := s.View.ListPrefix("")
	for _, r := range records {
		if _, _, ok := state.ParseOrderKey(r.Key); ok && !orders[r.Key] {
			faults = append(faults, fmt.Sprintf("%s has no pod", r.Key))
		}
		if _, _, ok := state.ParseClaimKey(r.Key); ok {
			var owner state.ObjectRef
			if err := json.Unmarshal(r.Body, &owner); err != nil || s.View.Object(owner) == nil {
				faults = append(faults, fmt.Sprintf("%s has no object", r.Key))
			}
		}
		kind, id, _ := state.ParseStampKey(r.Key)
		if kind == state.StampNode && s.Node(id) == nil || kind == state.StampNamespace && s.View.Object(namespaceRef(id)) == nil {
			faults = append(faults, fmt.Sprintf("%s has no owner", r.Key))
		}
	}
	return faults
}

func ranged(name, cidr string) *corev1.Node {
	node := objtest.Node(name).Obj()
	node.Spec.PodCIDR, node.Spec.PodCIDRs = cidr, []string{cidr}
	return node
}

// Whatever decision a power loss tears, and wherever: what is left is made whole, and nothing else is touched (P11).
func TestP11_EveryPrefixIsRepaired(t *testing.T) {
	meta := events.Meta{Source: apitest.Source}
	decisions := map[string]func(t *testing.T, s *apitest.State) *events.Batch{
		"a pod is made on a node": func(t *testing.T, s *apitest.State) *events.Batch {
			b := s.Batch(t, objtest.Pod("new").Node("n1").Obj())
			b.Stamps = append(b.Stamps, s.View.Stamp(state.StampNode, "n1"))
			return b
		},
		"a pod is assigned": func(t *testing.T, s *apitest.State) *events.Batch {
			pod := s.Pod("pending").DeepCopy()
			pod.Spec.NodeName = "n1"
			return s.Batch(t, pod)
		},
		"a pod changes": func(t *testing.T, s *apitest.State) *events.Batch {
			return s.Batch(t, objtest.Pod("web").Node("n1").Label("app", "web").Obj())
		},
		"a pod ends": func(t *testing.T, s *apitest.State) *events.Batch {
			return s.Batch(t, objtest.Pod("web").Node("n1").Phase(corev1.PodSucceeded).Obj())
		},
		"a pod that was deleted ends": func(t *testing.T, s *apitest.State) *events.Batch {
			return s.Batch(t, objtest.Pod("web").Node("n1").Deleting(time.Now()).Phase(corev1.PodSucceeded).Obj())
		},
		"a node joins": func(t *testing.T, s *apitest.State) *events.Batch { return s.Batch(t, ranged("n3", "10.244.3.0/24")) },
		"a node leaves": func(t *testing.T, s *apitest.State) *events.Batch {
			removal, err := state.Removal(s.Node("n2").DeepCopy())
			if err != nil {
				t.Fatal(err)
			}
			stamp := s.View.Stamp(state.StampNode, "n2")
			stamp.End = true
			b := events.NodeDeleted.Batch(meta, stamp)
			b.Add(removal)
			claim := s.View.Get(state.ClaimKey(state.ClaimPodCIDR, "10.244.2.0/24"))
			b.AddAs(events.ClaimTaken.Info(), state.Change{Key: claim.Key, Replaces: claim.Revision, Body: claim.Body, Remove: true})
			return b
		},
		"a namespace is made": func(t *testing.T, s *apitest.State) *events.Batch { return s.Batch(t, apitest.Namespace("new")) },
	}
	for name, decide := range decisions {
		for messages := range 4 {
			t.Run(fmt.Sprintf("%s/%d", name, messages), func(t *testing.T) {
				inBubble(t, func(t *testing.T, s *apitest.State) {
					ensure(t, of(s, alone("s1")))
					s.Put(t, ranged("n1", "10.244.1.0/24"), ranged("n2", "10.244.2.0/24"), objtest.Pod("web").Node("n1").Obj(),
						objtest.Pod("pending").Obj(), objtest.Pod("other").Node("n1").Obj(), apitest.Secret("s"))
					tear(t, s, decide(t, s), messages)
					repair(t, s)
					if diff := gocmp.Diff([]string(nil), broken(t, s)); diff != "" {
						t.Errorf("after the repair (-want +got):\n%s", diff)
					}
					if s.Pod("other") == nil || s.Order(t, "n1", "other") == nil || s.Node("n1") == nil ||
						s.View.Body(state.ClaimKey(state.ClaimPodCIDR, "10.244.1.0/24")) == nil ||
						s.View.Stamp(state.StampScheduler, state.TheScheduler).Revision == 0 || s.View.Stamp(state.StampNode, "n1").Revision == 0 ||
						s.View.Stamp(state.StampNamespace, "default").Revision == 0 {
						t.Error("the repair took away what was whole")
					}
					written := len(s.Writes.All())
					if err := of(s, alone("s2")).Repair(t.Context()); err != nil {
						t.Fatal(err)
					}
					if now := len(s.Writes.All()); now != written {
						t.Errorf("repairing once more wrote %d times", now-written)
					}
				})
			})
		}
	}
}

// An order that says something else than its pod is rewritten from it, on the node that the pod names, and one on another goes.
func TestRepairRewritesOrdersFromPods(t *testing.T) {
	inBubble(t, func(t *testing.T, s *apitest.State) {
		s.Put(t, objtest.Pod("web").Node("n1").Obj(), objtest.Pod("db").Node("n1").Obj())
		whole := s.View.Body(state.OrderKey("n1", "default", "web"))
		b := events.PodUpdated.Batch(events.Meta{Source: apitest.Source})
		b.Add(
			state.Change{Key: state.OrderKey("n1", "default", "web"), Replaces: s.View.Revision(state.OrderKey("n1", "default", "web")), Body: []byte(`{"pod":{}}`)},
			state.Change{Key: state.OrderKey("n2", "default", "web"), Body: whole},
			state.Change{Key: state.OrderKey("n1", "default", "gone"), Body: whole},
		)
		if _, err := s.Writer.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		s.Fresh(t)
		db := s.View.Revision(state.OrderKey("n1", "default", "db"))
		repair(t, s)
		if diff := gocmp.Diff(string(whole), string(s.View.Body(state.OrderKey("n1", "default", "web")))); diff != "" {
			t.Errorf("order of web (-want +got):\n%s", diff)
		}
		if s.Order(t, "n2", "web") != nil || s.Order(t, "n1", "gone") != nil {
			t.Error("an order without a pod of that node is still there")
		}
		if now := s.View.Revision(state.OrderKey("n1", "default", "db")); now != db {
			t.Errorf("an order that was right went from %d to %d", db, now)
		}
	})
}

// Nothing is repaired where nothing was torn: it looks at every key.
func TestNothingIsRepairedAtAWholeStore(t *testing.T) {
	inBubble(t, func(t *testing.T, s *apitest.State) {
		b := events.PodUpdated.Batch(events.Meta{Source: apitest.Source})
		b.Add(state.Change{Key: state.OrderKey("n1", "default", "gone"), Body: []byte(`{"pod":{}}`)})
		if _, err := s.Writer.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		s.Fresh(t)
		ensure(t, of(s, alone("s1")))
		if s.Order(t, "n1", "gone") == nil {
			t.Error("an order is gone")
		}
	})
}

// A repair runs while other replicas write: what has been written a moment ago is no orphan.
func TestRepairAmongWriters(t *testing.T) {
	inBubble(t, func(t *testing.T, s *apitest.State) {
		ensure(t, of(s, alone("s1")))
		other := s.Replica(t, "api-2", view.Config{})
		const rounds = 100
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			defer done.Store(true)
			for i := range rounds {
				node := ranged(fmt.Sprint("n", i), fmt.Sprintf("10.244.%d.0/24", i))
				other.Put(t, node, objtest.Pod(fmt.Sprint("p", i)).Node(node.Name).Obj())
			}
		})
		wg.Go(func() {
			for !done.Load() {
				if err := of(s, alone("s1")).Repair(t.Context()); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		s.Fresh(t)
		for i := range rounds {
			if s.View.Body(state.ClaimKey(state.ClaimPodCIDR, fmt.Sprintf("10.244.%d.0/24", i))) == nil {
				t.Errorf("node %d has lost its range", i)
			}
		}
		if diff := gocmp.Diff([]string(nil), broken(t, s)); diff != "" {
			t.Errorf("after the repairs (-want +got):\n%s", diff)
		}
	})
}
