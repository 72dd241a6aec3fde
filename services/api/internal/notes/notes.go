// Package notes serves what was told but is no state as core/v1 Events, and takes in what nodes tell.
package notes

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/note"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/watch"
)

// keep is how long a note is served after it was last told, as in Kubernetes.
const keep = time.Hour

// Notes holds the notes of the last hour. It is a source of the verbs. Safe for concurrent use.
type Notes struct {
	hub *watch.Hub
	now func() time.Time

	mu       sync.Mutex
	position uint64
	records  map[state.ObjectRef]*view.Record
	byAge    []*view.Record // oldest first; some may have been told again since
	moved    chan struct{}  // closed and replaced whenever position moves
}

// New makes an empty set of notes.
func New(now func() time.Time) *Notes {
	n := &Notes{hub: watch.New(), now: now, position: nothingYet, records: map[state.ObjectRef]*view.Record{}, moved: make(chan struct{})}
	n.hub.Loaded(nothingYet)
	return n
}

// nothingYet is the revision at which nothing was told. It cannot be 0, which stands for any revision, so that the revision of a
// note is one more than its sequence.
const nothingYet = 1

// Deliver takes one message of the stream NOTES.
func (n *Notes) Deliver(_ string, sequence uint64, at time.Time, body []byte) {
	var event corev1.Event
	if json.Unmarshal(body, &event) != nil {
		return // not a note: nobody but us writes this stream
	}
	ref := state.ObjectRef{Resource: scheme.Events, Namespace: event.Namespace, Name: event.Name}
	after := &view.Record{Key: state.ObjectKey(ref), Ref: ref, Revision: sequence + nothingYet, Time: at, Body: body}
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.records[ref]
	n.records[ref] = after
	n.byAge = append(n.byAge, after)
	n.position = after.Revision
	n.hub.Changed(before, after)
	n.forget()
	close(n.moved)
	n.moved = make(chan struct{})
}

// forget drops what nobody told again for an hour. Caller holds mu.
func (n *Notes) forget() {
	for len(n.byAge) > 0 && n.now().Sub(n.byAge[0].Time) > keep {
		if old := n.byAge[0]; n.records[old.Ref] == old {
			delete(n.records, old.Ref)
		}
		n.byAge[0] = nil
		n.byAge = n.byAge[1:]
	}
}

// Fresh returns at once: a note may be late, and nothing depends on it.
func (n *Notes) Fresh(context.Context) error { return nil }

// Await waits until the note with this revision has been seen.
func (n *Notes) Await(ctx context.Context, revision uint64) error {
	for {
		n.mu.Lock()
		reached, moved := n.position >= revision, n.moved
		n.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}

// Get is one note; nil if there is none.
func (n *Notes) Get(ref state.ObjectRef) *view.Record {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget()
	return n.records[ref]
}

// List gives the notes of a namespace, or of all, by namespace and name.
func (n *Notes) List(_, namespace string) ([]*view.Record, uint64) {
	n.mu.Lock()
	n.forget()
	var list []*view.Record
	for ref, r := range n.records {
		if namespace == "" || ref.Namespace == namespace {
			list = append(list, r)
		}
	}
	position := n.position
	n.mu.Unlock()
	slices.SortFunc(list, func(a, b *view.Record) int {
		if c := strings.Compare(a.Ref.Namespace, b.Ref.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Ref.Name, b.Ref.Name)
	})
	return list, position
}

// Position is the newest revision that has been seen.
func (n *Notes) Position() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.position
}

// Rewind gives a list of notes as it was at an earlier revision, but for those that have been forgotten since.
func (n *Notes) Rewind(resource, namespace string, records []*view.Record, position, revision uint64) ([]*view.Record, error) {
	return n.hub.Rewind(resource, namespace, records, position, revision)
}

// From begins to follow the notes behind a revision.
func (n *Notes) From(resource string, revision uint64) (*watch.Cursor, error) {
	return n.hub.From(resource, revision)
}

// Open decodes a note.
func (n *Notes) Open(r *view.Record) (scheme.Object, error) { return r.Object() }

// JSON is a note as readers get it.
func (n *Notes) JSON(r *view.Record) ([]byte, error) { return state.Versioned(r.Body, r.Revision), nil }

// Intake takes what nodes tell and passes it on to the stream: a node may speak about itself and the pods it runs.
type Intake struct {
	View    *view.View
	Publish func(subject string, body []byte) error
}

// Handle is a [wire.Handler] for the notes of nodes.
func (i *Intake) Handle(_ context.Context, in *wire.Incoming) error {
	_, node, err := wire.ParseNodeSubject(in.Subject)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	var event corev1.Event
	if err := json.Unmarshal(in.Body, &event); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("note: %v", err))
	}
	if !i.concerns(node, &event.InvolvedObject) || !ownPlace(&event) {
		return apierrors.NewForbidden(schema.GroupResource{Resource: scheme.Events}, event.Name, fmt.Errorf("node %q may speak only about itself and its pods", node))
	}
	event.Source.Host, event.ReportingInstance = node, node
	body, err := json.Marshal(&event)
	if err != nil {
		return err
	}
	return i.Publish(note.Subject(event.Namespace, event.Name), body)
}

func (i *Intake) concerns(node string, about *corev1.ObjectReference) bool {
	switch about.Kind {
	case "Node":
		return about.Name == node
	case "Pod":
		pod, ok := view.Last[*corev1.Pod](i.View.Get(state.ObjectKey(state.ObjectRef{Resource: scheme.Pods, Namespace: about.Namespace, Name: about.Name})))
		return ok && pod.UID == about.UID && pod.Spec.NodeName == node
	default:
		return false
	}
}

// ownPlace says that a note lies where notes about its object lie, so that it takes the place of none about another.
func ownPlace(event *corev1.Event) bool {
	namespace := cmp.Or(event.InvolvedObject.Namespace, metav1.NamespaceDefault)
	return event.Namespace == namespace && strings.HasPrefix(event.Name, event.InvolvedObject.Name+".")
}
