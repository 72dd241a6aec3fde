package commit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

const (
	// inFlightRetries is how often a commit that met a write in flight is sent again before it is halved (P12).
	inFlightRetries = 3
	// unknownPatience bounds how long a commit whose outcome is unknown is read back and sent again (P13): a server that was
	// killed is back by then, or the caller must decide.
	unknownPatience = 5 * time.Second
	resolveFirst    = 2 * time.Millisecond
	resolveMost     = 200 * time.Millisecond
	// catchUp bounds the wait for one's own view after a conflict.
	catchUp = time.Second
)

// located is one message of a commit and the batch that waits for it.
type located struct {
	events.Message
	owner *pending
	index int // in owner.messages; -1: a check
}

// commit writes a group and answers each member.
func (w *Writer) commit(ctx context.Context, members []*pending) {
	began := time.Now()
	messages := w.arrange(members)
	first, err := w.write(ctx, messages)
	w.meters.commit(len(messages), time.Since(began), err)
	switch {
	case err == nil:
		finish(members, messages, first)
	case len(members) == 1:
		w.single(ctx, members[0], err)
	case errors.Is(err, store.ErrConflict):
		w.separate(ctx, members, err)
	case errors.Is(err, store.ErrInvalid):
		w.halve(ctx, members)
	default:
		for _, p := range members {
			p.fail(err)
		}
	}
}

// single answers a batch that was alone and failed. An expectation on a tombstone that has just expired is corrected once (P2).
func (w *Writer) single(ctx context.Context, p *pending, err error) {
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok && conflict.Told && conflict.Actual == 0 && w.renewExpired(p) {
		messages := w.arrange([]*pending{p})
		first, again := w.write(ctx, messages)
		if again == nil {
			finish([]*pending{p}, messages, first)
			return
		}
		err = again
	}
	p.fail(err)
}

// renewExpired expects absence where a message expects a tombstone; false: there is none. A message that expects what was
// there before the removal is stale, and stays so when the tombstone has gone.
func (w *Writer) renewExpired(p *pending) (renewed bool) {
	if w.config.View == nil {
		return false
	}
	for i := range p.messages {
		m := &p.messages[i]
		if m.Replaces > 0 && m.Check == "" && w.config.View.Tombstone(m.Key) == m.Replaces {
			m.Replaces, renewed = 0, true
		}
	}
	return renewed
}

// arrange lays out the messages of a commit: the checks of all members, each once, then their messages in the order of P11.
func (w *Writer) arrange(members []*pending) []located {
	var messages []located
	checks := map[state.Key]bool{}
	for _, p := range members {
		for key, revision := range p.batch.Checks {
			if checks[key] {
				continue
			}
			checks[key] = true
			c := state.Change{Key: state.BeatKey(w.config.Process, len(checks)), Check: key, Replaces: revision, Body: []byte("{}"), TTL: state.TombstoneTTL}
			b := events.Beat.Batch(events.Meta{Source: p.batch.Meta.Source})
			b.Add(c)
			beat, _ := b.Messages(w.config.Process, time.Now())
			messages = append(messages, located{Message: beat[0], owner: p, index: -1})
		}
		for i, m := range p.messages {
			messages = append(messages, located{Message: m, owner: p, index: i})
		}
	}
	slices.SortStableFunc(messages, func(a, b located) int { return cmp.Compare(events.Rank(a.Change), events.Rank(b.Change)) })
	return messages
}

func finish(members []*pending, messages []located, first uint64) {
	for _, p := range members {
		p.revisions = make([]uint64, len(p.messages))
	}
	for i, m := range messages {
		if m.index >= 0 {
			m.owner.revisions[m.index] = first + uint64(i)
		}
	}
	for _, p := range members {
		close(p.done)
	}
}

// write sends a commit, again while a write is in flight on one of its keys, and finds out what became of it if the answer
// is lost.
func (w *Writer) write(ctx context.Context, messages []located) (uint64, error) {
	plain := make([]events.Message, len(messages))
	for i, m := range messages {
		plain[i] = m.Message
	}
	for attempt := 0; ; attempt++ {
		first, err := w.store.Write(ctx, plain)
		conflict, _ := errors.AsType[*store.ConflictError](err)
		switch {
		case errors.Is(err, store.ErrUnknown):
			return w.resolve(ctx, plain)
		case conflict == nil || conflict.Told || attempt == inFlightRetries:
			return first, err
		}
		if !clock.Pause(ctx, time.Millisecond+rand.N(2*time.Millisecond)) {
			return 0, fmt.Errorf("%w: %w", store.ErrConflict, context.Cause(ctx))
		}
	}
}

// resolve finds out what became of a commit whose answer was lost: it reads back before anything else, and sends the same
// messages again if they are not there (P13). While the store cannot be read it waits.
func (w *Writer) resolve(ctx context.Context, messages []events.Message) (uint64, error) {
	deadline := time.Now().Add(unknownPatience)
	for wait := resolveFirst; time.Now().Before(deadline) && clock.Pause(ctx, wait); wait = min(2*wait, resolveMost) {
		first, state := w.readBack(ctx, messages)
		if state == written {
			return first, nil
		}
		if state == unreadable {
			continue
		}
		first, err := w.store.Write(ctx, messages)
		switch {
		case err == nil:
			return first, nil
		case errors.Is(err, store.ErrReset):
			return 0, err // it is not there, and the store that it was sent to is no more
		case errors.Is(err, store.ErrConflict):
			// Either the first attempt has arrived meanwhile, or somebody else's write: which, only the id can tell.
			if first, state := w.readBack(ctx, messages); state == written {
				return first, nil
			}
			return 0, fmt.Errorf("%w: then %w", store.ErrUnknown, err)
		}
	}
	return 0, store.ErrUnknown
}

// outcome is what reading back a commit tells.
type outcome int

const (
	unreadable outcome = iota
	written
	absent // or overwritten
)

// readBack recognises a commit by the id of any of its events: it was written whole or not at all. Stamps and beats move
// often; keys in the middle are asked.
func (w *Writer) readBack(ctx context.Context, messages []events.Message) (first uint64, o outcome) {
	const tries = 3
	for i := range min(tries, len(messages)) {
		at := (len(messages)/2 + i) % len(messages)
		got, err := w.store.Read(ctx, messages[at].Key)
		if errors.Is(err, store.ErrNotFound) {
			o = absent
			continue
		}
		if err != nil {
			continue
		}
		o = absent
		sent, _ := events.Decode(messages[at].Header) // it is an event: we made it
		if event, err := events.Decode(got.Header); err == nil && event.ID == sent.ID {
			return got.Revision - uint64(at), written
		}
	}
	return 0, o
}

// separate fails the members that are stale and writes the rest again; if none can be told to be stale, it halves (P12).
func (w *Writer) separate(ctx context.Context, members []*pending, cause error) {
	conflict, _ := errors.AsType[*store.ConflictError](cause)
	if w.config.View == nil || conflict == nil {
		w.halve(ctx, members)
		return
	}
	waiting, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	if w.config.View.Await(waiting, conflict.Actual) != nil {
		w.halve(ctx, members)
		return
	}
	var fresh []*pending
	for _, p := range members {
		if w.stale(p) {
			p.fail(cause)
		} else {
			fresh = append(fresh, p)
		}
	}
	switch {
	case len(fresh) == len(members):
		w.halve(ctx, members)
	case len(fresh) > 0:
		w.commit(ctx, fresh)
	}
}

// stale says that a batch expects a revision that its view knows to have been replaced.
func (w *Writer) stale(p *pending) bool {
	for _, m := range p.messages {
		if w.config.View.Revision(m.Key) != m.Replaces {
			return true
		}
	}
	for key, revision := range p.batch.Checks {
		if w.config.View.Revision(key) != revision {
			return true
		}
	}
	return false
}

func (w *Writer) halve(ctx context.Context, members []*pending) {
	half := len(members) / 2
	w.commit(ctx, members[:half])
	w.commit(ctx, members[half:])
}
