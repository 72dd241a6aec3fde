package podinfo

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Summary is what the table of pods says about one pod.
type Summary struct {
	Ready, Containers int // of the containers and sidecars of the pod
	Status            string
	Restarts          int
	LastRestart       time.Time // zero: none
}

// Summarize condenses a pod to the columns READY, STATUS and RESTARTS of kubectl's table.
func Summarize(pod *corev1.Pod) Summary {
	s := Summary{Status: string(pod.Status.Phase), Containers: len(pod.Spec.Containers)}
	if pod.Status.Reason != "" {
		s.Status = pod.Status.Reason
	}
	if c := Condition(pod.Status.Conditions, corev1.PodScheduled); c != nil && c.Reason == corev1.PodReasonSchedulingGated {
		s.Status = corev1.PodReasonSchedulingGated
	}
	sidecars, initializing := s.addInit(pod)
	if !initializing || ConditionTrue(pod, corev1.PodInitialized) {
		s.Restarts, s.LastRestart = sidecars.Restarts, sidecars.LastRestart // those of finished init containers no longer matter
		s.addContainers(pod)
	}
	switch deleted := pod.DeletionTimestamp != nil; {
	case deleted && pod.Status.Reason == "NodeLost":
		s.Status = "Unknown"
	case deleted && !Finished(pod):
		s.Status = "Terminating"
	}
	return s
}

// addInit counts the init containers up to the first that holds the pod back, whose status then is the pod's, and says
// whether there is one. sidecars counts the restarts of sidecars alone.
func (s *Summary) addInit(pod *corev1.Pod) (sidecars Summary, initializing bool) {
	isSidecar := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; IsSidecar(c) {
			isSidecar[c.Name] = true
			s.Containers++
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		s.addRestarts(c)
		if isSidecar[c.Name] {
			sidecars.addRestarts(c)
		}
		switch {
		case c.State.Terminated != nil && c.State.Terminated.ExitCode == 0:
		case isSidecar[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.Ready++
			}
		default:
			s.Status = initStatus(c, i, len(pod.Spec.InitContainers))
			return sidecars, true
		}
	}
	return sidecars, false
}

func initStatus(c *corev1.ContainerStatus, index, count int) string {
	switch t, w := c.State.Terminated, c.State.Waiting; {
	case t != nil:
		return "Init:" + endStatus(t)
	case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
		return "Init:" + w.Reason
	default:
		return fmt.Sprintf("Init:%d/%d", index, count)
	}
}

// endStatus is how a container ended, in one word.
func endStatus(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	default:
		return fmt.Sprintf("ExitCode:%d", t.ExitCode)
	}
}

func (s *Summary) addContainers(pod *corev1.Pod) {
	running, failure := false, ""
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &pod.Status.ContainerStatuses[i]
		s.addRestarts(c)
		switch t, w := c.State.Terminated, c.State.Waiting; {
		case w != nil && w.Reason != "":
			s.Status = w.Reason
		case t != nil:
			s.Status = endStatus(t)
			if t.ExitCode != 0 {
				failure = s.Status
			}
		case c.Ready && c.State.Running != nil:
			running = true
			s.Ready++
		}
	}
	if s.Status != "Completed" {
		return
	}
	switch { // the first container has ended well, which says little about the others
	case running && Ready(pod):
		s.Status = string(corev1.PodRunning)
	case failure != "":
		s.Status = failure
	case running:
		s.Status = "NotReady"
	}
}

func (s *Summary) addRestarts(c *corev1.ContainerStatus) {
	s.Restarts += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && t.FinishedAt.After(s.LastRestart) {
		s.LastRestart = t.FinishedAt.Time
	}
}
