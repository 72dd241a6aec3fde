package feed

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"millrace.dev/pkg/state"
)

const node = "n1"

// origin is the state as the control plane has it: keys of one node, the messages that the server republishes, and snapshots.
type origin struct {
	last    uint64
	epoch   uint64
	entries map[state.Key]state.FeedEntry // tombstones too
	sent    []*nats.Msg
}

func newOrigin() *origin { return &origin{epoch: 1, entries: map[state.Key]state.FeedEntry{}} }

func order(name string) state.Key { return state.OrderKey(node, "d", name) }

// write makes a revision of an order, or a tombstone, and gives the message that tells of it.
func (o *origin) write(name string, remove bool) *nats.Msg {
	key := order(name)
	o.last++
	e := state.FeedEntry{Key: key, Revision: o.last, Body: json.RawMessage(strconv.FormatUint(o.last, 10)), Removed: remove}
	m := republished(e, o.entries[key].Revision)
	o.entries[key] = e
	o.sent = append(o.sent, m)
	return m
}

// elsewhere is a revision of a key that is none of the node's business.
func (o *origin) elsewhere() { o.last++ }

// expire drops the tombstone of an order, silently.
func (o *origin) expire(name string) {
	if o.entries[order(name)].Removed {
		delete(o.entries, order(name))
	}
}

func (o *origin) snapshot() *state.Snapshot {
	s := &state.Snapshot{Revision: o.last, Epoch: o.epoch}
	for _, e := range o.entries {
		if !e.Removed {
			s.Entries = append(s.Entries, e)
		}
	}
	return s
}

func (o *origin) beat() *state.Beat {
	b := &state.Beat{Revision: o.last, Epoch: o.epoch}
	for _, e := range o.snapshot().Entries {
		b.Digest.Add(e.Key, e.Revision)
	}
	return b
}

// republished is what the server makes of a revision whose key was at last before.
func republished(e state.FeedEntry, last uint64) *nats.Msg {
	subject := "edge.order." + string(e.Key)[len("edge.order."):]
	h := nats.Header{
		headerStream: {state.Stream}, headerSubject: {e.Key.Subject()},
		headerSequence: {state.FormatRevision(e.Revision)}, headerLast: {state.FormatRevision(last)},
	}
	if e.Removed {
		h[headerOperation] = []string{"DEL"}
	}
	return &nats.Msg{Subject: subject, Header: h, Data: e.Body}
}

// told is what a handler makes of what it is told.
type told map[state.Key]state.FeedEntry

func (t told) handle(e state.FeedEntry) {
	if e.Removed {
		delete(t, e.Key)
	} else {
		t[e.Key] = e
	}
}

func newCopy() (*Feed, told) {
	t := told{}
	return New(nil, Config{Subject: "edge.order.n1.>", Prefix: state.OrderPrefix(node), Handle: t.handle}), t
}

func sorted(entries []state.FeedEntry) []state.FeedEntry {
	return slices.SortedFunc(slices.Values(entries), func(a, b state.FeedEntry) int { return int(a.Revision) - int(b.Revision) })
}

// consistent says what the copy contradicts itself in.
func consistent(f *Feed, handled told) string {
	var digest state.Digest
	for _, e := range f.Held() {
		digest.Add(e.Key, e.Revision)
	}
	if digest != f.digest {
		return fmt.Sprintf("the digest is %v, that of what is held %v", f.digest, digest)
	}
	return cmp.Diff(sorted(f.Held()), sorted(slices.Collect(maps.Values(handled))))
}

func equal(f *Feed, o *origin) string {
	return cmp.Diff(sorted(o.snapshot().Entries), sorted(f.Held()))
}

// Whatever is lost, doubled, delayed and reordered on the way: after a snapshot the copy is equal to the state, and nothing that
// was on its way before it changes that.
func TestP20_AfterAResyncTheCopyIsEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newOrigin()
		f, handled := newCopy()
		var pending []*nats.Msg         // on their way
		var answering []*state.Snapshot // made, not yet arrived; in order
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			switch rapid.SampledFrom([]string{"write", "write", "write", "remove", "expire", "elsewhere", "arrive", "arrive", "double", "ask", "answer"}).Draw(t, "event") {
			case "write":
				m := o.write(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), false)
				if rapid.IntRange(0, 3).Draw(t, "lost") > 0 {
					pending = append(pending, m)
				}
			case "remove":
				pending = append(pending, o.write(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), true))
			case "expire":
				o.expire(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"))
			case "elsewhere":
				o.elsewhere()
			case "arrive":
				if len(pending) > 0 {
					i := rapid.IntRange(0, len(pending)-1).Draw(t, "which")
					f.take(pending[i])
					pending = slices.Delete(pending, i, i+1)
				}
			case "double":
				if len(o.sent) > 0 {
					pending = append(pending, rapid.SampledFrom(o.sent).Draw(t, "again"))
				}
			case "ask":
				answering = append(answering, o.snapshot())
			case "answer":
				if len(answering) > 0 {
					f.apply(answering[0])
					answering = answering[1:]
				}
			}
			if diff := consistent(f, handled); diff != "" {
				t.Fatalf("the copy contradicts itself: %s", diff)
			}
		}
		f.apply(o.snapshot())
		if diff := equal(f, o); diff != "" {
			t.Fatalf("after a resync the copy differs (-want +got):\n%s", diff)
		}
		for range min(len(o.sent), rapid.IntRange(0, 4).Draw(t, "late")) {
			f.take(rapid.SampledFrom(o.sent).Draw(t, "which"))
			if diff := equal(f, o); diff != "" {
				t.Fatalf("what was sent before the snapshot has changed the copy (-want +got):\n%s", diff)
			}
		}
		if b := o.beat(); f.digest != b.Digest {
			t.Fatalf("the copy is equal, but its digest is %v, want %v", f.digest, b.Digest)
		}
	})
}

// A loss shows at the next revision of the same key, at once.
func TestGapAsksForASnapshot(t *testing.T) {
	tests := []struct {
		name string
		do   func(f *Feed, o *origin)
		want bool
	}{
		{"nothing lost", func(f *Feed, o *origin) { f.take(o.write("a", false)); f.take(o.write("a", false)) }, false},
		{"a revision lost", func(f *Feed, o *origin) {
			f.take(o.write("a", false))
			o.write("a", false)
			f.take(o.write("a", false))
		}, true},
		{"the first one lost", func(f *Feed, o *origin) {
			f.apply(o.snapshot())
			o.write("a", false)
			f.take(o.write("a", false))
		}, true},
		{"a removal lost", func(f *Feed, o *origin) {
			f.take(o.write("a", false))
			o.write("a", true)
			f.take(o.write("a", false))
		}, true},
		{"known from the snapshot", func(f *Feed, o *origin) {
			o.write("a", false)
			f.apply(o.snapshot())
			f.take(o.write("a", false))
		}, false},
		{"created over a tombstone that the snapshot covers", func(f *Feed, o *origin) {
			o.write("a", false)
			o.write("a", true)
			f.apply(o.snapshot())
			f.take(o.write("a", false))
		}, false},
		{"doubled", func(f *Feed, o *origin) {
			m := o.write("a", false)
			f.take(m)
			f.take(m)
		}, false},
		{"reordered", func(f *Feed, o *origin) {
			first, second := o.write("a", false), o.write("a", false)
			f.take(second)
			f.take(first)
		}, true},
		{"another key lost: nothing shows it but a digest", func(f *Feed, o *origin) {
			f.apply(o.snapshot())
			o.write("b", false)
			f.take(o.write("a", false))
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := newCopy()
			f.apply(newOrigin().snapshot())
			tt.do(f, newOrigin())
			select {
			case why := <-f.kicks:
				if !tt.want || why != "gap" {
					t.Errorf("asked for a snapshot because of a %s, want none", why)
				}
			default:
				if tt.want {
					t.Error("asked for no snapshot")
				}
			}
		})
	}
}

// A snapshot is made, then something is written, and arrives before the snapshot: it stays.
func TestSnapshotDoesNotUndoWhatIsNewer(t *testing.T) {
	for _, name := range []string{"created", "changed", "removed"} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin()
			f, handled := newCopy()
			o.write("changed", false)
			o.write("removed", false)
			f.apply(o.snapshot())
			older := o.snapshot()
			f.take(o.write(name, name == "removed"))
			f.apply(older)
			if diff := equal(f, o); diff != "" {
				t.Errorf("the snapshot has undone what came behind it (-want +got):\n%s", diff)
			}
			if diff := consistent(f, handled); diff != "" {
				t.Errorf("the copy contradicts itself: %s", diff)
			}
		})
	}
}

// P15: under another epoch sequences mean something else; what is held is replaced, older numbers or not.
func TestP15_AnotherEpochDiscardsSequences(t *testing.T) {
	f, handled := newCopy()
	before := newOrigin()
	for _, name := range []string{"kept", "lost", "changed"} {
		before.elsewhere()
		f.take(before.write(name, false))
	}
	f.apply(before.snapshot())
	after := newOrigin()
	after.epoch = 2
	after.write("kept", false)
	after.write("changed", false)
	f.apply(after.snapshot())
	if diff := equal(f, after); diff != "" {
		t.Errorf("under the new epoch the copy differs (-want +got):\n%s", diff)
	}
	if diff := consistent(f, handled); diff != "" {
		t.Errorf("the copy contradicts itself: %s", diff)
	}
	f.take(after.write("new", false))
	f.take(after.write("changed", false))
	if diff := equal(f, after); diff != "" {
		t.Errorf("what follows under the new epoch is not taken (-want +got):\n%s", diff)
	}
	if len(f.kicks) > 0 {
		t.Errorf("asked for a snapshot because of a %s", <-f.kicks)
	}
}

// Inside an account anyone may publish on the subject of a feed, as the answer to a request of his own.
func TestForgedMessagesAreRefused(t *testing.T) {
	tests := []struct {
		name  string
		forge func(m *nats.Msg)
	}{
		{"no header", func(m *nats.Msg) { m.Header = nil }},
		{"another stream", func(m *nats.Msg) { m.Header.Set(headerStream, "EVENTS") }},
		{"another key's subject", func(m *nats.Msg) { m.Header.Set(headerSubject, order("other").Subject()) }},
		{"another node's key", func(m *nats.Msg) {
			key := state.OrderKey("n2", "d", "a")
			m.Subject = string(key)
			m.Header.Set(headerSubject, key.Subject())
		}},
		{"an answer to a request", func(m *nats.Msg) { m.Reply = "_INBOX.x" }},
		{"no sequence", func(m *nats.Msg) { m.Header.Del(headerSequence) }},
		{"a sequence that is none", func(m *nats.Msg) { m.Header.Set(headerSequence, "-1") }},
		{"no previous sequence", func(m *nats.Msg) { m.Header.Del(headerLast) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, handled := newCopy()
			m := newOrigin().write("a", false)
			tt.forge(m)
			f.take(m)
			if len(f.Held()) > 0 || len(handled) > 0 || len(f.kicks) > 0 {
				t.Errorf("the message was taken: holds %v", f.Held())
			}
		})
	}
}

// A handler that is told of a removal gets the last body that is known, whoever tells of it.
func TestRemovalBearsTheLastBody(t *testing.T) {
	for _, how := range []string{"message", "snapshot"} {
		t.Run(how, func(t *testing.T) {
			var last state.FeedEntry
			f := New(nil, Config{Prefix: state.OrderPrefix(node), Handle: func(e state.FeedEntry) { last = e }})
			o := newOrigin()
			f.take(o.write("a", false))
			removal := o.write("a", true)
			if how == "message" {
				f.take(removal)
			} else {
				f.apply(o.snapshot())
			}
			if !last.Removed || last.Key != order("a") || len(last.Body) == 0 || len(f.Held()) > 0 {
				t.Errorf("told of %+v, holds %v; want the removal of a with its last body", last, f.Held())
			}
		})
	}
}
