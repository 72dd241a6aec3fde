package events_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
)

// One decision: a pod gets its node. The pod, its order and the node's stamp are one batch, and each is an event.
func ExampleType_Batch() {
	b := events.PodAssigned.Batch(events.Meta{Source: "/millrace/scheduler"}, state.Stamp{Kind: state.StampNode, ID: "n1", Revision: 41})
	b.Add(
		state.Change{Key: state.ObjectKey(state.ObjectRef{Resource: "pods", Namespace: "shop", Name: "web"}), Replaces: 40, Body: []byte("{}")},
		state.Change{Key: state.OrderKey("n1", "shop", "web"), Body: []byte("{}")},
	)
	messages, err := b.Messages("scheduler-1", time.Now())
	if err != nil {
		panic(err)
	}
	for _, m := range messages {
		e, err := events.Decode(m.Header)
		if err != nil {
			panic(err)
		}
		fmt.Println(e.Type, e.Subject, "replaces", m.Replaces)
	}
	// Output:
	// dev.millrace.pod.assigned object.pods.shop.web replaces 40
	// dev.millrace.pod.assigned edge.order.n1.shop.web replaces 0
	// dev.millrace.stamp.moved stamp.node.n1 replaces 41
}

// An id is unique and tells the time at which it was made, so that ids sort by it.
func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		before := ulid.Now()
		id, err := ulid.ParseStrict(events.NewID())
		if err != nil || seen[id.String()] || id.Time() < before || id.Time() > ulid.Now() {
			t.Fatalf("NewID() = %v, made at %d: %v; seen before: %v", id, id.Time(), err, seen[id.String()])
		}
		seen[id.String()] = true
	}
}

func decode(t *testing.T, m events.Message) events.Event {
	t.Helper()
	e, err := events.Decode(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestMessages(t *testing.T) {
	meta := events.Meta{Source: "/s", Actor: "user:alice", Correlation: "c", Causation: "e", Trace: "t"}
	b := events.NodeJoined.Batch(meta, state.Stamp{Kind: state.StampNode, ID: "n1", Revision: 5, Data: json.RawMessage(`{"x":1}`)})
	b.Add(state.Change{Key: "object.nodes.=.n1", Replaces: 3, Body: []byte(`{"a":1}`), Report: "1.1"})
	b.AddAs(events.ClaimTaken.Info(), state.Change{Key: "claim.podcidr.x", Body: []byte(`{}`)})
	b.AddAs(events.PodDeleted.Info(), state.Change{Key: "object.pods.d.p", Replaces: 4, Body: []byte(`{"b":1}`), Remove: true})
	b.Check("stamp.namespace.d", 9)
	now := time.Unix(1, 2)
	messages, err := b.Messages("p1", now)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		key    state.Key
		typ    string
		prev   uint64
		body   string
		remove bool
		ttl    time.Duration
		report string
	}{
		{key: "object.nodes.=.n1", typ: "dev.millrace.node.joined", prev: 3, body: `{"a":1}`, report: "1.1"},
		{key: "claim.podcidr.x", typ: "dev.millrace.claim.taken", body: `{}`},
		{key: "object.pods.d.p", typ: "dev.millrace.pod.deleted", prev: 4, body: `{"b":1}`, remove: true, ttl: state.TombstoneTTL},
		{key: "stamp.node.n1", typ: "dev.millrace.stamp.moved", prev: 5, body: `{"by":"p1","batch":"` + b.ID + `","data":{"x":1}}`},
	}
	if len(messages) != len(want) {
		t.Fatalf("%d messages, want %d: checks are the commit's", len(messages), len(want))
	}
	ids := map[string]bool{}
	for i, w := range want {
		m, e := messages[i], decode(t, messages[i])
		if m.Key != w.key || string(m.Body) != w.body || m.Replaces != w.prev || m.Remove != w.remove || m.TTL != w.ttl {
			t.Errorf("message %d = %+v, want %+v", i, m.Change, w)
		}
		if e.Meta != meta || e.Type != w.typ || e.Subject != string(w.key) || e.PrevRevision != w.prev || e.Report != w.report || !e.Time.Equal(now) {
			t.Errorf("event %d = %+v, want %+v of %+v at %v", i, e, w, meta, now)
		}
		if ids[e.ID] || events.BatchOf(e.ID) != b.ID {
			t.Errorf("event %d has the id %s, of batch %s, want one of its own of batch %s", i, e.ID, events.BatchOf(e.ID), b.ID)
		}
		ids[e.ID] = true
	}
	if !ids[b.ID] {
		t.Errorf("no event has the id of the batch, %s, which is the id of the command", b.ID)
	}
}

// A retry of the same decision must be recognised as the same (P13).
func TestP13_ARetryKeepsIDsAndExpectations(t *testing.T) {
	b := events.PodAssigned.Batch(events.Meta{Source: "/s"}, state.Stamp{Kind: state.StampNode, ID: "n1", Revision: 5})
	b.Add(state.Change{Key: "object.pods.d.p", Replaces: 4, Body: []byte(`{}`)})
	first, err := b.Messages("p1", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Messages("p1", time.Unix(2, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if a, b := decode(t, first[i]).ID, decode(t, second[i]).ID; a != b || first[i].Replaces != second[i].Replaces {
			t.Errorf("message %d is %s replacing %d, then %s replacing %d", i, a, first[i].Replaces, b, second[i].Replaces)
		}
	}
}

// P8: whatever else a batch holds, its stamps are the last that is written of it.
func TestP8_StampIsLast(t *testing.T) {
	highest := 0
	for _, key := range []state.Key{"beat.p.1", "claim.podcidr.x", "object.pods.d.p", "sealed.secrets.d.s", "edge.order.n.d.p", "done.x", "epoch"} {
		for _, remove := range []bool{false, true} {
			highest = max(highest, events.Rank(state.Change{Key: key, Remove: remove}))
		}
	}
	for _, s := range state.Stamps {
		for _, end := range []bool{false, true} {
			if got := events.Rank(state.Change{Key: state.StampKey(s.Kind, "x"), Remove: end}); got <= highest {
				t.Errorf("the stamp of a %s ranks %d, and something else %d", s.Kind, got, highest)
			}
		}
	}
}

// thing is an object with everything that may hang on it.
type thing struct{ claim, object, order state.Key }

func things(n int) []thing {
	all := make([]thing, n)
	for i := range all {
		name := fmt.Sprint("p", i)
		all[i] = thing{
			claim:  state.ClaimKey(state.ClaimPodCIDR, name),
			object: state.ObjectKey(state.ObjectRef{Resource: "pods", Namespace: "d", Name: name}),
			order:  state.OrderKey("n1", "d", name),
		}
	}
	return all
}

// A power loss may leave any prefix of a commit. Each can be repaired if an order never lies beside no pod, an object always has its
// claim, and a stamp moves only behind everything that it stands for: then orders follow from pods, and claims without an
// object are dropped.
func TestP11_EveryPrefixCanBeRepaired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		present := map[state.Key]bool{}
		var changes []state.Change
		all := things(rapid.IntRange(1, 5).Draw(t, "objects"))
		for _, o := range all {
			switch rapid.SampledFrom([]string{"created", "removed", "updated", "untouched"}).Draw(t, "fate of "+string(o.object)) {
			case "created":
				changes = append(changes, state.Change{Key: o.claim}, state.Change{Key: o.object}, state.Change{Key: o.order})
			case "removed":
				present[o.claim], present[o.object], present[o.order] = true, true, true
				changes = append(changes,
					state.Change{Key: o.claim, Remove: true}, state.Change{Key: o.object, Remove: true}, state.Change{Key: o.order, Remove: true})
			case "updated":
				present[o.claim], present[o.object], present[o.order] = true, true, true
				changes = append(changes, state.Change{Key: o.object}, state.Change{Key: o.order})
			default:
				present[o.claim], present[o.object], present[o.order] = true, true, true
			}
		}
		changes = append(changes, state.Change{Key: state.StampKey(state.StampNode, "n1")}, state.Change{Key: state.BeatKey("p", 1)})
		changes = rapid.Permutation(changes).Draw(t, "order")
		slices.SortStableFunc(changes, func(a, b state.Change) int { return cmp.Compare(events.Rank(a), events.Rank(b)) })
		for i, c := range changes {
			if strings.HasPrefix(string(c.Key), "stamp.") && i != len(changes)-1 {
				t.Fatalf("a stamp is written before %s", changes[i+1].Key)
			}
			present[c.Key] = !c.Remove
			for _, o := range all {
				if present[o.order] && !present[o.object] {
					t.Fatalf("after %d of %v: %s lies beside no pod", i+1, keys(changes), o.order)
				}
				if present[o.object] && !present[o.claim] {
					t.Fatalf("after %d of %v: %s has no claim", i+1, keys(changes), o.object)
				}
			}
		}
	})
}

func keys(changes []state.Change) []string {
	var list []string
	for _, c := range changes {
		text := string(c.Key)
		if c.Remove {
			text = "-" + text
		}
		list = append(list, text)
	}
	return list
}
