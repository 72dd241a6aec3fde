package podinfo

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestHostPorts(t *testing.T) {
	on := func(hostPorts ...int32) corev1.Container {
		c := corev1.Container{}
		for _, p := range hostPorts {
			c.Ports = append(c.Ports, corev1.ContainerPort{HostPort: p, ContainerPort: 80})
		}
		return c
	}
	ends, stays := on(1), on(2)
	stays.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{ends, stays}, Containers: []corev1.Container{on(3, 0, 4), on(), on(5)}}}
	var got []int32
	for _, p := range HostPorts(pod) {
		got = append(got, p.HostPort)
	}
	if want := []int32{2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("HostPorts = %v, want %v", got, want)
	}
}
