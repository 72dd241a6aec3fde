// Package podinfo answers questions about one pod from its object alone: what it requests, whether it is ready, how far it
// has come. Every function is pure. The api, the scheduler, the kubelet and the CLI must agree on these answers to the
// byte, which is why they stand here and not with one of them.
package podinfo

import (
	corev1 "k8s.io/api/core/v1"
)

// Requests is what the scheduler must find room for: for each resource the larger of all containers together and of the
// largest moment during initialisation, plus the pod's overhead. A sidecar (an init container that restarts always) counts
// from its start to the end. Pod-level requests win where they are given. What has no request counts as zero.
func Requests(pod *corev1.Pod) corev1.ResourceList {
	sum := ContainerRequests(&pod.Spec)
	if pod.Spec.Resources != nil {
		set(sum, pod.Spec.Resources.Requests)
	}
	add(sum, pod.Spec.Overhead)
	return sum
}

// Limits is the same sum over limits; overhead counts only where there is a limit. A resource for which some container has no
// limit has a sum all the same: ask [QoSClass] or the containers where that matters.
func Limits(pod *corev1.Pod) corev1.ResourceList {
	sum := ContainerLimits(&pod.Spec)
	if pod.Spec.Resources != nil {
		set(sum, pod.Spec.Resources.Limits)
	}
	for name, limit := range sum {
		if overhead, ok := pod.Spec.Overhead[name]; ok && !limit.IsZero() {
			limit.Add(overhead)
			sum[name] = limit
		}
	}
	return sum
}

// ContainerRequests is the part of [Requests] that stems from the containers.
func ContainerRequests(spec *corev1.PodSpec) corev1.ResourceList {
	return total(spec, func(r *corev1.ResourceRequirements) corev1.ResourceList { return r.Requests })
}

// ContainerLimits is the part of [Limits] that stems from the containers.
func ContainerLimits(spec *corev1.PodSpec) corev1.ResourceList {
	return total(spec, func(r *corev1.ResourceRequirements) corev1.ResourceList { return r.Limits })
}

func total(spec *corev1.PodSpec, of func(*corev1.ResourceRequirements) corev1.ResourceList) corev1.ResourceList {
	running := corev1.ResourceList{}
	for i := range spec.Containers {
		add(running, of(&spec.Containers[i].Resources))
	}
	sidecars, peak := corev1.ResourceList{}, corev1.ResourceList{}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if IsSidecar(c) {
			add(sidecars, of(&c.Resources))
			raise(peak, sidecars)
			continue
		}
		moment := sidecars.DeepCopy()
		add(moment, of(&c.Resources))
		raise(peak, moment)
	}
	add(running, sidecars)
	raise(running, peak)
	return running
}

func set(sum, to corev1.ResourceList) {
	for name, quantity := range to {
		sum[name] = quantity.DeepCopy()
	}
}

func add(sum, more corev1.ResourceList) {
	for name, quantity := range more {
		had := sum[name]
		had.Add(quantity)
		sum[name] = had
	}
}

func raise(sum, atLeast corev1.ResourceList) {
	for name, quantity := range atLeast {
		if had, ok := sum[name]; !ok || had.Cmp(quantity) < 0 {
			sum[name] = quantity.DeepCopy()
		}
	}
}

// IsSidecar says that an init container keeps running beside the containers of its pod.
func IsSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// QoSClass is Kubernetes' class of a pod: Guaranteed if every container limits CPU and memory and requests as much,
// BestEffort if none names either, Burstable otherwise. What the pod names for all its containers together decides alone.
func QoSClass(pod *corev1.Pod) corev1.PodQOSClass {
	if r := pod.Spec.Resources; r != nil && len(r.Requests)+len(r.Limits) > 0 {
		return qosClass(named(*r), guaranteed(*r))
	}
	all, some := true, false
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			r := containers[i].Resources
			some = some || named(r)
			all = all && guaranteed(r)
		}
	}
	return qosClass(some, all)
}

func qosClass(some, all bool) corev1.PodQOSClass {
	switch {
	case !some:
		return corev1.PodQOSBestEffort
	case all:
		return corev1.PodQOSGuaranteed
	default:
		return corev1.PodQOSBurstable
	}
}

var qosResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

func named(r corev1.ResourceRequirements) bool {
	for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
		for _, name := range qosResources {
			if q, ok := list[name]; ok && !q.IsZero() {
				return true
			}
		}
	}
	return false
}

func guaranteed(r corev1.ResourceRequirements) bool {
	for _, name := range qosResources {
		limit, limited := r.Limits[name]
		if !limited || limit.IsZero() {
			return false
		}
		if request, requested := r.Requests[name]; !requested || request.Cmp(limit) != 0 {
			return false
		}
	}
	return true
}

// MilliCPU and Bytes read one resource of a list in the unit that cgroups take; absent is zero.
func MilliCPU(list corev1.ResourceList) int64 { return list.Cpu().MilliValue() }

// Bytes is the whole-number value of a resource; absent is zero.
func Bytes(list corev1.ResourceList, name corev1.ResourceName) int64 {
	q := list[name]
	return q.Value()
}
