package verb

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
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
	// Position is the newest revision that has been seen.
	Position() uint64
	// List gives the live objects of a resource by namespace and name, and the position they stand for.
	List(resource, namespace string) ([]*view.Record, uint64)
	// Rewind gives a list that stands for position as it was at revision. Error: [store.ErrExpired] if nobody knows any more.
	Rewind(resource, namespace string, records []*view.Record, position, revision uint64) ([]*view.Record, error)
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

// awaitRevision is how long a request waits for a revision that has not been seen: as long as in Kubernetes. It may be one that
// nobody has ever given out.
const awaitRevision = 3 * time.Second

// catchUp makes a source as fresh as a resourceVersion demands: "" everything acknowledged so far, "0" anything, otherwise
// not older than that.
func catchUp(ctx context.Context, source Source, resourceVersion string) error {
	if resourceVersion == "" {
		return unavailable(source.Fresh(ctx))
	}
	revision, err := state.ParseRevision(resourceVersion)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	waiting, cancel := context.WithTimeout(ctx, awaitRevision)
	defer cancel()
	err = source.Await(waiting, revision)
	if err == nil || ctx.Err() != nil {
		return unavailable(err)
	}
	return errTooLarge(revision, source.Position())
}

// known waits until a source has seen revision, if there is such a one. Unlike [catchUp] it does not say that there is none.
func known(ctx context.Context, source Source, revision uint64) error {
	if revision == 0 || revision > source.Position() {
		return unavailable(source.Fresh(ctx))
	}
	return unavailable(source.Await(ctx, revision))
}

// unavailable is the error of a source that could not be waited for: this replica is stopping or cut off.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// errTooLarge: nobody has given out that revision yet; in Kubernetes' words.
func errTooLarge(revision, current uint64) error {
	const sentence = "Too large resource version"
	err := apierrors.NewTimeoutError(fmt.Sprintf("%s: %d, current: %d", sentence, revision, current), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: sentence}}
	return err
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

func (s stateSource) Position() uint64 { return s.view.Position() }

func (s stateSource) Rewind(resource, namespace string, records []*view.Record, position, revision uint64) ([]*view.Record, error) {
	return s.hub.Rewind(resource, namespace, records, position, revision)
}

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
