// Package commit is group commit: with nothing in flight a batch is written at once; while a commit is in flight, batches
// queue and then go together as one. Every caller gets the answer to its own batch: a conflict fails only what is stale.
//
// A Writer is opened for one service and refuses what the table of writers does not grant it, a batch without the stamp that
// its event type demands, and a change that cannot be written.
package commit

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/telemetry"
)

// View is what a Writer asks to find out which of its batches are stale. A *view.View is one.
type View interface {
	// Await waits until the view has seen revision.
	Await(ctx context.Context, revision uint64) error
	// Revision is the newest revision of key, a live tombstone's if it is removed, 0 if there is neither.
	Revision(key state.Key) uint64
	// Tombstone is the sequence of a removed key's tombstone, which may have expired meanwhile; 0: the key is not removed.
	Tombstone(key state.Key) uint64
}

// Config is what a Writer is made of.
type Config struct {
	Service state.Service
	Process string // the name of this process, in stamps and beat keys
	View    View   // optional: without it a conflict is found by halving
	Meters  *telemetry.Registry
}

// Writer writes batches for one process. Safe for concurrent use.
type Writer struct {
	store  store.Store
	config Config
	meters meters

	mu    sync.Mutex
	lines [events.Queues][]*pending
	wake  chan struct{}
}

// Result is where the entries of a batch were written.
type Result struct {
	Revisions []uint64 // of each entry, in the order in which they were added
	Stamps    []uint64 // of each stamp
}

// Last is the revision of the last entry.
func (r Result) Last() uint64 { return r.Revisions[len(r.Revisions)-1] }

// Max is the highest revision that the batch was written at.
func (r Result) Max() (revision uint64) {
	for _, list := range [][]uint64{r.Revisions, r.Stamps} {
		for _, at := range list {
			revision = max(revision, at)
		}
	}
	return revision
}

// New makes a Writer. Its batches wait until [Writer.Run].
func New(s store.Store, config Config) *Writer {
	return &Writer{store: s, config: config, meters: newMeters(config.Meters), wake: make(chan struct{}, 1)}
}

// Put commits b, all of it or nothing, and returns once it is durable (fsynced). Each change names the revision it replaces.
// Batches that share a key are written in the order in which they came to their queue.
//
// Errors: [store.ErrConflict] if a key or the stamp has moved (nothing written: read and decide again), [store.ErrUnknown] if
// even the read-back timed out, [store.ErrUnavailable], [store.ErrFull], [store.ErrReset] (nothing written),
// [store.ErrInvalid] if b can never be written. When ctx ends first, b may or may not be written. Latency: one commit when idle, two under load
// (test/perf, BenchmarkCommit).
func (w *Writer) Put(ctx context.Context, b *events.Batch) (Result, error) {
	if err := w.permit(b); err != nil {
		return Result{}, err
	}
	messages, err := b.Messages(w.config.Process, time.Now())
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", store.ErrInvalid, err)
	}
	p := &pending{batch: b, messages: messages, since: time.Now(), done: make(chan struct{})}
	w.mu.Lock()
	w.lines[b.Queue] = append(w.lines[b.Queue], p)
	w.mu.Unlock()
	w.nudge()
	select {
	case <-p.done:
		return p.result(), p.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// permit refuses a batch that breaks the rules of the tables, or that no store could take.
func (w *Writer) permit(b *events.Batch) error {
	if len(b.Entries) == 0 {
		return fmt.Errorf("%w: batch without a change", store.ErrInvalid)
	}
	if n := len(b.Entries) + len(b.Stamps) + len(b.Checks); n > store.MaxBatch {
		return fmt.Errorf("%w: %d changes do not fit into one batch of %d", store.ErrInvalid, n, store.MaxBatch)
	}
	for _, e := range b.Entries {
		if err := w.permitEntry(b, e); err != nil {
			return fmt.Errorf("%w: %w", store.ErrInvalid, err)
		}
	}
	for _, s := range b.Stamps {
		if !w.config.Service.MayWrite(s.Key()) {
			return fmt.Errorf("%w: %s may not write %s", store.ErrInvalid, w.config.Service, s.Key())
		}
	}
	return nil
}

// headerRoom is left for an event's header below the largest message.
const headerRoom = 4 << 10

func (w *Writer) permitEntry(b *events.Batch, e events.Entry) error {
	if !w.config.Service.MayWrite(e.Key) {
		return fmt.Errorf("%s may not write %s", w.config.Service, e.Key)
	}
	if !e.Type.WrittenBy(w.config.Service) {
		return fmt.Errorf("%s may not write events of type %s", w.config.Service, e.Type.Name)
	}
	if stamp := e.Type.Lacks(e.Key, b.Stamps); stamp != "" {
		return fmt.Errorf("%s decides about a set: its batch needs %s", e.Type.Name, stamp)
	}
	if err := e.Key.Valid(); err != nil {
		return err
	}
	if len(e.Body) > store.MaxMessage-headerRoom {
		return fmt.Errorf("%s has %d bytes; the limit is %d", e.Key, len(e.Body), store.MaxMessage-headerRoom)
	}
	return nil
}

func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes what is put until ctx ends. Whatever still waits then fails with [store.ErrUnavailable].
func (w *Writer) Run(ctx context.Context) error {
	defer w.failAll()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.wake:
		}
		for {
			group := w.take()
			if len(group) == 0 {
				break
			}
			w.commit(ctx, group)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
}

func (w *Writer) failAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for q := range w.lines {
		for _, p := range w.lines[q] {
			p.fail(fmt.Errorf("%w: the process is stopping", store.ErrUnavailable))
		}
		w.lines[q] = nil
	}
}

// bulkShare is how many messages of one commit may come from the bulk queue (P14).
const bulkShare = 100

// take picks the batches of the next commit: from each queue in turn, as long as there is room and no key occurs twice. A
// batch that does not fit holds its queue back, so that batches which share a key keep their order.
func (w *Writer) take() []*pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := group{keys: map[state.Key]bool{}, checks: map[state.Key]uint64{}}
	closed := [events.Queues]bool{}
	for progress := true; progress; {
		progress = false
		for q := range w.lines {
			if closed[q] || len(w.lines[q]) == 0 {
				continue
			}
			p := w.lines[q][0]
			if !g.add(p) {
				closed[q] = true
				continue
			}
			w.lines[q][0] = nil
			w.lines[q] = w.lines[q][1:]
			progress = true
		}
	}
	return g.members
}

// group collects batches for one commit.
type group struct {
	members []*pending
	keys    map[state.Key]bool
	checks  map[state.Key]uint64
	count   int
	bulk    int // of count
}

// add takes p in unless it does not fit, shares a key with a member, or expects another revision of a key that is checked.
func (g *group) add(p *pending) bool {
	more := 0
	for key, revision := range p.batch.Checks {
		had, ok := g.checks[key]
		if ok && had != revision {
			return false
		}
		if !ok {
			more++
		}
	}
	if len(g.members) > 0 && g.count+len(g.checks)+len(p.messages)+more > store.MaxBatch {
		return false
	}
	bulk := 0
	if p.batch.Queue == events.QueueBulk {
		bulk = len(p.messages)
		if g.bulk > 0 && g.bulk+bulk > bulkShare {
			return false
		}
	}
	for _, m := range p.messages {
		if g.keys[m.Key] {
			return false
		}
	}
	for _, m := range p.messages {
		g.keys[m.Key] = true
	}
	maps.Copy(g.checks, p.batch.Checks)
	g.count += len(p.messages)
	g.bulk += bulk
	g.members = append(g.members, p)
	return true
}

// pending is one batch on its way.
type pending struct {
	batch     *events.Batch
	messages  []events.Message // entries, then stamps
	revisions []uint64         // of the messages, once written
	since     time.Time
	err       error
	done      chan struct{}
}

func (p *pending) fail(err error) {
	p.err = err
	close(p.done)
}

func (p *pending) result() Result {
	if p.err != nil {
		return Result{}
	}
	n := len(p.batch.Entries)
	return Result{Revisions: p.revisions[:n], Stamps: p.revisions[n:]}
}
