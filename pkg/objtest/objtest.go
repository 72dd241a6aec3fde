// Package objtest builds objects for tests: objtest.Pod("web").Node("n1").Request("cpu", "500m").Obj(). A builder gives the
// least object of its kind that is valid and defaulted in what the services read; a test says only what it is about.
// It is for tests alone and panics on a quantity that does not parse.
package objtest

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// PodBuilder builds one pod. Its methods change and return it.
type PodBuilder struct{ pod corev1.Pod }

// Pod is a pending pod called name in the namespace default, with one container "c" of the image "busybox". Its uid is
// derived from its name: two pods of different names never share one.
func Pod(name string) *PodBuilder {
	return &PodBuilder{corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault, UID: types.UID("uid-" + name)},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyAlways,
			TerminationGracePeriodSeconds: new(int64(corev1.DefaultTerminationGracePeriodSeconds)),
			SchedulerName:                 corev1.DefaultSchedulerName,
			DNSPolicy:                     corev1.DNSClusterFirst,
			Containers:                    []corev1.Container{{Name: "c", Image: "busybox", ImagePullPolicy: corev1.PullAlways}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort},
	}}
}

// Namespace puts the pod into ns.
func (b *PodBuilder) Namespace(ns string) *PodBuilder { b.pod.Namespace = ns; return b }

// UID gives the pod another uid than its name's.
func (b *PodBuilder) UID(uid types.UID) *PodBuilder { b.pod.UID = uid; return b }

// Label sets one label.
func (b *PodBuilder) Label(key, value string) *PodBuilder {
	b.pod.Labels = with(b.pod.Labels, key, value)
	return b
}

// Annotation sets one annotation.
func (b *PodBuilder) Annotation(key, value string) *PodBuilder {
	b.pod.Annotations = with(b.pod.Annotations, key, value)
	return b
}

// Node assigns the pod.
func (b *PodBuilder) Node(name string) *PodBuilder { b.pod.Spec.NodeName = name; return b }

// Phase sets status.phase.
func (b *PodBuilder) Phase(p corev1.PodPhase) *PodBuilder { b.pod.Status.Phase = p; return b }

// Priority sets spec.priority.
func (b *PodBuilder) Priority(p int32) *PodBuilder { b.pod.Spec.Priority = &p; return b }

// RestartPolicy sets spec.restartPolicy.
func (b *PodBuilder) RestartPolicy(p corev1.RestartPolicy) *PodBuilder {
	b.pod.Spec.RestartPolicy = p
	return b
}

// Request sets what the first container requests of one resource.
func (b *PodBuilder) Request(name corev1.ResourceName, quantity string) *PodBuilder {
	c := &b.pod.Spec.Containers[0]
	if c.Resources.Requests == nil {
		c.Resources.Requests = corev1.ResourceList{}
	}
	c.Resources.Requests[name] = resource.MustParse(quantity)
	return b
}

// Container adds a container, or replaces the one that Pod made if it is the first to be given.
func (b *PodBuilder) Container(c corev1.Container) *PodBuilder {
	if len(b.pod.Spec.Containers) == 1 && b.pod.Spec.Containers[0].Name == "c" {
		b.pod.Spec.Containers = nil
	}
	b.pod.Spec.Containers = append(b.pod.Spec.Containers, c)
	return b
}

// Init adds an init container.
func (b *PodBuilder) Init(c corev1.Container) *PodBuilder {
	b.pod.Spec.InitContainers = append(b.pod.Spec.InitContainers, c)
	return b
}

// Volume adds a volume.
func (b *PodBuilder) Volume(v corev1.Volume) *PodBuilder {
	b.pod.Spec.Volumes = append(b.pod.Spec.Volumes, v)
	return b
}

// Selector demands a label of the node.
func (b *PodBuilder) Selector(key, value string) *PodBuilder {
	b.pod.Spec.NodeSelector = with(b.pod.Spec.NodeSelector, key, value)
	return b
}

// Tolerate adds a toleration.
func (b *PodBuilder) Tolerate(t corev1.Toleration) *PodBuilder {
	b.pod.Spec.Tolerations = append(b.pod.Spec.Tolerations, t)
	return b
}

// Deleting marks the pod as being deleted since at, with the grace that its spec asks for.
func (b *PodBuilder) Deleting(at time.Time) *PodBuilder {
	b.pod.DeletionTimestamp = &metav1.Time{Time: at}
	b.pod.DeletionGracePeriodSeconds = b.pod.Spec.TerminationGracePeriodSeconds
	return b
}

// Obj is the pod, a copy of its own.
func (b *PodBuilder) Obj() *corev1.Pod { return b.pod.DeepCopy() }

// NodeBuilder builds one node. Its methods change and return it.
type NodeBuilder struct{ node corev1.Node }

// Node is a ready node of the given name with 4 CPUs, 8 GiB of memory and room for 110 pods, labelled with its host name.
func Node(name string) *NodeBuilder {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	return &NodeBuilder{corev1.Node{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{corev1.LabelHostname: name},
		},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room.DeepCopy(),
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
		},
	}}
}

// Allocatable sets capacity and allocatable of one resource.
func (b *NodeBuilder) Allocatable(name corev1.ResourceName, quantity string) *NodeBuilder {
	b.node.Status.Capacity[name] = resource.MustParse(quantity)
	b.node.Status.Allocatable[name] = resource.MustParse(quantity)
	return b
}

// Label sets one label.
func (b *NodeBuilder) Label(key, value string) *NodeBuilder {
	b.node.Labels = with(b.node.Labels, key, value)
	return b
}

// Taint adds a taint.
func (b *NodeBuilder) Taint(key, value string, effect corev1.TaintEffect) *NodeBuilder {
	b.node.Spec.Taints = append(b.node.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
	return b
}

// Unschedulable cordons the node.
func (b *NodeBuilder) Unschedulable() *NodeBuilder { b.node.Spec.Unschedulable = true; return b }

// Ready sets the Ready condition: True, False or Unknown.
func (b *NodeBuilder) Ready(s corev1.ConditionStatus) *NodeBuilder {
	b.node.Status.Conditions[0].Status = s
	return b
}

// Obj is the node, a copy of its own.
func (b *NodeBuilder) Obj() *corev1.Node { return b.node.DeepCopy() }

func with(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}
