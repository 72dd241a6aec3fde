// Package taint keeps pods off nodes whose taints they do not tolerate.
package taint

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/services/scheduler/internal/framework"
)

// Plugin rejects nodes with a NoSchedule or NoExecute taint that the pod does not tolerate.
type Plugin struct{}

var _ framework.Filter = Plugin{}

// Name implements [framework.Filter].
func (Plugin) Name() string { return "TaintToleration" }

// Filter rejects a node for the first taint that the pod does not tolerate. O(taints × tolerations).
func (Plugin) Filter(pod *framework.Pod, node *framework.Node) framework.Verdict {
	for i := range node.Spec.Taints {
		t := &node.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerated(pod, t) {
			return framework.RejectFinally(fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value))
		}
	}
	return framework.Fit
}

func tolerated(pod *framework.Pod, t *corev1.Taint) bool {
	for i := range pod.Spec.Tolerations {
		if framework.Tolerates(&pod.Spec.Tolerations[i], t) {
			return true
		}
	}
	return false
}

// Frees implements [framework.Filter]: the taint may go, or another node may join.
func (Plugin) Frees(e framework.Event) bool {
	return e&(framework.NodeAdded|framework.NodeChanged|framework.PodChanged) != 0
}
