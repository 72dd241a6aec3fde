package check

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Labels demands keys and values that labels can have.
func Labels(at At, labels map[string]string) {
	for k, v := range Sorted(labels) {
		at.Add(metav1validation.ValidateLabels(map[string]string{k: v}, at.path)...)
	}
}

// Selector demands a label selector that can be evaluated; nil is one.
func Selector(at At, selector *metav1.LabelSelector) {
	at.Add(metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, at.path)...)
}

// TaintEffect demands an effect that the cluster knows.
func TaintEffect(at At, effect corev1.TaintEffect) {
	OneOf(at, effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
}

// LabelValue demands a value that a label can have and puts all complaints into one error.
func LabelValue(at At, value string) {
	if complaints := validation.IsValidLabelValue(value); len(complaints) > 0 {
		at.Invalid(value, strings.Join(complaints, ";"))
	}
}
