// Package admission is the node's own last look at a pod before anything is made for it: whoever assigned it (a scheduler, or a
// user who named the node) may not have known what the node knows. It is pure; what runs already is never looked at again.
package admission

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"millrace.dev/pkg/podinfo"
)

// Rejection is why a pod may not run on this node, in Kubernetes' words. The pod has failed for good.
type Rejection struct {
	Reason  string // of the pod's status and of the event
	Message string // of the event; the status has it behind "Pod was rejected: "
}

// StatusMessage is what the pod's status says.
func (r *Rejection) StatusMessage() string { return "Pod was rejected: " + r.Message }

// Check says why pod may not run beside others on a node with these allocatable resources; nil if it may. Pods that have
// finished are not among others: they hold nothing. Linear in others.
func Check(pod *corev1.Pod, others []*corev1.Pod, allocatable corev1.ResourceList) *Rejection {
	if r := checkResources(pod, others, allocatable); r != nil {
		return r
	}
	return checkPorts(pod, others)
}

// checkResources looks at the number of pods first, then at CPU, memory and ephemeral storage, then at the others.
func checkResources(pod *corev1.Pod, others []*corev1.Pod, allocatable corev1.ResourceList) *Rejection {
	if room := allocatable.Pods().Value(); int64(len(others)+1) > room {
		return lacks(corev1.ResourcePods, 1, int64(len(others)), room)
	}
	wanted := podinfo.Requests(pod)
	used := corev1.ResourceList{}
	for _, other := range others {
		for name, quantity := range podinfo.Requests(other) {
			sum := used[name]
			sum.Add(quantity)
			used[name] = sum
		}
	}
	for _, name := range order(wanted) {
		want, have, room := wanted[name], used[name], allocatable[name]
		if want.IsZero() {
			continue
		}
		total := have.DeepCopy()
		total.Add(want)
		if total.Cmp(room) > 0 {
			return lacks(name, number(name, want), number(name, have), number(name, room))
		}
	}
	return nil
}

// order is that in which resources are looked at: the three of every node first.
func order(list corev1.ResourceList) []corev1.ResourceName {
	first := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
	var rest []corev1.ResourceName
	for name := range list {
		if !slices.Contains(first, name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	return append(first, rest...)
}

// number is a quantity as messages have it: CPU in thousandths, everything else in its unit.
func number(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func lacks(name corev1.ResourceName, requested, used, capacity int64) *Rejection {
	return &Rejection{
		Reason:  "OutOf" + string(name),
		Message: fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, requested, used, capacity),
	}
}

// checkPorts refuses a host port that another pod holds on the same address.
func checkPorts(pod *corev1.Pod, others []*corev1.Pod) *Rejection {
	wanted := hostPorts(pod)
	if len(wanted) == 0 {
		return nil
	}
	for _, other := range others {
		for _, taken := range hostPorts(other) {
			for _, port := range wanted {
				if port.clashes(taken) {
					return &Rejection{
						Reason:  "NodePorts",
						Message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
					}
				}
			}
		}
	}
	return nil
}

type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

func (p hostPort) clashes(o hostPort) bool {
	return p.port == o.port && p.protocol == o.protocol && (p.ip == o.ip || p.ip == anyAddress || o.ip == anyAddress)
}

const anyAddress = "0.0.0.0"

// hostPorts are the ports of the node that a pod asks for, with those of sidecars.
func hostPorts(pod *corev1.Pod) []hostPort {
	var ports []hostPort
	collect := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort == 0 {
				continue
			}
			h := hostPort{ip: p.HostIP, protocol: p.Protocol, port: p.HostPort}
			if h.ip == "" {
				h.ip = anyAddress
			}
			if h.protocol == "" {
				h.protocol = corev1.ProtocolTCP
			}
			ports = append(ports, h)
		}
	}
	for i := range pod.Spec.InitContainers {
		if podinfo.IsSidecar(&pod.Spec.InitContainers[i]) {
			collect(&pod.Spec.InitContainers[i])
		}
	}
	for i := range pod.Spec.Containers {
		collect(&pod.Spec.Containers[i])
	}
	return ports
}
