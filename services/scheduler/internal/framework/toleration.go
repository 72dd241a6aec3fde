package framework

import corev1 "k8s.io/api/core/v1"

// Tolerates says that a pod with toleration may be where taint is: no key is every key, no effect every effect, and the
// operator Exists every value.
func Tolerates(toleration *corev1.Toleration, taint *corev1.Taint) bool {
	if toleration.Effect != "" && toleration.Effect != taint.Effect {
		return false
	}
	if toleration.Key != "" && toleration.Key != taint.Key {
		return false
	}
	switch toleration.Operator {
	case "", corev1.TolerationOpEqual:
		return toleration.Value == taint.Value
	case corev1.TolerationOpExists:
		return true
	default:
		return false
	}
}
