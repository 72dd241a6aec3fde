package framework_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

func TestTolerates(t *testing.T) {
	const (
		noSchedule = corev1.TaintEffectNoSchedule
		noExecute  = corev1.TaintEffectNoExecute
		equal      = corev1.TolerationOpEqual
		exists     = corev1.TolerationOpExists
	)
	gpu := corev1.Taint{Key: "gpu", Value: "true", Effect: noSchedule}
	tests := []struct {
		name       string
		toleration corev1.Toleration
		taint      corev1.Taint
		want       bool
	}{
		{name: "the same", toleration: corev1.Toleration{Key: "gpu", Operator: equal, Value: "true", Effect: noSchedule}, taint: gpu, want: true},
		{name: "no operator is Equal", toleration: corev1.Toleration{Key: "gpu", Value: "true", Effect: noSchedule}, taint: gpu, want: true},
		{name: "another value", toleration: corev1.Toleration{Key: "gpu", Operator: equal, Value: "false", Effect: noSchedule}, taint: gpu},
		{name: "another key", toleration: corev1.Toleration{Key: "disk", Operator: exists}, taint: gpu},
		{name: "another effect", toleration: corev1.Toleration{Key: "gpu", Operator: equal, Value: "true", Effect: noExecute}, taint: gpu},
		{name: "every effect", toleration: corev1.Toleration{Key: "gpu", Operator: equal, Value: "true"}, taint: gpu, want: true},
		{name: "every value", toleration: corev1.Toleration{Key: "gpu", Operator: exists, Effect: noSchedule}, taint: gpu, want: true},
		{name: "every key", toleration: corev1.Toleration{Operator: exists}, taint: gpu, want: true},
		{name: "every key, another effect", toleration: corev1.Toleration{Operator: exists, Effect: noExecute}, taint: gpu},
		{name: "a taint without a value", toleration: corev1.Toleration{Key: "gpu", Operator: equal}, taint: corev1.Taint{Key: "gpu", Effect: noSchedule}, want: true},
		{name: "an operator that is not known", toleration: corev1.Toleration{Key: "gpu", Operator: "In", Value: "true"}, taint: gpu},
	}
	for _, tt := range tests {
		if got := framework.Tolerates(&tt.toleration, &tt.taint); got != tt.want {
			t.Errorf("%s: Tolerates = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFromList(t *testing.T) {
	got := framework.FromList(corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1.5"), corev1.ResourceMemory: resource.MustParse("1Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("2Gi"), corev1.ResourcePods: resource.MustParse("110"),
		"example.com/gpu": resource.MustParse("2"), "hugepages-2Mi": resource.MustParse("4Mi"),
	})
	want := framework.Resources{
		MilliCPU: 1500, Memory: 1 << 30, Ephemeral: 2 << 30, Pods: 110,
		Other: map[corev1.ResourceName]int64{"example.com/gpu": 2, "hugepages-2Mi": 4 << 20},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FromList (-want +got):\n%s", diff)
	}
}

// A pod is as large as all its containers together (S13.3), or as its largest init container if that is larger; and it is one
// pod.
func TestPodResources(t *testing.T) {
	container := func(name, cpu, memory string) corev1.Container {
		return corev1.Container{Name: name, Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		}}}
	}
	pod := objtest.Pod("web").Container(container("a", "200m", "64Mi")).Container(container("b", "300m", "32Mi")).
		Init(container("i", "100m", "1Gi")).Obj()
	want := framework.Resources{MilliCPU: 500, Memory: 1 << 30, Pods: 1}
	if diff := cmp.Diff(want, framework.PodResources(pod)); diff != "" {
		t.Errorf("PodResources (-want +got):\n%s", diff)
	}
}

func drawResources(t *rapid.T, label string) framework.Resources {
	n := func(name string) int64 { return rapid.Int64Range(0, 1000).Draw(t, label+" "+name) }
	r := framework.Resources{MilliCPU: n("cpu"), Memory: n("memory"), Ephemeral: n("ephemeral"), Pods: n("pods")}
	if rapid.Bool().Draw(t, label+" has a gpu") {
		r.Other = map[corev1.ResourceName]int64{"example.com/gpu": n("gpu")}
	}
	return r
}

// What is added and taken away again leaves no trace, and a clone shares nothing.
func TestResourcesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sum, more := drawResources(t, "sum"), drawResources(t, "more")
		before := sum.Clone()
		after := sum.Clone()
		after.Add(&more)
		if diff := cmp.Diff(before, sum); diff != "" {
			t.Fatalf("adding to a clone changed the original (-want +got):\n%s", diff)
		}
		after.Subtract(&more)
		zeroless := func(r framework.Resources) framework.Resources {
			for name, value := range r.Other {
				if value == 0 {
					delete(r.Other, name)
				}
			}
			if len(r.Other) == 0 {
				r.Other = nil
			}
			return r
		}
		if diff := cmp.Diff(zeroless(before), zeroless(after)); diff != "" {
			t.Fatalf("Add, then Subtract (-want +got):\n%s", diff)
		}
	})
}

// Whatever comes and goes, and however often it is said to go, what is requested is what the pods on the node request.
func TestNodeCountsThePodsOnIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		node := &framework.Node{Node: objtest.Node("n1").Obj()}
		var pods []*framework.Pod
		for _, name := range []string{"a", "b", "c"} {
			p := framework.NewPod(objtest.Pod(name).Obj())
			p.Requests = drawResources(t, name)
			for range rapid.IntRange(0, 2).Draw(t, "ports") {
				p.HostPorts = append(p.HostPorts, framework.HostPort{Port: rapid.Int32Range(1, 3).Draw(t, "port")})
			}
			pods = append(pods, p)
		}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			p := rapid.SampledFrom(pods).Draw(t, "pod")
			if on := slices.Contains(node.Pods, p); !on && rapid.Bool().Draw(t, "comes") {
				node.Add(p)
			} else {
				node.Remove(p)
			}
		}
		var want framework.Resources
		var ports []framework.HostPort
		for _, p := range node.Pods {
			want.Add(&p.Requests)
			ports = append(ports, p.HostPorts...)
		}
		if !slices.Equal(node.HostPorts, ports) {
			t.Fatalf("host ports are %v, want %v", node.HostPorts, ports)
		}
		got := node.Requested
		if got.MilliCPU != want.MilliCPU || got.Memory != want.Memory || got.Pods != want.Pods ||
			got.Other["example.com/gpu"] != want.Other["example.com/gpu"] {
			t.Fatalf("requested is %+v with pods that request %+v", got, want)
		}
	})
}

func TestDiagnosisMessage(t *testing.T) {
	gpu := framework.RejectFinally("node(s) had untolerated taint {gpu: true}")
	cpu := framework.Reject("Insufficient cpu")
	tests := []struct {
		name     string
		nodes    int
		verdicts []framework.Verdict
		want     string
	}{
		{name: "no node at all", want: "no nodes available to schedule pods"},
		{
			name: "one node is full", nodes: 1, verdicts: []framework.Verdict{cpu},
			want: "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
		},
		{
			name: "several reasons, sorted as text", nodes: 3, verdicts: []framework.Verdict{cpu, gpu, cpu},
			want: "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: true}, 2 Insufficient cpu. no new claims to deallocate, " +
				"preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.",
		},
		{
			name: "a node with two reasons", nodes: 1, verdicts: []framework.Verdict{framework.Reject("Insufficient memory", "Insufficient cpu")},
			want: "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, " +
				"preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
		},
		{
			name: "nothing that could go would help", nodes: 2, verdicts: []framework.Verdict{gpu, gpu},
			want: "0/2 nodes are available: 2 node(s) had untolerated taint {gpu: true}. no new claims to deallocate, " +
				"preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
		},
		{
			name: "more than nine: sorted as text all the same", nodes: 12,
			verdicts: append(slices.Repeat([]framework.Verdict{cpu}, 10), gpu, gpu),
			want: "0/12 nodes are available: 10 Insufficient cpu, 2 node(s) had untolerated taint {gpu: true}. no new claims to deallocate, " +
				"preemption: 0/12 nodes are available: 10 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
		},
	}
	for _, tt := range tests {
		d := framework.NewDiagnosis(tt.nodes)
		for _, v := range tt.verdicts {
			d.Add("plugin", v)
		}
		if diff := cmp.Diff(tt.want, d.Message()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestDiagnosisOfAPodThatFitsNowhere(t *testing.T) {
	d := framework.NewDiagnosis(3)
	d.Never("plugin", "pod affinity terms conflict")
	want := "0/3 nodes are available: pod affinity terms conflict. no new claims to deallocate, " +
		"preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
	if diff := cmp.Diff(want, d.Message()); diff != "" || !d.Plugins["plugin"] {
		t.Errorf("plugins %v, message (-want +got):\n%s", d.Plugins, diff)
	}
}

// However pods come, by whatever way they are counted first: a count is what is on the nodes.
func TestCountProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &framework.Cluster{}
		for range rapid.IntRange(1, 3).Draw(t, "nodes") {
			c.Nodes = append(c.Nodes, &framework.Node{Node: objtest.Node("n").Obj()})
		}
		app := func(name string) func(*framework.Pod) bool {
			return func(p *framework.Pod) bool { return p.Labels["app"] == name }
		}
		apps := []string{"a", "b"}
		for i := range rapid.IntRange(0, 10).Draw(t, "pods") {
			pod := framework.NewPod(objtest.Pod(string(rune('a'+i))).Label("app", rapid.SampledFrom(apps).Draw(t, "app")).Obj())
			c.Assume(pod, rapid.SampledFrom(c.Nodes).Draw(t, "node"))
			name := rapid.SampledFrom(apps).Draw(t, "counted")
			got := c.Count(name, app(name))
			for at, node := range c.Nodes {
				want := 0
				for _, p := range node.Pods {
					if app(name)(p) {
						want++
					}
				}
				if got[at] != want {
					t.Fatalf("%d pods of %s are counted on node %d, want %d", got[at], name, at, want)
				}
			}
		}
	})
}
