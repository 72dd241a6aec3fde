package events

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"millrace.dev/pkg/state"
)

// NewID makes an id that sorts by time and is unique without asking anyone. It is made before the write, so that a write
// with an unknown outcome can be recognised later (P13).
func NewID() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

// Queue is the line in which a batch waits for its commit. Lines are served in turn (P14).
type Queue int

// The lines, from the most to the least urgent.
const (
	QueueRequests  Queue = iota // what a person or client waits for
	QueueReports                // what nodes say
	QueueDecisions              // what schedulers and controllers decide
	QueueBulk                   // config revisions, garbage collection
	Queues
)

// Entry is one change of a batch and the event that it is.
type Entry struct {
	state.Change
	Type Info
}

// Batch is one decision: changes that are written together or not at all, and the stamps of the sets it decides about.
type Batch struct {
	ID      string // a retry of the same decision keeps it
	Meta    Meta
	Queue   Queue
	Entries []Entry
	Stamps  []state.Stamp
	// Checks are keys that must still be at these revisions but are not written, such as the stamp of the namespace
	// that an object is created in (P9).
	Checks map[state.Key]uint64

	typ Info
}

// Add appends changes as events of the batch's own type.
func (b *Batch) Add(changes ...state.Change) { b.AddAs(b.typ, changes...) }

// AddAs appends changes as events of another type: one decision may have several kinds of effect.
func (b *Batch) AddAs(t Info, changes ...state.Change) {
	for _, c := range changes {
		b.Entries = append(b.Entries, Entry{Change: c, Type: t})
	}
}

// Check demands that key still is at revision when the batch is written.
func (b *Batch) Check(key state.Key, revision uint64) {
	if b.Checks == nil {
		b.Checks = map[state.Key]uint64{}
	}
	b.Checks[key] = revision
}

// Message is one message of a commit, ready for a store: an event and what it expects.
type Message struct {
	state.Change
	Header Header
}

// Messages lists what a store must write for b: its entries, then its stamps, each an event that process
// made at now. Checks are not among them: several batches share one commit, and so their checks (package commit).
func (b *Batch) Messages(process string, now time.Time) ([]Message, error) {
	messages := make([]Message, 0, len(b.Entries)+len(b.Stamps))
	for i, e := range b.Entries {
		messages = append(messages, b.message(i, e.Type.Name, e.Change, now))
	}
	for i, s := range b.Stamps {
		body, err := json.Marshal(state.StampBody{By: process, Batch: b.ID, Data: s.Data})
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", s.Key(), err)
		}
		c := state.Change{Key: s.Key(), Replaces: s.Revision, Body: body, Remove: s.End}
		messages = append(messages, b.message(len(b.Entries)+i, StampMoved.Name, c, now))
	}
	return messages, nil
}

func (b *Batch) message(i int, typ string, c state.Change, now time.Time) Message {
	id := b.ID
	if i > 0 {
		id = fmt.Sprintf("%s-%d", b.ID, i)
	}
	if c.Remove {
		c.TTL = state.TombstoneTTL
	}
	e := Event{Meta: b.Meta, ID: id, Type: typ, Subject: string(c.Key), Time: now, PrevRevision: c.Replaces, Report: c.Report}
	return Message{Change: c, Header: e.Encode()}
}

// BatchOf is the id of the batch that an event id belongs to.
func BatchOf(eventID string) string {
	id, _, _ := strings.Cut(eventID, "-")
	return id
}

// Rank orders the messages of a commit so that every prefix of a torn one can be repaired: checks and claims, objects,
// orders and routes, the rest; then removals, the other way round; stamps last (P11).
func Rank(c state.Change) int {
	const removals, stamps = 10, 20
	family, _, _ := strings.Cut(string(c.Key), ".")
	level := 4
	switch family {
	case "beat":
		level = 0
	case "claim":
		level = 1
	case "object", "sealed":
		level = 2
	case "edge":
		level = 3
	case "stamp":
		return stamps
	}
	if c.Remove {
		return removals - level
	}
	return level
}
