package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

// maxData is how many bytes the values of a ConfigMap or of a Secret may have together (Kubernetes MaxSecretSize).
const maxData = corev1.MaxSecretSize

const frozen = "field is immutable when `immutable` is set"

var configMaps = rulesOf[*corev1.ConfigMap]{
	resource:     scheme.ConfigMaps,
	check:        checkConfigMap,
	checkUpdate:  checkConfigMapUpdate,
	changesFirst: true,
}

func checkConfigMap(at check.At, m *corev1.ConfigMap) {
	size := 0
	for key, value := range check.Sorted(m.Data) {
		at := at.Child("data").Key(key)
		at.DataKey(key)
		if _, twice := m.BinaryData[key]; twice {
			at.Invalid(key, "duplicate of key present in binaryData")
		}
		size += len(value)
	}
	for key, value := range check.Sorted(m.BinaryData) {
		at.Child("binaryData").Key(key).DataKey(key)
		size += len(value)
	}
	if size > maxData {
		at.Add(field.TooLong(field.NewPath(""), "", maxData))
	}
}

func checkConfigMapUpdate(at check.At, m, old *corev1.ConfigMap) {
	if !isTrue(old.Immutable) {
		return
	}
	if !isTrue(m.Immutable) {
		at.Child("immutable").Forbidden(frozen)
	}
	if !equality.Semantic.DeepEqual(m.Data, old.Data) {
		at.Child("data").Forbidden(frozen)
	}
	if !equality.Semantic.DeepEqual(m.BinaryData, old.BinaryData) {
		at.Child("binaryData").Forbidden(frozen)
	}
}

func isTrue(b *bool) bool { return b != nil && *b }
