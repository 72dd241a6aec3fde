package podspec

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/api/internal/registry/check"
)

// PreparePod makes a defaulted pod a new one: whatever is decided once, when the pod is created, and stored with it. Its
// status is expected to be empty, its creation time to be known. It is not idempotent: label keys are merged into selectors.
func PreparePod(pod *corev1.Pod) {
	DropUnserved(&pod.Spec)
	dropInitAnnotations(pod.Annotations)
	if len(pod.Spec.SchedulingGates) > 0 {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates", LastTransitionTime: pod.CreationTimestamp,
		})
	}
	mergeLabelKeys(&pod.Spec, pod.Labels)
	adoptAppArmorAnnotations(pod)
	completeResources(&pod.Spec)
	pod.Status.Phase = corev1.PodPending
	pod.Status.QOSClass = podinfo.QoSClass(pod)
}

// DropUnserved clears the fields that Kubernetes 1.37 knows but ignores as shipped, because their feature gates are off.
func DropUnserved(spec *corev1.PodSpec) {
	spec.SchedulingGroup, spec.EvictionResponders = nil, nil // GenericWorkload, EvictionRequestAPI
	for c := range containers(spec) {
		for i := range c.VolumeMounts {
			c.VolumeMounts[i].BindMountOptions = nil // VolumeBindMountOptions
		}
		for http, grpc := range handlers(c) {
			if http != nil {
				http.Protocol = nil // H2CContainerProbe
			}
			if grpc != nil {
				grpc.Mode = nil // GRPCContainerProbeTLS
			}
		}
		if l := c.Lifecycle; l != nil && l.StopSignal != nil { // ContainerStopSignals
			l.StopSignal = nil
			if *l == (corev1.Lifecycle{}) {
				c.Lifecycle = nil
			}
		}
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if v.EmptyDir != nil {
			v.EmptyDir.Mode = nil // EmptyDirVolumeMode
		}
		dropUsers(v)
	}
}

// dropUsers clears the owners of files in a volume (AtomicWriteVolumeUserFields).
func dropUsers(v *corev1.Volume) {
	if v.Secret != nil {
		v.Secret.DefaultUser = nil
		dropItemUsers(v.Secret.Items)
	}
	if v.ConfigMap != nil {
		v.ConfigMap.DefaultUser = nil
		dropItemUsers(v.ConfigMap.Items)
	}
	if v.DownwardAPI != nil {
		v.DownwardAPI.DefaultUser = nil
		dropFileUsers(v.DownwardAPI.Items)
	}
	if v.Projected == nil {
		return
	}
	v.Projected.DefaultUser = nil
	for i := range v.Projected.Sources {
		s := &v.Projected.Sources[i]
		if s.Secret != nil {
			dropItemUsers(s.Secret.Items)
		}
		if s.ConfigMap != nil {
			dropItemUsers(s.ConfigMap.Items)
		}
		if s.DownwardAPI != nil {
			dropFileUsers(s.DownwardAPI.Items)
		}
		if s.ServiceAccountToken != nil {
			s.ServiceAccountToken.User = nil
		}
		if s.ClusterTrustBundle != nil {
			s.ClusterTrustBundle.User = nil
		}
		if s.PodCertificate != nil {
			s.PodCertificate.User = nil
		}
	}
}

func dropItemUsers(items []corev1.KeyToPath) {
	for i := range items {
		items[i].User = nil
	}
}

func dropFileUsers(files []corev1.DownwardAPIVolumeFile) {
	for i := range files {
		files[i].User = nil
	}
}

// dropInitAnnotations removes what init containers were before they had a field; it must not be mistaken for them.
func dropInitAnnotations(annotations map[string]string) {
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		domain, name, _ := strings.Cut(key, "/")
		return (domain == "pod.beta.kubernetes.io" || domain == "pod.alpha.kubernetes.io") &&
			(name == "init-containers" || name == "init-container-statuses")
	})
}

// mergeLabelKeys turns the label keys of affinity terms and spread constraints into requirements on the pod's own values.
func mergeLabelKeys(spec *corev1.PodSpec, labels map[string]string) {
	for i := range spec.TopologySpreadConstraints {
		t := &spec.TopologySpreadConstraints[i]
		requireLabels(t.LabelSelector, metav1.LabelSelectorOpIn, t.MatchLabelKeys, labels)
	}
	for _, t := range affinityTerms(spec.Affinity) {
		requireLabels(t.LabelSelector, metav1.LabelSelectorOpIn, t.MatchLabelKeys, labels)
		requireLabels(t.LabelSelector, metav1.LabelSelectorOpNotIn, t.MismatchLabelKeys, labels)
	}
}

func affinityTerms(a *corev1.Affinity) (terms []*corev1.PodAffinityTerm) {
	if a == nil {
		return nil
	}
	weighted := func(list []corev1.WeightedPodAffinityTerm) {
		for i := range list {
			terms = append(terms, &list[i].PodAffinityTerm)
		}
	}
	required := func(list []corev1.PodAffinityTerm) {
		for i := range list {
			terms = append(terms, &list[i])
		}
	}
	if a.PodAffinity != nil {
		weighted(a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		required(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	if a.PodAntiAffinity != nil {
		weighted(a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		required(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	return terms
}

func requireLabels(s *metav1.LabelSelector, operator metav1.LabelSelectorOperator, keys []string, labels map[string]string) {
	if s == nil {
		return // it selects nothing, with or without a requirement
	}
	for _, key := range keys {
		if value, has := labels[key]; has {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: operator, Values: []string{value}})
		}
	}
}

// adoptAppArmorAnnotations writes the profile that an old annotation names into the field that replaced it.
func adoptAppArmorAnnotations(pod *corev1.Pod) {
	if isWindows(&pod.Spec) {
		return
	}
	for c := range containers(&pod.Spec) {
		value, annotated := pod.Annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]
		if !annotated || (c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil) {
			continue
		}
		profile := appArmorProfile(value)
		if profile == nil || equality.Semantic.DeepEqual(profile, podAppArmorProfile(&pod.Spec)) {
			continue
		}
		fill(&c.SecurityContext, corev1.SecurityContext{})
		c.SecurityContext.AppArmorProfile = profile
	}
}

// appArmorProfile reads the value of an annotation; nil if it names none.
func appArmorProfile(value string) *corev1.AppArmorProfile {
	name, local := strings.CutPrefix(value, corev1.DeprecatedAppArmorBetaProfileNamePrefix)
	p := &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	switch {
	case value == corev1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	case value == corev1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	case !local:
		return nil
	}
	at := check.Start()
	if checkAppArmor(at, p); len(at.Faults()) > 0 {
		return nil
	}
	return p
}

func podAppArmorProfile(spec *corev1.PodSpec) *corev1.AppArmorProfile {
	if spec.SecurityContext == nil {
		return nil
	}
	return spec.SecurityContext.AppArmorProfile
}

// completeResources derives what a pod that names some resources for all its containers together leaves out.
func completeResources(spec *corev1.PodSpec) {
	r := spec.Resources
	if r == nil || len(r.Requests)+len(r.Limits) == 0 {
		return
	}
	limits := podinfo.ContainerLimits(spec)
	complete(&r.Limits, limits, func(name corev1.ResourceName) bool {
		_, requested := r.Requests[name]
		return check.HugePages(name) && !requested
	})
	complete(&r.Requests, podinfo.ContainerRequests(spec), func(name corev1.ResourceName) bool {
		return check.PodLevel(name) && check.Overcommittable(name)
	})
	complete(&r.Requests, r.Limits, check.PodLevel)
	for name := range limits { // the pod is limited to what all its containers are limited to, but to no less than it requests
		if request := r.Requests[name]; request.Cmp(limits[name]) > 0 {
			limits[name] = request
		}
	}
	complete(&r.Limits, limits, func(name corev1.ResourceName) bool {
		_, requested := r.Requests[name]
		return requested && check.PodLevel(name) && allLimited(spec, name)
	})
}

// complete adds to list what it lacks of from, if wanted agrees.
func complete(list *corev1.ResourceList, from corev1.ResourceList, wanted func(corev1.ResourceName) bool) {
	for name, amount := range from {
		if _, given := (*list)[name]; given || !wanted(name) {
			continue
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = amount.DeepCopy()
	}
}

func allLimited(spec *corev1.PodSpec, name corev1.ResourceName) bool {
	for c := range containers(spec) {
		if _, limited := c.Resources.Limits[name]; !limited {
			return false
		}
	}
	return true
}

// KeepFromUpdate gives an updated pod what its sender may not have known of: the resources of all its containers together
// and the priority, which were set when the pod was created.
func KeepFromUpdate(pod, old *corev1.Pod) {
	if pod.Spec.Resources == nil {
		pod.Spec.Resources = old.Spec.Resources.DeepCopy()
	}
	if pod.Spec.Priority == nil {
		pod.Spec.Priority = old.Spec.Priority
	}
	if pod.Spec.PreemptionPolicy == nil {
		pod.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
	}
}

func isWindows(spec *corev1.PodSpec) bool { return spec.OS != nil && spec.OS.Name == corev1.Windows }
