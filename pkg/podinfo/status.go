package podinfo

import (
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

// NodeCondition finds a condition of a node by its type; nil if it is absent. The result points into the slice.
func NodeCondition(conditions []corev1.NodeCondition, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range conditions {
		if conditions[i].Type == t {
			return &conditions[i]
		}
	}
	return nil
}
