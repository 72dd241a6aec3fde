// Package podgc removes pods that nobody else will: those of a node that does not exist.
package podgc

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
)

// Reconciler removes the pods of nodes that are gone. Its keys are pods, and nodes (see [NodeKey]).
//
// Reads: pods, nodes. Asks the api to delete pods. Stamp: none; a pod is deleted under the precondition of its uid.
type Reconciler struct {
	View *view.View
	// API gives the api for requests that are caused by what cause says.
	API func(cause events.Meta) API
}

// API is what the reconciler asks the api for. A *client.Client is one.
type API interface {
	Delete(ctx context.Context, ref state.ObjectRef, o metav1.DeleteOptions) (*client.Answer, error)
}

// NodeKey stands for all pods of a node.
func NodeKey(node string) reconcile.Key { return reconcile.Key{Name: node} }

// Reconcile removes the pods that the key stands for if their node does not exist.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Key) error {
	var records []*view.Record
	if key.Namespace != "" {
		records = append(records, r.View.Object(state.ObjectRef{Resource: scheme.Pods, Namespace: key.Namespace, Name: key.Name}))
	} else {
		records = r.View.List(scheme.Pods, "")
	}
	var errs []error
	for _, record := range records {
		pod, ok := view.As[*corev1.Pod](record)
		if ok && pod.Spec.NodeName != "" && (key.Namespace != "" || pod.Spec.NodeName == key.Name) {
			errs = append(errs, r.removeOrphan(ctx, record, pod))
		}
	}
	return errors.Join(errs...)
}

func (r *Reconciler) removeOrphan(ctx context.Context, record *view.Record, pod *corev1.Pod) error {
	if r.nodeExists(pod) {
		return nil
	}
	if err := r.View.Fresh(ctx); err != nil || r.nodeExists(pod) { // it may have joined a moment ago
		return err
	}
	o := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	_, err := r.API(record.Event()).Delete(ctx, record.Ref, o)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove pod %s of node %s, which is gone: %w", record.Ref, pod.Spec.NodeName, err)
	}
	return nil
}

func (r *Reconciler) nodeExists(pod *corev1.Pod) bool {
	return r.View.Object(state.ObjectRef{Resource: scheme.Nodes, Name: pod.Spec.NodeName}) != nil
}
