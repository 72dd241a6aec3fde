// Package nodelifecycle says which nodes are ready: from their heartbeats, which every controller hears and keeps in memory, and
// writes only when that changes.
//
// The clock of silence starts with this process's own leadership and stops while it is itself cut off: a controller that heard
// nothing because it was not there, or could not hear, blames no node.
package nodelifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
)

// Grace is how long a node may be silent: three heartbeats, with room for one that is late.
const Grace = 3*4*time.Second + time.Second

// Reconciler keeps the condition Ready of nodes, and the taint that goes with it.
//
// Reads: nodes. Writes: status.conditions[Ready] of nodes; asks the api to change their taints. Stamp: none for the
// condition, which is one field of one object; the api moves stamp.node with the taints.
type Reconciler struct {
	View   *view.View
	Writer *commit.Writer
	API    API
	Beats  *Beats
	Source string
	Now    func() time.Time
	// Link says whether this process can hear nodes, and how often that was interrupted since it started.
	Link func() (connected bool, interruptions uint64)
}

// API is what the reconciler asks the api for. A *client.Client is one.
type API interface {
	Update(ctx context.Context, resource, namespace string, r client.Request, o metav1.UpdateOptions) (*client.Answer, error)
}

// Reconcile observes, plans and acts; every decision is in makePlan.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Key) error {
	node, ok := view.As[*corev1.Node](r.View.Object(state.ObjectRef{Resource: scheme.Nodes, Name: key.Name}))
	if !ok {
		r.Beats.forget(key.Name)
		return nil
	}
	connected, interruptions := r.Link()
	if !r.Beats.hears(connected, interruptions, r.Now()) {
		return reconcile.After(Grace)
	}
	h, wait := r.Beats.heard(node, r.Now())
	p := makePlan(node, h, r.Now())
	if p.changed {
		if err := r.putCondition(ctx, node, p.condition); err != nil {
			return fmt.Errorf("node %s: %w", key.Name, err)
		}
		return r.Reconcile(ctx, key) // the taints of the node as it now is
	}
	if p.retaint {
		if err := r.putTaints(ctx, node, p.taints); err != nil {
			return fmt.Errorf("taint node %s: %w", key.Name, err)
		}
	}
	return reconcile.After(wait)
}

func (r *Reconciler) putCondition(ctx context.Context, node *corev1.Node, c corev1.NodeCondition) error {
	next := node.DeepCopy()
	if had := podinfo.NodeCondition(next.Status.Conditions, corev1.NodeReady); had != nil {
		*had = c
	} else {
		next.Status.Conditions = append(next.Status.Conditions, c)
	}
	revision, err := state.ParseRevision(node.ResourceVersion)
	if err != nil {
		return err
	}
	change, err := state.ObjectChange(next, revision)
	if err != nil {
		return err
	}
	change.Report = r.View.Report(change.Key)
	b := events.NodeReadiness.Batch(events.Meta{Source: r.Source, Actor: "system:controller"})
	b.Queue = events.QueueDecisions
	b.Add(change)
	result, err := r.Writer.Put(ctx, b)
	if err != nil {
		return err
	}
	return r.View.Await(ctx, result.Max())
}

// putTaints asks the api, which moves the stamp of the node's pods in the same batch. The update names the version that the
// taints were planned for: what others do to the node meanwhile makes it a conflict. It returns when the view shows the update.
func (r *Reconciler) putTaints(ctx context.Context, node *corev1.Node, taints []corev1.Taint) error {
	next := node.DeepCopy()
	next.Spec.Taints = taints
	body, err := json.Marshal(next)
	if err != nil {
		return err
	}
	answer, err := r.API.Update(ctx, scheme.Nodes, wire.Any, client.Request{Objects: []json.RawMessage{body}}, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	var updated metav1.PartialObjectMetadata
	for _, object := range answer.Objects {
		if err := json.Unmarshal(object, &updated); err != nil {
			return fmt.Errorf("read answer to update: %w", err)
		}
	}
	revision, err := state.ParseRevision(updated.ResourceVersion)
	if err != nil {
		return err
	}
	return r.View.Await(ctx, revision)
}

// Beats keeps the last sign of life of every node. Safe for concurrent use.
type Beats struct {
	mu            sync.Mutex
	since         time.Time // the clock of silence runs from here at the earliest
	interruptions uint64    // of our own hearing, as far as they are known
	last          map[string]beat
}

type beat struct {
	state.Heartbeat
	at time.Time
}

// NewBeats begins to listen at now.
func NewBeats(now time.Time) *Beats { return &Beats{since: now, last: map[string]beat{}} }

// Lead starts the clock of silence: this process begins to decide.
func (b *Beats) Lead(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since = now
}

// hears reports whether this process can hear. The clock of silence starts anew while it cannot, and when it could not for some
// time since it was asked last.
func (b *Beats) hears(connected bool, interruptions uint64, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !connected || interruptions != b.interruptions {
		b.since, b.interruptions = now, interruptions
	}
	return connected
}

// Hear takes a heartbeat and reports whether it says something new.
func (b *Beats) Hear(node string, h state.Heartbeat, now time.Time) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	had, known := b.last[node]
	b.last[node] = beat{h, now}
	return !known || had.Ready != h.Ready || had.Message != h.Message || had.UID != h.UID || now.Sub(had.at) > Grace
}

func (b *Beats) forget(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.last, node)
}

// heard is what is known of a node at now, and when that may change by silence alone.
func (b *Beats) heard(node *corev1.Node, now time.Time) (heard, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, ok := b.last[node.Name]
	if ok && last.UID != node.UID {
		ok = false // a sign of life of a Node that is gone
	}
	from := b.since
	if created := node.CreationTimestamp.Time; created.After(from) {
		from = created // it could not be heard before it was there
	}
	if ok && last.at.After(from) {
		from = last.at
	}
	silence := now.Sub(from)
	switch {
	case silence > Grace:
		return heard{silent: true, known: true}, time.Minute
	case !ok:
		return heard{}, Grace - silence + time.Millisecond
	default:
		return heard{known: true, ready: last.Ready, message: last.Message}, Grace - silence + time.Millisecond
	}
}
