package nodelifecycle

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/podinfo"
)

// heard is what the heartbeats say about a node at this moment.
type heard struct {
	silent  bool // none came for the grace period
	known   bool // one has come, or the grace period is over: there is something to say
	ready   bool
	message string
}

// plan is what must change of a node.
type plan struct {
	condition corev1.NodeCondition // the condition Ready as it should be
	changed   bool                 // it differs from what there is
	taints    []corev1.Taint       // as they should be
	retaint   bool                 // they differ
}

// makePlan says what must change of node, given what was heard of it. A node of which nothing is known yet is left alone.
func makePlan(node *corev1.Node, h heard, now time.Time) plan {
	if !h.known {
		return plan{}
	}
	p := plan{condition: readiness(h)}
	at := metav1.NewTime(now).Rfc3339Copy()
	had := podinfo.NodeCondition(node.Status.Conditions, corev1.NodeReady)
	p.condition.LastHeartbeatTime, p.condition.LastTransitionTime = at, at
	if had != nil && had.Status == p.condition.Status {
		p.condition.LastTransitionTime = had.LastTransitionTime
	}
	p.changed = had == nil || had.Status != p.condition.Status || had.Reason != p.condition.Reason || had.Message != p.condition.Message
	p.taints = wantedTaints(node.Spec.Taints, p.condition.Status, at)
	p.retaint = !slices.EqualFunc(p.taints, node.Spec.Taints, func(a, b corev1.Taint) bool { return a.MatchTaint(&b) })
	return p
}

// readiness is the condition Ready, in Kubernetes' words.
func readiness(h heard) corev1.NodeCondition {
	c := corev1.NodeCondition{Type: corev1.NodeReady}
	switch {
	case h.silent:
		c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
	case h.ready:
		c.Status, c.Reason, c.Message = corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"
	default:
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "KubeletNotReady", h.message
	}
	return c
}

// wantedTaints are the taints of a node with the one that stands for its readiness, and no other of ours. A taint that is
// there already keeps its time.
func wantedTaints(had []corev1.Taint, ready corev1.ConditionStatus, now metav1.Time) []corev1.Taint {
	want := ""
	switch ready {
	case corev1.ConditionFalse:
		want = corev1.TaintNodeNotReady
	case corev1.ConditionUnknown:
		want = corev1.TaintNodeUnreachable
	case corev1.ConditionTrue:
	}
	var taints []corev1.Taint
	found := false
	for _, t := range had {
		ours := (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable) && t.Effect == corev1.TaintEffectNoSchedule
		if ours && t.Key != want {
			continue
		}
		found = found || ours
		taints = append(taints, t)
	}
	if want != "" && !found {
		taints = append(taints, corev1.Taint{Key: want, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &now})
	}
	return taints
}
