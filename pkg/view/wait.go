package view

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"millrace.dev/pkg/clock"
)

// waiter waits until the view is at target.
type waiter struct {
	target uint64
	exact  bool // and exact
	fresh  bool // target is what the store answered: of another instance it means nothing
	done   chan struct{}
}

// round is one question to the store: how far it is, and what the view did not know when it asked.
type round struct {
	target  uint64
	noticed int       // what had been skipped before the question
	at      time.Time // the server's clock
	asked   time.Time
}

// Await waits until the view has seen revision; the error is the end of ctx.
func (v *View) Await(ctx context.Context, revision uint64) error {
	return v.await(ctx, &waiter{target: revision, done: make(chan struct{})})
}

// AwaitExact waits until the view has seen revision and is exact; the error is the end of ctx.
func (v *View) AwaitExact(ctx context.Context, revision uint64) error {
	return v.await(ctx, &waiter{target: revision, exact: true, done: make(chan struct{})})
}

// ReadExact waits until the view is exact and runs read while it is: whatever subscribers keep is, for that moment, the bucket
// as it was at position. read must be quick and must not call the view. The error is the end of ctx.
func (v *View) ReadExact(ctx context.Context, read func(position uint64)) error {
	for {
		v.mu.RLock()
		exact := v.exact()
		if exact {
			read(v.position)
		}
		v.mu.RUnlock()
		if exact {
			return nil
		}
		if err := v.AwaitExact(ctx, 0); err != nil {
			return err
		}
	}
}

func (v *View) await(ctx context.Context, w *waiter) error {
	v.mu.Lock()
	v.waiters = append(v.waiters, w)
	v.settle()
	v.mu.Unlock()
	return v.wait(ctx, w)
}

func (v *View) wait(ctx context.Context, w *waiter) error {
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		v.mu.Lock()
		defer v.mu.Unlock()
		mine := func(o *waiter) bool { return o == w }
		v.waiters, v.unanswered = slices.DeleteFunc(v.waiters, mine), slices.DeleteFunc(v.unanswered, mine)
		return context.Cause(ctx)
	}
}

// Fresh waits until the view is exact and has seen every write that was acknowledged before the call. One question to the
// store serves all that wait at that moment. The error is the end of ctx.
func (v *View) Fresh(ctx context.Context) error {
	w := &waiter{exact: true, fresh: true, done: make(chan struct{})}
	select {
	case v.asks <- w:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return v.wait(ctx, w)
}

// settle draws the conclusions of a new position: questions answered, holes closed, a load finished, waiters let go.
// Caller holds mu.
func (v *View) settle() {
	for len(v.rounds) > 0 && v.rounds[0].target <= v.position {
		r := v.rounds[0]
		v.rounds = v.rounds[1:]
		v.holes.passed(r.noticed)
		v.shown = r.at
		v.forget()
	}
	if v.loading != nil && v.holes.none() {
		v.finishLoad()
	}
	if !v.exact() && len(v.rounds) == 0 {
		v.doubt()
	}
	if len(v.waiters) == 0 {
		return
	}
	exact := v.exact()
	v.waiters = slices.DeleteFunc(v.waiters, func(w *waiter) bool {
		due := v.position >= w.target && (exact || !w.exact)
		if due {
			close(w.done)
		}
		return due
	})
}

// doubt has the store asked soon, unless the holes close by themselves.
func (v *View) doubt() {
	select {
	case v.doubts <- struct{}{}:
	default:
	}
}

// forget drops tombstones that the store has dropped too. Caller holds mu.
func (v *View) forget() {
	for len(v.tombs) > 0 && v.expired(v.tombs[0]) {
		if t := v.tombs[0]; v.records[t.Key] == t {
			delete(v.records, t.Key)
		}
		v.tombs = v.tombs[1:]
	}
}

// ask puts questions to the store: for those who wait in Fresh, once for all who came before the question left; for the view
// itself while it is not exact; and now and then so that an idle view need not start anew at its next use. An answer that
// does not arrive in time is followed by a beat (P6).
func (v *View) ask(ctx context.Context) {
	doubt, late := clock.Stopped(), clock.Stopped()
	defer doubt.Stop()
	defer late.Stop()
	proof := time.NewTicker(proofPeriod)
	defer proof.Stop()
	armed := false // late is running
	for {
		var asking []*waiter
		select {
		case <-ctx.Done():
			return
		case <-v.doubts:
			doubt.Reset(doubtAfter)
			continue
		case <-late.C:
			if armed = v.hurry(ctx); armed {
				late.Reset(beatAfter)
			}
			continue
		case <-doubt.C:
			if asking = v.takeUnanswered(); len(asking) == 0 && v.Exact() {
				continue
			}
		case <-proof.C:
		case w := <-v.asks:
			asking = v.moreAsks(w)
		}
		v.question(ctx, asking)
		if !armed {
			armed = true
			late.Reset(beatAfter)
		}
	}
}

// takeUnanswered gives those whose answer came from a store that is no longer the one.
func (v *View) takeUnanswered() []*waiter {
	v.mu.Lock()
	defer v.mu.Unlock()
	unanswered := v.unanswered
	v.unanswered = nil
	return unanswered
}

func (v *View) moreAsks(first *waiter) []*waiter {
	asking := []*waiter{first}
	for {
		select {
		case w := <-v.asks:
			asking = append(asking, w)
		default:
			return asking
		}
	}
}

// question learns how far the store is and makes a round of it; it tries until it has an answer.
func (v *View) question(ctx context.Context, asking []*waiter) {
	for {
		v.mu.RLock()
		r := round{noticed: v.holes.noticed, asked: time.Now()}
		restart := v.restart
		v.mu.RUnlock()
		last, err := v.store.Last(ctx)
		if err != nil {
			if !clock.Pause(ctx, retryAfter) {
				return
			}
			continue
		}
		r.target, r.at = last.Sequence, last.Time
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, w := range asking {
			w.target = r.target
		}
		v.waiters = append(v.waiters, asking...)
		if stale := !v.shown.IsZero() && r.at.Sub(v.shown) > staleAfter; stale && v.loading == nil {
			v.shown = r.at
			restart(errStale)
			return
		}
		v.rounds = append(v.rounds, r)
		v.settle()
		return
	}
}

// hurry writes a beat if a question of some time ago still waits for its sequence: that may never come, but a beat will.
// It reports whether any question still waits.
func (v *View) hurry(ctx context.Context) (waiting bool) {
	v.mu.RLock()
	waiting = len(v.rounds) > 0
	overdue := waiting && time.Since(v.rounds[0].asked) >= beatAfter
	v.mu.RUnlock()
	if overdue {
		if err := v.beat(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("view cannot be hurried", "component", "view", "err", err)
		}
	}
	return waiting
}
