// Package framework is what the scheduler's plugins are made of: a pod and a node as they matter for placing, filters that say
// where a pod does not fit and why, and scores that say where it fits best.
package framework

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
)

// Pod is a pod to be placed, or one that has a place.
type Pod struct {
	*corev1.Pod
	Requests  Resources
	HostPorts []HostPort
}

// NewPod prepares a pod; the pod is not copied.
func NewPod(pod *corev1.Pod) *Pod {
	return &Pod{Pod: pod, Requests: PodResources(pod), HostPorts: hostPorts(pod)}
}

// Node is a node and what is on it. A Node of a snapshot is the cycle's own.
type Node struct {
	*corev1.Node
	Allocatable Resources
	Requested   Resources  // of Pods
	Pods        []*Pod     // those on it that have not finished; a change makes another slice, so that copies of a Node may share it
	HostPorts   []HostPort // of Pods; likewise
	Stamp       uint64     // the revision of stamp.node that all of this stands for
}

// Add puts a pod on the node that is not on it. O(pods on the node).
func (n *Node) Add(pod *Pod) {
	n.Pods = append(slices.Clip(n.Pods), pod)
	n.Requested.Add(&pod.Requests)
	n.HostPorts = append(slices.Clip(n.HostPorts), pod.HostPorts...)
}

// Remove takes a pod off the node, if it is there. O(pods on the node).
func (n *Node) Remove(pod *Pod) {
	at := slices.IndexFunc(n.Pods, func(p *Pod) bool { return p.UID == pod.UID })
	if at < 0 {
		return
	}
	n.Pods = slices.Concat(n.Pods[:at], n.Pods[at+1:])
	n.Requested.Subtract(&pod.Requests)
	if len(pod.HostPorts) > 0 {
		n.HostPorts = nil
		for _, p := range n.Pods {
			n.HostPorts = append(n.HostPorts, p.HostPorts...)
		}
	}
}

// Copy is the node with room of its own: what happens to one of the two is not seen at the other. Requested of both may be
// changed, objects of neither.
func (n *Node) Copy() *Node {
	c := *n
	c.Requested = n.Requested.Clone()
	return &c
}

// Resources is a list of resources as plain numbers.
type Resources struct {
	MilliCPU, Memory, Ephemeral int64 // memory and ephemeral storage in bytes
	Pods                        int64
	Other                       map[corev1.ResourceName]int64 // extended resources and huge pages
}

// FromList reads a resource list.
func FromList(list corev1.ResourceList) Resources {
	var r Resources
	for name, quantity := range list {
		switch name {
		case corev1.ResourceCPU:
			r.MilliCPU = quantity.MilliValue()
		case corev1.ResourceMemory:
			r.Memory = quantity.Value()
		case corev1.ResourceEphemeralStorage:
			r.Ephemeral = quantity.Value()
		case corev1.ResourcePods:
			r.Pods = quantity.Value()
		default:
			if r.Other == nil {
				r.Other = map[corev1.ResourceName]int64{}
			}
			r.Other[name] = quantity.Value()
		}
	}
	return r
}

// PodResources is what a pod requests, itself counted as one pod.
func PodResources(pod *corev1.Pod) Resources {
	r := FromList(podinfo.Requests(pod))
	r.Pods = 1
	return r
}

// Add adds more to r.
func (r *Resources) Add(more *Resources) { r.change(more, 1) }

// Subtract takes less from r.
func (r *Resources) Subtract(less *Resources) { r.change(less, -1) }

func (r *Resources) change(by *Resources, sign int64) {
	r.MilliCPU += sign * by.MilliCPU
	r.Memory += sign * by.Memory
	r.Ephemeral += sign * by.Ephemeral
	r.Pods += sign * by.Pods
	if len(by.Other) > 0 && r.Other == nil {
		r.Other = map[corev1.ResourceName]int64{}
	}
	for name, value := range by.Other {
		r.Other[name] += sign * value
	}
}

// Clone copies r.
func (r *Resources) Clone() Resources {
	c := *r
	c.Other = maps.Clone(r.Other)
	return c
}
