package podspec

import (
	"cmp"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/api/internal/registry/check"
)

// KeepFromStatusUpdate gives the new status of a pod what its sender may not have known of: the class that is decided when the
// pod is created, the generations that were observed, and what devices were claimed.
func KeepFromStatusUpdate(pod, old *corev1.Pod) {
	is, was := &pod.Status, &old.Status
	is.QOSClass = cmp.Or(is.QOSClass, was.QOSClass)
	is.ObservedGeneration = cmp.Or(is.ObservedGeneration, was.ObservedGeneration)
	observed := map[corev1.PodConditionType][]int64{}
	for _, c := range was.Conditions {
		observed[c.Type] = append(observed[c.Type], c.ObservedGeneration)
	}
	for i := range is.Conditions {
		c := &is.Conditions[i]
		if generations := observed[c.Type]; len(generations) > 0 {
			c.ObservedGeneration = cmp.Or(c.ObservedGeneration, generations[0])
			observed[c.Type] = generations[1:]
		}
	}
	if is.ResourceClaimStatuses == nil {
		is.ResourceClaimStatuses = was.ResourceClaimStatuses
	}
	if is.ExtendedResourceClaimStatus == nil {
		is.ExtendedResourceClaimStatus = was.ExtendedResourceClaimStatus
	}
}

// CheckPodStatusUpdate checks a new status of a pod against the one before. at is the root of the object.
func CheckPodStatusUpdate(at check.At, pod, old *corev1.Pod) {
	at = at.Child("status")
	is, was := &pod.Status, &old.Status
	checkConditions(at.Child("conditions"), is.Conditions)
	checkNomination(at.Child("nominatedNodeName"), pod, old)
	if is.ObservedGeneration < 0 {
		at.Child("observedGeneration").Invalid(is.ObservedGeneration, "must be a non-negative integer")
	}
	check.Unchanged(at.Child("qosClass"), is.QOSClass, was.QOSClass)
	mayRestart := restarter(&old.Spec)
	checkStaysEnded(at.Child("containerStatuses"), is.ContainerStatuses, was.ContainerStatuses, mayRestart)
	checkStaysEnded(at.Child("initContainerStatuses"), is.InitContainerStatuses, was.InitContainerStatuses, mayRestart)
	checkStaysEnded(at.Child("ephemeralContainerStatuses"), is.EphemeralContainerStatuses, was.EphemeralContainerStatuses,
		func(string, int32) bool { return false })
	checkPodIPs(at.Child("podIPs"), is)
	checkHostIPs(at.Child("hostIPs"), is)
}

func checkConditions(at check.At, conditions []corev1.PodCondition) {
	for i, c := range conditions {
		if c.ObservedGeneration < 0 {
			at.Index(i).Child("observedGeneration").Invalid(c.ObservedGeneration, "must be a non-negative integer")
		}
		at.Index(i).Child("Type").QualifiedName(string(c.Type))
	}
}

func checkNomination(at check.At, pod, old *corev1.Pod) {
	name := pod.Status.NominatedNodeName
	if name == "" || name == old.Status.NominatedNodeName {
		return
	}
	at.Subdomain(name)
	if old.Spec.NodeName != "" {
		at.Forbidden("may not be set on pods that are already bound to a node")
	}
}

// restarter says of a container, by name, whether it may be started again after it ended with a code.
func restarter(spec *corev1.PodSpec) func(name string, exitCode int32) bool {
	together := podinfo.RestartsTogether(spec)
	return func(name string, exitCode int32) bool {
		if together {
			return true
		}
		for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
			for i := range list {
				if list[i].Name == name {
					return podinfo.Restarts(spec, &list[i], exitCode)
				}
			}
		}
		return false
	}
}

// checkStaysEnded refuses a container that ended and is said to run again, although it may not be started again.
func checkStaysEnded(at check.At, statuses, old []corev1.ContainerStatus, mayRestart func(name string, exitCode int32) bool) {
	for i := range old {
		ended := old[i].State.Terminated
		if ended == nil {
			continue
		}
		now := podinfo.ContainerStatus(statuses, old[i].Name)
		if now != nil && now.State.Terminated == nil && !mayRestart(old[i].Name, ended.ExitCode) {
			at.Index(i).Child("state").Forbidden("may not be transitioned to non-terminated state")
		}
	}
}

func checkPodIPs(at check.At, status *corev1.PodStatus) {
	ips := make([]string, len(status.PodIPs))
	for i := range status.PodIPs {
		ips[i] = status.PodIPs[i].IP
	}
	checkAddresses(at, ips, status.PodIPs)
	switch {
	case (status.PodIP == "") != (len(ips) == 0):
		at.Invalid(status.PodIPs, "podIP and podIPs must either both be set or both be unset")
	case len(ips) > 0 && status.PodIP != ips[0]:
		at.Index(0).Child("ip").Invalid(ips[0], "must be equal to `podIP`")
	}
}

func checkHostIPs(at check.At, status *corev1.PodStatus) {
	ips := make([]string, len(status.HostIPs))
	for i := range status.HostIPs {
		ips[i] = status.HostIPs[i].IP
	}
	if len(ips) > 0 && status.HostIP != ips[0] {
		at.Index(0).Child("ip").Invalid(ips[0], "must be equal to `hostIP`")
	}
	checkAddresses(at, ips, status.HostIPs)
}

// checkAddresses demands at most one address of each family; a fault shows list.
func checkAddresses(at check.At, ips []string, list any) {
	for i, ip := range ips {
		at.Index(i).IP(ip)
	}
	isIPv6 := func(ip string) bool {
		a, err := netip.ParseAddr(ip)
		return err == nil && a.Is6()
	}
	if len(ips) > 2 || (len(ips) == 2 && isIPv6(ips[0]) == isIPv6(ips[1])) {
		at.Invalid(list, "may specify no more than one IP for each IP family")
	}
}
