package view

import (
	"fmt"
	"sync/atomic"
	"time"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

// Record is the newest revision of one key. It never changes: the next revision is another Record.
type Record struct {
	Key      state.Key
	Revision uint64
	Time     time.Time // the server's clock at the write
	Removed  bool      // Body is the last body
	Body     []byte    // shared: do not change it
	// Ref is set for keys of objects.
	Ref state.ObjectRef
	// What of the event's envelope is needed later on.
	EventID, EventType, Actor, Correlation, Trace string
	// Report is the newest report of a node that the revision reflects.
	Report string

	object atomic.Pointer[scheme.Object]
}

func record(e store.Entry) *Record {
	r := &Record{Key: e.Key, Revision: e.Revision, Time: e.Time, Removed: e.Removed, Body: e.Body}
	if event, err := events.Decode(e.Header); err == nil { // a message that is no event still is a revision
		r.EventID, r.EventType, r.Actor, r.Correlation, r.Trace = event.ID, event.Type, event.Actor, event.Correlation, event.Trace
		r.Report = event.Report
	}
	r.Ref, _ = state.ParseObjectKey(e.Key)
	return r
}

// Object is the record's object with its resourceVersion. It is decoded at the first call and shared afterwards: do not
// change it. It fails for keys that are no objects, for sealed ones, and for bodies that are damaged.
func (r *Record) Object() (scheme.Object, error) {
	if cached := r.object.Load(); cached != nil {
		return *cached, nil
	}
	kind, ok := scheme.ByResource(r.Ref.Resource)
	if !ok {
		return nil, fmt.Errorf("%s is not an object of a kind that is served", r.Key)
	}
	obj := kind.New()
	if err := state.Decode(r.Body, r.Revision, obj); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Key, err)
	}
	r.object.Store(&obj)
	return obj, nil
}

// As is the record's object as a T, such as *corev1.Pod; ok is false if there is no live object of that type.
func As[T scheme.Object](r *Record) (obj T, ok bool) {
	if r == nil || r.Removed {
		return obj, false
	}
	return Last[T](r)
}

// Last is As for removed records too: the object as it last was.
func Last[T scheme.Object](r *Record) (obj T, ok bool) {
	if r == nil {
		return obj, false
	}
	decoded, err := r.Object()
	if err != nil {
		return obj, false
	}
	obj, ok = decoded.(T)
	return obj, ok
}

// Event is the causation of what is done because of r: its event's id and what it inherited.
func (r *Record) Event() events.Meta {
	return events.Meta{Causation: r.EventID, Correlation: r.Correlation, Trace: r.Trace, Actor: r.Actor}
}
