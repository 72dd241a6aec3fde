package podinfo

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Finished says that a pod has ended for good: its containers will not run again.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Ready says that the pod may get traffic: its condition Ready is True.
func Ready(pod *corev1.Pod) bool { return ConditionTrue(pod, corev1.PodReady) }

// ConditionTrue says that a condition is there and True.
func ConditionTrue(pod *corev1.Pod, t corev1.PodConditionType) bool {
	c := Condition(pod.Status.Conditions, t)
	return c != nil && c.Status == corev1.ConditionTrue
}

// Condition finds a condition by its type; nil if it is absent. The result points into the slice.
func Condition(conditions []corev1.PodCondition, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range conditions {
		if conditions[i].Type == t {
			return &conditions[i]
		}
	}
	return nil
}

// SetCondition puts c in the place of the condition with its type and reports whether anything but the probe time changed.
// The transition time moves to now only if the status did.
func SetCondition(status *corev1.PodStatus, c corev1.PodCondition, now time.Time) bool {
	had := Condition(status.Conditions, c.Type)
	c.LastTransitionTime.Time = now
	if had == nil {
		status.Conditions = append(status.Conditions, c)
		return true
	}
	if had.Status == c.Status {
		c.LastTransitionTime = had.LastTransitionTime
	}
	if had.Status == c.Status && had.Reason == c.Reason && had.Message == c.Message && had.ObservedGeneration == c.ObservedGeneration {
		return false
	}
	*had = c
	return true
}

// GracePeriod is how long the containers of a pod may take to end: what its deletion names, else what its spec says, else 30 s.
func GracePeriod(pod *corev1.Pod) time.Duration {
	switch {
	case pod.DeletionGracePeriodSeconds != nil:
		return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	default:
		return corev1.DefaultTerminationGracePeriodSeconds * time.Second
	}
}

// ContainerStatus finds the status of a container by name; nil if it is absent. The result points into the slice.
func ContainerStatus(statuses []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range statuses {
		if statuses[i].Name == name {
			return &statuses[i]
		}
	}
	return nil
}

// Summary is what the table of pods says about one pod.
type Summary struct {
	Ready, Containers int // of the containers and sidecars of the pod
	Status            string
	Restarts          int
	LastRestart       time.Time // zero: none
}

// Summarize condenses a pod to the columns READY, STATUS and RESTARTS of kubectl's table.
func Summarize(pod *corev1.Pod) Summary {
	s := Summary{Status: string(pod.Status.Phase)}
	if pod.Status.Reason != "" {
		s.Status = pod.Status.Reason
	}
	if c := Condition(pod.Status.Conditions, corev1.PodScheduled); c != nil && c.Reason == corev1.PodReasonSchedulingGated {
		s.Status = corev1.PodReasonSchedulingGated
	}
	s.Containers = len(pod.Spec.Containers)
	initializing := s.addInit(pod)
	if !initializing || ConditionTrue(pod, corev1.PodInitialized) {
		s.Restarts = sidecarRestarts(pod) // those of finished init containers no longer matter
		s.addContainers(pod)
	}
	if pod.DeletionTimestamp != nil {
		if pod.Status.Reason == "NodeLost" {
			s.Status = "Unknown"
		} else if !Finished(pod) {
			s.Status = "Terminating"
		}
	}
	return s
}

// addInit counts the init containers and reports whether one of them still holds the pod back; the status then says which.
func (s *Summary) addInit(pod *corev1.Pod) (initializing bool) {
	specs := map[string]*corev1.Container{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		specs[c.Name] = c
		if IsSidecar(c) {
			s.Containers++
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		spec := specs[c.Name]
		sidecar := spec != nil && IsSidecar(spec)
		s.restarted(c)
		if sidecar && c.Started != nil && *c.Started {
			if c.Ready {
				s.Ready++
			}
			continue
		}
		if initializing || (c.State.Terminated != nil && c.State.Terminated.ExitCode == 0) {
			continue
		}
		initializing = true
		s.Status = initStatus(c, i, len(pod.Spec.InitContainers))
	}
	return initializing
}

func initStatus(c *corev1.ContainerStatus, index, count int) string {
	switch t, w := c.State.Terminated, c.State.Waiting; {
	case t != nil && t.Reason == "" && t.Signal != 0:
		return fmt.Sprintf("Init:Signal:%d", t.Signal)
	case t != nil && t.Reason == "":
		return fmt.Sprintf("Init:ExitCode:%d", t.ExitCode)
	case t != nil:
		return "Init:" + t.Reason
	case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
		return "Init:" + w.Reason
	default:
		return fmt.Sprintf("Init:%d/%d", index, count)
	}
}

func (s *Summary) addContainers(pod *corev1.Pod) {
	running := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &pod.Status.ContainerStatuses[i]
		s.restarted(c)
		switch t, w := c.State.Terminated, c.State.Waiting; {
		case w != nil && w.Reason != "":
			s.Status = w.Reason
		case t != nil && t.Reason != "":
			s.Status = t.Reason
		case t != nil && t.Signal != 0:
			s.Status = fmt.Sprintf("Signal:%d", t.Signal)
		case t != nil:
			s.Status = fmt.Sprintf("ExitCode:%d", t.ExitCode)
		case c.Ready && c.State.Running != nil:
			running = true
			s.Ready++
		}
	}
	if s.Status == "Completed" && running { // one container has ended, another still runs
		s.Status = "NotReady"
		if Ready(pod) {
			s.Status = string(corev1.PodRunning)
		}
	}
}

func (s *Summary) restarted(c *corev1.ContainerStatus) {
	s.Restarts += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && t.FinishedAt.After(s.LastRestart) {
		s.LastRestart = t.FinishedAt.Time
	}
}

func sidecarRestarts(pod *corev1.Pod) int {
	restarts := 0
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; IsSidecar(c) {
			if status := ContainerStatus(pod.Status.InitContainerStatuses, c.Name); status != nil {
				restarts += int(status.RestartCount)
			}
		}
	}
	return restarts
}
