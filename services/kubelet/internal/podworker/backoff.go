package podworker

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/kubelet/internal/runtime"
)

// labelBackoff is the label of a container with the time to wait after its end. It lies with the container so that a kubelet
// which was killed goes on where it was.
const labelBackoff = "millrace.dev/backoff"

// healthyAfter is how long a container must have run for its end to be forgiven (Kubernetes: twice the longest wait).
const healthyAfter = 10 * time.Minute

const (
	imageBackoffFirst = 10 * time.Second // Kubernetes' own
	imageBackoffMost  = 5 * time.Minute
	configRetry       = 10 * time.Second // a new revision of the order wakes earlier
)

// backoffOf is the back-off that a pod asks for; a bad value was refused by the api.
func backoffOf(pod *corev1.Pod) podinfo.RestartBackoff {
	if value, ok := pod.Annotations[podinfo.AnnotationRestartBackoff]; ok {
		if b, err := podinfo.ParseRestartBackoff(value); err == nil {
			return b
		}
	}
	return podinfo.DefaultRestartBackoff
}

// backoffAfter is how long to wait after the end of a container before it is started again.
func backoffAfter(c *runtime.Container) time.Duration {
	if ranWell(c) {
		return 0
	}
	d, err := time.ParseDuration(c.Labels[labelBackoff])
	if err != nil {
		return 0
	}
	return d
}

func ranWell(c *runtime.Container) bool {
	return !c.StartedAt.IsZero() && c.FinishedAt.Sub(c.StartedAt) >= healthyAfter
}

// nextBackoff is what the run behind previous will have to wait for after its end: nothing after the first run, then the
// pod's initial wait, then twice as long each time.
func nextBackoff(pod *corev1.Pod, previous *runtime.Container) time.Duration {
	b := backoffOf(pod)
	switch {
	case previous == nil:
		return 0
	case ranWell(previous), backoffAfter(previous) == 0:
		return min(b.Initial, b.Max)
	default:
		return min(2*backoffAfter(previous), b.Max)
	}
}

// again is a hold that follows an earlier one: twice as long, from first to most.
func (had hold) again(reason string, now time.Time, first, most time.Duration) hold {
	delay := min(max(2*had.delay, first), most)
	return hold{reason: reason, until: now.Add(delay), delay: delay}
}
