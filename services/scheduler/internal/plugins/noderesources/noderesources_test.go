package noderesources

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

// nodeWith is the node of b with pods on it.
func nodeWith(b *objtest.NodeBuilder, pods ...*corev1.Pod) *framework.Node {
	node := b.Obj()
	n := &framework.Node{Node: node, Allocatable: framework.FromList(node.Status.Allocatable)}
	for _, p := range pods {
		n.Add(framework.NewPod(p))
	}
	return n
}

func TestFit(t *testing.T) {
	small := func() *objtest.NodeBuilder {
		return objtest.Node("n1").Allocatable("cpu", "2").Allocatable("memory", "1Gi").Allocatable("ephemeral-storage", "10Gi").
			Allocatable("pods", "3").Allocatable("example.com/gpu", "2")
	}
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		node *framework.Node
		want framework.Verdict
	}{
		{name: "asks for nothing", pod: objtest.Pod("a"), node: nodeWith(small())},
		{name: "to the last bit", pod: objtest.Pod("a").Request("cpu", "1200m").Request("memory", "1Gi"), node: nodeWith(small(), objtest.Pod("b").Request("cpu", "800m").Obj())},
		{
			name: "one milli too much", pod: objtest.Pod("a").Request("cpu", "1201m"), node: nodeWith(small(), objtest.Pod("b").Request("cpu", "800m").Obj()),
			want: framework.Reject("Insufficient cpu"),
		},
		{name: "more than the node has", pod: objtest.Pod("a").Request("cpu", "2001m"), node: nodeWith(small()), want: framework.RejectFinally("Insufficient cpu")},
		{
			name: "everything that is short is named", pod: objtest.Pod("a").Request("cpu", "1").Request("memory", "1Gi").Request("ephemeral-storage", "10Gi").Request("example.com/gpu", "1"),
			node: nodeWith(small(), objtest.Pod("b").Request("cpu", "1500m").Request("memory", "1Mi").Request("ephemeral-storage", "1Mi").Request("example.com/gpu", "2").Obj()),
			want: framework.Reject("Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage", "Insufficient example.com/gpu"),
		},
		{name: "a resource that the node has not", pod: objtest.Pod("a").Request("example.com/tpu", "1"), node: nodeWith(small()), want: framework.RejectFinally("Insufficient example.com/tpu")},
		{name: "none of a resource that the node has not", pod: objtest.Pod("a").Request("example.com/tpu", "0"), node: nodeWith(small())},
		{
			name: "too many pods", pod: objtest.Pod("a"), node: nodeWith(small(), objtest.Pod("b").Obj(), objtest.Pod("c").Obj(), objtest.Pod("d").Obj()),
			want: framework.Reject("Too many pods"),
		},
		{
			name: "a full node takes who asks for nothing of what is full", pod: objtest.Pod("a").Request("memory", "1Mi"),
			node: nodeWith(small(), objtest.Pod("b").Request("cpu", "2").Obj()),
		},
		{
			name: "a node that shrank below what runs on it", pod: objtest.Pod("a").Request("cpu", "1m"), node: nodeWith(small(), objtest.Pod("b").Request("cpu", "3").Obj()),
			want: framework.Reject("Insufficient cpu"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Fit{}.Filter(framework.NewPod(tt.pod.Obj()), tt.node)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Filter (-want +got):\n%s", diff)
			}
		})
	}
}

var drawn = []corev1.ResourceName{"cpu", "memory", "ephemeral-storage", "pods", "example.com/gpu"}

func drawQuantities(t *rapid.T, label string, set func(corev1.ResourceName, string)) {
	for _, name := range drawn {
		if amount := rapid.SampledFrom([]string{"", "0", "1", "2", "3", "5", "9"}).Draw(t, label+" "+string(name)); amount != "" {
			set(name, amount)
		}
	}
}

func within(requested, allocatable framework.Resources) bool {
	for name, value := range requested.Other {
		if value > allocatable.Other[name] {
			return false
		}
	}
	return requested.MilliCPU <= allocatable.MilliCPU && requested.Memory <= allocatable.Memory &&
		requested.Ephemeral <= allocatable.Ephemeral && requested.Pods <= allocatable.Pods
}

// A node that takes only pods which fit is never overcommitted, and a pod is turned away only from a node that it would overcommit.
func TestFitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := objtest.Node("n1")
		drawQuantities(t, "node", func(name corev1.ResourceName, amount string) { b.Allocatable(name, amount) })
		node := nodeWith(b)
		for i := range rapid.IntRange(0, 12).Draw(t, "pods") {
			p := objtest.Pod(string(rune('a' + i)))
			drawQuantities(t, "pod", func(name corev1.ResourceName, amount string) {
				if name != "pods" {
					p.Request(name, amount)
				}
			})
			pod := framework.NewPod(p.Obj())
			v := Fit{}.Filter(pod, node)
			after := node.Requested.Clone()
			after.Add(&pod.Requests)
			if v.Fits() != within(after, node.Allocatable) {
				t.Fatalf("Filter says %v of a pod that requests %+v on a node with %+v of %+v requested", v, pod.Requests, node.Requested, node.Allocatable)
			}
			if v.Final && within(pod.Requests, node.Allocatable) {
				t.Fatalf("Filter says %v for good of a pod that the empty node could take", v)
			}
			if v.Fits() {
				node.Add(pod)
			}
		}
	})
}

func TestFitFrees(t *testing.T) {
	for _, e := range []framework.Event{framework.PodGone, framework.NodeAdded, framework.NodeChanged, framework.PodChanged} {
		if !(Fit{}).Frees(e) {
			t.Errorf("Frees(%b) = false, want true", e)
		}
	}
	if (Fit{}).Frees(0) {
		t.Error("Frees of nothing = true, want false")
	}
}

func TestPack(t *testing.T) {
	node := func() *objtest.NodeBuilder {
		return objtest.Node("n1").Allocatable("cpu", "1").Allocatable("memory", "1000Mi")
	}
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		node *framework.Node
		want int64
	}{
		{name: "empty node", pod: objtest.Pod("a").Request("cpu", "500m").Request("memory", "100Mi"), node: nodeWith(node()), want: 30},
		{name: "fuller node", pod: objtest.Pod("a").Request("cpu", "500m").Request("memory", "100Mi"), node: nodeWith(node(), objtest.Pod("b").Request("cpu", "300m").Obj()), want: 45},
		{name: "full afterwards", pod: objtest.Pod("a").Request("cpu", "500m").Request("memory", "1000Mi"), node: nodeWith(node(), objtest.Pod("b").Request("cpu", "500m").Obj()), want: 100},
		{name: "who asks for nothing counts for a little", pod: objtest.Pod("a"), node: nodeWith(node()), want: 15},
		{
			name: "a full node is the best for who asks for nothing", pod: objtest.Pod("a"),
			node: nodeWith(node(), objtest.Pod("b").Request("cpu", "1").Request("memory", "1000Mi").Obj()), want: 100,
		},
		{name: "a node that offers nothing", pod: objtest.Pod("a"), node: nodeWith(objtest.Node("n1").Allocatable("cpu", "0").Allocatable("memory", "0")), want: 0},
	}
	for _, tt := range tests {
		if got := (Pack{}).Score(framework.NewPod(tt.pod.Obj()), tt.node); got != tt.want {
			t.Errorf("%s: Score = %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A score is from 0 to 100, and a fuller node of the same size never has a lower one.
func TestPackProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cpu, memory := rapid.Int64Range(0, 8000), rapid.Int64Range(0, 8<<30)
		n := framework.Node{Allocatable: framework.Resources{MilliCPU: cpu.Draw(t, "cpu"), Memory: memory.Draw(t, "memory")}}
		n.Requested = framework.Resources{MilliCPU: cpu.Draw(t, "requested cpu"), Memory: memory.Draw(t, "requested memory")}
		pod := &framework.Pod{Requests: framework.Resources{MilliCPU: cpu.Draw(t, "pod cpu"), Memory: memory.Draw(t, "pod memory")}}
		fuller := n
		fuller.Requested.Add(&framework.Resources{MilliCPU: cpu.Draw(t, "more cpu"), Memory: memory.Draw(t, "more memory")})
		score, more := Pack{}.Score(pod, &n), Pack{}.Score(pod, &fuller)
		if score < 0 || more > 100 || more < score {
			t.Fatalf("scores %d and, fuller, %d", score, more)
		}
	})
}
