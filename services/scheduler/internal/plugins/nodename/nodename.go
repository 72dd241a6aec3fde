// Package nodename keeps a pod that names its node off all others.
package nodename

import "millrace.dev/services/scheduler/internal/framework"

// Plugin rejects every node but the one that the pod names.
type Plugin struct{}

var _ framework.Filter = Plugin{}

// Name implements [framework.Filter].
func (Plugin) Name() string { return "NodeName" }

// Filter rejects a node whose name is not the one the pod asks for.
func (Plugin) Filter(pod *framework.Pod, node *framework.Node) framework.Verdict {
	if pod.Spec.NodeName != "" && pod.Spec.NodeName != node.Name {
		return framework.RejectFinally("node(s) didn't match the requested node name")
	}
	return framework.Fit
}

// Frees implements [framework.Filter]: the node may join.
func (Plugin) Frees(e framework.Event) bool { return e&framework.NodeAdded != 0 }
