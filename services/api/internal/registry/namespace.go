package registry

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

var namespaces = rulesOf[*corev1.Namespace]{
	resource:    scheme.Namespaces,
	name:        apivalidation.ValidateNamespaceName,
	defaults:    defaultNamespace,
	create:      createNamespace,
	update:      updateNamespace,
	check:       checkNamespace,
	checkStatus: checkNamespaceStatus,
}

// defaultNamespace gives a namespace the label by which selectors find it under its name.
func defaultNamespace(n *corev1.Namespace) {
	if n.Name != "" {
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[corev1.LabelMetadataName] = n.Name
	}
	if n.Status.Phase == "" {
		n.Status.Phase = corev1.NamespaceActive
	}
}

// createNamespace holds the namespace until its contents are gone, whatever its creator asked for.
func createNamespace(n *corev1.Namespace) {
	defaultNamespace(n)
	if !slices.Contains(n.Spec.Finalizers, corev1.FinalizerKubernetes) {
		n.Spec.Finalizers = append(n.Spec.Finalizers, corev1.FinalizerKubernetes)
	}
}

func updateNamespace(n, old *corev1.Namespace) {
	defaultNamespace(n)
	n.Spec.Finalizers = old.Spec.Finalizers // only who empties the namespace takes them away
}

func checkNamespace(at check.At, n *corev1.Namespace) {
	for _, name := range n.Spec.Finalizers {
		checkFinalizer(at.Child("spec", "finalizers"), string(name))
	}
}

func checkFinalizer(at check.At, name string) {
	at.Add(apivalidation.ValidateFinalizerName(name, at.Path())...)
	checkFinalizerDomain(at, name)
}

func checkNamespaceStatus(at check.At, n, _ *corev1.Namespace) {
	phase := at.Child("status", "Phase")
	switch active := n.DeletionTimestamp.IsZero(); {
	case active && n.Status.Phase != corev1.NamespaceActive:
		phase.Invalid(n.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")
	case !active && n.Status.Phase != corev1.NamespaceTerminating:
		phase.Invalid(n.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")
	}
}
