package events

import (
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/state"
)

// PodCreated says that a pod has been declared.
// Body: the whole pod. Readers: scheduler, and the node's kubelet through its order if the pod names its node.
// Delivered twice: drop by revision. Missed: a view rebuilds.
var PodCreated = Type[corev1.Pod]{Name: "dev.millrace.pod.created", Writer: []state.Service{state.API}, Orders: true}

// PodUpdated says that the metadata or spec of a pod has changed.
// Body: the whole pod; its order, in the same batch, bears the same type. Readers: that node's kubelet, scheduler.
// Delivered twice: drop by revision. Missed: a view rebuilds, the node feed resyncs.
var PodUpdated = Type[corev1.Pod]{Name: "dev.millrace.pod.updated", Writer: []state.Service{state.API}}

// PodAssigned says that the scheduler has given a pod to a node.
// Body: the whole pod; its order, in the same batch, bears the same type. Readers: that node's kubelet, api, controller.
// Delivered twice: drop by revision. Missed: a view rebuilds, the node feed resyncs.
var PodAssigned = Type[corev1.Pod]{
	Name: "dev.millrace.pod.assigned", Writer: []state.Service{state.Scheduler},
	Stamps: []state.StampKind{state.StampNode, state.StampScheduler}, Orders: true,
}

// PodUnschedulable says that the scheduler found no node for a pod; its condition PodScheduled tells why.
// Body: the whole pod. Readers: people. Delivered twice: drop by revision. Missed: nothing is lost.
var PodUnschedulable = Type[corev1.Pod]{Name: "dev.millrace.pod.unschedulable", Writer: []state.Service{state.Scheduler}}

// PodReported says what the pod's node found: its status.
// Body: the whole pod. Readers: controller. Delivered twice: drop by revision. Missed: a view rebuilds.
var PodReported = Type[corev1.Pod]{Name: "dev.millrace.pod.reported", Writer: []state.Service{state.API}}

// PodDeleting says that a pod has been marked for deletion; its node must end it.
// Body: the whole pod; its order, in the same batch, bears the same type. Readers: that node's kubelet, controller.
// Delivered twice: drop by revision. Missed: a view rebuilds, the node feed resyncs.
var PodDeleting = Type[corev1.Pod]{Name: "dev.millrace.pod.deleting", Writer: []state.Service{state.API}}

// PodDeleted says that a pod is gone.
// Body: the pod as it last was; the key is absent from here on. Readers: scheduler (room), controller, that node's kubelet.
// Delivered twice: drop by revision. Missed: a view rebuilds, the node feed resyncs.
var PodDeleted = Type[corev1.Pod]{Name: "dev.millrace.pod.deleted", Writer: []state.Service{state.API}}

var podTypes = []Info{
	PodCreated.Info(), PodUpdated.Info(), PodAssigned.Info(), PodUnschedulable.Info(), PodReported.Info(), PodDeleting.Info(), PodDeleted.Info(),
}
