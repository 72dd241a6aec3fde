package state

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What nodes and the control plane say to each other. Nodes write nothing: they send these, and the api and the controller
// decide what becomes of them.

// NodeReport is what a kubelet says about its node, at its start and whenever something but its readiness changes.
type NodeReport struct {
	Report Report `json:"report"`
	// UID is the Node that the kubelet knows itself as; empty at its start: it joins, or finds the Node it was.
	UID    types.UID         `json:"uid,omitempty"`
	Labels map[string]string `json:"labels,omitempty"` // what the machine is: host name, os, arch
	Status corev1.NodeStatus `json:"status"`           // all but the condition Ready
}

// NodeAnswer is the answer to a NodeReport.
type NodeAnswer struct {
	Node *corev1.Node `json:"node"` // with its uid and podCIDR
}

// PodReport is what a node found about one pod.
type PodReport struct {
	Namespace string           `json:"namespace"`
	Name      string           `json:"name"`
	UID       types.UID        `json:"uid"`
	Order     uint64           `json:"order"` // the revision of the order that the status reflects
	Counter   uint64           `json:"counter"`
	Status    corev1.PodStatus `json:"status"`
	// Stopped says that no container of the pod runs or will run again on this node.
	Stopped bool `json:"stopped,omitempty"`
}

// PodReports is one message with the reports of many pods.
type PodReports struct {
	Start uint64      `json:"start"`
	UID   types.UID   `json:"uid"` // of the Node
	Pods  []PodReport `json:"pods"`
}

// Outcome is what became of one report.
type Outcome string

// The outcomes of a report.
const (
	Accepted Outcome = "accepted" // it is in the pod's status, or a newer one is
	Gone     Outcome = "gone"     // the pod does not exist, or is another now: the node removes it
	Retry    Outcome = "retry"    // try again later: the state could not be written
)

// PodOutcomes is the answer to PodReports, in their order.
type PodOutcomes struct {
	Outcomes []Outcome `json:"outcomes"`
}

// Heartbeat is a node's sign of life. It is heard by every api and every controller and kept in memory.
type Heartbeat struct {
	UID     types.UID `json:"uid"`
	Start   uint64    `json:"start"`
	Ready   bool      `json:"ready"`
	Message string    `json:"message,omitempty"` // why not
}

// Beat is what the control plane answers to a sign of life.
type Beat struct {
	Digest   Digest `json:"digest"`   // of what the feed should hold
	Revision uint64 `json:"revision"` // that the digest stands for
	Epoch    uint64 `json:"epoch"`
	// Refused says why this kubelet may not go on under its name: another one has it, or its Node is gone.
	Refused string `json:"refused,omitempty"`
}

// FeedEntry is one revision of a key that concerns a node.
type FeedEntry struct {
	Key      Key    `json:"key"`
	Revision uint64 `json:"revision"`
	// Body is the stored JSON; of a removed key the last body, if it is known.
	Body    json.RawMessage `json:"body,omitempty"`
	Removed bool            `json:"removed,omitempty"`
}

// SnapshotRequest asks for all keys of a feed.
type SnapshotRequest struct {
	Routes bool `json:"routes,omitempty"` // instead of the node's orders
}

// Snapshot is everything that the keys of a feed are at one revision. It travels in pieces, each with some of the entries.
type Snapshot struct {
	Revision uint64      `json:"revision"`
	Epoch    uint64      `json:"epoch"` // the revision of the epoch key: sequences of another epoch mean nothing (P15)
	Entries  []FeedEntry `json:"entries,omitempty"`
}

// Append adds one piece of a snapshot as it arrives.
func (s *Snapshot) Append(piece []byte) error {
	var more Snapshot
	if err := json.Unmarshal(piece, &more); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	s.Revision, s.Epoch = more.Revision, more.Epoch
	s.Entries = append(s.Entries, more.Entries...)
	return nil
}

// ConfigRequest asks for the ConfigMaps and Secrets that an order of the node refers to.
type ConfigRequest struct {
	Namespace string      `json:"namespace"`
	Pod       string      `json:"pod"`
	Order     uint64      `json:"order"` // the revision of the order: the api answers when it knows that one (P21)
	Refs      []ObjectRef `json:"refs"`
}

// ConfigAnswer is what there is of what was asked for.
type ConfigAnswer struct {
	ConfigMaps []corev1.ConfigMap `json:"configMaps,omitempty"`
	Secrets    []corev1.Secret    `json:"secrets,omitempty"`
}

// SessionRequest is how the api announces a byte stream to a kubelet, after it has authorised it.
type SessionRequest struct {
	Verb      string          `json:"verb"` // exec or log
	Namespace string          `json:"namespace"`
	Pod       string          `json:"pod"`
	UID       types.UID       `json:"uid"`
	Options   json.RawMessage `json:"options"`
	ID        string          `json:"id"`
	Secret    string          `json:"secret"`
	Identity  string          `json:"identity"`
}
