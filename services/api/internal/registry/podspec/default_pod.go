package podspec

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// defaultTolerationSeconds is how long a pod stays on a node that is lost, unless it says otherwise (Kubernetes' own).
const defaultTolerationSeconds = 300

// systemPriorities are the classes that every cluster has.
var systemPriorities = map[string]int32{"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}

// DefaultPod fills in what Kubernetes fills in for a pod but not for a template: [Default], the defaults of the kind Pod, and
// what its admission adds to every pod (service account, tolerations, priority). A pod that names a priority class other
// than the system's gets its priority from whoever knows the classes.
func DefaultPod(pod *corev1.Pod) {
	spec := &pod.Spec
	if spec.TerminationGracePeriodSeconds != nil && *spec.TerminationGracePeriodSeconds < 0 {
		spec.TerminationGracePeriodSeconds = new(int64(1))
	}
	for _, list := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range list {
			requestWhatIsLimited(&list[i].Resources)
			if spec.HostNetwork {
				publishPorts(list[i].Ports)
			}
		}
	}
	fill(&spec.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	Default(spec)
	spec.ServiceAccountName = cmp.Or(spec.ServiceAccountName, "default")
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		tolerateForAWhile(spec, taint)
	}
	if priority, known := systemPriority(spec.PriorityClassName); known {
		fill(&spec.Priority, priority)
		fill(&spec.PreemptionPolicy, corev1.PreemptLowerPriority)
	}
	defaultAddresses(&pod.Status)
}

// systemPriority is the priority of a class that needs no look-up; no class is one.
func systemPriority(class string) (priority int32, known bool) {
	if class == "" {
		return 0, true
	}
	priority, known = systemPriorities[class]
	return priority, known
}

func requestWhatIsLimited(r *corev1.ResourceRequirements) {
	if r.Limits == nil {
		return
	}
	if r.Requests == nil {
		r.Requests = corev1.ResourceList{}
	}
	for name, limit := range r.Limits {
		if _, given := r.Requests[name]; !given {
			r.Requests[name] = limit.DeepCopy()
		}
	}
}

func publishPorts(ports []corev1.ContainerPort) {
	for i := range ports {
		ports[i].HostPort = cmp.Or(ports[i].HostPort, ports[i].ContainerPort)
	}
}

func tolerateForAWhile(spec *corev1.PodSpec, taint string) {
	if slices.ContainsFunc(spec.Tolerations, func(t corev1.Toleration) bool {
		return (t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
	}) {
		return
	}
	spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
		Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
		TolerationSeconds: new(int64(defaultTolerationSeconds)),
	})
}

// defaultAddresses keeps the pod's address and the list of its addresses in step; the single one counts.
func defaultAddresses(status *corev1.PodStatus) {
	switch {
	case status.PodIP == "" && len(status.PodIPs) > 0:
		status.PodIP = status.PodIPs[0].IP
	case status.PodIP != "" && (len(status.PodIPs) == 0 || status.PodIPs[0].IP != status.PodIP):
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	}
}
