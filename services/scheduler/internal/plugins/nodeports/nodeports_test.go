package nodeports

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

func TestFilter(t *testing.T) {
	taken := framework.Reject("node(s) didn't have free ports for the requested pod ports")
	type ports = []corev1.ContainerPort
	port := func(number int32) corev1.ContainerPort {
		return corev1.ContainerPort{HostPort: number, ContainerPort: 80}
	}
	with := func(p corev1.ContainerPort, protocol corev1.Protocol, ip string) corev1.ContainerPort {
		p.Protocol, p.HostIP = protocol, ip
		return p
	}
	tests := []struct {
		name string
		pod  ports
		has  ports // what a pod on the node has
		want framework.Verdict
	}{
		{name: "asks for none", has: ports{port(80)}},
		{name: "a port inside the pod is none of the node's", pod: ports{{ContainerPort: 80}}, has: ports{{ContainerPort: 80}}},
		{name: "nobody has one", pod: ports{port(80)}},
		{name: "another port", pod: ports{port(80)}, has: ports{port(81)}},
		{name: "the same port", pod: ports{port(80)}, has: ports{port(80)}, want: taken},
		{name: "one of two", pod: ports{port(80), port(81)}, has: ports{port(82), port(81)}, want: taken},
		{name: "another protocol", pod: ports{with(port(80), corev1.ProtocolUDP, "")}, has: ports{with(port(80), corev1.ProtocolTCP, "")}},
		{name: "no protocol is TCP", pod: ports{port(80)}, has: ports{with(port(80), corev1.ProtocolTCP, "")}, want: taken},
		{name: "two addresses", pod: ports{with(port(80), "", "127.0.0.1")}, has: ports{with(port(80), "", "10.0.0.1")}},
		{name: "one address", pod: ports{with(port(80), "", "10.0.0.1")}, has: ports{with(port(80), "", "10.0.0.1")}, want: taken},
		{name: "every address, by default", pod: ports{port(80)}, has: ports{with(port(80), "", "10.0.0.1")}, want: taken},
		{name: "every address, by name", pod: ports{with(port(80), "", "10.0.0.1")}, has: ports{with(port(80), "", "0.0.0.0")}, want: taken},
		{name: "every address of another protocol", pod: ports{with(port(80), corev1.ProtocolSCTP, "10.0.0.1")}, has: ports{port(80)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := func(name string, p ports) *framework.Pod {
				return framework.NewPod(objtest.Pod(name).Container(corev1.Container{Name: "web", Ports: p}).Obj())
			}
			node := &framework.Node{Node: objtest.Node("n1").Obj()}
			node.Add(pod("there", tt.has))
			if diff := cmp.Diff(tt.want, Plugin{}.Filter(pod("a", tt.pod), node)); diff != "" {
				t.Errorf("Filter (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFrees(t *testing.T) {
	for e, want := range map[framework.Event]bool{
		framework.PodGone: true, framework.NodeAdded: true, framework.NodeChanged: false, framework.PodChanged: false, framework.PodGone | framework.NodeChanged: true,
	} {
		if got := (Plugin{}).Frees(e); got != want {
			t.Errorf("Frees(%b) = %v, want %v", e, got, want)
		}
	}
}
