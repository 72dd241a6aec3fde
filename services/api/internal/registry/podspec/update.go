package podspec

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"

	"millrace.dev/services/api/internal/registry/check"
)

// changeable is what the user is told that an update of a pod may change.
const changeable = "pod updates may not change fields other than " +
	"`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// CheckPodUpdate checks what changed between two pods; that the new one is right by itself is checked before. at is the root.
func CheckPodUpdate(at check.At, pod, old *corev1.Pod) {
	checkAnnotationUpdate(at.Child("metadata", "annotations"), pod.Annotations, old.Annotations)
	at = at.Child("spec")
	if !checkSameContainers(at.Child("containers"), pod.Spec.Containers, old.Spec.Containers) ||
		!checkSameContainers(at.Child("initContainers"), pod.Spec.InitContainers, old.Spec.InitContainers) ||
		!checkDeadline(at.Child("activeDeadlineSeconds"), pod.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds) {
		return
	}
	checkTolerationsKept(at.Child("tolerations"), pod.Spec.Tolerations, old.Spec.Tolerations)
	checkGatesOnlyGo(at.Child("schedulingGates"), pod.Spec.SchedulingGates, old.Spec.SchedulingGates)
	if equality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		return
	}
	rest := withoutChangeable(&pod.Spec, &old.Spec)
	if len(old.Spec.SchedulingGates) > 0 {
		narrow(at, rest, &old.Spec)
	}
	if !equality.Semantic.DeepEqual(*rest, old.Spec) {
		at.Forbidden(changeable + "\n" + diff.Diff(old.Spec, *rest))
	}
}

// checkSameContainers says whether there are as many containers as before; only then can they be compared.
func checkSameContainers(at check.At, list, old []corev1.Container) bool {
	if len(list) != len(old) {
		at.Forbidden("pod updates may not add or remove containers")
		return false
	}
	return true
}

// checkDeadline demands that a deadline only comes closer, and says whether the other checks make sense.
func checkDeadline(at check.At, deadline, old *int64) bool {
	switch {
	case deadline == nil && old != nil:
		at.Invalid(deadline, "must not update from a positive integer to nil value")
	case deadline == nil:
	case *deadline < 0 || *deadline > math.MaxInt32:
		at.Between(*deadline, 0, math.MaxInt32)
		return false
	case old != nil && *old < *deadline:
		at.Invalid(*deadline, "must be less than or equal to previous value")
		return false
	}
	return true
}

func checkTolerationsKept(at check.At, tolerations, old []corev1.Toleration) {
	for _, o := range old {
		if !slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool {
			t.TolerationSeconds = o.TolerationSeconds
			return reflect.DeepEqual(t, o)
		}) {
			at.Forbidden("existing toleration can not be modified except its tolerationSeconds")
			return
		}
	}
}

func checkGatesOnlyGo(at check.At, gates, old []corev1.PodSchedulingGate) {
	for i, gate := range gates {
		if !slices.Contains(old, gate) {
			at.Index(i).Child("name").Forbidden(fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", gate.Name))
		}
	}
}

// withoutChangeable is a copy of spec in which everything that an update may change is as it was.
func withoutChangeable(spec, old *corev1.PodSpec) *corev1.PodSpec {
	rest := spec.DeepCopy()
	for i := range rest.Containers {
		rest.Containers[i].Image = old.Containers[i].Image
	}
	for i := range rest.InitContainers {
		rest.InitContainers[i].Image = old.InitContainers[i].Image
	}
	rest.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	rest.SchedulingGates = old.SchedulingGates
	rest.Tolerations = old.Tolerations
	if was, is := old.TerminationGracePeriodSeconds, rest.TerminationGracePeriodSeconds; was != nil && is != nil && *was < 0 && *is == 1 {
		rest.TerminationGracePeriodSeconds = was
	}
	return rest
}

// narrow lets a pod that is still gated demand more of its node, and takes these demands out of rest.
func narrow(at check.At, rest, old *corev1.PodSpec) {
	for key, value := range old.NodeSelector {
		if now, kept := rest.NodeSelector[key]; !kept || now != value {
			at.Child("nodeSelector").Invalid(rest.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")
			break
		}
	}
	rest.NodeSelector = old.NodeSelector
	was, is := nodeAffinity(old), nodeAffinity(rest)
	if equality.Semantic.DeepEqual(was, is) {
		return
	}
	checkNarrowed(at.Child("affinity", "nodeAffinity", required, "nodeSelectorTerms"), requiredTerms(is), requiredTerms(was))
	switch a := rest.Affinity; {
	case a == nil:
		rest.Affinity = &corev1.Affinity{NodeAffinity: was}
	case old.Affinity == nil && a.PodAffinity == nil && a.PodAntiAffinity == nil:
		rest.Affinity = nil
	default:
		a.NodeAffinity = was
	}
}

func nodeAffinity(spec *corev1.PodSpec) *corev1.NodeAffinity {
	if spec.Affinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity
}

func requiredTerms(a *corev1.NodeAffinity) []corev1.NodeSelectorTerm {
	if a == nil || a.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	return a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
}

func checkNarrowed(at check.At, terms, old []corev1.NodeSelectorTerm) {
	if len(old) > 0 && len(old) != len(terms) {
		at.Invalid(terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
		return
	}
	for i := range old {
		was, is := &old[i], &terms[i]
		empty := len(was.MatchExpressions)+len(was.MatchFields) == 0 && len(is.MatchExpressions)+len(is.MatchFields) > 0
		if empty || !beginsWith(is.MatchExpressions, was.MatchExpressions) || !beginsWith(is.MatchFields, was.MatchFields) {
			at.Index(i).Invalid(*is, "only additions are allowed (no mutations or deletions)")
		}
	}
}

func beginsWith(list, first []corev1.NodeSelectorRequirement) bool {
	return len(list) >= len(first) && equality.Semantic.DeepEqual(list[:len(first)], first)
}
