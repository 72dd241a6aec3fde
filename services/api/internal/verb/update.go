package verb

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/registry"
)

// update replaces objects, all or none: their metadata and spec, or their status alone.
func (v *Verbs) update(ctx context.Context, r *request) error {
	var o metav1.UpdateOptions
	if err := r.options(&o); err != nil {
		return err
	}
	if err := invalidOptions("UpdateOptions", validation.ValidateUpdateOptions(&o)); err != nil {
		return err
	}
	if !updatable(r.kind, r.body.Subresource) {
		return errUnserved()
	}
	objects, err := v.candidates(r, o.FieldValidation)
	if err != nil {
		return err
	}
	for _, c := range objects {
		if c.obj.GetName() == "" {
			return errNameless()
		}
		registry.For(c.kind).Default(c.obj)
	}
	answers, err := v.commit(ctx, r, len(o.DryRun) > 0, func(w *write) error {
		for _, c := range objects {
			if err := v.addUpdate(ctx, r, w, c); err != nil {
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

// addUpdate adds the next revision of an object to a write.
func (v *Verbs) addUpdate(ctx context.Context, r *request, w *write, c *candidate) error {
	ref := state.RefOf(c.obj)
	if !w.name(ref) {
		return apierrors.NewBadRequest(fmt.Sprintf("the request brings %s twice", ref))
	}
	record, err := v.current(ctx, c.kind, ref, c.obj.GetResourceVersion())
	if err != nil {
		return err
	}
	if r.executed(record.EventID) {
		return v.show(w, c.kind, record)
	}
	old, err := v.source(c.kind).Open(record)
	if err != nil {
		return err
	}
	if err := expectations(c, old); err != nil {
		return err
	}
	next := c.obj.DeepCopyObject().(scheme.Object)
	rules := registry.For(c.kind)
	faults := rules.ValidateUpdate
	switch r.body.Subresource {
	case client.Status:
		rules.PrepareStatusUpdate(next, old)
		faults = rules.ValidateStatusUpdate
	case client.Finalize:
		next = finalized(old, next)
	default:
		rules.PrepareUpdate(next, old)
	}
	next.SetResourceVersion(old.GetResourceVersion())
	if err := rules.Invalid(ref.Name, faults(next, old)); err != nil {
		return err
	}
	if same, err := equal(old, next); err != nil || same {
		return errors.Join(err, v.show(w, c.kind, record))
	}
	return v.put(w, record, old.DeepCopyObject().(scheme.Object), next)
}

// updatable says that a kind has the subresource; "" is the object itself.
func updatable(kind *scheme.Kind, subresource string) bool {
	switch subresource {
	case "":
		return true
	case client.Status:
		return kind == nil || registry.For(kind).HasStatus()
	case client.Finalize:
		return kind != nil && kind.Resource() == scheme.Namespaces
	default:
		return false
	}
}

// finalized is a namespace with other finalizers, and nothing else changed.
func finalized(old, next scheme.Object) scheme.Object {
	namespace := old.DeepCopyObject().(*corev1.Namespace)
	namespace.Spec.Finalizers = next.(*corev1.Namespace).Spec.Finalizers
	return namespace
}

// current is the newest record of an object, at least as new as the version that the caller has seen.
func (v *Verbs) current(ctx context.Context, kind *scheme.Kind, ref state.ObjectRef, seen string) (*view.Record, error) {
	revision, err := state.ParseRevision(seen)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	source := v.source(kind)
	if err := known(ctx, source, revision); err != nil {
		return nil, err
	}
	if record := source.Get(ref); record != nil {
		return record, nil
	}
	return nil, errNotFound(kind, ref.Name)
}

// expectations fails if the caller meant another version, or another object, than there is.
func expectations(c *candidate, old scheme.Object) error {
	if want := c.obj.GetResourceVersion(); want != "" && want != "0" && want != old.GetResourceVersion() {
		return apierrors.NewConflict(groupResource(c.kind), c.obj.GetName(),
			errors.New("the object has been modified; please apply your changes to the latest version and try again"))
	}
	if want := c.obj.GetUID(); want != "" && want != old.GetUID() {
		reason := fmt.Sprintf("Precondition failed: UID in precondition: %v, UID in object meta: %v", want, old.GetUID())
		return apierrors.NewConflict(groupResource(c.kind), c.obj.GetName(), errors.New(reason))
	}
	return nil
}

// equal says that writing next over old would change nothing.
func equal(old, next scheme.Object) (bool, error) {
	copied := old.DeepCopyObject().(scheme.Object)
	a, err := state.Encode(copied)
	if err != nil {
		return false, err
	}
	b, err := state.Encode(next)
	return bytes.Equal(a, b), err
}

// show answers with an object as it is, without writing it.
func (v *Verbs) show(w *write, kind *scheme.Kind, record *view.Record) error {
	obj, err := v.source(kind).Open(record)
	if err != nil {
		return err
	}
	plain, err := state.Encode(obj.DeepCopyObject().(scheme.Object))
	if err != nil {
		return err
	}
	w.objects = append(w.objects, written{plain: plain, entry: -1, revision: record.Revision})
	return nil
}
