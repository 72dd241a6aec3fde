// Package nodeselector keeps a pod on nodes with the labels that its nodeSelector asks for.
package nodeselector

import "millrace.dev/services/scheduler/internal/framework"

// Plugin rejects nodes that lack a label of the pod's nodeSelector.
type Plugin struct{}

var _ framework.Filter = Plugin{}

// Name implements [framework.Filter]; Kubernetes names the whole of selectors and affinity so.
func (Plugin) Name() string { return "NodeAffinity" }

// Filter rejects a node that lacks a label of the pod's nodeSelector. O(labels of the selector).
func (Plugin) Filter(pod *framework.Pod, node *framework.Node) framework.Verdict {
	for key, value := range pod.Spec.NodeSelector {
		if had, ok := node.Labels[key]; !ok || had != value {
			return framework.RejectFinally("node(s) didn't match Pod's node affinity/selector")
		}
	}
	return framework.Fit
}

// Frees implements [framework.Filter]: a node may get the label, or one with it may join.
func (Plugin) Frees(e framework.Event) bool {
	return e&(framework.NodeAdded|framework.NodeChanged|framework.PodChanged) != 0
}
