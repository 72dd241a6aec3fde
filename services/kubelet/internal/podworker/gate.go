package podworker

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/services/kubelet/internal/admission"
)

// gate lets pods onto the node one after the other, each beside those that are there. Safe for concurrent use.
type gate struct {
	allocatable corev1.ResourceList

	mu     sync.Mutex
	inside map[types.UID]*corev1.Pod
}

func newGate(allocatable corev1.ResourceList) *gate {
	return &gate{allocatable: allocatable, inside: map[types.UID]*corev1.Pod{}}
}

// admit lets a pod in, or says why it may not run here.
func (g *gate) admit(pod *corev1.Pod) *admission.Rejection {
	g.mu.Lock()
	defer g.mu.Unlock()
	others := make([]*corev1.Pod, 0, len(g.inside))
	for uid, other := range g.inside {
		if uid != pod.UID {
			others = append(others, other)
		}
	}
	if r := admission.Check(pod, others, g.allocatable); r != nil {
		return r
	}
	g.inside[pod.UID] = pod
	return nil
}

// occupy says that a pod is inside already: an earlier kubelet let it in.
func (g *gate) occupy(pod *corev1.Pod) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside[pod.UID] = pod
}

// release says that a pod holds nothing any more.
func (g *gate) release(uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.inside, uid)
}
