package scheduler

import (
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
)

const noVictims = "no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."

// of is the pod of b with a change to its spec.
func of(b *objtest.PodBuilder, change func(*corev1.PodSpec)) *corev1.Pod {
	pod := b.Obj()
	change(&pod.Spec)
	return pod
}

// together starts a scheduler that finds all of these pods waiting on two nodes, so that it decides about them in one batch.
func together(t *testing.T, pods ...*corev1.Pod) *cluster {
	t.Helper()
	c := newCluster(t)
	for _, name := range []string{"n1", "n2"} {
		c.putNode(objtest.Node(name))
	}
	for _, pod := range pods {
		c.putPod(pod)
	}
	p := newProcess(t, "s", c)
	p.start(p.run)
	settle()
	return c
}

// Of pods that come together and ask for one port, each node takes one; who is left over gets it when it becomes free.
func TestHostPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := func(name string) *corev1.Pod {
			return of(objtest.Pod(name), func(s *corev1.PodSpec) {
				s.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 8080, ContainerPort: 80}}
			})
		}
		c := together(t, web("a"), web("b"), web("c"))
		c.wantPlaces(map[string]string{"a": "n1", "b": "n2", "c": "-"})
		c.wantCondition("c", misfitBecause("0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. "+noVictims))
		c.removePod("b")
		settle()
		c.wantPlaces(map[string]string{"c": "n2"})
	})
}
