package registry

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

// standardFinalizers may stand without a domain.
var standardFinalizers = []string{"kubernetes", metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents}

// checkMeta checks the metadata of a new object.
func (r *Rules) checkMeta(at check.At, obj scheme.Object) {
	at.Add(apivalidation.ValidateObjectMetaAccessor(obj, !r.Kind.ClusterScoped, r.name, at.Path())...)
	for i, name := range obj.GetFinalizers() {
		checkFinalizerDomain(at.Child("finalizers").Index(i), name)
	}
	if obj.GetResourceVersion() != "" {
		at.Child("resourceVersion").Forbidden("resourceVersion should not be set on objects to be created")
	}
}

// checkMetaUpdate checks the metadata of an object that replaces another.
func (r *Rules) checkMetaUpdate(at check.At, obj, old scheme.Object) {
	at.Add(apivalidation.ValidateObjectMetaAccessor(obj, !r.Kind.ClusterScoped, pathSegment, at.Path())...)
	at.Add(apivalidation.ValidateObjectMetaAccessorUpdate(obj, old, at.Path())...)
	at.Add(apivalidation.ValidateObjectMetaAccessor(obj, !r.Kind.ClusterScoped, r.name, at.Path())...)
	for i, name := range obj.GetFinalizers() {
		checkFinalizerDomain(at.Child("finalizers").Index(i), name)
	}
}

func pathSegment(name string, prefix bool) []string {
	if prefix {
		return content.IsPathSegmentPrefix(name)
	}
	return content.IsPathSegmentName(name)
}

func checkFinalizerDomain(at check.At, name string) {
	if !strings.Contains(name, "/") && !slices.Contains(standardFinalizers, name) {
		at.Invalid(name, "name is neither a standard finalizer name nor is it fully qualified")
	}
}

// keepSystemMeta gives obj what only the system says in the metadata of old.
func keepSystemMeta(obj, old scheme.Object) {
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	if obj.GetResourceVersion() == "" {
		obj.SetResourceVersion(old.GetResourceVersion())
	}
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	if old.GetDeletionTimestamp() != nil {
		obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	}
	if obj.GetDeletionGracePeriodSeconds() == nil {
		obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
}

// What a generated name is made of: as much of its base as leaves room for the suffix in a label.
const (
	generatedSuffix = 5
	longestBase     = 63 - generatedSuffix
)

// GeneratedName is the name that generateName asks for. suffix is five random characters.
func GeneratedName(generateName, suffix string) string {
	return generateName[:min(len(generateName), longestBase)] + suffix
}
