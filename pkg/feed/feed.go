// Package feed keeps a node in step with the keys that concern it, with no consumer of its own: with one for each of 1,000
// nodes the stream took 3,800 writes a second instead of 23,200 (docs/adr/0005-node-feed-without-consumers.md). It subscribes
// to what the server republishes, asks for a snapshot, and notices whatever it missed: by the previous sequence that each
// message names, and by the digest of what it should have that comes with every beat (P20).
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/telemetry"
)

const (
	// DefaultBeat is how often a node shows that it lives.
	DefaultBeat = 4 * time.Second
	// recheckAfter: a difference counts only if it is still there then; a message may have been on its way (P20).
	recheckAfter = time.Second
	// settleAfter is the extra check behind each snapshot: on a cluster of servers the subscription may have taken effect later
	// than the snapshot was made.
	settleAfter = 2 * time.Second
	retryAfter  = 100 * time.Millisecond
	// backlog is how many messages may wait for the feed; beyond, the server is asked for a snapshot.
	backlog = 64 << 10
)

// The headers that the server puts on what it republishes.
const (
	headerStream    = "Nats-Stream"
	headerSubject   = "Nats-Subject"
	headerSequence  = "Nats-Sequence"
	headerLast      = "Nats-Last-Sequence"
	headerOperation = "KV-Operation"
)

// Config is what a feed is made of.
type Config struct {
	Subject string    // what is republished, such as "edge.order.n1.>"
	Prefix  state.Key // what the keys begin with
	// Snapshot asks for a snapshot that is not older than the question.
	Snapshot func(context.Context) (*state.Snapshot, error)
	// Beat shows that this node lives and learns what it should hold. It is called every Every.
	Beat  func(context.Context) (*state.Beat, error)
	Every time.Duration // 0: DefaultBeat
	// Handle is told of every change, one at a time; Removed entries bear the last body if it is known. It must not block.
	Handle func(state.FeedEntry)
	Meters *telemetry.Registry
}

// Feed is the node's copy. Its zero value is not usable: call [New], then [Feed.Run].
type Feed struct {
	nc     *nats.Conn
	config Config
	meters meters

	mu     sync.Mutex
	held   map[state.Key]state.FeedEntry
	digest state.Digest // of the live entries
	seen   uint64       // the highest revision applied or covered by a snapshot
	// covered is the revision of the newest snapshot: an older message about a key that it does not name comes too late.
	covered uint64
	epoch   uint64
	synced  chan struct{} // closed at the first snapshot

	kicks   chan string
	applied chan struct{} // gets a value at each snapshot
}

// New makes a feed over nc.
func New(nc *nats.Conn, config Config) *Feed {
	if config.Every == 0 {
		config.Every = DefaultBeat
	}
	return &Feed{
		nc: nc, config: config, meters: newMeters(config.Meters), held: map[state.Key]state.FeedEntry{},
		synced: make(chan struct{}), kicks: make(chan string, 1), applied: make(chan struct{}, 1),
	}
}

// Synced is closed when the feed has had its first snapshot.
func (f *Feed) Synced() <-chan struct{} { return f.synced }

// Held is a copy of the live entries.
func (f *Feed) Held() []state.FeedEntry {
	f.mu.Lock()
	defer f.mu.Unlock()
	var live []state.FeedEntry
	for _, e := range f.held {
		if !e.Removed {
			live = append(live, e)
		}
	}
	return live
}

// Run keeps the copy in step until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	messages := make(chan *nats.Msg, backlog)
	sub, err := f.nc.ChanSubscribe(f.config.Subject, messages)
	if err != nil {
		return fmt.Errorf("feed %s: %w", f.config.Subject, err)
	}
	defer sub.Unsubscribe()
	connected := f.nc.StatusChanged(nats.CONNECTED)
	defer f.nc.RemoveStatusListener(connected)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { f.beats(ctx) })
	f.kick("start")
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-connected:
			f.kick("reconnect")
		case why := <-f.kicks:
			if !f.resync(ctx, why, messages) {
				return context.Cause(ctx)
			}
		case m := <-messages:
			f.take(m)
			if dropped, err := sub.Dropped(); err == nil && dropped > f.meters.dropped {
				f.meters.dropped = dropped
				f.kick("overflow")
			}
		}
	}
}

// kick asks for a resync; several at once are one.
func (f *Feed) kick(why string) {
	select {
	case f.kicks <- why:
	default:
	}
}

// resync asks for snapshots until one is applied, and goes on taking what is republished meanwhile. false: ctx has ended.
func (f *Feed) resync(ctx context.Context, why string, messages <-chan *nats.Msg) bool {
	f.meters.resyncs.Add(1, why)
	snapshots := make(chan *state.Snapshot, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { snapshots <- f.ask(ctx) })
	for {
		select {
		case m := <-messages:
			f.take(m)
		case s := <-snapshots:
			if s == nil {
				return false
			}
			f.apply(s)
			return true
		}
	}
}

// ask has the server know our subscription, then asks for a snapshot until there is one; nil: ctx has ended.
func (f *Feed) ask(ctx context.Context) *state.Snapshot {
	for {
		s, err := f.snapshot(ctx)
		if err == nil {
			return s
		}
		if ctx.Err() == nil {
			slog.DebugContext(ctx, "no snapshot", "component", "feed", "subject", f.config.Subject, "err", err)
		}
		if !clock.Pause(ctx, retryAfter) {
			return nil
		}
	}
}

func (f *Feed) snapshot(ctx context.Context) (*state.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := f.nc.FlushWithContext(ctx); err != nil {
		return nil, fmt.Errorf("flush: %w", err)
	}
	return f.config.Snapshot(ctx)
}

// apply makes the copy equal to a snapshot, but for what is newer already.
func (f *Feed) apply(s *state.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Epoch != f.epoch {
		f.epoch, f.seen = s.Epoch, 0
		for key, e := range f.held {
			f.forget(e)
			e.Revision = 0 // whatever the snapshot says is newer
			f.held[key] = e
			f.count(e)
		}
	}
	there := make(map[state.Key]bool, len(s.Entries))
	for _, e := range s.Entries {
		there[e.Key] = true
		if had, ok := f.held[e.Key]; !ok || e.Revision > had.Revision {
			f.put(e)
		}
	}
	for key, e := range f.held {
		switch {
		case there[key] || e.Revision > s.Revision:
		case e.Removed:
			delete(f.held, key) // old enough: the snapshot covers it
		default:
			e.Removed = true
			f.put(e)
			delete(f.held, key)
		}
	}
	f.seen, f.covered = max(f.seen, s.Revision), s.Revision
	select {
	case f.applied <- struct{}{}:
	default:
	}
	select {
	case <-f.synced:
	default:
		close(f.synced)
	}
}

// put files an entry and tells the handler. Caller holds mu.
func (f *Feed) put(e state.FeedEntry) {
	if had, ok := f.held[e.Key]; ok {
		f.forget(had)
	}
	f.held[e.Key] = e
	f.count(e)
	f.config.Handle(e)
}

func (f *Feed) count(e state.FeedEntry) {
	if !e.Removed {
		f.digest.Add(e.Key, e.Revision)
	}
}

func (f *Feed) forget(e state.FeedEntry) {
	if !e.Removed {
		f.digest.Remove(e.Key, e.Revision)
	}
}

// take applies one republished message at once: the newest wins, and what is missing is fetched behind it.
func (f *Feed) take(m *nats.Msg) {
	e, last, err := f.parse(m)
	if err != nil {
		f.meters.refused.Add(1)
		slog.Warn("message refused", "component", "feed", "subject", m.Subject, "err", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	had, known := f.held[e.Key]
	if e.Revision <= had.Revision || e.Revision <= f.covered {
		return
	}
	gap := known && last != had.Revision || !known && last > f.seen
	f.put(e)
	f.seen = max(f.seen, e.Revision)
	if gap {
		f.kick("gap")
	}
}

// parse reads a republished message. Inside an account anyone may publish on our subject as the answer to a request of his own,
// so what does not say where the server took it from is refused.
func (f *Feed) parse(m *nats.Msg) (e state.FeedEntry, last uint64, err error) {
	subject := m.Header.Get(headerSubject)
	if m.Header.Get(headerStream) != state.Stream || subject != state.SubjectPrefix+m.Subject || m.Reply != "" {
		return state.FeedEntry{}, 0, errors.New("it was not republished from the state")
	}
	key, _ := state.KeyOfSubject(subject)
	if !strings.HasPrefix(string(key), string(f.config.Prefix)) {
		return state.FeedEntry{}, 0, errors.New("its key is not ours")
	}
	if e.Revision, err = strconv.ParseUint(m.Header.Get(headerSequence), 10, 64); err != nil {
		return state.FeedEntry{}, 0, fmt.Errorf("%s: %w", headerSequence, err)
	}
	if last, err = strconv.ParseUint(m.Header.Get(headerLast), 10, 64); err != nil {
		return state.FeedEntry{}, 0, fmt.Errorf("%s: %w", headerLast, err)
	}
	e.Key, e.Body, e.Removed = key, m.Data, m.Header.Get(headerOperation) != ""
	return e, last, nil
}

// beats shows that the node lives, and looks whether it is in step: at every beat, and once some time behind each
// snapshot. A difference that is still there a second later has a snapshot fetched.
func (f *Feed) beats(ctx context.Context) {
	beat := time.NewTimer(0)
	defer beat.Stop()
	again := clock.Stopped()
	defer again.Stop()
	suspicious := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.applied:
			again.Reset(settleAfter)
			continue
		case <-beat.C:
			beat.Reset(f.config.Every)
		case <-again.C:
		}
		differs := f.beat(ctx)
		if differs && suspicious {
			f.kick("digest")
		} else if differs {
			again.Reset(recheckAfter)
		}
		suspicious = differs && !suspicious
	}
}

// beat makes one beat and reports whether the copy differs from what it should be.
func (f *Feed) beat(ctx context.Context) (differs bool) {
	ctx, cancel := context.WithTimeout(ctx, f.config.Every)
	defer cancel()
	b, err := f.config.Beat(ctx)
	if err != nil {
		return false // nobody answered: nothing is known
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Epoch == f.epoch && b.Revision < f.seen {
		return false // it does not know yet what we know
	}
	return b.Epoch != f.epoch || b.Digest != f.digest
}
