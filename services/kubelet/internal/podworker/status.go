package podworker

import (
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/kubelet/internal/runtime"
)

// Waiting reasons, in Kubernetes' words.
const (
	reasonContainerCreating = "ContainerCreating"
	reasonPodInitializing   = "PodInitializing"
	reasonCrashLoopBackOff  = "CrashLoopBackOff"
)

// facts are what a status tells beside what is observed.
type facts struct {
	hostIP  string
	address netip.Addr
	started time.Time // when this node first had the pod
	now     time.Time
}

// makeStatus is what the node reports of a pod. It is pure; conditions have no transition times, which whoever keeps the
// previous status fills in.
func makeStatus(o *order, seen *observed, f facts) corev1.PodStatus {
	pod := o.Pod
	s := corev1.PodStatus{HostIP: f.hostIP, StartTime: &metav1.Time{Time: f.started.Truncate(time.Second)}, ObservedGeneration: pod.Generation}
	if f.hostIP != "" {
		s.HostIPs = []corev1.HostIP{{IP: f.hostIP}}
	}
	if r := seen.rejected; r != nil {
		s.Phase, s.Reason, s.Message = corev1.PodFailed, r.Reason, r.StatusMessage()
		return s
	}
	if f.address.IsValid() {
		s.PodIP = f.address.String()
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	initializing := !initialized(pod, seen)
	l := &look{pod: pod, seen: seen, now: f.now, over: pod.DeletionTimestamp != nil || o.Finished || ended(pod, seen)}
	for i := range pod.Spec.InitContainers {
		s.InitContainerStatuses = append(s.InitContainerStatuses, l.initContainer(&pod.Spec.InitContainers[i]))
	}
	waiting := reasonContainerCreating
	if initializing {
		waiting = reasonPodInitializing
	}
	for i := range pod.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, l.container(&pod.Spec.Containers[i], waiting, false))
	}
	s.Phase = phase(pod, seen, initializing)
	if seen.podHold != nil {
		s.Message = seen.podHold.message
	}
	s.Conditions = conditions(pod, seen, &s, initializing)
	return s
}

// look is what the status of every container of a pod is made from.
type look struct {
	pod  *corev1.Pod
	seen *observed
	now  time.Time
	over bool // nothing of the pod is started any more
}

// initContainer is the status of an init container: it is ready when it has ended well, unless it is a sidecar.
func (l *look) initContainer(c *corev1.Container) corev1.ContainerStatus {
	done := initDone(c, l.seen.latest(c.Name))
	s := l.container(c, reasonPodInitializing, done)
	s.Ready = done
	return s
}

// container is the status of one container: its newest run, and the one before if the newest is not the first. waiting is why
// it does not run if nothing else is known; done says that it need not run again.
func (l *look) container(c *corev1.Container, waiting string, done bool) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Started: new(false)}
	runs := l.seen.containers[c.Name]
	held, isHeld := l.seen.holds[c.Name]
	if len(runs) == 0 {
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: waiting}
		if isHeld {
			s.State.Waiting = &corev1.ContainerStateWaiting{Reason: held.reason, Message: held.message}
		}
		return s
	}
	latest := &runs[len(runs)-1]
	s.RestartCount = int32(latest.Attempt)
	s.ContainerID = "containerd://" + latest.ID
	s.Image, s.ImageID = latest.Image.Name, latest.Image.ID()
	if len(runs) > 1 {
		s.LastTerminationState.Terminated = terminated(&runs[len(runs)-2])
	}
	switch latest.State {
	case runtime.StateRunning:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(latest.StartedAt.Truncate(time.Second))}
		s.Ready, s.Started = true, new(true)
	case runtime.StateCreated:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: waiting}
		if isHeld {
			s.State.Waiting = &corev1.ContainerStateWaiting{Reason: held.reason, Message: held.message}
		}
	case runtime.StateExited:
		s.State.Terminated = terminated(latest)
		restarts := !l.over && !done && podinfo.Restarts(&l.pod.Spec, c, int32(latest.ExitCode))
		switch delay := backoffAfter(latest); {
		case isHeld && restarts:
			s.LastTerminationState.Terminated = s.State.Terminated
			s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: held.reason, Message: held.message}}
		case restarts && l.now.Before(latest.FinishedAt.Add(delay)):
			s.LastTerminationState.Terminated = s.State.Terminated
			s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason: reasonCrashLoopBackOff, Message: crashLoopMessage(l.pod, c.Name, delay),
			}}
		}
	}
	return s
}

func crashLoopMessage(pod *corev1.Pod, container string, delay time.Duration) string {
	return fmt.Sprintf("back-off %v restarting failed container=%s pod=%s_%s(%s)", delay, container, pod.Name, pod.Namespace, pod.UID)
}

func terminated(c *runtime.Container) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{
		ExitCode: int32(c.ExitCode), Reason: c.Reason, Message: c.Message, ContainerID: "containerd://" + c.ID,
		FinishedAt: metav1.NewTime(c.FinishedAt.Truncate(time.Second)),
	}
	if !c.StartedAt.IsZero() {
		t.StartedAt = metav1.NewTime(c.StartedAt.Truncate(time.Second))
	}
	return t
}

// phase is how far the pod as a whole has come.
func phase(pod *corev1.Pod, seen *observed, initializing bool) corev1.PodPhase {
	if ended(pod, seen) && !seen.anyRunning() {
		return endPhase(pod, seen)
	}
	if initializing {
		return corev1.PodPending
	}
	for i := range pod.Spec.Containers {
		if latest := seen.latest(pod.Spec.Containers[i].Name); latest == nil || latest.State == runtime.StateCreated && latest.Attempt == 0 {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

// endPhase is the phase of a pod that has finished: it succeeded if every container did.
func endPhase(pod *corev1.Pod, seen *observed) corev1.PodPhase {
	for i := range pod.Spec.Containers {
		if latest := seen.latest(pod.Spec.Containers[i].Name); latest == nil || latest.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}

// conditions are those that a node answers for.
func conditions(pod *corev1.Pod, seen *observed, s *corev1.PodStatus, initializing bool) []corev1.PodCondition {
	done := s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed
	sandbox := condition(corev1.PodReadyToStartContainers, seen.sandbox && seen.network && seen.volumes && !done, "", "")
	initialized := condition(corev1.PodInitialized, !initializing, "ContainersNotInitialized", notInitialized(pod, seen))
	if s.Phase == corev1.PodSucceeded {
		initialized.Reason = "PodCompleted"
	}
	ready := true
	var unready []string
	for i := range s.ContainerStatuses {
		if !s.ContainerStatuses[i].Ready {
			ready, unready = false, append(unready, s.ContainerStatuses[i].Name)
		}
	}
	reason, message := "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
	switch s.Phase {
	case corev1.PodSucceeded:
		ready, reason, message = false, "PodCompleted", ""
	case corev1.PodFailed:
		ready, reason, message = false, "PodFailed", ""
	default: // it has not ended
	}
	all := []corev1.PodCondition{
		sandbox, initialized,
		condition(corev1.PodReady, ready && !initializing, reason, message),
		condition(corev1.ContainersReady, ready && !initializing, reason, message),
	}
	for i := range all {
		all[i].ObservedGeneration = pod.Generation
	}
	return all
}

func notInitialized(pod *corev1.Pod, seen *observed) string {
	var names []string
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; !initDone(c, seen.latest(c.Name)) {
			names = append(names, c.Name)
		}
	}
	return fmt.Sprintf("containers with incomplete status: %v", names)
}

// condition is True, or False for a reason.
func condition(t corev1.PodConditionType, ok bool, reason, message string) corev1.PodCondition {
	if ok {
		return corev1.PodCondition{Type: t, Status: corev1.ConditionTrue}
	}
	return corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message}
}
