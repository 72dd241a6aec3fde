package watch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/watch"
)

// teller tells a hub of changes as a view does: one revision after the other, each with what it replaced.
type teller struct {
	hub      *watch.Hub
	revision uint64
	records  map[state.ObjectRef]*view.Record
}

func tell(hub *watch.Hub) *teller {
	return &teller{hub: hub, records: map[state.ObjectRef]*view.Record{}}
}

func (s *teller) change(resource, namespace, name string, removed bool) uint64 {
	s.revision++
	ref := state.ObjectRef{Resource: resource, Namespace: namespace, Name: name}
	after := &view.Record{Key: state.ObjectKey(ref), Ref: ref, Revision: s.revision, Removed: removed}
	before := s.records[ref]
	s.records[ref] = after
	s.hub.Changed(before, after)
	return s.revision
}

func (s *teller) put(name string) uint64    { return s.change("pods", "default", name, false) }
func (s *teller) remove(name string) uint64 { return s.change("pods", "default", name, true) }

func from(t *testing.T, hub *watch.Hub, resource string, revision uint64) *watch.Cursor {
	t.Helper()
	c, err := hub.From(resource, revision)
	if err != nil {
		t.Fatalf("From(%s, %d) = %v", resource, revision, err)
	}
	return c
}

// next is what a cursor has to tell at once, as revisions.
func next(t *testing.T, c *watch.Cursor) []uint64 {
	t.Helper()
	changes, err := c.Next(t.Context())
	if err != nil {
		t.Fatalf("Next = %v", err)
	}
	return revisions(changes)
}

func revisions(changes []watch.Change) []uint64 {
	var list []uint64
	for _, c := range changes {
		list = append(list, c.Revision)
	}
	return list
}

func TestCursorTellsWhatFollowsItsRevision(t *testing.T) {
	s := tell(watch.New())
	s.hub.Loaded(0)
	a := s.put("a")
	c := from(t, s.hub, "pods", a)
	b, gone := s.put("b"), s.remove("a")
	changes, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{b, gone}, revisions(changes)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if last := changes[1]; last.Before == nil || last.Before.Revision != a || !last.After.Removed {
		t.Errorf("the removal of a says before %+v, after %+v; want revision %d and a tombstone", last.Before, last.After, a)
	}
	again := s.put("a")
	if diff := cmp.Diff([]uint64{again}, next(t, c)); diff != "" {
		t.Errorf("told after the first answer (-want +got):\n%s", diff)
	}
}

func TestCursorIsWokenByItsResourceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tell(watch.New())
		s.hub.Loaded(1)
		s.revision = 1
		c := from(t, s.hub, "pods", 1)
		told := make(chan []uint64, 1)
		go func() { told <- next(t, c) }()
		s.change("secrets", "default", "s", false)
		synctest.Wait()
		select {
		case got := <-told:
			t.Fatalf("a watch of pods was told of %v, a Secret", got)
		default:
		}
		a := s.put("a")
		if diff := cmp.Diff([]uint64{a}, <-told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// What is loaded is listed, not watched: a window that began earlier would promise changes that nobody saw.
func TestP7_WindowBeginsWhereTheViewBecameWhole(t *testing.T) {
	s := tell(watch.New())
	s.put("a")
	last := s.put("b")
	if _, err := s.hub.From("pods", last); !errors.Is(err, store.ErrExpired) {
		t.Errorf("From before the view is whole = %v, want ErrExpired", err)
	}
	s.hub.Loaded(last)
	if _, err := s.hub.From("pods", last-1); !errors.Is(err, store.ErrExpired) {
		t.Errorf("From(%d), before the window = %v, want ErrExpired", last-1, err)
	}
	c := from(t, s.hub, "pods", last)
	after := s.put("a")
	if diff := cmp.Diff([]uint64{after}, next(t, c)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A view that started anew may have skipped anything: who watched before must list again.
func TestP7_RebuildEndsEveryCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tell(watch.New())
		s.hub.Loaded(1)
		s.revision = 1
		idle, waiting := from(t, s.hub, "pods", 1), from(t, s.hub, "pods", 1)
		ended := make(chan error, 1)
		go func() {
			_, err := waiting.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		s.hub.Loaded(9)
		if err := <-ended; !errors.Is(err, store.ErrExpired) {
			t.Errorf("Next that waited = %v, want ErrExpired", err)
		}
		if _, err := idle.Next(t.Context()); !errors.Is(err, store.ErrExpired) {
			t.Errorf("Next afterwards = %v, want ErrExpired", err)
		}
		if _, err := s.hub.From("pods", 8); !errors.Is(err, store.ErrExpired) {
			t.Errorf("From(8) after a rebuild at 9 = %v, want ErrExpired", err)
		}
	})
}

func TestSlowCursorFallsOutOfTheWindow(t *testing.T) {
	const size = 4
	s := tell(watch.Sized(size))
	s.hub.Loaded(1)
	s.revision = 1
	slow, other := from(t, s.hub, "pods", 1), from(t, s.hub, "nodes", 1)
	for i := range 2*size + 1 {
		s.put(fmt.Sprint(i))
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, store.ErrExpired) {
		t.Errorf("Next of a cursor that fell behind = %v, want ErrExpired", err)
	}
	kept := s.revision - size
	if _, err := s.hub.From("pods", kept-1); !errors.Is(err, store.ErrExpired) {
		t.Errorf("From(%d), of which the next change was dropped = %v, want ErrExpired", kept-1, err)
	}
	if got := next(t, from(t, s.hub, "pods", kept)); len(got) != size || got[0] != kept+1 {
		t.Errorf("the oldest place in the window tells %v, want %d changes from %d", got, size, kept+1)
	}
	node := s.change("nodes", "", "n1", false)
	if diff := cmp.Diff([]uint64{node}, next(t, other)); diff != "" {
		t.Errorf("a busy resource pushed out another: told (-want +got):\n%s", diff)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := watch.New()
		hub.Loaded(1)
		why := errors.New("the watcher has gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := from(t, hub, "pods", 1).Next(ctx)
			ended <- err
		}()
		synctest.Wait()
		cancel(why)
		if err := <-ended; !errors.Is(err, why) {
			t.Errorf("Next = %v, want the cause of its context's end", err)
		}
	})
}

// Everybody who watches sees everything in one order, and nobody is left behind when they stop: the bubble would not end.
func TestManyWatchersSeeTheSameOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const watchers, changes = 40, 100
		s := tell(watch.New())
		s.hub.Loaded(1)
		s.revision = 1
		results := make(chan []uint64, watchers)
		for range watchers {
			c := from(t, s.hub, "pods", 1)
			go func() {
				var all []uint64
				for len(all) < changes {
					all = append(all, next(t, c)...)
				}
				results <- all
			}()
		}
		var want []uint64
		for i := range changes {
			want = append(want, s.put(fmt.Sprint(i%7)))
		}
		for range watchers {
			if diff := cmp.Diff(want, <-results); diff != "" {
				t.Fatalf("told (-want +got):\n%s", diff)
			}
		}
	})
}

// A bookmark tells a client where to resume: a change that it has not been told must lie behind it.
func TestReachedNeverPassesWhatWasNotTold(t *testing.T) {
	s := tell(watch.New())
	s.hub.Loaded(1)
	s.revision = 1
	c := from(t, s.hub, "pods", 1)
	if got := c.Reached(); got != 1 {
		t.Errorf("Reached at the beginning = %d, want 1", got)
	}
	other := s.change("nodes", "", "n1", false)
	if got := c.Reached(); got != other {
		t.Errorf("Reached after a change of another resource = %d, want %d: there is nothing to tell", got, other)
	}
	a := s.put("a")
	s.change("nodes", "", "n2", false)
	if got := c.Reached(); got >= a {
		t.Errorf("Reached = %d although the change at %d was not told", got, a)
	}
	next(t, c)
	if got := c.Reached(); got != s.revision {
		t.Errorf("Reached when all is told = %d, want %d", got, s.revision)
	}
	s.hub.Loaded(100)
	if got := c.Reached(); got >= 100 {
		t.Errorf("Reached of a cursor that a rebuild ended = %d", got)
	}
}

// Whatever changes, whoever resumes wherever: each cursor is told all that lies behind its revision, or that it has expired.
func TestCursorProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 5
		s := tell(watch.Sized(size))
		s.hub.Loaded(1)
		s.revision = 1
		var pods []uint64 // every change of a pod
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			resource := rapid.SampledFrom([]string{"pods", "nodes"}).Draw(t, "resource")
			at := s.change(resource, "default", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), rapid.Bool().Draw(t, "removed"))
			if resource == "pods" {
				pods = append(pods, at)
			}
		}
		seen := rapid.Uint64Range(1, s.revision).Draw(t, "seen")
		var want []uint64
		for _, at := range pods {
			if at > seen {
				want = append(want, at)
			}
		}
		c, err := s.hub.From("pods", seen)
		if err != nil {
			if len(want) <= size {
				t.Fatalf("From(%d) = %v with only %d changes behind it", seen, err, len(want))
			}
			return
		}
		if len(want) == 0 { // so that there is something to tell
			want = append(want, s.put("last"))
		}
		changes, err := c.Next(context.Background())
		if err != nil {
			t.Fatalf("Next behind %d = %v", seen, err)
		}
		if diff := cmp.Diff(want, revisions(changes)); diff != "" {
			t.Fatalf("told behind %d (-want +got):\n%s", seen, diff)
		}
	})
}

// A list can be had again as it was at any revision of the window, so that the pages of a list belong together.
func TestRewindProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := tell(watch.Sized(1000))
		list := func() (live []*view.Record) {
			for _, namespace := range []string{"a", "b"} {
				for _, name := range []string{"x", "y", "z"} {
					if r := s.records[state.ObjectRef{Resource: "pods", Namespace: namespace, Name: name}]; r != nil && !r.Removed {
						live = append(live, r)
					}
				}
			}
			return live
		}
		change := func(t *rapid.T) {
			s.change(rapid.SampledFrom([]string{"pods", "nodes"}).Draw(t, "resource"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace"),
				rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name"), rapid.Bool().Draw(t, "removed"))
		}
		for range rapid.IntRange(1, 10).Draw(t, "before") {
			change(t)
		}
		s.hub.Loaded(s.revision)
		lists := map[uint64][]*view.Record{s.revision: list()}
		for range rapid.IntRange(0, 20).Draw(t, "after") {
			change(t)
			lists[s.revision] = list()
		}
		for revision, want := range lists {
			got, err := s.hub.Rewind("pods", "", list(), s.revision, revision)
			if err != nil {
				t.Fatalf("Rewind to %d = %v", revision, err)
			}
			if diff := cmp.Diff(refs(want), refs(got)); diff != "" {
				t.Fatalf("at %d (-want +got):\n%s", revision, diff)
			}
		}
	})
}

func refs(records []*view.Record) []string {
	list := []string{}
	for _, r := range records {
		list = append(list, fmt.Sprintf("%s at %d", r.Ref, r.Revision))
	}
	return list
}

func TestRewindRefusesWhatItCannotKnow(t *testing.T) {
	s := tell(watch.Sized(2))
	s.put("a")
	s.hub.Loaded(s.revision)
	begin := s.revision
	if _, err := s.hub.Rewind("pods", "", nil, begin, begin-1); !errors.Is(err, store.ErrExpired) {
		t.Errorf("Rewind to before the window = %v, want ErrExpired", err)
	}
	for range 5 {
		s.put("a")
	}
	if _, err := s.hub.Rewind("pods", "", nil, s.revision, begin); !errors.Is(err, store.ErrExpired) {
		t.Errorf("Rewind past changes that were dropped = %v, want ErrExpired", err)
	}
}
