// Package podspec holds what Kubernetes defaults, demands and lets change in the spec of a pod, for pods and for the
// templates of workloads alike.
//
// A kind of the registry that has a template calls [Default], [DropUnserved] and [CheckTemplate]; the kind Pod calls the
// functions that end in Pod and the checks of updates as well. Texts, paths and the order of errors are those of Kubernetes
// 1.37 with its feature gates as shipped, also where a path is not the one a reader expects; the tests show them.
//
// Every function is pure. Defaulting changes its argument in place and is idempotent; checks change nothing and demand a
// spec that was defaulted.
package podspec

import (
	"iter"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/services/api/internal/registry/check"
)

// containers gives every container of spec: init, app and ephemeral ones.
func containers(spec *corev1.PodSpec) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for _, c := range containersAt(check.At{}, spec) {
			if !yield(c) {
				return
			}
		}
	}
}

// containersAt gives every container together with its place; at is the place of the spec.
func containersAt(at check.At, spec *corev1.PodSpec) iter.Seq2[check.At, *corev1.Container] {
	return func(yield func(check.At, *corev1.Container) bool) {
		for i := range spec.InitContainers {
			if !yield(at.Child("initContainers").Index(i), &spec.InitContainers[i]) {
				return
			}
		}
		for i := range spec.Containers {
			if !yield(at.Child("containers").Index(i), &spec.Containers[i]) {
				return
			}
		}
		for i := range spec.EphemeralContainers {
			if !yield(at.Child("ephemeralContainers").Index(i), ephemeral(&spec.EphemeralContainers[i])) {
				return
			}
		}
	}
}

// ephemeral looks at an ephemeral container as at any other.
func ephemeral(c *corev1.EphemeralContainer) *corev1.Container {
	return (*corev1.Container)(&c.EphemeralContainerCommon)
}

// handlers gives every HTTP action and every gRPC action of a container; one of the two is nil.
func handlers(c *corev1.Container) iter.Seq2[*corev1.HTTPGetAction, *corev1.GRPCAction] {
	return func(yield func(*corev1.HTTPGetAction, *corev1.GRPCAction) bool) {
		for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if p != nil && p.HTTPGet != nil && !yield(p.HTTPGet, nil) {
				return
			}
			if p != nil && p.GRPC != nil && !yield(nil, p.GRPC) {
				return
			}
		}
		if c.Lifecycle == nil {
			return
		}
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil && h.HTTPGet != nil && !yield(h.HTTPGet, nil) {
				return
			}
		}
	}
}
