package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
)

var nodeResource = schema.GroupResource{Resource: scheme.Nodes}

// errSuperseded refuses a kubelet behind which another one has started under the same name (P18).
func errSuperseded(node string) error {
	return apierrors.NewConflict(nodeResource, node, errors.New("another kubelet has started under this name"))
}

// handleNode makes a node's report about itself state: at first it joins.
func (i *Intake) handleNode(ctx context.Context, name string, in *wire.Incoming) error {
	var r state.NodeReport
	if err := json.Unmarshal(in.Body, &r); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("report: %v", err))
	}
	if faults := validation.IsDNS1123Subdomain(name); len(faults) > 0 {
		return apierrors.NewBadRequest(fmt.Sprintf("node name %q: %s", name, faults[0]))
	}
	var lost error
	for range attempts {
		if err := i.View.Fresh(ctx); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		node, err := i.takeNode(ctx, name, &r)
		if err == nil {
			return in.AnswerJSON(state.NodeAnswer{Node: node})
		}
		if !errors.Is(err, store.ErrConflict) || apierrors.IsConflict(err) {
			return err
		}
		lost = err
	}
	return fmt.Errorf("node %s: %w", name, lost)
}

func (i *Intake) takeNode(ctx context.Context, name string, r *state.NodeReport) (*corev1.Node, error) {
	ref := state.ObjectRef{Resource: scheme.Nodes, Name: name}
	record := i.View.Object(ref)
	old, known := view.As[*corev1.Node](record)
	switch {
	case !known && r.UID != "":
		return nil, apierrors.NewNotFound(nodeResource, name) // it was deleted: its kubelet must not bring it back
	case !known:
		return i.join(ctx, name, r)
	case r.UID != "" && r.UID != old.UID:
		return nil, apierrors.NewNotFound(nodeResource, name)
	}
	taken := state.ParseReport(record.Report)
	if r.Report.Start < taken.Start {
		return nil, errSuperseded(name)
	}
	if !taken.Before(r.Report) {
		return old, nil
	}
	return i.renew(ctx, old, r)
}

// join makes the Node of a machine that has shown itself for the first time, with its stamp and a range of addresses for its
// pods.
func (i *Intake) join(ctx context.Context, name string, r *state.NodeReport) (*corev1.Node, error) {
	cidr, claim, err := i.CIDRs.claim(i.View, name)
	if err != nil {
		return nil, err
	}
	node := &corev1.Node{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID(uuid.NewUUID()), CreationTimestamp: metav1.NewTime(i.Now()).Rfc3339Copy(), Labels: r.Labels,
		},
		Spec:   corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}, Taints: []corev1.Taint{notReadyTaint(i)}},
		Status: r.Status,
	}
	c, err := state.ObjectChange(node, state.Absent(i.View, state.ObjectKey(state.RefOf(node))))
	if err != nil {
		return nil, err
	}
	c.Report = state.FormatReport(r.Report)
	stamp := state.Stamp{Kind: state.StampNode, ID: name}
	stamp.Revision = state.Absent(i.View, stamp.Key())
	b := events.NodeJoined.Batch(i.meta(name), stamp)
	b.Queue = events.QueueReports
	b.Add(c)
	b.AddAs(events.ClaimTaken.Info(), claim)
	result, err := i.Writer.Put(ctx, b)
	if err != nil {
		return nil, err
	}
	node.ResourceVersion = state.FormatRevision(result.Revisions[0])
	return node, nil
}

// notReadyTaint keeps pods away from a node until it has been heard; the controller takes it off.
func notReadyTaint(i *Intake) corev1.Taint {
	added := metav1.NewTime(i.Now()).Rfc3339Copy()
	return corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &added}
}

func (i *Intake) meta(node string) events.Meta {
	return events.Meta{Source: i.Source, Actor: "system:node:" + node}
}

// renew gives a Node the status that its kubelet reports. The condition Ready stays: the controller knows whether a node is
// heard. A change of what the node offers moves the stamp of its pods (P9).
func (i *Intake) renew(ctx context.Context, old *corev1.Node, r *state.NodeReport) (*corev1.Node, error) {
	next := old.DeepCopy()
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	maps.Copy(next.Labels, r.Labels)
	next.Status = *r.Status.DeepCopy()
	next.Status.Conditions = nil
	for _, c := range r.Status.Conditions {
		if c.Type != corev1.NodeReady {
			next.Status.Conditions = append(next.Status.Conditions, c)
		}
	}
	if ready := podinfo.NodeCondition(old.Status.Conditions, corev1.NodeReady); ready != nil {
		next.Status.Conditions = append(next.Status.Conditions, *ready)
	}
	revision, err := state.ParseRevision(old.ResourceVersion)
	if err != nil {
		return nil, err
	}
	c, err := state.ObjectChange(next, revision)
	if err != nil {
		return nil, err
	}
	c.Report = state.FormatReport(r.Report)
	b := events.NodeReported.Batch(i.meta(old.Name))
	if !equality.Semantic.DeepEqual(old.Status.Allocatable, next.Status.Allocatable) || !maps.Equal(old.Labels, next.Labels) {
		b = events.NodeUpdated.Batch(i.meta(old.Name), i.View.Stamp(state.StampNode, old.Name))
	}
	b.Queue = events.QueueReports
	b.Add(c)
	result, err := i.Writer.Put(ctx, b)
	if err != nil {
		return nil, err
	}
	next.ResourceVersion = state.FormatRevision(result.Revisions[0])
	return next, nil
}

// CIDRs gives each node a range of its own out of the cluster's.
type CIDRs struct {
	Cluster netip.Prefix
	Bits    int // of a node's prefix: 24 gives 254 addresses for pods
}

// claim chooses the lowest range that is free, and the change that takes it. A range whose tombstone is still there is not
// taken: pods of its last node may still be on their way out (P2).
func (c CIDRs) claim(v *view.View, node string) (string, state.Change, error) {
	for prefix := netip.PrefixFrom(c.Cluster.Masked().Addr(), c.Bits); c.Cluster.Contains(prefix.Addr()); prefix = nextPrefix(prefix) {
		key := state.ClaimKey(state.ClaimPodCIDR, prefix.String())
		if v.Revision(key) != 0 {
			continue
		}
		body, err := json.Marshal(state.ObjectRef{Resource: scheme.Nodes, Name: node})
		return prefix.String(), state.Change{Key: key, Body: body}, err
	}
	return "", state.Change{}, apierrors.NewForbidden(nodeResource, node, fmt.Errorf("no range of %s is free for its pods", c.Cluster))
}

// nextPrefix is the range behind p; IPv4 only.
func nextPrefix(p netip.Prefix) netip.Prefix {
	a := p.Addr().As4()
	n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	n += 1 << (32 - p.Bits())
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), p.Bits())
}
