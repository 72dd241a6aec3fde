// Package nodeports keeps pods that take a port of their node apart from those that have it.
package nodeports

import (
	"slices"

	"millrace.dev/services/scheduler/internal/framework"
)

// Plugin rejects nodes on which a host port of the pod is taken.
type Plugin struct{}

var _ framework.Filter = Plugin{}

// Name implements [framework.Filter].
func (Plugin) Name() string { return "NodePorts" }

// Filter rejects a node on which a pod has a host port that this one asks for. O(host ports of pod × host ports on the node).
func (Plugin) Filter(pod *framework.Pod, node *framework.Node) framework.Verdict {
	for _, wanted := range pod.HostPorts {
		if slices.ContainsFunc(node.HostPorts, wanted.Conflicts) {
			return framework.Reject("node(s) didn't have free ports for the requested pod ports")
		}
	}
	return framework.Fit
}

// Frees implements [framework.Filter]: a pod has gone, or a node joins. Ports of a pod never change.
func (Plugin) Frees(e framework.Event) bool { return e&(framework.PodGone|framework.NodeAdded) != 0 }
