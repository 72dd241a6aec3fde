package registry

import (
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/podspec"
)

var pods = rulesOf[*corev1.Pod]{
	resource:     scheme.Pods,
	generation:   true,
	defaults:     podspec.DefaultPod,
	create:       podspec.PreparePod,
	update:       updatePod,
	updateStatus: podspec.KeepFromStatusUpdate,
	check:        podspec.CheckPod,
	checkNew:     podspec.CheckNewPod,
	checkUpdate:  podspec.CheckPodUpdate,
	checkStatus:  podspec.CheckPodStatusUpdate,
}

func updatePod(pod, old *corev1.Pod) {
	podspec.KeepFromUpdate(pod, old)
	podspec.DropUnserved(&pod.Spec)
}
