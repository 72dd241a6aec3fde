package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
)

// Order is what a node must run: one pod. Kubelets read orders, nobody else acts on them.
type Order struct {
	// Pod is the whole pod without status and managed fields.
	Pod *corev1.Pod `json:"pod"`
	// Config names the revision of each ConfigMap and Secret the pod refers to, as "configmaps/<name>" and
	// "secrets/<name>". Absent: the object did not exist. A new revision here is how a node learns of a change.
	Config map[string]uint64 `json:"config,omitempty"`
	// Released says that no proxy sends clients to the pod any more: its containers may be stopped (P23).
	Released bool `json:"released,omitempty"`
	// Finished says that the pod has ended for good: a node that lost its disk does not run it again (P16).
	Finished bool `json:"finished,omitempty"`
}

// Seen is what the bucket holds, as its caller's view sees it. It may move between two questions: who writes what follows from
// a key asks for its revision before its body, so that a body which is too new, and never one too old, meets a revision.
type Seen interface {
	// Revision is the newest revision of a key, a live tombstone's sequence if it is removed, 0 if there is neither.
	Revision(Key) uint64
	// Body is the stored body of a key; nil if it is absent or removed.
	Body(Key) []byte
	// Report is the newest report that a key's revision reflects; see [Change].
	Report(Key) string
}

// Absent is what a creation of key replaces: the sequence of a live tombstone, or 0 (P2). If the key has appeared since the
// caller looked, it is 0 too, and the creation loses instead of overwriting what is there.
func Absent(seen Seen, key Key) uint64 {
	revision := seen.Revision(key) // first: if the key appears behind it, the body tells
	if seen.Body(key) != nil {
		return 0
	}
	return revision
}

// PodChange is the one function that makes orders. It gives the changes that turn before into after: the pod and, if
// anything changes for its node, the order that follows from it. They belong in one batch.
//
// before is the pod as seen, with its resourceVersion, or nil for a new one. after is the caller's own copy, or nil to
// remove the pod. If after is marked for deletion and nothing holds it (no finalizer, and no node that must stop it
// first), the changes remove it (P22).
func PodChange(seen Seen, before, after *corev1.Pod) ([]Change, error) {
	if after == nil {
		return podRemoval(seen, before)
	}
	if gone(after) {
		return podRemoval(seen, withRevision(after, before))
	}
	pod, err := podWrite(seen, before, after)
	if err != nil {
		return nil, err
	}
	if after.Spec.NodeName == "" {
		return []Change{pod}, nil
	}
	order, changed, err := orderWrite(seen, after)
	if err != nil || !changed {
		return []Change{pod}, err
	}
	return []Change{pod, order}, nil
}

// PodStatusChange is [PodChange] for a change of status alone, which reaches the order only when the pod finishes. It
// spares the hot path of reports the comparison of whole orders.
func PodStatusChange(seen Seen, before, after *corev1.Pod) ([]Change, error) {
	if gone(after) || podinfo.Finished(before) != podinfo.Finished(after) {
		return PodChange(seen, before, after)
	}
	pod, err := podWrite(seen, before, after)
	if err != nil {
		return nil, err
	}
	return []Change{pod}, nil
}

// gone says that nothing holds the pod any more.
func gone(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp == nil || len(pod.Finalizers) > 0 {
		return false
	}
	return pod.Spec.NodeName == "" || podinfo.Finished(pod)
}

func withRevision(after, before *corev1.Pod) *corev1.Pod {
	last := *after
	if before != nil {
		last.ResourceVersion = before.ResourceVersion
	}
	return &last
}

func podWrite(seen Seen, before, after *corev1.Pod) (Change, error) {
	key := ObjectKey(RefOf(after))
	if before == nil {
		return podBody(key, Absent(seen, key), after)
	}
	revision, err := ParseRevision(before.ResourceVersion)
	if err != nil {
		return Change{}, err
	}
	c, err := podBody(key, revision, after)
	c.Report = seen.Report(key)
	return c, err
}

func podBody(key Key, replaces uint64, pod *corev1.Pod) (Change, error) {
	body, err := Encode(pod)
	return Change{Key: key, Replaces: replaces, Body: body}, err
}

func podRemoval(seen Seen, last *corev1.Pod) ([]Change, error) {
	pod, err := Removal(last)
	if err != nil {
		return nil, err
	}
	key := OrderKey(last.Spec.NodeName, last.Namespace, last.Name)
	revision := seen.Revision(key)
	body := seen.Body(key)
	if last.Spec.NodeName == "" || body == nil {
		return []Change{pod}, nil
	}
	return []Change{pod, {Key: key, Replaces: revision, Body: body, Remove: true}}, nil
}

// orderWrite is the order that follows from pod, and whether it differs from the one that is there.
func orderWrite(seen Seen, pod *corev1.Pod) (c Change, changed bool, err error) {
	key := OrderKey(pod.Spec.NodeName, pod.Namespace, pod.Name)
	revision := seen.Revision(key)
	had := seen.Body(key)
	body, err := json.Marshal(Order{
		Pod:      ordered(pod),
		Config:   configRevisions(seen, pod),
		Released: pod.DeletionTimestamp != nil, // until routes exist, no proxy sends anyone
		Finished: podinfo.Finished(pod),
	})
	if err != nil {
		return Change{}, false, fmt.Errorf("encode order %s: %w", key, err)
	}
	return Change{Key: key, Replaces: revision, Body: body}, !bytes.Equal(had, body), nil
}

// ConfigChange is the change of an order whose node must know of newer revisions of the ConfigMaps and Secrets that its pod
// refers to; changed is false if it names them already.
func ConfigChange(seen Seen, key Key) (c Change, changed bool, err error) {
	revision := seen.Revision(key)
	body := seen.Body(key)
	if body == nil {
		return Change{}, false, nil
	}
	order, err := DecodeOrder(body)
	if err != nil {
		return Change{}, false, fmt.Errorf("%s: %w", key, err)
	}
	newest := configRevisions(seen, order.Pod)
	if maps.Equal(newest, order.Config) {
		return Change{}, false, nil
	}
	order.Config = newest
	body, err = json.Marshal(order)
	return Change{Key: key, Replaces: revision, Body: body}, true, err
}

// ordered is what of a pod a node is told.
func ordered(pod *corev1.Pod) *corev1.Pod {
	told := *pod
	told.Status = corev1.PodStatus{}
	told.ManagedFields = nil
	told.ResourceVersion = ""
	return &told
}

// DecodeOrder reads a stored order.
func DecodeOrder(body []byte) (*Order, error) {
	var o Order
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, fmt.Errorf("decode order: %w", err)
	}
	if o.Pod == nil {
		return nil, fmt.Errorf("decode order: it has no pod")
	}
	return &o, nil
}

func configRevisions(seen Seen, pod *corev1.Pod) map[string]uint64 {
	refs := ConfigRefs(pod)
	if len(refs) == 0 {
		return nil
	}
	revisions := make(map[string]uint64, len(refs))
	for _, r := range refs {
		key := ObjectKey(r)
		if revision := seen.Revision(key); revision > 0 && seen.Body(key) != nil {
			revisions[r.Resource+"/"+r.Name] = revision
		}
	}
	return revisions
}
