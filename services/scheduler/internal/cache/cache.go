// Package cache keeps what placing needs of the bucket: nodes with the pods on them and their stamps, and the pods that wait.
// It is a subscriber of the view, so that at every moment it is what the view is.
package cache

import (
	"sync"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/services/scheduler/internal/framework"
)

// Listener is told, in order, of what may matter to pods that wait. It must be quick.
type Listener interface {
	// Waits says that a pod waits for a node, or has changed while it waits.
	Waits(pod *framework.Pod)
	// Left says that a pod no longer waits: it has a node, is to be deleted, or is gone.
	Left(uid string)
	// Happened says that something happened which may let a pod fit.
	Happened(e framework.Event)
}

// Cache is the copy. Its zero value is not usable: call [New].
type Cache struct {
	listener  Listener
	scheduler string // the name by which pods ask for this scheduler

	mu     sync.Mutex
	nodes  map[string]*framework.Node // by name; Node is nil as long as only pods on it are known
	stamp  uint64                     // the revision of stamp.scheduler
	placed map[string]*framework.Pod  // by uid: the pods that take room
}

// New makes an empty cache for the scheduler with this name.
func New(scheduler string, listener Listener) *Cache {
	return &Cache{listener: listener, scheduler: scheduler, nodes: map[string]*framework.Node{}, placed: map[string]*framework.Pod{}}
}

// Changed is a subscriber of the view.
func (c *Cache) Changed(before, after *view.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch after.Ref.Resource {
	case scheme.Pods:
		c.podChanged(before, after)
		return
	case scheme.Nodes:
		c.nodeChanged(before, after)
		return
	}
	kind, id, ok := state.ParseStampKey(after.Key)
	if !ok {
		return
	}
	revision := after.Revision
	if after.Removed {
		revision = 0
	}
	switch kind {
	case state.StampNode:
		c.stampChanged(id, revision)
	case state.StampScheduler:
		c.stamp = revision
	default: // of sets that the scheduler does not decide about
	}
}

// stampChanged keeps the stamp of a node. A node may be used from when both have come: who was tried between the two did not
// see it. Caller holds mu.
func (c *Cache) stampChanged(node string, revision uint64) {
	n := c.node(node)
	born := n.Stamp == 0 && revision > 0
	n.Stamp = revision
	if born && n.Node != nil {
		c.listener.Happened(framework.NodeAdded)
	}
	c.drop(node)
}

// node finds or makes the entry of a node. Caller holds mu.
func (c *Cache) node(name string) *framework.Node {
	n := c.nodes[name]
	if n == nil {
		n = &framework.Node{}
		c.nodes[name] = n
	}
	return n
}

// drop forgets a node of which nothing is known any more. Caller holds mu.
func (c *Cache) drop(name string) {
	if n := c.nodes[name]; n != nil && n.Node == nil && len(n.Pods) == 0 && n.Stamp == 0 {
		delete(c.nodes, name)
	}
}

// podChanged moves a pod between those that wait and those that take room. Caller holds mu.
func (c *Cache) podChanged(before, after *view.Record) {
	old, had := view.As[*corev1.Pod](before)
	pod, has := view.As[*corev1.Pod](after)
	if had {
		c.unplace(old)
		if takesRoom(old) && (!has || pod.UID != old.UID || !takesRoom(pod)) {
			c.listener.Happened(framework.PodGone)
		}
		if !has || pod.UID != old.UID || !c.waits(pod) {
			c.listener.Left(string(old.UID))
		}
	}
	switch {
	case !has:
	case takesRoom(pod):
		placed := framework.NewPod(pod)
		c.placed[string(pod.UID)] = placed
		c.node(pod.Spec.NodeName).Add(placed)
	case c.waits(pod):
		c.listener.Waits(framework.NewPod(pod))
	}
}

func (c *Cache) unplace(pod *corev1.Pod) {
	placed := c.placed[string(pod.UID)]
	if placed == nil {
		return
	}
	c.node(placed.Spec.NodeName).Remove(placed)
	delete(c.placed, string(pod.UID))
	c.drop(placed.Spec.NodeName)
}

func takesRoom(pod *corev1.Pod) bool { return pod.Spec.NodeName != "" && !podinfo.Finished(pod) }

func (c *Cache) waits(pod *corev1.Pod) bool {
	return pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil && !podinfo.Finished(pod) &&
		pod.Spec.SchedulerName == c.scheduler && len(pod.Spec.SchedulingGates) == 0
}

func (c *Cache) nodeChanged(before, after *view.Record) {
	n := c.node(after.Ref.Name)
	node, ok := view.As[*corev1.Node](after)
	if !ok {
		n.Node = nil
		c.drop(after.Ref.Name)
		return
	}
	n.Node = node
	n.Allocatable = framework.FromList(node.Status.Allocatable)
	_, known := view.As[*corev1.Node](before)
	switch {
	case n.Stamp == 0: // it may not be used yet
	case known:
		c.listener.Happened(framework.NodeChanged)
	default:
		c.listener.Happened(framework.NodeAdded)
	}
}

// Snapshot is the cluster at one moment, to be changed by its cycle alone.
type Snapshot struct {
	framework.Cluster        // its nodes are those that exist and have a stamp
	Stamp             uint64 // the revision of stamp.scheduler
}

// Snapshot copies what there is. Pods and nodes are shared and must not be changed; which pods are on a node is the snapshot's own.
func (c *Cache) Snapshot() *Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &Snapshot{Stamp: c.stamp}
	s.Nodes = make([]*framework.Node, 0, len(c.nodes))
	for _, n := range c.nodes {
		if n.Node == nil || n.Stamp == 0 {
			continue
		}
		s.Nodes = append(s.Nodes, n.Copy())
	}
	return s
}
