package verb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/services/api/internal/authz"
	"millrace.dev/services/api/internal/registry"
)

// create writes new objects, all or none.
func (v *Verbs) create(ctx context.Context, r *request) error {
	var o metav1.CreateOptions
	if err := r.options(&o); err != nil {
		return err
	}
	if err := invalidOptions("CreateOptions", validation.ValidateCreateOptions(&o)); err != nil {
		return err
	}
	objects, err := v.candidates(r, o.FieldValidation)
	if err != nil {
		return err
	}
	for i, c := range objects {
		c.seed = fmt.Sprint(r.command(), " ", i)
		if err := v.prepareNew(c); err != nil {
			return err
		}
	}
	answers, err := v.commit(ctx, r, len(o.DryRun) > 0, func(w *write) error {
		for _, c := range objects {
			if err := v.addNew(ctx, r, w, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.answerObjects(raw(answers)...)
}

func raw(bodies [][]byte) []json.RawMessage {
	messages := make([]json.RawMessage, len(bodies))
	for i, b := range bodies {
		messages[i] = b
	}
	return messages
}

// candidate is one object that a request brings.
type candidate struct {
	kind      *scheme.Kind
	obj       scheme.Object
	generated bool   // its name is made, and made again if it is taken
	seed      string // of the names that are made
}

// candidates are the objects of a request, if its sender may write them.
func (v *Verbs) candidates(r *request, fieldValidation string) ([]*candidate, error) {
	if r.kind != nil { // who may not ask learns nothing about his document
		if err := v.Authz.Allow(r.asked()); err != nil {
			return nil, err
		}
	}
	objects, err := r.decode(fieldValidation)
	if err != nil {
		return nil, err
	}
	for _, c := range objects {
		if err := v.Authz.Allow(c.asked(r)); err != nil {
			return nil, err
		}
		if err := writable(c.kind, r.target.Verb); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// writable refuses the kinds that lie in no bucket: events are told, not written.
func writable(kind *scheme.Kind, verb string) error {
	if kind.Resource() == scheme.Events {
		return apierrors.NewMethodNotSupported(groupResource(kind), verb)
	}
	return nil
}

// decode reads the objects of a request, strictly unless it asks otherwise, and checks them against its subject.
func (r *request) decode(fieldValidation string) ([]*candidate, error) {
	documents := make([][]byte, 0, len(r.body.Objects)+1)
	for _, o := range r.body.Objects {
		documents = append(documents, o)
	}
	if r.body.Manifest != "" {
		documents = append(documents, []byte(r.body.Manifest))
	}
	if len(documents) == 0 {
		return nil, apierrors.NewBadRequest("the request brings no object")
	}
	lenient := fieldValidation == metav1.FieldValidationIgnore || fieldValidation == metav1.FieldValidationWarn
	candidates := make([]*candidate, 0, len(documents))
	for _, document := range documents {
		obj, kind, err := scheme.Decode(document)
		if err != nil && (!lenient || obj == nil) {
			return nil, registry.DecodeError(kind, err)
		}
		if err != nil && fieldValidation == metav1.FieldValidationWarn {
			r.warn(registry.DecodeError(kind, err))
		}
		c := &candidate{kind: kind, obj: obj}
		if err := r.place(c); err != nil {
			return nil, err
		}
		candidates = append(candidates, c)
	}
	return candidates, nil
}

// warn adds what is wrong with a document to the answer.
func (r *request) warn(refusal *apierrors.StatusError) {
	if refusal.ErrStatus.Details == nil {
		return
	}
	for _, cause := range refusal.ErrStatus.Details.Causes {
		r.warnings = append(r.warnings, cause.Message)
	}
}

// place checks that an object is of the kind and namespace of the request, and puts it there if it names none.
func (r *request) place(c *candidate) error {
	if r.kind != nil && c.kind != r.kind {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s", c.kind.Name, c.kind.APIVersion(), r.kind.Name))
	}
	switch named := c.obj.GetNamespace(); {
	case c.kind.ClusterScoped:
		c.obj.SetNamespace("")
	case named == "" && r.namespace == "":
		c.obj.SetNamespace(metav1.NamespaceDefault)
	case named == "":
		c.obj.SetNamespace(r.namespace)
	case r.namespace != "" && named != r.namespace:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// asked is what the object's creation asks for.
func (c *candidate) asked(r *request) (a authz.Request) {
	a = r.asked()
	a.Kind, a.Namespace, a.Name = c.kind, c.obj.GetNamespace(), c.obj.GetName()
	return a
}

// prepareNew defaults and validates a new object. A name that is to be made is made again at the write if it is taken.
func (v *Verbs) prepareNew(c *candidate) error {
	if c.obj.GetResourceVersion() != "" {
		return apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	rules := registry.For(c.kind)
	rules.Default(c.obj)
	if c.generated = c.obj.GetName() == "" && c.obj.GetGenerateName() != ""; c.generated {
		c.generateName(0)
	}
	rules.PrepareCreate(c.obj, types.UID(uuid.NewUUID()), v.Now())
	return rules.Invalid(c.obj.GetName(), rules.Validate(c.obj))
}

// nameLetters leave out vowels and what looks alike, as Kubernetes does, so that no name is a word.
const nameLetters = "bcdfghjklmnpqrstvwxz2456789"

// generateName gives the object the name of the n-th try. The names follow from the seed alone: a command that is sent again
// finds what it made.
func (c *candidate) generateName(n int) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", c.seed, n))
	suffix := make([]byte, 5)
	for i := range suffix {
		suffix[i] = nameLetters[binary.BigEndian.Uint32(sum[4*i:])%uint32(len(nameLetters))]
	}
	c.obj.SetName(registry.GeneratedName(c.obj.GetGenerateName(), string(suffix)))
}

// addNew adds a new object to a write.
func (v *Verbs) addNew(ctx context.Context, r *request, w *write, c *candidate) error {
	for n := range attempts {
		if c.generated {
			c.generateName(n)
		}
		ref := state.RefOf(c.obj)
		seen := v.View.Get(state.ObjectKey(ref))
		absent := seen == nil || seen.Removed
		switch {
		case absent && w.name(ref):
			if err := v.checkNamespace(ctx, w.batch, c.kind, c.obj); err != nil {
				return err
			}
			return v.put(w, seen, nil, c.obj)
		case !absent && r.executed(seen.EventID):
			return v.show(w, c.kind, seen)
		case !c.generated:
			return apierrors.NewAlreadyExists(groupResource(c.kind), ref.Name)
		}
	}
	return apierrors.NewGenerateNameConflict(groupResource(c.kind), c.obj.GetName(), 1)
}
