// Package namespace empties namespaces that are to be deleted, pods first, and lets them go.
package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
)

// Reconciler empties namespaces. Its keys are namespaces; whoever adds one for each object that leaves a namespace that is to
// be deleted drives it on.
//
// Reads: namespaces and everything in them. Asks the api to delete objects and to finalize the namespace. Stamp: none; nobody
// creates anything in a namespace whose stamp says that it ends.
type Reconciler struct {
	View *view.View
	// API gives the api for requests that are caused by what cause says.
	API func(cause events.Meta) API
}

// API is what the reconciler asks the api for. A *client.Client is one.
type API interface {
	Delete(ctx context.Context, ref state.ObjectRef, o metav1.DeleteOptions) (*client.Answer, error)
	Update(ctx context.Context, resource, namespace string, r client.Request, o metav1.UpdateOptions) (*client.Answer, error)
}

// Reconcile observes, plans and acts; every decision is in makePlan.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Key) error {
	record := r.View.Object(state.ObjectRef{Resource: scheme.Namespaces, Name: key.Name})
	ns, ok := view.As[*corev1.Namespace](record)
	if !ok || ns.DeletionTimestamp == nil {
		return nil
	}
	if err := r.View.Fresh(ctx); err != nil { // an object may have been created just before the end began
		return err
	}
	p := makePlan(ns, r.content(key.Name))
	because := r.API(record.Event())
	var errs []error
	for _, ref := range p.remove {
		if err := remove(ctx, because, ref); err != nil {
			errs = append(errs, err)
		}
	}
	if p.finalize {
		errs = append(errs, finalize(ctx, because, ns))
	}
	return errors.Join(errs...)
}

func (r *Reconciler) content(namespace string) []object {
	var content []object
	for _, kind := range scheme.All() {
		if kind.ClusterScoped {
			continue
		}
		for _, record := range r.View.List(kind.Resource(), namespace) {
			// A sealed object cannot be looked into; deleting it twice does no harm.
			obj, err := record.Object()
			content = append(content, object{ref: record.Ref, deleting: err == nil && obj.GetDeletionTimestamp() != nil})
		}
	}
	return content
}

func remove(ctx context.Context, api API, ref state.ObjectRef) error {
	_, err := api.Delete(ctx, ref, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	return nil
}

// finalize takes our finalizer away, and no other: whoever put that there has something to do yet.
func finalize(ctx context.Context, api API, ns *corev1.Namespace) error {
	next := ns.DeepCopy()
	next.Spec.Finalizers = slices.DeleteFunc(next.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	body, err := json.Marshal(next)
	if err != nil {
		return err
	}
	request := client.Request{Subresource: client.Finalize, Objects: []json.RawMessage{body}}
	_, err = api.Update(ctx, scheme.Namespaces, wire.Any, request, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("finalize namespace %s: %w", ns.Name, err)
	}
	return nil
}
