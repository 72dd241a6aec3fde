package podspec

import (
	"cmp"
	"reflect"
	"slices"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/services/api/internal/registry/check"
)

// checkTemplateMeta checks the metadata of an object that will be made from a template: labels and annotations, no more.
func checkTemplateMeta(at check.At, meta *metav1.ObjectMeta) {
	at.Child("annotations").Add(apivalidation.ValidateAnnotations(meta.Annotations, at.Child("annotations").Path())...)
	check.Labels(at.Child("labels"), meta.Labels)
	v := reflect.ValueOf(*meta)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name != "Annotations" && name != "Labels" && !v.Field(i).IsZero() {
			first := []rune(name)
			at.Child(string(unicode.ToLower(first[0])) + string(first[1:])).Forbidden("cannot be set")
		}
	}
}

// CheckClaimSpec checks what a claim asks for.
func CheckClaimSpec(at check.At, spec *corev1.PersistentVolumeClaimSpec) {
	if len(spec.AccessModes) == 0 {
		at.Child("accessModes").Required("at least 1 access mode is required")
	}
	check.Selector(at.Child("selector"), spec.Selector)
	checkAccessModes(at.Child("accessModes"), spec.AccessModes)
	storage := at.Child("resources").Key(string(corev1.ResourceStorage))
	switch amount, given := spec.Resources.Requests[corev1.ResourceStorage]; {
	case !given:
		storage.Required("")
	case amount.Sign() <= 0:
		storage.Invalid(amount.String(), "must be greater than zero")
	}
	if spec.StorageClassName != nil {
		at.Child("storageClassName").SubdomainOrEmpty(*spec.StorageClassName)
	}
	if spec.VolumeMode != nil {
		check.OneOf(at.Child("volumeMode"), *spec.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
	}
	checkDataSources(at, spec)
	if spec.VolumeAttributesClassName != nil {
		at.Child("volumeAttributesClassName").SubdomainOrEmpty(*spec.VolumeAttributesClassName)
	}
}

var accessModes = []corev1.PersistentVolumeAccessMode{
	corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod,
}

func checkAccessModes(at check.At, modes []corev1.PersistentVolumeAccessMode) {
	for _, m := range modes {
		check.OneOf(at, m, accessModes...)
	}
	shared := func(m corev1.PersistentVolumeAccessMode) bool {
		return m != corev1.ReadWriteOncePod && slices.Contains(accessModes, m)
	}
	if slices.Contains(modes, corev1.ReadWriteOncePod) && slices.ContainsFunc(modes, shared) {
		at.Forbidden("may not use ReadWriteOncePod with other access modes")
	}
}

// checkDataSources checks what a volume is filled from: the older field and the newer, which must agree.
func checkDataSources(at check.At, spec *corev1.PersistentVolumeClaimSpec) {
	local, ref := spec.DataSource, spec.DataSourceRef
	if local != nil {
		checkDataSource(at.Child("dataSource"), corev1.TypedObjectReference{APIGroup: local.APIGroup, Kind: local.Kind, Name: local.Name})
	}
	if ref != nil {
		checkDataSource(at.Child("dataSourceRef"), *ref)
	}
	if local == nil || ref == nil {
		return
	}
	older := at.Child("dataSource").Path() // Kubernetes shows a path where others show a value
	switch {
	case *cmp.Or(ref.Namespace, new("")) != "":
		at.Invalid(older, "may not be specified when dataSourceRef.namespace is specified")
	case !reflect.DeepEqual(local.APIGroup, ref.APIGroup), local.Kind != ref.Kind, local.Name != ref.Name:
		at.Invalid(older, "must match dataSourceRef")
	}
}

func checkDataSource(at check.At, ref corev1.TypedObjectReference) {
	at.Child("name").NotEmpty(ref.Name)
	at.Child("kind").NotEmpty(ref.Kind)
	group := *cmp.Or(ref.APIGroup, new(""))
	if group == "" && ref.Kind != "PersistentVolumeClaim" {
		at.Invalid(ref.Kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
	}
	at.Child("apiGroup").SubdomainOrEmpty(group)
	if ref.Namespace != nil {
		at.Child("namespace").DNSLabelOrEmpty(*ref.Namespace)
	}
}
