package unschedulable

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

func TestFilter(t *testing.T) {
	cordoned := framework.RejectFinally("node(s) were unschedulable")
	exists := corev1.TolerationOpExists
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		node *objtest.NodeBuilder
		want framework.Verdict
	}{
		{name: "open", pod: objtest.Pod("a"), node: objtest.Node("n1")},
		{name: "cordoned", pod: objtest.Pod("a"), node: objtest.Node("n1").Unschedulable(), want: cordoned},
		{name: "tolerates that", pod: objtest.Pod("a").Tolerate(corev1.Toleration{Key: corev1.TaintNodeUnschedulable, Operator: exists}), node: objtest.Node("n1").Unschedulable()},
		{name: "tolerates everything", pod: objtest.Pod("a").Tolerate(corev1.Toleration{Operator: exists}), node: objtest.Node("n1").Unschedulable()},
		{name: "tolerates something else", pod: objtest.Pod("a").Tolerate(corev1.Toleration{Key: "gpu", Operator: exists}), node: objtest.Node("n1").Unschedulable(), want: cordoned},
		{
			name: "tolerates only that it runs on", pod: objtest.Pod("a").Tolerate(corev1.Toleration{Operator: exists, Effect: corev1.TaintEffectNoExecute}),
			node: objtest.Node("n1").Unschedulable(), want: cordoned,
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
	for e, want := range map[framework.Event]bool{framework.PodGone: false, framework.NodeAdded: true, framework.NodeChanged: true} {
		if got := (Plugin{}).Frees(e); got != want {
			t.Errorf("Frees(%b) = %v, want %v", e, got, want)
		}
	}
}
