package view_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/store/storetest"
	"millrace.dev/pkg/view"
)

// gated delivers to followers only as many entries as the test lets through, as a slow consumer does.
type gated struct {
	store.Store
	pass chan struct{} // nil: open
}

func (g *gated) Follow(ctx context.Context, after uint64, deliver func(store.Entry)) error {
	return g.Store.Follow(ctx, after, func(e store.Entry) {
		if g.pass != nil {
			select {
			case <-g.pass:
			case <-ctx.Done():
				return
			}
		}
		deliver(e)
	})
}

func run(t *testing.T, s store.Store, config view.Config) *view.View {
	t.Helper()
	config.Process = "test"
	v := view.New(s, config)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	return v
}

func put(t *testing.T, s store.Store, name string, replaces uint64, body string) uint64 {
	t.Helper()
	first, err := s.Write(t.Context(), storetest.Messages(t, storetest.Change(name, replaces, body)))
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func del(t *testing.T, s store.Store, name string, replaces uint64) uint64 {
	t.Helper()
	c := storetest.Change(name, replaces, "{}")
	c.Remove = true
	first, err := s.Write(t.Context(), storetest.Messages(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// elapse lets time go by inside a synctest bubble.
func elapse(d time.Duration) { <-time.NewTimer(d).C }

func key(name string) state.Key { return storetest.Change(name, 0, "").Key }

func fresh(t *testing.T, v *view.View) {
	t.Helper()
	if err := v.Fresh(t.Context()); err != nil {
		t.Fatalf("Fresh: %v", err)
	}
}

func wantBody(t *testing.T, v *view.View, name, want string) {
	t.Helper()
	if got := string(v.Body(key(name))); got != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func TestFreshSeesEveryAcknowledgedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		v := run(t, s, view.Config{})
		fresh(t, v)
		var revision uint64
		for i := range 20 {
			revision = put(t, s, "a", revision, fmt.Sprint(i))
			fresh(t, v)
			wantBody(t, v, "a", fmt.Sprint(i))
			if !v.Exact() || v.Position() != revision {
				t.Fatalf("position %d, exact %v; want %d, true", v.Position(), v.Exact(), revision)
			}
		}
		removed := del(t, s, "a", revision)
		fresh(t, v)
		wantBody(t, v, "a", "")
		if got := v.Revision(key("a")); got != removed {
			t.Errorf("Revision of a removed key = %d, want its tombstone %d", got, removed)
		}
	})
}

// While a revision that was overwritten is missing, the view shows a mixture and must not call itself exact.
func TestP5_SkippedRevisionMakesTheViewInexact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{Store: memstore.New(nil), pass: make(chan struct{})}
		v := run(t, g, view.Config{})
		fresh(t, v)
		a := put(t, g, "a", 0, "1")
		g.pass <- struct{}{}
		synctest.Wait()
		if !v.Exact() {
			t.Fatal("nothing was skipped, but the view is not exact")
		}
		release := g.Store.(*memstore.Store).Hold()
		a = put(t, g, "a", a, "2") // will be overwritten before it is delivered
		put(t, g, "stamp", 0, "1")
		put(t, g, "a", a, "3")
		release()
		g.pass <- struct{}{} // the stamp
		synctest.Wait()
		wantBody(t, v, "a", "1")
		wantBody(t, v, "stamp", "1")
		if v.Exact() {
			t.Fatal("the view shows a=1 with the stamp that came after a=2, and calls itself exact")
		}
		g.pass <- struct{}{} // a=3 names what it replaced
		synctest.Wait()
		wantBody(t, v, "a", "3")
		if !v.Exact() {
			t.Error("the overwriting revision has arrived, but the view is not exact")
		}
	})
}

// Two revisions of one key are lost in a row: the one that comes names only the second. The store's last sequence, asked for after
// the skip, closes the hole.
func TestP5_BarrierClosesWhatNoSuccessorNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		v := run(t, s, view.Config{})
		fresh(t, v)
		release := s.Hold()
		a := put(t, s, "a", 0, "1")
		a = put(t, s, "a", a, "2")
		put(t, s, "a", a, "3")
		release()
		synctest.Wait()
		if v.Exact() {
			t.Fatal("revision 1 is named by nobody, but the view is exact before it has asked")
		}
		if err := v.AwaitExact(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		wantBody(t, v, "a", "3")
	})
}

// The store's last sequence was a tombstone and has expired: it will never be delivered.
func TestP6_BeatReplacesASequenceThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		del(t, s, "a", put(t, s, "a", 0, "1"))
		elapse(state.TombstoneTTL + time.Second) // virtual
		v := run(t, s, view.Config{})
		fresh(t, v)
		if _, err := s.Read(t.Context(), state.BeatKey("test", 0)); err != nil {
			t.Errorf("no beat was written: %v", err)
		}
		if v.Revision(key("a")) != 0 {
			t.Error("the expired tombstone is still shown")
		}
	})
}

// A key was removed and its tombstone expired while the view could not see it: resuming would keep the key for ever.
func TestP7_ViewThatLaggedTooLongStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		put(t, s, "stays", 0, "1")
		ghost := put(t, s, "ghost", 0, "1")
		var mu sync.Mutex
		var told []string
		v := run(t, s, view.Config{Subscribers: []view.Subscriber{func(before, after *view.Record) {
			mu.Lock()
			defer mu.Unlock()
			if after.Removed && before != nil && !before.Removed {
				told = append(told, after.Ref.Name)
			}
		}}})
		fresh(t, v)
		release := s.Hold()
		del(t, s, "ghost", ghost)
		elapse(state.TombstoneTTL + time.Second) // virtual
		put(t, s, "later", 0, "1")
		release()
		fresh(t, v)
		wantBody(t, v, "ghost", "")
		wantBody(t, v, "stays", "1")
		wantBody(t, v, "later", "1")
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, []string{"ghost"}) {
			t.Errorf("subscribers were told of the removal of %v, want ghost", told)
		}
	})
}

func TestP7_IdleViewStaysCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		put(t, s, "a", 0, "1")
		changes := 0
		v := run(t, s, view.Config{Subscribers: []view.Subscriber{func(_, _ *view.Record) { changes++ }}})
		fresh(t, v)
		elapse(5 * time.Hour) // virtual
		fresh(t, v)
		if changes != 1 {
			t.Errorf("an idle view told of %d changes, want only the first", changes)
		}
	})
}

// A server that lost its last messages gives their sequences out again: what was shown under them means nothing.
func TestP15_ResetDiscardsSequences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		put(t, s, "a", 0, "kept")
		put(t, s, "b", 0, "lost")
		v := run(t, s, view.Config{})
		fresh(t, v)
		s.Reset(1)
		put(t, s, "c", 0, "new") // takes the sequence that b had
		elapse(time.Second)      // virtual: the view starts anew
		fresh(t, v)
		wantBody(t, v, "a", "kept")
		wantBody(t, v, "b", "")
		wantBody(t, v, "c", "new")
	})
}

func wantFiled(t *testing.T, v *view.View, key string, want int) {
	t.Helper()
	if got, _ := v.ByIndex("body", key); len(got) != want {
		t.Errorf("%d records under %s, want %d", len(got), key, want)
	}
}

func TestIndexFollowsItsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		v := run(t, s, view.Config{Indexes: []view.Index{{Name: "body", Keys: func(r *view.Record) []string { return []string{string(r.Body)} }}}})
		a := put(t, s, "a", 0, "x")
		put(t, s, "b", 0, "x")
		fresh(t, v)
		wantFiled(t, v, "x", 2)
		a = put(t, s, "a", a, "y")
		fresh(t, v)
		wantFiled(t, v, "x", 1)
		wantFiled(t, v, "y", 1)
		del(t, s, "a", a)
		fresh(t, v)
		wantFiled(t, v, "y", 0)
		if list := v.List("configmaps", "test"); len(list) != 1 || list[0].Ref.Name != "b" {
			t.Errorf("List = %v, want b alone", list)
		}
	})
}

// The same truths over JetStream, under writers that do not wait for the view.
func TestViewOverJetStream(t *testing.T) {
	server := natstest.Run(t)
	s := server.Open()
	v := run(t, server.Open(), view.Config{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			name, revision := fmt.Sprint("w", w), uint64(0)
			for i := range 200 {
				first, err := s.Write(t.Context(), storetest.Messages(t, storetest.Change(name, revision, fmt.Sprint(i))))
				if err != nil {
					t.Error(err)
					return
				}
				revision = first
			}
			if err := v.Fresh(t.Context()); err != nil {
				t.Error(err)
			}
			if got := v.Revision(key(name)); got != revision {
				t.Errorf("%s is at %d, want %d", name, got, revision)
			}
		})
	}
	wg.Wait()
}

func TestViewSurvivesAServerRestart(t *testing.T) {
	server := natstest.Run(t)
	s := server.Open()
	v := run(t, server.Open(), view.Config{})
	a := put(t, s, "a", 0, "1")
	fresh(t, v)
	server.Restart()
	again := server.Open()
	put(t, again, "a", a, "2")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := v.AwaitExact(ctx, a+1); err != nil {
		t.Fatal(err)
	}
	wantBody(t, v, "a", "2")
}

// A key is overwritten after the view asked how far the store is and before its old revision was delivered: passing the answer is
// no proof.
func TestP5_SkipDuringTheLoadIsNotCoveredByAnEarlierQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		g := &gated{Store: s, pass: make(chan struct{})}
		a := put(t, s, "a", 0, "1")
		put(t, s, "b", 0, "1")
		release := s.Hold()
		v := run(t, g, view.Config{})
		elapse(10 * time.Millisecond) // virtual: the view has asked
		put(t, s, "a", a, "2")
		release()
		g.pass <- struct{}{} // b, at the sequence that the answer named
		synctest.Wait()
		if v.Exact() {
			t.Fatalf("the view shows b without a (%q), and calls itself exact", v.Body(key("a")))
		}
		g.pass <- struct{}{}
		fresh(t, v)
		wantBody(t, v, "a", "2")
	})
}

// Who waits for what the store said before it lost its last messages must not wait for a sequence that will not come.
func TestP15_FreshSurvivesAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		put(t, s, "a", 0, "kept")
		v := run(t, s, view.Config{})
		fresh(t, v)
		release := s.Hold()
		put(t, s, "b", 0, "lost")
		done := make(chan error, 1)
		go func() { done <- v.Fresh(t.Context()) }() // its answer is the sequence of b, which nobody sees
		elapse(10 * time.Millisecond)
		s.Reset(1)
		release()
		elapse(10 * time.Second)
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Fresh = %v", err)
			}
		default:
			t.Error("Fresh still waits for a sequence that was lost")
			put(t, s, "c", 0, "gives it what it waits for, so that the test can end")
			if err := <-done; err != nil {
				t.Errorf("Fresh = %v", err)
			}
		}
	})
}
