package admission

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
)

func ports(p ...corev1.ContainerPort) corev1.Container {
	return corev1.Container{Name: "ports", Ports: p}
}

func TestCheck(t *testing.T) {
	node := objtest.Node("n1").Allocatable("cpu", "2").Allocatable("memory", "1Gi").Allocatable("pods", "3").Obj().Status.Allocatable
	web := corev1.ContainerPort{ContainerPort: 80, HostPort: 8080}
	taken := &Rejection{Reason: "NodePorts", Message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"}
	for _, tc := range []struct {
		name   string
		pod    *objtest.PodBuilder
		others []*objtest.PodBuilder
		want   *Rejection
	}{
		{name: "alone", pod: objtest.Pod("a").Request("cpu", "2")},
		{name: "fills the node", pod: objtest.Pod("a").Request("cpu", "800m"), others: []*objtest.PodBuilder{objtest.Pod("b").Request("cpu", "1200m")}},
		{
			name: "too much CPU", pod: objtest.Pod("a").Request("cpu", "800m"), others: []*objtest.PodBuilder{objtest.Pod("b").Request("cpu", "1201m")},
			want: &Rejection{Reason: "OutOfcpu", Message: "Node didn't have enough resource: cpu, requested: 800, used: 1201, capacity: 2000"},
		},
		{
			name: "too much memory", pod: objtest.Pod("a").Request("memory", "2Gi"),
			want: &Rejection{Reason: "OutOfmemory", Message: "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824"},
		},
		{
			name: "a resource that the node has not", pod: objtest.Pod("a").Request("example.com/gpu", "1"),
			want: &Rejection{Reason: "OutOfexample.com/gpu", Message: "Node didn't have enough resource: example.com/gpu, requested: 1, used: 0, capacity: 0"},
		},
		{
			name: "too many pods", pod: objtest.Pod("a"), others: []*objtest.PodBuilder{objtest.Pod("b"), objtest.Pod("c"), objtest.Pod("d")},
			want: &Rejection{Reason: "OutOfpods", Message: "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"},
		},
		{name: "nothing requested on a full node", pod: objtest.Pod("a"), others: []*objtest.PodBuilder{objtest.Pod("b").Request("cpu", "3")}},
		{
			name: "host port", pod: objtest.Pod("a").Container(ports(web)), others: []*objtest.PodBuilder{objtest.Pod("b").Container(ports(web))}, want: taken,
		},
		{
			name: "host port on one address, taken on all", pod: objtest.Pod("a").Container(ports(corev1.ContainerPort{HostPort: 8080, HostIP: "10.0.0.1"})),
			others: []*objtest.PodBuilder{objtest.Pod("b").Container(ports(web))}, want: taken,
		},
		{
			name: "host port on two addresses", pod: objtest.Pod("a").Container(ports(corev1.ContainerPort{HostPort: 8080, HostIP: "10.0.0.1"})),
			others: []*objtest.PodBuilder{objtest.Pod("b").Container(ports(corev1.ContainerPort{HostPort: 8080, HostIP: "10.0.0.2"}))},
		},
		{
			name: "host port of two protocols", pod: objtest.Pod("a").Container(ports(corev1.ContainerPort{HostPort: 8080, Protocol: corev1.ProtocolUDP})),
			others: []*objtest.PodBuilder{objtest.Pod("b").Container(ports(web))},
		},
		{name: "container port", pod: objtest.Pod("a").Container(ports(corev1.ContainerPort{ContainerPort: 80})), others: []*objtest.PodBuilder{
			objtest.Pod("b").Container(ports(corev1.ContainerPort{ContainerPort: 80})),
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var others []*corev1.Pod
			for _, o := range tc.others {
				others = append(others, o.Obj())
			}
			if diff := cmp.Diff(tc.want, Check(tc.pod.Obj(), others, node)); diff != "" {
				t.Errorf("Check (-want +got)\n%s", diff)
			}
		})
	}
}
