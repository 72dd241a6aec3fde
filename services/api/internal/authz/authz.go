// Package authz says what an identity may ask of the api. The identity is proven by the NATS server; this is only about
// rights.
package authz

import (
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// Request is what is asked, by whom.
type Request struct {
	From      string // wire.FromUsers or wire.FromServices: the account it came from
	Identity  string
	Verb      string
	Kind      *scheme.Kind // nil: the cluster itself
	Namespace string
	Name      string
}

// Actor names who asks, for the event's envelope.
func (r Request) Actor() string {
	if r.From == wire.FromServices {
		return "system:" + r.Identity
	}
	return "user:" + r.Identity
}

// Authorizer decides. It is immutable and safe for concurrent use.
type Authorizer struct {
	admins   []string
	services map[string][]right
}

// right allows verbs on resources; "*" stands for all.
type right struct {
	verbs, resources []string
}

func (r right) allows(verb, resource string) bool {
	return has(r.verbs, verb) && has(r.resources, resource)
}

func has(list []string, what string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, what)
}

// New makes an authorizer for which admins may do everything. The services of the control plane may do what their work needs:
// the controller reads all and changes all but what only people hold, the scheduler asks for nothing.
func New(admins ...string) *Authorizer {
	return &Authorizer{admins: admins, services: map[string][]right{
		string(state.Controller): {
			{verbs: []string{client.VerbGet, client.VerbList, client.VerbWatch, client.VerbCreate, client.VerbUpdate, client.VerbDelete}, resources: []string{"*"}},
		},
	}}
}

// Allow returns nil, or the error 403 in Kubernetes' words.
func (a *Authorizer) Allow(r Request) error {
	if r.From == wire.FromUsers && slices.Contains(a.admins, r.Identity) {
		return nil
	}
	if r.From == wire.FromServices {
		for _, right := range a.services[r.Identity] {
			if r.Kind != nil && right.allows(r.Verb, r.Kind.Resource()) {
				return nil
			}
		}
	}
	return forbidden(r)
}

func forbidden(r Request) error {
	if r.Kind == nil {
		reason := fmt.Sprintf("User %q cannot ask for %s of the cluster", r.Identity, r.Verb)
		return apierrors.NewForbidden(schema.GroupResource{}, "", errors.New(reason))
	}
	where := "at the cluster scope"
	if r.Namespace != "" {
		where = fmt.Sprintf("in the namespace %q", r.Namespace)
	}
	resource := schema.GroupResource{Group: r.Kind.Group, Resource: r.Kind.Plural}
	reason := fmt.Sprintf("User %q cannot %s resource %q in API group %q %s", r.Identity, r.Verb, r.Kind.Plural, r.Kind.Group, where)
	return apierrors.NewForbidden(resource, r.Name, errors.New(reason))
}
