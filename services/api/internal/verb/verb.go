// Package verb answers requests: one file a verb. Each reads top to bottom as what happens to a request: it is authorised, read,
// defaulted, validated, admitted and committed.
//
// Reads are answered from the view, which first catches up with every write acknowledged before the request. Writes
// compare-and-set; a writer that loses reads again and tries again, and the conflict reaches the user only if he named the
// version that he meant.
package verb

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/authz"
	"millrace.dev/services/api/internal/seal"
	"millrace.dev/services/api/internal/watch"
)

// Nodes reaches kubelets.
type Nodes interface {
	// Announce tells the kubelet of a node of a session that has been authorised.
	Announce(ctx context.Context, node string, r state.SessionRequest) error
}

// Deps is what the verbs work with.
type Deps struct {
	View    *view.View
	Writer  *commit.Writer
	Hub     *watch.Hub
	Notes   Source // core/v1 Events
	Sealer  *seal.Sealer
	Authz   *authz.Authorizer
	Streams *wire.Streams
	Nodes   Nodes
	Source  string // of the events that are made
	Now     func() time.Time
	// Info is the answer to what the cluster is.
	Info func(context.Context) (*client.Info, error)
}

// Verbs answers requests. Safe for concurrent use.
type Verbs struct {
	Deps
	state stateSource
}

// New makes the verbs.
func New(d Deps) *Verbs {
	v := &Verbs{Deps: d}
	v.state = stateSource{view: d.View, hub: d.Hub, sealer: d.Sealer}
	return v
}

// request is one request on its way.
type request struct {
	in        *wire.Incoming
	target    wire.Target
	kind      *scheme.Kind // nil: none is named
	namespace string
	body      client.Request
	actor     string
	warnings  []string // what the answer says beside its objects
}

// Handle answers one request of the api. It is a [wire.Handler].
func (v *Verbs) Handle(ctx context.Context, in *wire.Incoming) error {
	target, err := wire.ParseAPISubject(in.Subject)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if target.From == wire.FromUsers && !in.Foreign {
		return apierrors.NewBadRequest("a user's request that did not come through the users' account")
	}
	r := &request{in: in, target: target, namespace: target.Namespace}
	if len(in.Body) > 0 {
		if err := json.Unmarshal(in.Body, &r.body); err != nil {
			return apierrors.NewBadRequest(fmt.Sprintf("the body of the request cannot be read: %v", err))
		}
	}
	if target.Resource != wire.Any {
		kind, ok := scheme.ByResource(target.Resource)
		if !ok {
			return errUnserved()
		}
		r.kind = kind
	}
	r.actor = r.asked().Actor()
	return v.dispatch(ctx, r)
}

// dispatch is the table of verbs.
func (v *Verbs) dispatch(ctx context.Context, r *request) error {
	if r.target.Verb == client.VerbInfo {
		return v.info(ctx, r)
	}
	if r.kind == nil && r.target.Verb != client.VerbCreate {
		return apierrors.NewBadRequest(fmt.Sprintf("%s needs a resource", r.target.Verb))
	}
	switch r.target.Verb {
	case client.VerbGet:
		return v.get(ctx, r)
	case client.VerbList:
		return v.list(ctx, r)
	case client.VerbWatch:
		return v.watch(ctx, r)
	case client.VerbCreate:
		return v.create(ctx, r)
	case client.VerbUpdate:
		return v.update(ctx, r)
	case client.VerbDelete:
		return v.delete(ctx, r)
	case client.VerbExec, client.VerbLog:
		return v.session(ctx, r)
	default:
		return apierrors.NewMethodNotSupported(groupResource(r.kind), r.target.Verb)
	}
}

func (r *request) asked() authz.Request {
	return authz.Request{
		From: r.target.From, Identity: r.target.Identity, Verb: r.target.Verb, Kind: r.kind, Namespace: r.namespace, Name: r.body.Name,
	}
}

func groupResource(kind *scheme.Kind) schema.GroupResource {
	return schema.GroupResource{Group: kind.Group, Resource: kind.Plural}
}

// ref is the object that the request names.
func (r *request) ref() (state.ObjectRef, error) {
	if r.body.Name == "" {
		return state.ObjectRef{}, errNameless()
	}
	return refOf(r.kind, r.namespace, r.body.Name)
}

// refOf names an object; a namespace that its kind does not have is dropped, one that it needs must be there.
func refOf(kind *scheme.Kind, namespace, name string) (state.ObjectRef, error) {
	ref := state.ObjectRef{Resource: kind.Resource(), Namespace: namespace, Name: name}
	switch {
	case kind.ClusterScoped:
		ref.Namespace = ""
	case namespace == "":
		return ref, apierrors.NewBadRequest("an empty namespace may not be set when a resource name is provided")
	}
	return ref, nil
}

// options reads the options of the request into o.
func (r *request) options(o any) error {
	if len(r.body.Options) == 0 {
		return nil
	}
	if err := json.Unmarshal(r.body.Options, o); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("options: %v", err))
	}
	return nil
}

// meta is who makes a change, and why, for its events.
func (v *Verbs) meta(r *request) events.Meta {
	return events.Meta{Source: v.Source, Actor: r.actor, Correlation: cmp.Or(r.in.Correlation, r.in.ID), Trace: r.in.Trace}
}

// command is the id of the command, by which it is recognised when it is sent again; a new one if its sender gave it none.
func (r *request) command() string { return cmp.Or(r.in.ID, events.NewID()) }

// batch begins a batch that is recognised as this command's.
func (v *Verbs) batch(r *request) *events.Batch {
	return &events.Batch{ID: r.command(), Meta: v.meta(r), Queue: events.QueueRequests}
}

// invalidOptions is the answer 422 for faults in the options of a request; nil if there are none.
func invalidOptions(kind string, faults field.ErrorList) error {
	if len(faults) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", faults)
}

// The errors that every verb has, in Kubernetes' words.

// errNotFound: there is no such object.
func errNotFound(kind *scheme.Kind, name string) error {
	return apierrors.NewNotFound(groupResource(kind), name)
}

// errUnserved: there is no such resource, or it has no such subresource.
func errUnserved() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource",
	}}
}

// errNameless: the request must name an object and does not.
func errNameless() error { return apierrors.NewBadRequest("name must be provided") }

// answerObjects answers with objects as JSON.
func (r *request) answerObjects(objects ...json.RawMessage) error {
	return r.in.AnswerJSON(client.Answer{Objects: objects, Warnings: r.warnings})
}

func (v *Verbs) info(ctx context.Context, r *request) error {
	info, err := v.Info(ctx)
	if err != nil {
		return err
	}
	return r.in.AnswerJSON(info)
}
