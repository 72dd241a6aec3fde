package events

import (
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/state"
)

var byAPI = []state.Service{state.API}

// NamespaceCreated says that a namespace takes objects from now on; its stamp is born with it.
// Body: the whole namespace. Readers: api (creators check the stamp). Delivered twice: drop by revision. Missed: a view rebuilds.
var NamespaceCreated = Type[corev1.Namespace]{Name: "dev.millrace.namespace.created", Writer: byAPI, Stamps: []state.StampKind{state.StampNamespace}}

// NamespaceUpdated says that the metadata of a namespace has changed.
// Body: the whole namespace. Readers: people. Delivered twice: drop by revision. Missed: a view rebuilds.
var NamespaceUpdated = Type[corev1.Namespace]{Name: "dev.millrace.namespace.updated", Writer: byAPI}

// NamespaceDeleting says that a namespace takes no more objects and is being emptied.
// Body: the whole namespace. Readers: controller. Delivered twice: drop by revision. Missed: a view rebuilds.
var NamespaceDeleting = Type[corev1.Namespace]{Name: "dev.millrace.namespace.deleting", Writer: byAPI, Stamps: []state.StampKind{state.StampNamespace}}

// NamespaceDeleted says that a namespace is gone, and its stamp with it.
// Body: the namespace as it last was. Readers: people. Delivered twice: drop by revision. Missed: a view rebuilds.
var NamespaceDeleted = Type[corev1.Namespace]{Name: "dev.millrace.namespace.deleted", Writer: byAPI, Stamps: []state.StampKind{state.StampNamespace}}

var namespaceTypes = []Info{NamespaceCreated.Info(), NamespaceUpdated.Info(), NamespaceDeleting.Info(), NamespaceDeleted.Info()}

// ConfigWritten says that a ConfigMap or a Secret has been created or changed.
// Body: the whole ConfigMap, or the Secret sealed. Readers: controller (it writes the new revision into the orders that refer to
// it). Delivered twice: drop by revision. Missed: a view rebuilds.
var ConfigWritten = Type[corev1.ConfigMap]{Name: "dev.millrace.config.written", Writer: byAPI}

// ConfigDeleted says that a ConfigMap or a Secret is gone.
// Body: as it last was. Readers: controller. Delivered twice: drop by revision. Missed: a view rebuilds.
var ConfigDeleted = Type[corev1.ConfigMap]{Name: "dev.millrace.config.deleted", Writer: byAPI}

// ConfigAnnounced says that a node must know of a newer revision of a ConfigMap or Secret that its pod refers to.
// Body: the order with the new revision. Readers: that node's kubelet. Delivered twice: drop by revision. Missed: the node
// feed resyncs.
var ConfigAnnounced = Type[state.Order]{Name: "dev.millrace.config.announced", Writer: []state.Service{state.Controller}}

var configTypes = []Info{ConfigWritten.Info(), ConfigDeleted.Info(), ConfigAnnounced.Info()}

var byAll = []state.Service{state.API, state.Scheduler, state.Controller}

// StampMoved says that a decision about a set has been made; it is the last message of that decision's batch.
// Body: [state.StampBody]. Readers: whoever decides about the set. Delivered twice: drop by revision. Missed: a view rebuilds.
var StampMoved = Type[state.StampBody]{Name: "dev.millrace.stamp.moved", Writer: byAll}

// ClaimTaken says that a value which may be used once is taken, or free again.
// Body: the ref of the object that took it. Readers: api. Delivered twice: drop by revision. Missed: a view rebuilds.
var ClaimTaken = Type[state.ObjectRef]{Name: "dev.millrace.claim.taken", Writer: byAPI}

// Beat says that a process wanted to see its view move, or carried a check of its batch.
// Body: none. Readers: that process. Delivered twice, missed: no matter.
var Beat = Type[struct{}]{Name: "dev.millrace.process.beat", Writer: byAll}

// EpochBegun says that a server has started or was restored: sequences from before it mean nothing (P15).
// Body: [state.EpochBody]. Readers: every view and feed. Delivered twice: drop by revision. Missed: a view rebuilds.
var EpochBegun = Type[state.EpochBody]{Name: "dev.millrace.epoch.begun", Writer: byAPI}

// Repaired says that the boot check dropped what a torn batch had left beside no object.
// Body: as it last was. Readers: people. Delivered twice: drop by revision. Missed: a view rebuilds.
var Repaired = Type[struct{}]{Name: "dev.millrace.boot.repaired", Writer: byAPI}

var systemTypes = []Info{Repaired.Info(), StampMoved.Info(), ClaimTaken.Info(), Beat.Info(), EpochBegun.Info()}
