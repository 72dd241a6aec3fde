// Package unschedulable keeps pods off nodes that are closed for new work.
package unschedulable

import (
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/services/scheduler/internal/framework"
)

// Plugin rejects cordoned nodes, unless the pod tolerates the taint that stands for it.
type Plugin struct{}

var _ framework.Filter = Plugin{}

// Name implements [framework.Filter].
func (Plugin) Name() string { return "NodeUnschedulable" }

// Filter rejects a node with spec.unschedulable. O(tolerations of pod).
func (Plugin) Filter(pod *framework.Pod, node *framework.Node) framework.Verdict {
	if !node.Spec.Unschedulable {
		return framework.Fit
	}
	taint := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	for i := range pod.Spec.Tolerations {
		if framework.Tolerates(&pod.Spec.Tolerations[i], &taint) {
			return framework.Fit
		}
	}
	return framework.RejectFinally("node(s) were unschedulable")
}

// Frees implements [framework.Filter]: the node may be uncordoned, or another may join.
func (Plugin) Frees(e framework.Event) bool {
	return e&(framework.NodeAdded|framework.NodeChanged) != 0
}
