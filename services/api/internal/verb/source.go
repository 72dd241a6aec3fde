package verb

import (
	"context"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/seal"
	"millrace.dev/services/api/internal/watch"
)

// Source is where a kind is read from: the state, or what is told but is no state.
type Source interface {
	// Fresh waits until whatever was acknowledged before the call is seen.
	Fresh(ctx context.Context) error
	// Await waits until revision is seen.
	Await(ctx context.Context, revision uint64) error
	// Get is one live object; nil if there is none.
	Get(ref state.ObjectRef) *view.Record
	// List gives the live objects of a resource by namespace and name, and the position they stand for.
	List(resource, namespace string) ([]*view.Record, uint64)
	// From begins to follow a resource behind a revision.
	From(resource string, revision uint64) (*watch.Cursor, error)
	// Open decodes a record, a removed one too. The object is shared.
	Open(r *view.Record) (scheme.Object, error)
	// JSON is a record as readers get it, with its resourceVersion.
	JSON(r *view.Record) ([]byte, error)
}

// source is where a kind is read from.
func (v *Verbs) source(kind *scheme.Kind) Source {
	if kind.Resource() == scheme.Events {
		return v.Notes
	}
	return v.state
}

// stateSource reads the bucket; Secrets are opened on the way.
type stateSource struct {
	view   *view.View
	hub    *watch.Hub
	sealer *seal.Sealer
}

func (s stateSource) Fresh(ctx context.Context) error { return s.view.Fresh(ctx) }

func (s stateSource) Await(ctx context.Context, revision uint64) error {
	return s.view.AwaitExact(ctx, revision)
}

func (s stateSource) Get(ref state.ObjectRef) *view.Record { return s.view.Object(ref) }

func (s stateSource) List(resource, namespace string) ([]*view.Record, uint64) {
	return s.view.ListAt(resource, namespace)
}

func (s stateSource) From(resource string, revision uint64) (*watch.Cursor, error) {
	return s.hub.From(resource, revision)
}

func (s stateSource) Open(r *view.Record) (scheme.Object, error) {
	if r.Ref.Resource != scheme.Secrets {
		return r.Object()
	}
	plain, err := s.sealer.Open(r.Key, r.Body)
	if err != nil {
		return nil, err
	}
	kind, _ := scheme.ByResource(scheme.Secrets)
	obj := kind.New()
	return obj, state.Decode(plain, r.Revision, obj)
}

func (s stateSource) JSON(r *view.Record) ([]byte, error) {
	body := r.Body
	if r.Ref.Resource == scheme.Secrets {
		plain, err := s.sealer.Open(r.Key, r.Body)
		if err != nil {
			return nil, err
		}
		body = plain
	}
	return state.Versioned(body, r.Revision), nil
}
