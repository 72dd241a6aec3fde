// Package noderesources keeps pods within what a node offers and packs them tight.
package noderesources

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/services/scheduler/internal/framework"
)

// Fit rejects a node that has too little left for a pod's requests.
type Fit struct{}

var _ framework.Filter = Fit{}

// Name implements [framework.Filter].
func (Fit) Name() string { return "NodeResourcesFit" }

// Filter rejects a node on which the pod's requests do not fit beside those of the pods there. It is final if they would
// not fit on the empty node. O(resources of pod).
func (Fit) Filter(pod *framework.Pod, node *framework.Node) framework.Verdict {
	var reasons []string
	final := false
	check := func(reason string, request, allocatable, requested int64) {
		if request > 0 && request > allocatable-requested {
			reasons = append(reasons, reason)
			final = final || request > allocatable
		}
	}
	r, a, q := &pod.Requests, &node.Allocatable, &node.Requested
	check("Too many pods", r.Pods, a.Pods, q.Pods)
	check("Insufficient cpu", r.MilliCPU, a.MilliCPU, q.MilliCPU)
	check("Insufficient memory", r.Memory, a.Memory, q.Memory)
	check("Insufficient ephemeral-storage", r.Ephemeral, a.Ephemeral, q.Ephemeral)
	for _, name := range sorted(r.Other) {
		check("Insufficient "+string(name), r.Other[name], a.Other[name], q.Other[name])
	}
	return framework.Verdict{Reasons: reasons, Final: final}
}

// Frees implements [framework.Filter]: a pod has gone, or a node offers more.
func (Fit) Frees(e framework.Event) bool {
	return e&(framework.PodGone|framework.NodeAdded|framework.NodeChanged|framework.PodChanged) != 0
}

func sorted(resources map[corev1.ResourceName]int64) []corev1.ResourceName {
	var names []corev1.ResourceName
	for name := range resources {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b corev1.ResourceName) int { return strings.Compare(string(a), string(b)) })
	return names
}

// Pack prefers the node that is fullest once the pod is on it, so that nodes are filled before empty ones are opened.
type Pack struct{}

var _ framework.Scorer = Pack{}

// Name implements [framework.Scorer].
func (Pack) Name() string { return "NodeResourcesMostAllocated" }

// unrequested is what a pod that requests nothing counts for, so that such pods fill nodes too
// (Kubernetes' DefaultMilliCPURequest and DefaultMemoryRequest).
var unrequested = framework.Resources{MilliCPU: 100, Memory: 200 << 20}

// Score implements [framework.Scorer]: the mean share of CPU and memory that would be requested. What a pod that requests
// nothing counts for may exceed a node that is full; it is no fuller for that (as in Kubernetes).
func (Pack) Score(pod *framework.Pod, node *framework.Node) int64 {
	cpu := cmp.Or(pod.Requests.MilliCPU, unrequested.MilliCPU)
	memory := cmp.Or(pod.Requests.Memory, unrequested.Memory)
	return (share(node.Requested.MilliCPU+cpu, node.Allocatable.MilliCPU) + share(node.Requested.Memory+memory, node.Allocatable.Memory)) / 2
}

func share(requested, allocatable int64) int64 {
	if allocatable <= 0 {
		return 0
	}
	return min(requested, allocatable) * 100 / allocatable
}
