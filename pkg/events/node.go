package events

import (
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/state"
)

// NodeJoined says that a machine has become a node; its stamp is born with it.
// Body: the whole node. Readers: scheduler, controller. Delivered twice: drop by revision. Missed: a view rebuilds.
var NodeJoined = Type[corev1.Node]{Name: "dev.millrace.node.joined", Writer: []state.Service{state.API}, Stamps: []state.StampKind{state.StampNode}}

// NodeUpdated says that the metadata or spec of a node, or its allocatable, has changed.
// Body: the whole node. Readers: scheduler. Delivered twice: drop by revision. Missed: a view rebuilds.
var NodeUpdated = Type[corev1.Node]{Name: "dev.millrace.node.updated", Writer: []state.Service{state.API}, Stamps: []state.StampKind{state.StampNode}}

// NodeReported says what a node found about itself, other than its allocatable.
// Body: the whole node. Readers: people. Delivered twice: drop by revision. Missed: a view rebuilds.
var NodeReported = Type[corev1.Node]{Name: "dev.millrace.node.reported", Writer: []state.Service{state.API}}

// NodeReadiness says that a node has become ready or has fallen silent.
// Body: the whole node. Readers: scheduler. Delivered twice: drop by revision. Missed: a view rebuilds.
var NodeReadiness = Type[corev1.Node]{Name: "dev.millrace.node.readiness", Writer: []state.Service{state.Controller}}

// NodeDeleted says that a node has left; its stamp dies with it, so nothing more is assigned to it.
// Body: the node as it last was. Readers: controller. Delivered twice: drop by revision. Missed: a view rebuilds.
var NodeDeleted = Type[corev1.Node]{Name: "dev.millrace.node.deleted", Writer: []state.Service{state.API}, Stamps: []state.StampKind{state.StampNode}}

var nodeTypes = []Info{NodeJoined.Info(), NodeUpdated.Info(), NodeReported.Info(), NodeReadiness.Info(), NodeDeleted.Info()}
