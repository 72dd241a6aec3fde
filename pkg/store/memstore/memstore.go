// Package memstore is the bucket in memory, for fast tests: the semantics of natskv with faults on demand. A follower may
// lag and then, as on JetStream with history 1, misses revisions that were overwritten meanwhile.
package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

// Fault is what goes wrong with one write.
type Fault int

// The faults a write can meet.
const (
	OK       Fault = iota
	Conflict       // refused as if a key had moved, with no number (JetStream 10164)
	LostAck        // written, but the writer is told ErrUnknown
	LostSend       // not written, and the writer is told ErrUnknown
)

// Store is a bucket in memory. Its zero value is not usable: call [New].
type Store struct {
	mu      sync.Mutex
	clock   func() time.Time
	log     []state.Key // the key written by each sequence, from 1
	entries map[state.Key]store.Entry
	expires map[state.Key]time.Time
	moved   chan struct{} // closed and replaced at every write and reset
	resets  int
	fault   func([]events.Message) Fault
	held    bool
}

// New makes an empty bucket that reads the time from clock; nil is the system's clock.
func New(clock func() time.Time) *Store {
	if clock == nil {
		clock = time.Now
	}
	return &Store{
		clock: clock, entries: map[state.Key]store.Entry{}, expires: map[state.Key]time.Time{}, moved: make(chan struct{}),
	}
}

// SetFault lets f decide what goes wrong with each write; nil: nothing.
func (s *Store) SetFault(f func([]events.Message) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Hold keeps followers from seeing anything new until the returned function is called.
func (s *Store) Hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = false
		s.wake()
	}
}

// Reset forgets the last lost messages, as a power loss on one server may, and ends every follower with ErrReset.
func (s *Store) Reset(lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cut := s.last() - min(uint64(lost), s.last())
	maps.DeleteFunc(s.entries, func(_ state.Key, e store.Entry) bool { return e.Revision > cut })
	s.log = s.log[:cut]
	s.resets++
	s.wake()
}

func (s *Store) last() uint64 { return uint64(len(s.log)) }

// wake tells followers to look again. Caller holds mu.
func (s *Store) wake() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// Write implements [store.Store].
func (s *Store) Write(ctx context.Context, messages []events.Message) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := check(messages); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	fault := OK
	if s.fault != nil {
		fault = s.fault(messages)
	}
	switch fault {
	case Conflict:
		return 0, &store.ConflictError{}
	case LostSend:
		return 0, store.ErrUnknown
	case OK, LostAck:
	}
	if err := s.expectations(messages); err != nil {
		return 0, err
	}
	first := s.last() + 1
	for _, m := range messages {
		s.put(m)
	}
	s.wake()
	if fault == LostAck {
		return 0, store.ErrUnknown
	}
	return first, nil
}

func check(messages []events.Message) error {
	if len(messages) == 0 || len(messages) > store.MaxBatch {
		return fmt.Errorf("%w: batch of %d messages", store.ErrInvalid, len(messages))
	}
	seen := map[state.Key]bool{}
	for _, m := range messages {
		if err := m.Key.Valid(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrInvalid, err)
		}
		if len(m.Header) == 0 {
			return fmt.Errorf("%w: %s has no header", store.ErrInvalid, m.Key)
		}
		if len(m.Body) > store.MaxMessage {
			return fmt.Errorf("%w: %s has %d bytes", store.ErrInvalid, m.Key, len(m.Body))
		}
		if seen[m.Key] {
			return fmt.Errorf("%w: %s occurs twice in a batch", store.ErrInvalid, m.Key)
		}
		seen[m.Key] = true
	}
	return nil
}

func (s *Store) expectations(messages []events.Message) error {
	written := map[state.Key]bool{}
	for _, m := range messages {
		key := m.Key
		if m.Check != "" {
			key = m.Check
		}
		if written[key] {
			return &store.ConflictError{}
		}
		if actual := s.entries[key].Revision; actual != m.Replaces {
			return &store.ConflictError{Actual: actual, Told: true}
		}
		written[m.Key] = true
	}
	return nil
}

func (s *Store) put(m events.Message) {
	s.log = append(s.log, m.Key)
	now := s.clock()
	s.entries[m.Key] = store.Entry{
		Key: m.Key, Revision: s.last(), Time: now, Removed: m.Remove, Body: slices.Clone(m.Body), Header: maps.Clone(m.Header),
	}
	delete(s.expires, m.Key)
	if m.TTL > 0 {
		s.expires[m.Key] = now.Add(m.TTL)
	}
}

// expire drops what has outlived its TTL, silently, as a stream without delete markers does. Caller holds mu.
func (s *Store) expire() {
	now := s.clock()
	for key, at := range s.expires {
		if !now.Before(at) {
			delete(s.entries, key)
			delete(s.expires, key)
		}
	}
}

// Read implements [store.Store].
func (s *Store) Read(ctx context.Context, key state.Key) (store.Entry, error) {
	if err := ctx.Err(); err != nil {
		return store.Entry{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	e, ok := s.entries[key]
	if !ok {
		return store.Entry{}, fmt.Errorf("read %s: %w", key, store.ErrNotFound)
	}
	return e, nil
}

// Last implements [store.Store].
func (s *Store) Last(ctx context.Context) (store.Position, error) {
	if err := ctx.Err(); err != nil {
		return store.Position{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return store.Position{Sequence: s.last(), Time: s.clock()}, nil
}

// Follow implements [store.Store].
func (s *Store) Follow(ctx context.Context, after uint64, deliver func(store.Entry)) error {
	s.mu.Lock()
	resets := s.resets
	s.mu.Unlock()
	for {
		due, moved, reset := s.due(after, resets)
		if reset {
			return store.ErrReset
		}
		for _, e := range due {
			deliver(e)
			after = e.Revision
		}
		if len(due) > 0 {
			continue // something may have been written meanwhile
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}

// Instance implements [store.Store].
func (s *Store) Instance() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("memory-%d", s.resets)
}

// due lists what a follower behind after must see next, by sequence, and what tells it of more.
func (s *Store) due(after uint64, resets int) (due []store.Entry, moved chan struct{}, reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resets != resets {
		return nil, nil, true
	}
	s.expire()
	if s.held {
		return nil, s.moved, false
	}
	for seq := after + 1; seq <= s.last(); seq++ {
		if e := s.entries[s.log[seq-1]]; e.Revision == seq { // else overwritten or expired
			due = append(due, e)
		}
	}
	return due, s.moved, false
}

var _ store.Store = (*Store)(nil)
