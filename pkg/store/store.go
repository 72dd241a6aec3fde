// Package store is the bucket as its users see it: write a batch whole or not at all, read the newest revision of a key, ask
// how far the bucket has come, follow it. Package natskv implements it over JetStream, memstore in memory with faults on
// demand; both pass the suite in storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
)

// The errors of a store. Everything a store returns is one of these, the end of the caller's context, or a fault of the
// connection that no caller can act on.
var (
	// ErrNotFound: no revision of the key, not even a tombstone.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a key or a stamp has moved; nothing was written. Read again and decide again.
	ErrConflict = errors.New("conflict")
	// ErrUnknown: the write timed out and may or may not have happened. Read back by event id before anything else (P13).
	ErrUnknown = errors.New("outcome unknown")
	// ErrExpired: the revision asked for is older than what can still be told.
	ErrExpired = errors.New("expired")
	// ErrInvalid: the message can never be written: illegal key, too large, no header.
	ErrInvalid = errors.New("invalid")
	// ErrFull: the store has reached its limit or its disk is full; nothing was written.
	ErrFull = errors.New("store is full")
	// ErrUnavailable: the store cannot be reached; nothing was written.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrReset: the store is no longer the one whose sequences the caller holds: discard them and begin anew (P15).
	ErrReset = errors.New("store was reset")
)

// ConflictError is an [ErrConflict] with what the store said about it.
type ConflictError struct {
	// Actual is the sequence that a key of the batch really has (0: it is absent), without saying which key.
	Actual uint64
	// Told says that Actual is known; otherwise the conflicting write was still on its way.
	Told bool
}

func (e *ConflictError) Error() string {
	if !e.Told {
		return "conflict with a write in flight"
	}
	return fmt.Sprintf("conflict: a key is at revision %d", e.Actual)
}

// Is makes a ConflictError an [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Entry is one revision as the store has it.
type Entry struct {
	Key      state.Key
	Revision uint64
	Time     time.Time // the server's clock at the write
	Removed  bool      // a tombstone; Body is the last body
	Body     []byte
	Header   events.Header
}

// Position is how far the store has come.
type Position struct {
	Sequence uint64    // of the last message ever written
	Time     time.Time // the server's clock at the answer
}

// Store is the bucket.
type Store interface {
	// Write writes all messages or none and returns the revision of the first; the i-th has first+i. Each message's
	// expectation is checked against the state before the whole write. At most MaxBatch messages; a key occurs once.
	// Errors: ErrConflict, ErrUnknown, ErrInvalid, ErrFull, ErrUnavailable, ErrReset.
	Write(ctx context.Context, messages []events.Message) (first uint64, err error)

	// Read returns the newest revision of key, which may be a tombstone, from where writes are decided: never stale.
	// Errors: ErrNotFound, ErrUnavailable.
	Read(ctx context.Context, key state.Key) (Entry, error)

	// Last returns how far the store has come, the one that the follower follows: every write acknowledged before the call is at
	// or below it. Errors: ErrUnavailable, also while the follower has not noticed yet that the store was reset.
	Last(ctx context.Context) (Position, error)

	// Follow delivers the newest revision of each key in the order of their sequences, then every new revision, until ctx ends.
	// after = 0 begins with everything there is, any other value behind that sequence. A revision that was
	// overwritten before it could be delivered is skipped; the sequence shows the hole. deliver must not block for long.
	// Errors: ErrReset; otherwise the cause of ctx's end. Interrupted connections are resumed within.
	Follow(ctx context.Context, after uint64, deliver func(Entry)) error

	// Instance names the server instance whose sequences the current follower holds; empty before the first Follow.
	Instance() string
}

// MaxMessage is the largest revision in bytes, body and header together. A Kubernetes object may have 1.5 MiB.
const MaxMessage = 2 << 20

// MaxBatch is how many messages one write may have (JetStream takes 1,000).
const MaxBatch = 500
