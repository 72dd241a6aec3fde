package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
)

const patience = 10 * time.Second

// start runs a feed of node n1 over nc until the test ends; after each change it hands on what the feed then was told of.
func start(t *testing.T, nc *nats.Conn, config Config) (f *Feed, changed <-chan struct{}) {
	t.Helper()
	moved := make(chan struct{}, 1)
	handle := config.Handle
	config.Subject, config.Prefix = "edge.order.n1.>", state.OrderPrefix(node)
	config.Handle = func(e state.FeedEntry) {
		if handle != nil {
			handle(e)
		}
		select {
		case moved <- struct{}{}:
		default:
		}
	}
	f = New(nc, config)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	enough := errors.New("enough")
	t.Cleanup(func() {
		cancel(enough)
		if err := <-done; !errors.Is(err, enough) {
			t.Errorf("Run = %v, want the cause of its context", err)
		}
	})
	return f, moved
}

// await waits until done, and looks whenever the feed has changed.
func await(t *testing.T, changed <-chan struct{}, what string, done func() bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !done() {
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

func synced(t *testing.T, f *Feed) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-f.Synced():
	case <-timeout.C:
		t.Fatal("the feed never had a snapshot")
	}
}

// script is an origin that may be asked from other goroutines.
type script struct {
	mu sync.Mutex
	*origin
	asked int
}

func (s *script) do(act func(o *origin)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	act(s.origin)
}

func (s *script) config() Config {
	return Config{
		Every: 20 * time.Millisecond,
		Snapshot: func(context.Context) (snapshot *state.Snapshot, err error) {
			s.do(func(o *origin) { s.asked++; snapshot = o.snapshot() })
			return snapshot, nil
		},
		Beat: func(context.Context) (beat *state.Beat, err error) {
			s.do(func(o *origin) { beat = o.beat() })
			return beat, nil
		},
	}
}

func (s *script) equals(f *Feed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return equal(f, s.origin) == ""
}

func publish(t *testing.T, nc *nats.Conn, messages ...*nats.Msg) {
	t.Helper()
	for _, m := range messages {
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// P20: a message is lost and a later one, of another key, arrives. Only the digest in the answer to a beat can show it.
func TestP20_LossThatNoLaterMessageShows(t *testing.T) {
	server := natstest.Run(t)
	nc := server.Connect()
	s := &script{origin: newOrigin()}
	f, changed := start(t, server.Connect(), s.config())
	synced(t, f)
	s.do(func(o *origin) {
		o.write("a", false) // lost
		publish(t, nc, o.write("b", false))
	})
	await(t, changed, "the lost message to be made up for", func() bool { return s.equals(f) })
}

// The same for a removal: nothing of the key is ever sent again.
func TestP20_LostRemoval(t *testing.T) {
	server := natstest.Run(t)
	nc := server.Connect()
	s := &script{origin: newOrigin()}
	f, changed := start(t, server.Connect(), s.config())
	synced(t, f)
	s.do(func(o *origin) {
		publish(t, nc, o.write("a", false), o.write("b", false))
		o.write("a", true) // lost
	})
	await(t, changed, "the lost removal to be made up for", func() bool { return s.equals(f) })
}

// More messages come while the handler is busy than the feed keeps: what was dropped is fetched.
func TestOverflowAsksForASnapshot(t *testing.T) {
	server := natstest.Run(t)
	nc := server.Connect()
	s := &script{origin: newOrigin()}
	config := s.config()
	config.Beat = func(context.Context) (*state.Beat, error) { return nil, errors.New("no digest helps here") }
	busy, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	config.Handle = func(state.FeedEntry) {
		once.Do(func() {
			close(busy)
			<-release
		})
	}
	receiving := server.Connect()
	f, changed := start(t, receiving, config)
	synced(t, f)
	s.do(func(o *origin) {
		publish(t, nc, o.write("first", false))
		<-busy
		flood := make([]*nats.Msg, backlog)
		for i := range flood {
			flood[i] = o.write("flood", false)
		}
		publish(t, nc, append(flood, o.write("last", false))...)
		publish(t, receiving) // everything has arrived
	})
	close(release)
	await(t, changed, "what was dropped", func() bool { return s.equals(f) })
	s.do(func(*origin) {
		if s.asked < 2 {
			t.Error("no snapshot was asked for, so nothing was dropped")
		}
	})
}

// A snapshot that cannot be had is asked for again; meanwhile what is republished is taken.
func TestSnapshotIsAskedForAgain(t *testing.T) {
	server := natstest.Run(t)
	nc := server.Connect()
	s := &script{origin: newOrigin()}
	s.do(func(o *origin) { o.write("a", false) })
	config := s.config()
	snapshot, asked, back := config.Snapshot, make(chan struct{}, 100), make(chan struct{})
	config.Snapshot = func(ctx context.Context) (*state.Snapshot, error) {
		asked <- struct{}{}
		select {
		case <-back:
			return snapshot(ctx)
		default:
			return nil, store.ErrUnavailable
		}
	}
	f, changed := start(t, server.Connect(), config)
	<-asked // so the server knows the subscription
	s.do(func(o *origin) { publish(t, nc, o.write("b", false)) })
	await(t, changed, "what came before the snapshot", func() bool { return len(f.Held()) == 1 })
	select {
	case <-f.Synced():
		t.Error("the feed calls itself synced without a snapshot")
	default:
	}
	close(back)
	synced(t, f)
	if !s.equals(f) {
		t.Errorf("holds %v", f.Held())
	}
}

// cluster is a real bucket, and a feed that the server's own republishing drives.
type cluster struct {
	t      *testing.T
	server *natstest.Server
	view   *view.View
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	server := natstest.Run(t)
	v := view.New(server.Open(), view.Config{Process: "test"})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { v.Run(ctx) }) //nolint:errcheck // it ends with ctx
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return &cluster{t: t, server: server, view: v}
}

func (c *cluster) config() Config {
	return Config{
		Every: 50 * time.Millisecond,
		Snapshot: func(ctx context.Context) (*state.Snapshot, error) {
			if err := c.view.Fresh(ctx); err != nil {
				return nil, err
			}
			records, position := c.view.ListPrefix(state.OrderPrefix(node))
			s := &state.Snapshot{Revision: position}
			for _, r := range records {
				s.Entries = append(s.Entries, state.FeedEntry{Key: r.Key, Revision: r.Revision, Body: r.Body})
			}
			return s, nil
		},
		Beat: func(context.Context) (*state.Beat, error) {
			records, position := c.view.ListPrefix(state.OrderPrefix(node))
			b := &state.Beat{Revision: position}
			for _, r := range records {
				b.Digest.Add(r.Key, r.Revision)
			}
			return b, nil
		},
	}
}

func (c *cluster) write(s store.Store, changes ...state.Change) uint64 {
	c.t.Helper()
	b := events.PodUpdated.Batch(events.Meta{Source: "/test"})
	b.Add(changes...)
	messages, err := b.Messages("test", time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	first, err := s.Write(c.t.Context(), messages)
	if err != nil {
		c.t.Fatal(err)
	}
	return first
}

func holds(f *Feed, want map[state.Key]uint64) bool {
	held := f.Held()
	if len(held) != len(want) {
		return false
	}
	for _, e := range held {
		if want[e.Key] != e.Revision {
			return false
		}
	}
	return true
}

// What the server itself republishes of single writes, batches and removals is what the feed reads.
func TestFeedFollowsTheServer(t *testing.T) {
	c := newCluster(t)
	s := c.server.Open()
	early := c.write(s, state.Change{Key: order("early"), Body: json.RawMessage("{}")})
	f, changed := start(t, c.server.Connect(), c.config())
	synced(t, f)
	change := func(name string, replaces uint64) state.Change {
		return state.Change{Key: order(name), Replaces: replaces, Body: json.RawMessage(fmt.Sprintf(`{"after":%d}`, replaces))}
	}
	foreign := state.Change{Key: state.OrderKey("n10", "d", "x"), Body: json.RawMessage("{}")}
	first := c.write(s, change("a", 0), foreign, change("b", 0))
	gone := change("early", early)
	gone.Remove = true
	c.write(s, gone)
	b := c.write(s, change("b", first+2))
	await(t, changed, "every revision", func() bool { return holds(f, map[state.Key]uint64{order("a"): first, order("b"): b}) })
	for _, e := range f.Held() {
		if want := fmt.Sprintf(`{"after":%d}`, map[state.Key]uint64{order("a"): 0, order("b"): first + 2}[e.Key]); string(e.Body) != want {
			t.Errorf("%s is %s, want %s", e.Key, e.Body, want)
		}
	}
}

// What is written while the node is cut off is there after it has returned.
func TestFeedSurvivesAServerRestart(t *testing.T) {
	c := newCluster(t)
	s := c.server.Open()
	a := c.write(s, state.Change{Key: order("a"), Body: json.RawMessage("{}")})
	config := c.config()
	config.Beat = func(context.Context) (*state.Beat, error) { return nil, errors.New("no digest helps here") }
	f, changed := start(t, c.server.Connect(), config)
	synced(t, f)
	c.server.Restart()
	again := c.server.Open()
	b := c.write(again, state.Change{Key: order("b"), Body: json.RawMessage("{}")}, state.Change{Key: order("a"), Replaces: a, Body: json.RawMessage("{}"), Remove: true})
	await(t, changed, "what was written meanwhile", func() bool { return holds(f, map[state.Key]uint64{order("b"): b}) })
}
