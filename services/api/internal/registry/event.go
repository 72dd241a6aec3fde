package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

// What the newer form of an event may say.
const (
	maxEventWord = 128
	maxEventNote = 1024
)

var events = rulesOf[*corev1.Event]{
	resource: scheme.Events,
	name:     pathSegment, // an event is named after its object, whatever that may be called
	check:    checkEvent,
}

// checkEvent tells two forms apart: events that say when they happened in eventTime must say more.
func checkEvent(at check.At, e *corev1.Event) {
	namespace := at.Child("involvedObject", "namespace")
	if e.EventTime.IsZero() {
		global := e.InvolvedObject.Namespace == "" && e.Namespace == metav1.NamespaceDefault
		if e.Namespace != e.InvolvedObject.Namespace && !global {
			namespace.Invalid(e.InvolvedObject.Namespace, "does not match event.namespace")
		}
		return
	}
	if e.InvolvedObject.Namespace == "" && e.Namespace != metav1.NamespaceDefault && e.Namespace != metav1.NamespaceSystem {
		namespace.Invalid("", "does not match event.namespace")
	}
	reporter := at.Child("reportingComponent")
	reporter.NotEmpty(e.ReportingController)
	reporter.QualifiedName(e.ReportingController)
	for _, f := range []struct {
		field, value string
	}{{"reportingInstance", e.ReportingInstance}, {"action", e.Action}, {"reason", e.Reason}} {
		at.Child(f.field).NotEmpty(f.value)
		checkLength(at.Child(f.field), f.value, maxEventWord)
	}
	checkLength(at.Child("message"), e.Message, maxEventNote)
}

func checkLength(at check.At, value string, limit int) {
	if len(value) > limit {
		at.Invalid("", fmt.Sprintf("can have at most %v characters", limit))
	}
}
