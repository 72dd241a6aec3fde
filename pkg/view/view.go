// Package view is a live local copy of the bucket: one ordered consumer, whole objects and stamps, indexes, change hints.
//
// It can say which revision it has reached and whether it is exact: whether what it shows is the bucket as it was at
// that revision, every key of it. Only an exact view may serve reads or make decisions (P5). It does not list and does not
// resume for ever: after half an hour in which it could not prove that it is current it starts anew (P7).
package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

const (
	// staleAfter is how long a view may go without proof that it is current. Half of a tombstone's life: what a tombstone
	// says is seen by every view that resumes (P7).
	staleAfter = state.TombstoneTTL / 2
	// proofPeriod is how often an idle view asks for that proof.
	proofPeriod = staleAfter / 3
	// beatAfter is how long an awaited sequence may take before the view writes its own key and waits for that: the
	// sequence may be a tombstone that has expired, and never come (P6).
	beatAfter = 50 * time.Millisecond
	// doubtAfter is how long holes may close by themselves before the store is asked.
	doubtAfter = 2 * time.Millisecond
	// retryAfter is the pause after a failed attempt to reach the store.
	retryAfter = 100 * time.Millisecond
)

// errStale ends a follower whose view cannot be shown to be current.
var errStale = errors.New("view was not shown to be current in time")

// Subscriber is told of every change in order, while the view is locked: it must be quick and must not call the view.
// before and after are nil where there is nothing; after is a tombstone if the key was removed. A view that starts anew
// tells only what is different.
type Subscriber func(before, after *Record)

// Index files live records under keys of its own, such as the pods of a node. It must be pure.
type Index struct {
	Name string
	Keys func(*Record) []string // empty: not filed
}

// Config is what a view is made of.
type Config struct {
	Process     string // the name of this process, in its beat key
	Source      string // the source of its beat events
	Indexes     []Index
	Subscribers []Subscriber
	// Loaded is called, like a subscriber, each time the view has become whole: at first, and whenever it had to start anew.
	// What was told under older positions may not be continued from.
	Loaded func(position uint64)
}

// View is the copy. Its zero value is not usable: call [New], then [View.Run]. Safe for concurrent use.
type View struct {
	store  store.Store
	config Config

	mu       sync.RWMutex
	position uint64
	records  map[state.Key]*Record
	byKind   map[string]map[string]map[string]*Record // resource, namespace, name: live objects
	indexes  map[string]map[string]map[state.Key]*Record
	holes    holes
	loading  map[state.Key]bool // while a rebuild loads: what the store has not shown again yet
	shown    time.Time          // the server's clock when the view was last shown to be current
	tombs    []*Record          // removed, oldest first
	waiters  []*waiter
	// unanswered wait for an answer of the store that is followed now.
	unanswered []*waiter
	rounds     []round // asked and not yet reached, oldest first
	restart    context.CancelCauseFunc

	asks   chan *waiter
	doubts chan struct{}
}

// New makes a view over s. Subscribers and indexes are fixed from here on.
func New(s store.Store, config Config) *View {
	v := &View{
		store: s, config: config, records: map[state.Key]*Record{}, byKind: map[string]map[string]map[string]*Record{},
		indexes: map[string]map[string]map[state.Key]*Record{}, asks: make(chan *waiter),
		doubts: make(chan struct{}, 1), holes: newHoles(),
	}
	for _, i := range config.Indexes {
		v.indexes[i.Name] = map[string]map[state.Key]*Record{}
	}
	return v
}

// Run keeps the view up to date until ctx ends.
func (v *View) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { v.ask(ctx) })
	for {
		err := v.follow(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		slog.Info("view starts anew", "component", "view", "err", err)
		if !clock.Pause(ctx, retryAfter) {
			return context.Cause(ctx)
		}
	}
}

// follow copies the bucket from its beginning, then live, until something makes the copy doubtful.
func (v *View) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v.begin(cancel)
	return v.store.Follow(ctx, 0, v.deliver)
}

// begin marks everything as not shown again yet.
func (v *View) begin(restart context.CancelCauseFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.restart = restart
	v.position = 0
	v.rounds = nil // answers about another copy
	v.waiters = slices.DeleteFunc(v.waiters, func(w *waiter) bool {
		if w.fresh {
			v.unanswered = append(v.unanswered, w)
		}
		return w.fresh
	})
	v.holes = newHoles()
	v.loading = make(map[state.Key]bool, len(v.records))
	for key := range v.records {
		v.loading[key] = true
	}
	v.doubt()
}

func (v *View) deliver(e store.Entry) {
	next := record(e)
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.Revision > v.position+1 {
		v.holes.skip(v.position+1, e.Revision-1)
	}
	v.position = e.Revision
	if prev, err := state.ParseRevision(e.Header.Get("ce-prevrevision")); err == nil && prev > 0 {
		v.holes.replaced(prev)
	}
	v.put(next)
	if e.Key == state.Epoch {
		v.checkEpoch(next)
	}
	v.settle()
}

// put files a record in the place of its predecessor and tells the subscribers. Caller holds mu.
func (v *View) put(next *Record) {
	before := v.records[next.Key]
	delete(v.loading, next.Key)
	if before != nil && before.Revision == next.Revision && before.EventID == next.EventID {
		return // a rebuild shows what was known
	}
	v.records[next.Key] = next
	if next.Removed {
		v.tombs = append(v.tombs, next)
	}
	v.file(before, next)
	for _, tell := range v.config.Subscribers {
		tell(before, next)
	}
}

// file keeps the indexes. Caller holds mu.
func (v *View) file(before, after *Record) {
	if before != nil && !before.Removed {
		if before.Ref.Resource != "" {
			delete(v.byKind[before.Ref.Resource][before.Ref.Namespace], before.Ref.Name)
		}
		for _, i := range v.config.Indexes {
			for _, key := range i.Keys(before) {
				remove(v.indexes[i.Name], key, before.Key)
			}
		}
	}
	if after.Removed {
		return
	}
	if after.Ref.Resource != "" {
		insert(insertMap(v.byKind, after.Ref.Resource), after.Ref.Namespace, after.Ref.Name, after)
	}
	for _, i := range v.config.Indexes {
		for _, key := range i.Keys(after) {
			insert(v.indexes[i.Name], key, after.Key, after)
		}
	}
}

func insertMap[K, L comparable, V any](m map[K]map[L]V, key K) map[L]V {
	inner := m[key]
	if inner == nil {
		inner = map[L]V{}
		m[key] = inner
	}
	return inner
}

func insert[K, L comparable, V any](m map[K]map[L]V, key K, sub L, value V) {
	insertMap(m, key)[sub] = value
}

func remove[K, L comparable, V any](m map[K]map[L]V, key K, sub L) {
	delete(m[key], sub)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// finishLoad drops what a rebuild did not show again: it was removed while nobody looked. Caller holds mu.
func (v *View) finishLoad() {
	gone := v.loading
	v.loading = nil
	for key := range gone {
		before := v.records[key]
		delete(v.records, key)
		if before.Removed {
			continue
		}
		after := &Record{Key: key, Revision: v.position, Time: v.shown, Removed: true, Body: before.Body, Ref: before.Ref}
		v.file(before, after)
		for _, tell := range v.config.Subscribers {
			tell(before, after)
		}
	}
	if v.config.Loaded != nil {
		v.config.Loaded(v.position)
	}
}

// checkEpoch starts anew if the epoch was begun by another server instance than the one followed (P15). Caller holds mu.
func (v *View) checkEpoch(r *Record) {
	var epoch state.EpochBody
	if json.Unmarshal(r.Body, &epoch) == nil && v.loading == nil && epoch.Server != v.store.Instance() {
		v.restart(store.ErrReset)
	}
}

// Position is the sequence of the newest revision the view has seen.
func (v *View) Position() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.position
}

// Exact says that the view shows the bucket as it was at [View.Position].
func (v *View) Exact() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.exact()
}

func (v *View) exact() bool { return v.loading == nil && v.holes.none() }

// Get is the newest revision of a key, possibly a tombstone; nil if there is neither.
func (v *View) Get(key state.Key) *Record {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.records[key]
}

// Object is the live record of an object; nil if there is none.
func (v *View) Object(ref state.ObjectRef) *Record {
	if r := v.Get(state.ObjectKey(ref)); r != nil && !r.Removed {
		return r
	}
	return nil
}

// Revision implements [state.Seen]: the newest revision of a key, a live tombstone's sequence if it is removed, 0 otherwise.
func (v *View) Revision(key state.Key) uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	r := v.records[key]
	if r == nil || v.expired(r) {
		return 0
	}
	return r.Revision
}

// Tombstone is the sequence of a removed key's tombstone, which may have expired meanwhile; 0: the key is not removed.
func (v *View) Tombstone(key state.Key) uint64 {
	if r := v.Get(key); r != nil && r.Removed {
		return r.Revision
	}
	return 0
}

// expired says that a tombstone has outlived its time by the server's clock. Caller holds mu.
func (v *View) expired(r *Record) bool {
	return r.Removed && v.shown.Sub(r.Time) > state.TombstoneTTL
}

// Body implements [state.Seen]: the stored body of a live key.
func (v *View) Body(key state.Key) []byte {
	if r := v.Get(key); r != nil && !r.Removed {
		return r.Body
	}
	return nil
}

// Report implements [state.Seen].
func (v *View) Report(key state.Key) string {
	if r := v.Get(key); r != nil && !r.Removed {
		return r.Report
	}
	return ""
}

// Stamp is the stamp of a set as the view sees it; its Data is what the last decision left. A stamp that does not exist
// has revision 0, which only its owner's creation may use.
func (v *View) Stamp(kind state.StampKind, id string) state.Stamp {
	s := state.Stamp{Kind: kind, ID: id}
	r := v.Get(s.Key())
	if r == nil || r.Removed {
		return s
	}
	s.Revision = r.Revision
	var body state.StampBody
	if json.Unmarshal(r.Body, &body) == nil {
		s.Data = body.Data
	}
	return s
}

// List gives the live objects of a resource, ordered by namespace and name; namespace "" means all.
func (v *View) List(resource, namespace string) []*Record {
	list, _ := v.ListAt(resource, namespace)
	return list
}

// ListAt is [View.List] with the position that the list stands for.
func (v *View) ListAt(resource, namespace string) ([]*Record, uint64) {
	v.mu.RLock()
	var list []*Record
	for ns, objects := range v.byKind[resource] {
		if namespace == "" || ns == namespace {
			for _, r := range objects {
				list = append(list, r)
			}
		}
	}
	position := v.position
	v.mu.RUnlock()
	slices.SortFunc(list, compareRefs)
	return list, position
}

func compareRefs(a, b *Record) int {
	if c := strings.Compare(a.Ref.Namespace, b.Ref.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Ref.Name, b.Ref.Name)
}

// ByIndex gives the live records that an index files under key, in no order, and the position they stand for.
func (v *View) ByIndex(index, key string) ([]*Record, uint64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	filed := v.indexes[index][key]
	list := make([]*Record, 0, len(filed))
	for _, r := range filed {
		list = append(list, r)
	}
	return list, v.position
}

// ListPrefix gives the live records whose key begins with prefix, in no order, and the position they stand for. It looks at
// every key.
func (v *View) ListPrefix(prefix state.Key) ([]*Record, uint64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var list []*Record
	for key, r := range v.records {
		if !r.Removed && strings.HasPrefix(string(key), string(prefix)) {
			list = append(list, r)
		}
	}
	return list, v.position
}

// beat writes the view's own key, so that there is a sequence which will surely come.
func (v *View) beat(ctx context.Context) error {
	key := state.BeatKey(v.config.Process, 0)
	b := events.Beat.Batch(events.Meta{Source: v.config.Source})
	b.Add(state.Change{Key: key, Replaces: v.Revision(key), Body: []byte("{}"), TTL: state.TombstoneTTL})
	messages, err := b.Messages(v.config.Process, time.Now())
	if err != nil {
		return err
	}
	_, err = v.store.Write(ctx, messages)
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok {
		messages[0].Replaces = conflict.Actual
		_, err = v.store.Write(ctx, messages)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}
