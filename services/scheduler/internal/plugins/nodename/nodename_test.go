package nodename

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

func TestFilter(t *testing.T) {
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		want framework.Verdict
	}{
		{name: "any node", pod: objtest.Pod("a")},
		{name: "this node", pod: objtest.Pod("a").Node("n1")},
		{name: "another node", pod: objtest.Pod("a").Node("n2"), want: framework.RejectFinally("node(s) didn't match the requested node name")},
	}
	for _, tt := range tests {
		got := Plugin{}.Filter(framework.NewPod(tt.pod.Obj()), &framework.Node{Node: objtest.Node("n1").Obj()})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: Filter (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestFrees(t *testing.T) {
	for e, want := range map[framework.Event]bool{framework.PodGone: false, framework.NodeAdded: true, framework.NodeChanged: false} {
		if got := (Plugin{}).Frees(e); got != want {
			t.Errorf("Frees(%b) = %v, want %v", e, got, want)
		}
	}
}
