package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/services/api/internal/registry/check"
)

// Paths into a pod that environment variables, and files of a volume, may take their value from.
var (
	envFieldPaths = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	fileFieldPaths = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
)

// knownFieldPaths are those that some consumer of field paths can read, with what they mean today.
var knownFieldPaths = map[string]string{
	"metadata.annotations": "", "metadata.labels": "", "metadata.name": "", "metadata.namespace": "", "metadata.uid": "",
	"spec.nodeName": "", "spec.restartPolicy": "", "spec.serviceAccountName": "", "spec.schedulerName": "",
	"status.phase": "", "status.hostIP": "", "status.hostIPs": "", "status.podIP": "", "status.podIPs": "",
	"spec.host": "spec.nodeName",
}

func checkEnv(at check.At, vars []corev1.EnvVar) {
	for i := range vars {
		v, at := &vars[i], at.Index(i)
		if name := at.Child("name"); name.NotEmpty(v.Name) {
			name.None(validation.IsRelaxedEnvVarName(v.Name), v.Name)
		}
		if v.ValueFrom != nil {
			checkValueFrom(at.Child("valueFrom"), v)
		}
	}
}

func checkValueFrom(at check.At, v *corev1.EnvVar) {
	sources, from := 0, v.ValueFrom
	if from.FieldRef != nil {
		sources++
		checkFieldRef(at.Child("fieldRef"), from.FieldRef, envFieldPaths)
	}
	if from.ResourceFieldRef != nil {
		sources++
		checkResourceRef(at.Child("resourceFieldRef"), from.ResourceFieldRef)
	}
	if from.ConfigMapKeyRef != nil {
		sources++
		at.Child("configMapKeyRef", "name").Subdomain(from.ConfigMapKeyRef.Name)
		at.Child("configMapKeyRef", "key").RequiredDataKey(from.ConfigMapKeyRef.Key)
	}
	if from.SecretKeyRef != nil {
		sources++
		at.Child("secretKeyRef", "name").Subdomain(from.SecretKeyRef.Name)
		at.Child("secretKeyRef", "key").RequiredDataKey(from.SecretKeyRef.Key)
	}
	if from.FileKeyRef != nil {
		sources++
		checkFileKey(at.Child("fileKeyRef"), from.FileKeyRef)
	}
	switch {
	case sources == 0:
		at.Invalid("", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case v.Value != "":
		at.Invalid("", "may not be specified when `value` is not empty")
	case sources > 1:
		at.Invalid("", "may not have more than one field specified at a time")
	}
}

func checkFileKey(at check.At, ref *corev1.FileKeySelector) {
	if key := at.Child("key"); key.NotEmpty(ref.Key) {
		key.None(validation.IsRelaxedEnvVarName(ref.Key), ref.Key)
	}
	if volume := at.Child("volumeName"); volume.NotEmpty(ref.VolumeName) {
		volume.DNSLabel(ref.VolumeName)
	}
	if path := at.Child("path"); path.NotEmpty(ref.Path) {
		path.NoBacksteps(ref.Path)
	}
}

// checkEnvFiles demands that variables are read from files in volumes that containers can share and write.
func (s *subject) checkEnvFiles(at check.At) {
	for at, c := range containersAt(at, s.PodSpec) {
		for i := range c.Env {
			from := c.Env[i].ValueFrom
			if from == nil || from.FileKeyRef == nil {
				continue
			}
			name, at := from.FileKeyRef.VolumeName, at.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
			n := slices.IndexFunc(s.Volumes, func(v corev1.Volume) bool { return v.Name == name })
			switch {
			case n < 0:
				at.NotFound(name)
			case s.Volumes[n].EmptyDir == nil:
				at.Invalid(name, "referenced volume must be of type emptyDir")
			}
		}
	}
}

func checkEnvFrom(at check.At, sources []corev1.EnvFromSource) {
	for i := range sources {
		s, place := &sources[i], at.Index(i)
		if s.Prefix != "" {
			place.Child("prefix").None(validation.IsRelaxedEnvVarName(s.Prefix), s.Prefix)
		}
		if s.ConfigMapRef != nil {
			place.Child("configMapRef", "name").RequiredSubdomain(s.ConfigMapRef.Name)
		}
		if s.SecretRef != nil {
			place.Child("secretRef", "name").RequiredSubdomain(s.SecretRef.Name)
		}
		switch { // both at the list, as Kubernetes has it
		case s.ConfigMapRef == nil && s.SecretRef == nil:
			at.Invalid("", "must specify one of: `configMapRef` or `secretRef`")
		case s.ConfigMapRef != nil && s.SecretRef != nil:
			at.Invalid("", "may not have more than one field specified at a time")
		}
	}
}

// checkFieldRef demands a path into the pod that is known and allowed here.
func checkFieldRef(at check.At, ref *corev1.ObjectFieldSelector, allowed []string) {
	if !at.Child("apiVersion").NotEmpty(ref.APIVersion) || !at.Child("fieldPath").NotEmpty(ref.FieldPath) {
		return
	}
	path := at.Child("fieldPath")
	object, key, subscripted := subscript(ref.FieldPath)
	today, known := knownFieldPaths[ref.FieldPath]
	switch {
	case ref.APIVersion != "v1":
		path.Invalid(ref.FieldPath, fmt.Sprintf("error converting fieldPath: unsupported pod version: %s", ref.APIVersion))
	case subscripted && object == "metadata.annotations":
		at.QualifiedName(strings.ToLower(key))
	case subscripted && object == "metadata.labels":
		at.QualifiedName(key)
	case subscripted:
		path.Invalid(ref.FieldPath, fmt.Sprintf("error converting fieldPath: field label does not support subscript: %s", ref.FieldPath))
	case !known:
		path.Invalid(ref.FieldPath, fmt.Sprintf("error converting fieldPath: field label not supported: %s", ref.FieldPath))
	case today != "":
		check.OneOf(path, today, allowed...)
	default:
		check.OneOf(path, ref.FieldPath, allowed...)
	}
}

// subscript splits "metadata.labels['app']" into "metadata.labels" and "app".
func subscript(path string) (object, key string, ok bool) {
	inner, closed := strings.CutSuffix(path, "']")
	object, key, opened := strings.Cut(inner, "['")
	return object, key, closed && opened && object != ""
}

var byteUnits = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}

const byteUnitsText = "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the "

// containerFigures are the amounts of its own resources that a container can be told, and the units they are told in.
var containerFigures = []struct {
	resource string
	units    []string
	text     string
}{
	{"cpu", []string{"1m", "1"}, "only divisor's values 1m and 1 are supported with the cpu resource"},
	{"ephemeral-storage", byteUnits, byteUnitsText + "local ephemeral storage resource"},
	{"memory", byteUnits, byteUnitsText + "memory resource"},
	{"hugepages-", byteUnits, byteUnitsText + "hugepages resource"},
}

// checkResourceRef demands a figure that containers can be told, in a unit that fits it.
func checkResourceRef(at check.At, ref *corev1.ResourceFieldSelector) {
	figure := findFigure(ref.Resource)
	if name := at.Child("resource"); name.NotEmpty(ref.Resource) && figure < 0 {
		check.NotSupported(name, ref.Resource,
			"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory")
	}
	checkUnit(at.Child("divisor"), ref, figure)
}

func checkUnit(at check.At, ref *corev1.ResourceFieldSelector, figure int) {
	if figure < 0 || ref.Divisor.IsZero() || slices.Contains(containerFigures[figure].units, ref.Divisor.String()) {
		return
	}
	at.Invalid(ref.Resource, containerFigures[figure].text)
}

// findFigure is the index of "limits.cpu" and the like in containerFigures, -1 if there is none.
func findFigure(path string) int {
	list, name, _ := strings.Cut(path, ".")
	if list != "limits" && list != "requests" {
		return -1
	}
	for i, f := range containerFigures {
		if name == f.resource || (strings.HasSuffix(f.resource, "-") && strings.HasPrefix(name, f.resource)) {
			return i
		}
	}
	return -1
}
