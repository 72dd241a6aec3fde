package podspec

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/api/internal/registry/check"
)

const (
	seccompPod       = corev1.SeccompPodAnnotationKey
	seccompContainer = corev1.SeccompContainerAnnotationKeyPrefix
	appArmorPrefix   = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
)

// CheckMillraceAnnotations checks the values of the annotations that Millrace adds to Kubernetes; at is the place of the
// annotations of an object or a template.
func CheckMillraceAnnotations(at check.At, annotations map[string]string) {
	if value, given := annotations[podinfo.AnnotationRestartBackoff]; given {
		if _, err := podinfo.ParseRestartBackoff(value); err != nil {
			at.Key(podinfo.AnnotationRestartBackoff).Invalid(value, err.Error())
		}
	}
	if value, given := annotations[podinfo.AnnotationOnConfigChange]; given {
		if _, err := podinfo.ParseConfigChange(value); err != nil {
			at.Key(podinfo.AnnotationOnConfigChange).Invalid(value, err.Error())
		}
	}
}

// checkAnnotations checks the annotations that mean something for a pod.
func checkAnnotations(at check.At, annotations map[string]string, spec *corev1.PodSpec) {
	if value, mirror := annotations[corev1.MirrorPodAnnotationKey]; mirror && spec.NodeName == "" {
		at.Key(corev1.MirrorPodAnnotationKey).Invalid(value, "must set spec.nodeName if mirror pod annotation is set")
	}
	if value := annotations[corev1.TolerationsAnnotationKey]; value != "" {
		var tolerations []corev1.Toleration
		if err := json.Unmarshal([]byte(value), &tolerations); err != nil {
			at.Invalid(corev1.TolerationsAnnotationKey, err.Error())
		}
		checkTolerations(at.Child(corev1.TolerationsAnnotationKey), tolerations)
	}
	if value, given := annotations[corev1.PodDeletionCost]; given {
		checkDeletionCost(at.Key(corev1.PodDeletionCost), value)
	}
	if value, given := annotations[seccompPod]; given {
		checkSeccompAnnotation(at.Child(seccompPod), value)
	}
	for key, value := range check.Sorted(annotations) {
		if strings.HasPrefix(key, seccompContainer) {
			checkSeccompAnnotation(at.Child(key), value)
		}
	}
	for key, value := range check.Sorted(annotations) {
		if name, ok := strings.CutPrefix(key, appArmorPrefix); ok {
			checkAppArmorAnnotation(at.Key(key), name, value, spec)
		}
	}
}

func checkSeccompAnnotation(at check.At, value string) {
	local, isLocal := strings.CutPrefix(value, corev1.SeccompLocalhostProfileNamePrefix)
	switch value {
	case corev1.SeccompProfileRuntimeDefault, corev1.DeprecatedSeccompProfileDockerDefault, corev1.SeccompProfileNameUnconfined:
	default:
		if !isLocal {
			at.Invalid(value, "must be a valid seccomp profile")
			return
		}
		at.Descending(local)
	}
}

func checkAppArmorAnnotation(at check.At, container, value string, spec *corev1.PodSpec) {
	found := false
	for c := range containers(spec) {
		found = found || c.Name == container
	}
	if !found {
		at.Invalid(container, "container not found")
	}
	switch value {
	case "", corev1.DeprecatedAppArmorBetaProfileRuntimeDefault, corev1.DeprecatedAppArmorBetaProfileNameUnconfined:
	default:
		if !strings.HasPrefix(value, corev1.DeprecatedAppArmorBetaProfileNamePrefix) {
			at.Invalid(value, fmt.Sprintf("invalid AppArmor profile name: %q", value))
		}
	}
}

// checkAnnotationsMatchFields demands that an old annotation says the same as the field that replaced it.
func checkAnnotationsMatchFields(at check.At, annotations map[string]string, spec *corev1.PodSpec) {
	if sc := spec.SecurityContext; sc != nil {
		matchSeccomp(at.Child("securityContext", "seccompProfile"), annotations, seccompPod, sc.SeccompProfile)
	}
	for at, c := range containersAt(at, spec) {
		if sc := c.SecurityContext; sc != nil {
			matchSeccomp(at.Child("securityContext", "seccompProfile"), annotations, seccompContainer+c.Name, sc.SeccompProfile)
		}
	}
	if isWindows(spec) {
		return
	}
	for at, c := range containersAt(at, spec) {
		profile := podAppArmorProfile(spec)
		if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
			profile = c.SecurityContext.AppArmorProfile
		}
		if value, annotated := annotations[appArmorPrefix+c.Name]; annotated && profile != nil {
			matchAppArmor(at.Child("securityContext", "appArmorProfile"), value, profile)
		}
	}
}

func matchSeccomp(at check.At, annotations map[string]string, key string, p *corev1.SeccompProfile) {
	value, annotated := annotations[key]
	if p == nil || !annotated {
		return
	}
	switch p.Type {
	case corev1.SeccompProfileTypeUnconfined:
		matchType(at, value == corev1.SeccompProfileNameUnconfined, "seccomp")
	case corev1.SeccompProfileTypeRuntimeDefault:
		matchType(at, value == corev1.SeccompProfileRuntimeDefault || value == corev1.DeprecatedSeccompProfileDockerDefault, "seccomp")
	case corev1.SeccompProfileTypeLocalhost:
		matchLocal(at, value, p.LocalhostProfile, "seccomp")
	}
}

func matchAppArmor(at check.At, value string, p *corev1.AppArmorProfile) {
	switch p.Type {
	case corev1.AppArmorProfileTypeUnconfined:
		matchType(at, value == corev1.DeprecatedAppArmorBetaProfileNameUnconfined, "apparmor")
	case corev1.AppArmorProfileTypeRuntimeDefault:
		matchType(at, value == corev1.DeprecatedAppArmorBetaProfileRuntimeDefault, "apparmor")
	case corev1.AppArmorProfileTypeLocalhost:
		matchLocal(at, value, p.LocalhostProfile, "apparmor")
	}
}

func matchType(at check.At, ok bool, what string) {
	if !ok {
		at.Child("type").Forbidden(what + " type in annotation and field must match")
	}
}

// matchLocal compares with "localhost/<profile>", the form of both annotations.
func matchLocal(at check.At, value string, profile *string, what string) {
	name, local := strings.CutPrefix(value, corev1.SeccompLocalhostProfileNamePrefix)
	matchType(at, local, what)
	if local && (profile == nil || *profile != name) {
		at.Child("localhostProfile").Forbidden(what + " profile in annotation and field must match")
	}
}

// checkAnnotationUpdate refuses changes of annotations that the pod was created with.
func checkAnnotationUpdate(at check.At, annotations, old map[string]string) {
	for key, before := range check.Sorted(old) {
		after, kept := annotations[key]
		switch changed := !kept || after != before; {
		case changed && strings.HasPrefix(key, appArmorPrefix):
			at.Key(key).Forbidden("may not remove or update AppArmor annotations")
		case changed && key == corev1.MirrorPodAnnotationKey:
			at.Key(key).Forbidden("may not remove or update mirror pod annotation")
		}
	}
	for key := range check.Sorted(annotations) {
		_, had := old[key]
		switch {
		case !had && strings.HasPrefix(key, appArmorPrefix):
			at.Key(key).Forbidden("may not add AppArmor annotations")
		case !had && key == corev1.MirrorPodAnnotationKey:
			at.Key(key).Forbidden("may not add mirror pod annotation")
		}
	}
}
