package nodeselector

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

func TestFilter(t *testing.T) {
	misfit := framework.RejectFinally("node(s) didn't match Pod's node affinity/selector")
	node := objtest.Node("n1").Label("disk", "ssd").Label("zone", "a").Label("empty", "")
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		want framework.Verdict
	}{
		{name: "asks for nothing", pod: objtest.Pod("a")},
		{name: "has it", pod: objtest.Pod("a").Selector("disk", "ssd")},
		{name: "has both", pod: objtest.Pod("a").Selector("disk", "ssd").Selector("zone", "a")},
		{name: "has one of two", pod: objtest.Pod("a").Selector("disk", "ssd").Selector("zone", "b"), want: misfit},
		{name: "another value", pod: objtest.Pod("a").Selector("disk", "hdd"), want: misfit},
		{name: "no such label", pod: objtest.Pod("a").Selector("gpu", "true"), want: misfit},
		{name: "an empty value is there", pod: objtest.Pod("a").Selector("empty", "")},
		{name: "an empty value is not an absent label", pod: objtest.Pod("a").Selector("gpu", ""), want: misfit},
	}
	for _, tt := range tests {
		got := Plugin{}.Filter(framework.NewPod(tt.pod.Obj()), &framework.Node{Node: node.Obj()})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: Filter (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestFrees(t *testing.T) {
	for e, want := range map[framework.Event]bool{framework.PodGone: false, framework.NodeAdded: true, framework.NodeChanged: true, framework.PodChanged: true} {
		if got := (Plugin{}).Frees(e); got != want {
			t.Errorf("Frees(%b) = %v, want %v", e, got, want)
		}
	}
}
