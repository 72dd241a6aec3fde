// Package reconcile runs reconcilers: one key at a time each, again with growing pauses after an error, at a time that the
// reconciler names, and with a panic turned into an error.
//
// A reconciler takes a key, never an event: it looks at what there is and does what is missing. Whoever acts on an old view
// loses at a stamp or a revision and is called again.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"millrace.dev/pkg/store"
	"millrace.dev/pkg/telemetry"
)

// Key names what is to be reconciled: an object, a node, a set.
type Key struct{ Namespace, Name string }

func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Reconciler makes one thing as it should be. An error has it called again, later each time; [After] at a time of its choice.
type Reconciler interface {
	Reconcile(ctx context.Context, key Key) error
}

// after asks for another call.
type after time.Duration

func (a after) Error() string { return fmt.Sprintf("again after %v", time.Duration(a)) }

// After is returned by a reconciler that has nothing to do until d has passed.
func After(d time.Duration) error { return after(d) }

const (
	backoffFirst = 5 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// Queue is the keys that a reconciler is due for. A key is worked on by one worker at a time; added meanwhile, it comes again.
// Safe for concurrent use.
type Queue struct {
	name string

	mu      sync.Mutex
	due     []Key
	state   map[Key]*work
	stopped bool
	wake    sync.Cond
}

// work is what is known of one key.
type work struct {
	queued  bool // in due
	busy    bool // a worker has it
	again   bool // added while busy
	errors  int  // in a row
	timer   *time.Timer
	at      time.Time // when timer fires
	pending bool      // timer runs
}

// NewQueue makes an empty queue; its name is the kind that metrics and logs show.
func NewQueue(name string) *Queue {
	q := &Queue{name: name, state: map[Key]*work{}}
	q.wake.L = &q.mu
	return q
}

// Add makes a key due now.
func (q *Queue) Add(k Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(k)
}

// add makes a key due. Caller holds mu.
func (q *Queue) add(k Key) {
	w := q.state[k]
	if w == nil {
		w = &work{}
		q.state[k] = w
	}
	w.stop()
	switch {
	case w.busy:
		w.again = true
	case !w.queued:
		w.queued = true
		q.due = append(q.due, k)
		q.wake.Signal()
	}
}

// addAfter makes a key due after d, unless it is due before. Caller holds mu.
func (q *Queue) addAfter(k Key, d time.Duration) {
	w := q.state[k]
	at := time.Now().Add(d)
	if w.queued || w.again || w.pending && w.at.Before(at) {
		return
	}
	w.stop()
	w.at, w.pending = at, true
	w.timer = time.AfterFunc(d, func() { q.Add(k) })
}

func (w *work) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.pending = false
}

// next is the next key, which is then the caller's until done; false: the queue has been stopped.
func (q *Queue) next() (Key, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.due) == 0 && !q.stopped {
		q.wake.Wait()
	}
	if q.stopped {
		return Key{}, false
	}
	k := q.due[0]
	q.due = q.due[1:]
	w := q.state[k]
	w.queued, w.busy = false, true
	return k, true
}

// done gives a key back with what its reconciler returned.
func (q *Queue) done(k Key, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.state[k]
	w.busy = false
	wait, later := errors.AsType[after](err)
	if err == nil || later {
		w.errors = 0
	} else {
		w.errors++
	}
	switch {
	case w.again:
		w.again = false
		q.add(k)
	case later:
		q.addAfter(k, time.Duration(wait))
	case err != nil:
		q.addAfter(k, backoff(w.errors))
	default:
		if !w.pending {
			delete(q.state, k)
		}
	}
}

func backoff(errors int) time.Duration {
	d := backoffFirst
	for range errors - 1 {
		if d = 2 * d; d > backoffMost {
			return backoffMost
		}
	}
	return d
}

// stop ends a run. What waits for its time is due at once if there is another.
func (q *Queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	for k, w := range q.state {
		if w.pending {
			q.add(k)
		}
	}
	q.wake.Broadcast()
}

// Run works the queue with a number of workers until ctx ends.
func (q *Queue) Run(ctx context.Context, r Reconciler, workers int, m *Meters) error {
	q.mu.Lock()
	q.stopped = false // it may have run before, under an earlier lease
	q.mu.Unlock()
	stop := context.AfterFunc(ctx, q.stop)
	defer stop()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				k, ok := q.next()
				if !ok {
					return
				}
				began := time.Now()
				err := guarded(ctx, r, k)
				m.observe(q.name, time.Since(began), err)
				q.log(ctx, k, err)
				q.done(k, err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (q *Queue) log(ctx context.Context, k Key, err error) {
	switch _, later := errors.AsType[after](err); {
	case err == nil, later, ctx.Err() != nil:
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrReset):
		slog.DebugContext(ctx, "reconcile lost against another write", "component", q.name, "key", k.String(), "err", err)
	default:
		slog.WarnContext(ctx, "reconcile failed", "component", q.name, "key", k.String(), "err", err)
	}
}

// guarded turns a panic into an error.
func guarded(ctx context.Context, r Reconciler, k Key) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.Reconcile(ctx, k)
}

// Meters counts what reconcilers do, by kind.
type Meters struct {
	seconds telemetry.Histogram
}

// NewMeters makes the meters of all queues of a process.
func NewMeters(r *telemetry.Registry) *Meters {
	return &Meters{seconds: r.Seconds("millrace_reconcile_duration_seconds", "Time of one reconcile.", "kind", "result")}
}

func (m *Meters) observe(kind string, took time.Duration, err error) {
	result := "ok"
	if _, later := errors.AsType[after](err); err != nil && !later {
		result = "error"
		if errors.Is(err, store.ErrConflict) {
			result = "conflict"
		}
	}
	m.seconds.Observe(took.Seconds(), kind, result)
}
