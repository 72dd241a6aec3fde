package state

import (
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/scheme"
)

// ConfigRefs lists the ConfigMaps and Secrets that pod refers to, each once: what its node may read.
func ConfigRefs(pod *corev1.Pod) []ObjectRef {
	c := refCollector{namespace: pod.Namespace, seen: map[ObjectRef]bool{}}
	for _, s := range pod.Spec.ImagePullSecrets {
		c.add(scheme.Secrets, s.Name)
	}
	for i := range pod.Spec.InitContainers {
		c.env(pod.Spec.InitContainers[i].Env, pod.Spec.InitContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Containers {
		c.env(pod.Spec.Containers[i].Env, pod.Spec.Containers[i].EnvFrom)
	}
	for i := range pod.Spec.Volumes {
		c.volume(&pod.Spec.Volumes[i])
	}
	return c.refs
}

type refCollector struct {
	namespace string
	seen      map[ObjectRef]bool
	refs      []ObjectRef
}

func (c *refCollector) add(resource, name string) {
	r := ObjectRef{Resource: resource, Namespace: c.namespace, Name: name}
	if name != "" && !c.seen[r] {
		c.seen[r] = true
		c.refs = append(c.refs, r)
	}
}

func (c *refCollector) env(vars []corev1.EnvVar, from []corev1.EnvFromSource) {
	for _, f := range from {
		if f.ConfigMapRef != nil {
			c.add(scheme.ConfigMaps, f.ConfigMapRef.Name)
		}
		if f.SecretRef != nil {
			c.add(scheme.Secrets, f.SecretRef.Name)
		}
	}
	for _, v := range vars {
		switch s := v.ValueFrom; {
		case s == nil:
		case s.ConfigMapKeyRef != nil:
			c.add(scheme.ConfigMaps, s.ConfigMapKeyRef.Name)
		case s.SecretKeyRef != nil:
			c.add(scheme.Secrets, s.SecretKeyRef.Name)
		}
	}
}

func (c *refCollector) volume(v *corev1.Volume) {
	if v.ConfigMap != nil {
		c.add(scheme.ConfigMaps, v.ConfigMap.Name)
	}
	if v.Secret != nil {
		c.add(scheme.Secrets, v.Secret.SecretName)
	}
	if v.Projected == nil {
		return
	}
	for _, s := range v.Projected.Sources {
		if s.ConfigMap != nil {
			c.add(scheme.ConfigMaps, s.ConfigMap.Name)
		}
		if s.Secret != nil {
			c.add(scheme.Secrets, s.Secret.Name)
		}
	}
}
