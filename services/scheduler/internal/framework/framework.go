// Package framework is what the scheduler's plugins are made of: a pod and a node as they matter for placing, filters that say
// where a pod does not fit and why, and scores that say where it fits best.
package framework

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
)

// Pod is a pod to be placed, or one that has a place.
type Pod struct {
	*corev1.Pod
	Requests Resources
}

// NewPod prepares a pod; the pod is not copied.
func NewPod(pod *corev1.Pod) *Pod { return &Pod{Pod: pod, Requests: PodResources(pod)} }

// Node is a node and what is on it. A Node of a snapshot is the cycle's own.
type Node struct {
	*corev1.Node
	Allocatable Resources
	Requested   Resources // of the pods on it that have not finished
	Pods        map[string]*Pod
	Stamp       uint64 // the revision of stamp.node that all of this stands for
}

// Add puts a pod on the node.
func (n *Node) Add(pod *Pod) {
	n.Pods[string(pod.UID)] = pod
	n.Requested.Add(&pod.Requests)
}

// Remove takes a pod off the node.
func (n *Node) Remove(pod *Pod) {
	if _, ok := n.Pods[string(pod.UID)]; ok {
		delete(n.Pods, string(pod.UID))
		n.Requested.Subtract(&pod.Requests)
	}
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

// Verdict is what a filter says about a pod on a node. The zero value is that it fits.
type Verdict struct {
	Reasons []string // why not, in Kubernetes' words
	// Final says that removing pods from the node would not help.
	Final bool
}

// Fit is the verdict that the pod fits.
var Fit = Verdict{}

// Fits says that there is no reason against it.
func (v Verdict) Fits() bool { return len(v.Reasons) == 0 }

// Reject says why a pod does not fit; it might if other pods went.
func Reject(reasons ...string) Verdict { return Verdict{Reasons: reasons} }

// RejectFinally says why a pod does not fit, whatever runs on the node.
func RejectFinally(reasons ...string) Verdict { return Verdict{Reasons: reasons, Final: true} }

// Event is what happened to the cluster, as far as it may let a pod fit that did not.
type Event int

// The events.
const (
	PodGone     Event = 1 << iota // a pod was deleted or has finished
	NodeAdded                     // a node joined
	NodeChanged                   // labels, taints, allocatable or schedulability of a node changed
	PodChanged                    // a pod that waits was changed itself
)

// Filter says where a pod fits. Implementations are pure: they read pod and node and change nothing.
type Filter interface {
	Name() string
	// Filter judges pod on node.
	Filter(pod *Pod, node *Node) Verdict
	// Frees says whether an event may let a pod fit that Filter rejected.
	Frees(e Event) bool
}

// Scorer says where a pod fits best.
type Scorer interface {
	Name() string
	// Score is from 0 to 100: the node with the highest sum of scores is taken.
	Score(pod *Pod, node *Node) int64
}

// Diagnosis collects why a pod fits nowhere.
type Diagnosis struct {
	nodes   int
	reasons map[string]int
	final   int
	Plugins map[string]bool // the filters that rejected it somewhere
}

// NewDiagnosis begins a diagnosis over a number of nodes.
func NewDiagnosis(nodes int) *Diagnosis {
	return &Diagnosis{nodes: nodes, reasons: map[string]int{}, Plugins: map[string]bool{}}
}

// Add counts the verdict of one node.
func (d *Diagnosis) Add(plugin string, v Verdict) {
	for _, r := range v.Reasons {
		d.reasons[r]++
	}
	if v.Final {
		d.final++
	}
	d.Plugins[plugin] = true
}

// Message is Kubernetes' sentence about why a pod was not placed. No pod of ours has a higher priority than another, so
// removing others never helps; the sentence says for how many nodes it might have.
func (d *Diagnosis) Message() string {
	if d.nodes == 0 {
		return "no nodes available to schedule pods"
	}
	preemption := map[string]int{"Preemption is not helpful for scheduling": d.final, "No preemption victims found for incoming pod": d.nodes - d.final}
	return fmt.Sprintf("0/%d nodes are available: %s. no new claims to deallocate, preemption: 0/%d nodes are available: %s.",
		d.nodes, histogram(d.reasons), d.nodes, histogram(preemption))
}

// histogram prints counted reasons as Kubernetes does: sorted as text, with their counts in front.
func histogram(reasons map[string]int) string {
	var lines []string
	for reason, count := range reasons {
		if count > 0 {
			lines = append(lines, fmt.Sprintf("%d %s", count, reason))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}
