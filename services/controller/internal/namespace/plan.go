package namespace

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

// plan is the next step in emptying a namespace.
type plan struct {
	remove   []state.ObjectRef // to be deleted now
	finalize bool              // it is empty: take our finalizer away
}

// object is one object in the namespace.
type object struct {
	ref      state.ObjectRef
	deleting bool
}

// makePlan empties a namespace that is to be deleted: its pods first, and everything else when the last pod is gone, so that
// what pods use outlives them.
func makePlan(namespace *corev1.Namespace, content []object) plan {
	if namespace.DeletionTimestamp == nil {
		return plan{}
	}
	if len(content) == 0 {
		return plan{finalize: slices.Contains(namespace.Spec.Finalizers, corev1.FinalizerKubernetes)}
	}
	var pods, others []state.ObjectRef
	podsLeft := false
	for _, o := range content {
		pod := o.ref.Resource == scheme.Pods
		podsLeft = podsLeft || pod
		switch {
		case o.deleting:
		case pod:
			pods = append(pods, o.ref)
		default:
			others = append(others, o.ref)
		}
	}
	if podsLeft {
		return plan{remove: pods}
	}
	return plan{remove: others}
}
