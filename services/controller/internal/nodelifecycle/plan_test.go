package nodelifecycle

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	began = metav1.NewTime(noon.Add(-time.Hour))
)

// node has the condition Ready as given since an hour ago, and taints.
func node(ready *corev1.NodeCondition, taints ...corev1.Taint) *corev1.Node {
	n := objtest.Node("n1").Obj()
	n.Status.Conditions = nil
	if ready != nil {
		ready.Type, ready.LastTransitionTime, ready.LastHeartbeatTime = corev1.NodeReady, began, began
		n.Status.Conditions = append(n.Status.Conditions, *ready)
	}
	n.Spec.Taints = taints
	return n
}

func ready() *corev1.NodeCondition {
	return &corev1.NodeCondition{Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}
}

func unknown() *corev1.NodeCondition {
	return &corev1.NodeCondition{Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown", Message: "Kubelet stopped posting node status."}
}

func notReady(message string) *corev1.NodeCondition {
	return &corev1.NodeCondition{Status: corev1.ConditionFalse, Reason: "KubeletNotReady", Message: message}
}

func taint(key string, at metav1.Time) corev1.Taint {
	return corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &at}
}

func TestMakePlan(t *testing.T) {
	now := metav1.NewTime(noon)
	live, down, silent := heard{known: true, ready: true}, heard{known: true, message: "no containerd"}, heard{known: true, silent: true}
	gpu := corev1.Taint{Key: "gpu", Value: "true", Effect: corev1.TaintEffectNoSchedule}
	evict := corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute} // somebody's own
	tests := []struct {
		name        string
		node        *corev1.Node
		heard       heard
		wantReady   *corev1.NodeCondition // nil: unchanged
		wantSince   metav1.Time
		wantTaints  []corev1.Taint
		wantRetaint bool
	}{
		{name: "nothing is known of a new node", node: node(nil, taint(corev1.TaintNodeNotReady, began))},
		{name: "nothing is known yet of one that was ready", node: node(ready())},
		{name: "a new node is heard", node: node(nil, taint(corev1.TaintNodeNotReady, began)), heard: live, wantReady: ready(), wantSince: now, wantRetaint: true},
		{name: "it goes on", node: node(ready()), heard: live},
		{name: "it falls silent", node: node(ready()), heard: silent, wantReady: unknown(), wantSince: now, wantTaints: []corev1.Taint{taint(corev1.TaintNodeUnreachable, now)}, wantRetaint: true},
		{name: "it stays silent", node: node(unknown(), taint(corev1.TaintNodeUnreachable, began)), heard: silent, wantTaints: []corev1.Taint{taint(corev1.TaintNodeUnreachable, began)}},
		{name: "it is back", node: node(unknown(), taint(corev1.TaintNodeUnreachable, began)), heard: live, wantReady: ready(), wantSince: now, wantRetaint: true},
		{name: "it cannot run pods", node: node(ready()), heard: down, wantReady: notReady("no containerd"), wantSince: now, wantTaints: []corev1.Taint{taint(corev1.TaintNodeNotReady, now)}, wantRetaint: true},
		{
			name: "for another reason: since when stays", node: node(notReady("no network"), taint(corev1.TaintNodeNotReady, began)), heard: down,
			wantReady: notReady("no containerd"), wantSince: began, wantTaints: []corev1.Taint{taint(corev1.TaintNodeNotReady, began)},
		},
		{
			name: "silent after it could not: one taint takes the place of the other", node: node(notReady("x"), taint(corev1.TaintNodeNotReady, began), gpu), heard: silent,
			wantReady: unknown(), wantSince: now, wantTaints: []corev1.Taint{gpu, taint(corev1.TaintNodeUnreachable, now)}, wantRetaint: true,
		},
		{name: "taints of others stay", node: node(unknown(), gpu, taint(corev1.TaintNodeUnreachable, began), evict), heard: live, wantReady: ready(), wantSince: now, wantTaints: []corev1.Taint{gpu, evict}, wantRetaint: true},
		{name: "a taint that was taken off comes back", node: node(unknown()), heard: silent, wantTaints: []corev1.Taint{taint(corev1.TaintNodeUnreachable, now)}, wantRetaint: true},
		{name: "a taint was left behind", node: node(ready(), taint(corev1.TaintNodeNotReady, began)), heard: live, wantRetaint: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := makePlan(tt.node, tt.heard, noon)
			if p.changed != (tt.wantReady != nil) || p.retaint != tt.wantRetaint {
				t.Fatalf("changed %v, retaint %v; want %v, %v", p.changed, p.retaint, tt.wantReady != nil, tt.wantRetaint)
			}
			if tt.wantReady != nil {
				tt.wantReady.Type, tt.wantReady.LastHeartbeatTime, tt.wantReady.LastTransitionTime = corev1.NodeReady, now, tt.wantSince
				if diff := cmp.Diff(*tt.wantReady, p.condition); diff != "" {
					t.Errorf("condition (-want +got):\n%s", diff)
				}
			}
			if !tt.heard.known {
				return
			}
			if diff := cmp.Diff(tt.wantTaints, p.taints); diff != "" {
				t.Errorf("taints (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever is on a node and whatever is heard: once the plan is carried out there is nothing more to do, there is one taint of ours if
// the node is not ready and none if it is, and everybody else's are as they were.
func TestMakePlanProperties(t *testing.T) {
	keys := []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeUnschedulable, "gpu"}
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute}
	rapid.Check(t, func(t *rapid.T) {
		n := node(rapid.SampledFrom([]*corev1.NodeCondition{nil, ready(), unknown(), notReady("x")}).Draw(t, "condition"))
		for _, key := range keys {
			for _, effect := range effects {
				if rapid.Bool().Draw(t, "has "+key) {
					n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect})
				}
			}
		}
		foreign := others(n.Spec.Taints)
		h := heard{known: true, silent: rapid.Bool().Draw(t, "silent"), ready: rapid.Bool().Draw(t, "ready"), message: "x"}
		p := makePlan(n, h, noon)
		if had := podinfo.NodeCondition(n.Status.Conditions, corev1.NodeReady); had != nil {
			*had = p.condition
		} else {
			n.Status.Conditions = append(n.Status.Conditions, p.condition)
		}
		n.Spec.Taints = p.taints
		if again := makePlan(n, h, noon.Add(time.Hour)); again.changed || again.retaint {
			t.Fatalf("carried out, the plan is %+v", again)
		}
		if diff := cmp.Diff(foreign, others(p.taints), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("taints of others (-want +got):\n%s", diff)
		}
		if ours, isReady := len(p.taints)-len(foreign), p.condition.Status == corev1.ConditionTrue; ours != map[bool]int{true: 0, false: 1}[isReady] {
			t.Fatalf("ready %v with %d taints of ours", isReady, ours)
		}
	})
}

// others are the taints that are not ours.
func others(taints []corev1.Taint) []corev1.Taint {
	return slices.DeleteFunc(slices.Clone(taints), func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule && (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
	})
}
