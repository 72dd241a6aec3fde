// Package watch keeps the window of recent changes from which watches are answered and resumed.
//
// The window of a replica begins where its view became whole: whoever asks for an older revision is told that it has expired
// and lists again (P7). Changes are filed by resource, so that a busy kind wakes nobody who watches another.
package watch

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
)

// windowSize is how many changes of one resource are kept: at 1,000 pods a second, with three revisions each, some 20 s.
const windowSize = 64 << 10

// Change is one change as the view saw it. Before is nil if there was nothing; After is a tombstone if the object is gone.
type Change struct {
	Revision      uint64
	Before, After *view.Record
}

// Hub is the window. Its zero value is not usable: call [New]. Safe for concurrent use.
type Hub struct {
	size int

	mu      sync.Mutex
	begins  uint64 // whoever has seen this revision can be told all that followed
	newest  uint64
	epoch   int // counts how often the view started anew
	windows map[string]*window
}

// window holds the changes of one resource, oldest first.
type window struct {
	changes []Change
	dropped uint64        // the newest revision that was dropped for room
	moved   chan struct{} // closed and replaced at every change
}

// New makes an empty hub.
func New() *Hub { return &Hub{size: windowSize, windows: map[string]*window{}} }

// Changed is a subscriber of the view.
func (h *Hub) Changed(before, after *view.Record) {
	resource := after.Ref.Resource
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest = max(h.newest, after.Revision)
	if resource == "" || h.epoch == 0 {
		return // no object, or still loading: nobody can have seen anything yet
	}
	w := h.window(resource)
	w.changes = append(w.changes, Change{Revision: after.Revision, Before: before, After: after})
	if len(w.changes) > 2*h.size {
		drop := len(w.changes) - h.size
		w.dropped = w.changes[drop-1].Revision
		w.changes = slices.Clone(w.changes[drop:])
	}
	close(w.moved)
	w.moved = make(chan struct{})
}

// Loaded tells that the view has become whole at position. Every cursor of before ends: it may have missed something.
func (h *Hub) Loaded(position uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch++
	h.begins = max(position, 1)
	h.newest = position
	for _, w := range h.windows {
		w.changes, w.dropped = nil, 0
		close(w.moved)
		w.moved = make(chan struct{})
	}
}

// Rewind gives the records of a resource as they were at revision: records are those of namespace (empty: of all) at position,
// in the order of their names, and so is what it returns. Error: [store.ErrExpired] if the window does not reach back so far.
func (h *Hub) Rewind(resource, namespace string, records []*view.Record, position, revision uint64) ([]*view.Record, error) {
	changes, err := h.between(resource, revision, position)
	if err != nil || len(changes) == 0 {
		return records, err
	}
	then := make(map[state.ObjectRef]*view.Record, len(records))
	for _, r := range records {
		then[r.Ref] = r
	}
	for _, c := range slices.Backward(changes) {
		ref := c.After.Ref
		switch {
		case namespace != "" && ref.Namespace != namespace:
		case c.Before == nil || c.Before.Removed:
			delete(then, ref)
		default:
			then[ref] = c.Before
		}
	}
	return slices.SortedFunc(maps.Values(then), func(a, b *view.Record) int {
		return cmp.Or(strings.Compare(a.Ref.Namespace, b.Ref.Namespace), strings.Compare(a.Ref.Name, b.Ref.Name))
	}), nil
}

// between are the changes of a resource behind revision, up to position.
func (h *Hub) between(resource string, revision, position uint64) ([]Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.holds(resource, revision) {
		return nil, store.ErrExpired
	}
	w := h.window(resource)
	first, last := w.behind(revision), w.behind(position)
	return w.changes[first:max(first, last)], nil
}

// holds says that the window has every change of a resource behind revision. Caller holds mu.
func (h *Hub) holds(resource string, revision uint64) bool {
	return h.epoch > 0 && revision >= h.begins && revision >= h.window(resource).dropped
}

// behind is the place of the first change behind revision.
func (w *window) behind(revision uint64) int {
	i, _ := slices.BinarySearchFunc(w.changes, revision+1, func(c Change, at uint64) int { return cmp.Compare(c.Revision, at) })
	return i
}

// window finds or makes the window of a resource. Caller holds mu.
func (h *Hub) window(resource string) *window {
	w := h.windows[resource]
	if w == nil {
		w = &window{moved: make(chan struct{})}
		h.windows[resource] = w
	}
	return w
}

// Cursor reads the changes of one resource in order.
type Cursor struct {
	hub      *Hub
	resource string
	epoch    int
	seen     uint64
}

// From makes a cursor behind revision. Error: [store.ErrExpired] if the window begins later.
func (h *Hub) From(resource string, revision uint64) (*Cursor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.holds(resource, revision) {
		return nil, store.ErrExpired
	}
	return &Cursor{hub: h, resource: resource, epoch: h.epoch, seen: revision}, nil
}

// Next waits for changes behind those it has returned. Errors: [store.ErrExpired] if the cursor fell out of the window, or the end
// of ctx.
func (c *Cursor) Next(ctx context.Context) ([]Change, error) {
	for {
		changes, moved, err := c.due()
		if err != nil || len(changes) > 0 {
			return changes, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-moved:
		}
	}
}

// Reached is a revision up to which the cursor has returned all that there was: what a bookmark may say. It moves on with every
// change of anything, so that a quiet resource does not fall out of the window.
func (c *Cursor) Reached() uint64 {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	w := c.hub.window(c.resource)
	if c.epoch == c.hub.epoch && w.behind(c.seen) == len(w.changes) {
		return max(c.seen, c.hub.newest)
	}
	return c.seen
}

func (c *Cursor) due() ([]Change, chan struct{}, error) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	w := c.hub.window(c.resource)
	if c.epoch != c.hub.epoch || c.seen < w.dropped {
		return nil, nil, store.ErrExpired
	}
	i := w.behind(c.seen)
	due := w.changes[i:len(w.changes):len(w.changes)]
	if len(due) > 0 {
		c.seen = due[len(due)-1].Revision
	}
	return due, w.moved, nil
}
