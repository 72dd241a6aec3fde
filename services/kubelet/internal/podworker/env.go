package podworker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/pkg/state"
)

// contents are the ConfigMaps and Secrets that a pod refers to, by name.
type contents struct {
	configMaps map[string]*corev1.ConfigMap
	secrets    map[string]*corev1.Secret
}

func newContents(a *state.ConfigAnswer) *contents {
	c := &contents{configMaps: map[string]*corev1.ConfigMap{}, secrets: map[string]*corev1.Secret{}}
	for i := range a.ConfigMaps {
		c.configMaps[a.ConfigMaps[i].Name] = &a.ConfigMaps[i]
	}
	for i := range a.Secrets {
		c.secrets[a.Secrets[i].Name] = &a.Secrets[i]
	}
	return c
}

// configError is a configuration that cannot be used as it is now; Kubernetes shows it as CreateContainerConfigError.
type configError struct{ message string }

func (e *configError) Error() string { return e.message }

func configErrorf(format string, args ...any) error {
	return &configError{message: fmt.Sprintf(format, args...)}
}

// environment is what the variables of a container are made from.
type environment struct {
	pod      *corev1.Pod
	facts    facts
	node     string
	capacity corev1.ResourceList // allocatable of the node: the limit of a container that names none
	contents *contents
}

// make gives the variables of a container, each once, in the order in which they were first named.
func (e *environment) make(c *corev1.Container) ([]string, map[string]string, error) {
	vars := &variables{values: map[string]string{}}
	for i := range c.EnvFrom {
		if err := e.addAll(vars, &c.EnvFrom[i]); err != nil {
			return nil, nil, err
		}
	}
	for i := range c.Env {
		v := &c.Env[i]
		if v.ValueFrom == nil {
			vars.set(v.Name, expand(v.Value, vars.values))
			continue
		}
		value, ok, err := e.from(c, v)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			vars.set(v.Name, value)
		}
	}
	pairs := make([]string, len(vars.names))
	for i, name := range vars.names {
		pairs[i] = name + "=" + vars.values[name]
	}
	return pairs, vars.values, nil
}

type variables struct {
	names  []string
	values map[string]string
}

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

// addAll adds every key of a ConfigMap or Secret. Keys that cannot be the name of a variable are left out.
func (e *environment) addAll(vars *variables, from *corev1.EnvFromSource) error {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		object, ok := e.contents.configMaps[from.ConfigMapRef.Name]
		if !ok && !optional(from.ConfigMapRef.Optional) {
			return configErrorf("configmap %q not found", from.ConfigMapRef.Name)
		}
		if ok {
			data = object.Data
		}
	case from.SecretRef != nil:
		object, ok := e.contents.secrets[from.SecretRef.Name]
		if !ok && !optional(from.SecretRef.Optional) {
			return configErrorf("secret %q not found", from.SecretRef.Name)
		}
		if ok {
			for key, value := range object.Data {
				data[key] = string(value)
			}
		}
	}
	keys := make([]string, 0, len(data))
	for key := range data {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if name := from.Prefix + key; len(validation.IsEnvVarName(name)) == 0 {
			vars.set(name, data[key])
		}
	}
	return nil
}

func optional(o *bool) bool { return o != nil && *o }

// from is the value of a variable that comes from elsewhere; ok is false for an optional one that is not there.
func (e *environment) from(c *corev1.Container, v *corev1.EnvVar) (value string, ok bool, err error) {
	switch s := v.ValueFrom; {
	case s.FieldRef != nil:
		value, err = e.field(s.FieldRef.FieldPath)
		return value, err == nil, err
	case s.ResourceFieldRef != nil:
		value, err = e.resource(c, s.ResourceFieldRef)
		return value, err == nil, err
	case s.ConfigMapKeyRef != nil:
		object, found := e.contents.configMaps[s.ConfigMapKeyRef.Name]
		if found {
			value, ok = object.Data[s.ConfigMapKeyRef.Key]
		}
		if ok || optional(s.ConfigMapKeyRef.Optional) {
			return value, ok, nil
		}
		if !found {
			return "", false, configErrorf("configmap %q not found", s.ConfigMapKeyRef.Name)
		}
		return "", false, configErrorf("couldn't find key %s in ConfigMap %s/%s", s.ConfigMapKeyRef.Key, e.pod.Namespace, s.ConfigMapKeyRef.Name)
	case s.SecretKeyRef != nil:
		object, found := e.contents.secrets[s.SecretKeyRef.Name]
		var raw []byte
		if found {
			raw, ok = object.Data[s.SecretKeyRef.Key]
		}
		if ok || optional(s.SecretKeyRef.Optional) {
			return string(raw), ok, nil
		}
		if !found {
			return "", false, configErrorf("secret %q not found", s.SecretKeyRef.Name)
		}
		return "", false, configErrorf("couldn't find key %s in Secret %s/%s", s.SecretKeyRef.Key, e.pod.Namespace, s.SecretKeyRef.Name)
	default:
		return "", false, configErrorf("env %s: its source is not one that this node knows", v.Name)
	}
}

// field is a field of the pod, by the paths that Kubernetes lets variables refer to.
func (e *environment) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return e.pod.Name, nil
	case "metadata.namespace":
		return e.pod.Namespace, nil
	case "metadata.uid":
		return string(e.pod.UID), nil
	case "spec.nodeName":
		return e.node, nil
	case "spec.serviceAccountName":
		return e.pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return e.facts.hostIP, nil
	case "status.podIP", "status.podIPs":
		if !e.facts.address.IsValid() {
			return "", nil
		}
		return e.facts.address.String(), nil
	}
	for prefix, from := range map[string]map[string]string{"metadata.labels": e.pod.Labels, "metadata.annotations": e.pod.Annotations} {
		if key, ok := subscript(path, prefix); ok {
			return from[key], nil
		}
	}
	return "", configErrorf("unsupported fieldPath: %s", path)
}

// subscript reads the key of a path such as metadata.labels['app'].
func subscript(path, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(path, prefix+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// resource is a request or limit of a container, in units of the divisor, rounded up. A container that names no limit has all
// that the node can give.
func (e *environment) resource(own *corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	c := own
	if ref.ContainerName != "" && ref.ContainerName != own.Name {
		if c = findContainer(e.pod, ref.ContainerName); c == nil {
			return "", configErrorf("container %s not found", ref.ContainerName)
		}
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := c.Resources.Limits
	if kind == "requests" {
		list = c.Resources.Requests
	}
	quantity, ok := list[corev1.ResourceName(name)]
	if !ok && kind == "limits" {
		quantity = e.capacity[corev1.ResourceName(name)]
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == string(corev1.ResourceCPU) {
		return strconv.FormatInt(ceil(quantity.MilliValue(), divisor.MilliValue()), 10), nil
	}
	return strconv.FormatInt(ceil(quantity.Value(), divisor.Value()), 10), nil
}

func ceil(n, by int64) int64 { return (n + by - 1) / by }

func findContainer(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// expand replaces $(NAME) by the value of a variable; $$ stands for $, and what is not known stays as it is.
func expand(text string, values map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(text[i:], ')')
			if end < 0 {
				b.WriteString(text[i:])
				return b.String()
			}
			name := text[i+2 : i+end]
			if value, ok := values[name]; ok {
				b.WriteString(value)
			} else {
				b.WriteString(text[i : i+end+1])
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

func expandAll(texts []string, values map[string]string) []string {
	expanded := make([]string, len(texts))
	for i, t := range texts {
		expanded[i] = expand(t, values)
	}
	return expanded
}
