package taint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

func TestFilter(t *testing.T) {
	const noSchedule, noExecute, prefer = corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute, corev1.TaintEffectPreferNoSchedule
	tolerateGPU := corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: noSchedule}
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		node *objtest.NodeBuilder
		want framework.Verdict
	}{
		{name: "no taint", pod: objtest.Pod("a"), node: objtest.Node("n1")},
		{name: "a wish is no reason", pod: objtest.Pod("a"), node: objtest.Node("n1").Taint("gpu", "true", prefer)},
		{name: "NoSchedule", pod: objtest.Pod("a"), node: objtest.Node("n1").Taint("gpu", "true", noSchedule), want: framework.RejectFinally("node(s) had untolerated taint {gpu: true}")},
		{name: "NoExecute", pod: objtest.Pod("a"), node: objtest.Node("n1").Taint("gpu", "true", noExecute), want: framework.RejectFinally("node(s) had untolerated taint {gpu: true}")},
		{name: "without a value", pod: objtest.Pod("a"), node: objtest.Node("n1").Taint(corev1.TaintNodeNotReady, "", noSchedule), want: framework.RejectFinally("node(s) had untolerated taint {node.kubernetes.io/not-ready: }")},
		{name: "tolerated", pod: objtest.Pod("a").Tolerate(tolerateGPU), node: objtest.Node("n1").Taint("gpu", "true", noSchedule)},
		{
			name: "the first that is not tolerated is named", pod: objtest.Pod("a").Tolerate(tolerateGPU),
			node: objtest.Node("n1").Taint("gpu", "true", noSchedule).Taint("disk", "slow", noSchedule).Taint("net", "bad", noExecute),
			want: framework.RejectFinally("node(s) had untolerated taint {disk: slow}"),
		},
		{
			name: "the second toleration fits", pod: objtest.Pod("a").Tolerate(corev1.Toleration{Key: "x", Operator: corev1.TolerationOpExists}).Tolerate(tolerateGPU),
			node: objtest.Node("n1").Taint("gpu", "true", noSchedule),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Plugin{}.Filter(framework.NewPod(tt.pod.Obj()), &framework.Node{Node: tt.node.Obj()})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Filter (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFrees(t *testing.T) {
	for e, want := range map[framework.Event]bool{
		framework.PodGone: false, framework.NodeAdded: true, framework.NodeChanged: true, framework.PodChanged: true, framework.PodGone | framework.NodeChanged: true,
	} {
		if got := (Plugin{}).Frees(e); got != want {
			t.Errorf("Frees(%b) = %v, want %v", e, got, want)
		}
	}
}
