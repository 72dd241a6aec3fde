// Package target finds the pod and the container that a command is to reach.
package target

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
)

// defaultContainer is the annotation by which a pod says which of its containers is meant when none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// Object reads the object that POD or TYPE/NAME names.
func Object(ctx context.Context, c *client.Client, namespace, arg string) (*resource.Object, error) {
	if !strings.Contains(arg, "/") {
		arg = scheme.Pods + "/" + arg
	}
	q := resource.Query{Args: []string{arg}, Namespace: namespace}
	s, err := q.Select()
	if err != nil {
		return nil, err
	}
	objects, err := s.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	return objects[0], nil
}

// PodOf is the pod that an object stands for; act says what is wanted of it, for the case that it stands for none.
func PodOf(o *resource.Object, act string) (*corev1.Pod, error) {
	typed, err := o.Typed()
	if err != nil {
		return nil, err
	}
	pod, ok := typed.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("cannot %s %T: selector for %T not implemented", act, typed, typed)
	}
	return pod, nil
}

// Names are the names of all containers of a pod: the ordinary ones, those added to debug it, and those that run first.
func Names(pod *corev1.Pod) []string {
	var names []string
	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		names = append(names, pod.Spec.EphemeralContainers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		names = append(names, pod.Spec.InitContainers[i].Name)
	}
	return names
}

// InOrder are the names of all containers of a pod, in the order in which they begin.
func InOrder(pod *corev1.Pod) []string {
	names := Names(pod)
	first := len(names) - len(pod.Spec.InitContainers)
	ordinary := len(pod.Spec.Containers)
	return slices.Concat(names[first:], names[:ordinary], names[ordinary:first])
}

// listed are all containers of a pod as a sentence lists them.
func listed(pod *corev1.Pod) string {
	names := Names(pod)
	for i := range names {
		switch {
		case i >= len(pod.Spec.Containers)+len(pod.Spec.EphemeralContainers):
			names[i] += " (init)"
		case i >= len(pod.Spec.Containers):
			names[i] += " (ephem)"
		}
	}
	return strings.Join(names, ", ")
}

// Container is the container that is meant: the named one, the one that the pod names, or the first. In the last case it is told
// to notice, unless there is no other.
func Container(pod *corev1.Pod, name string, notice io.Writer) (string, error) {
	if name == "" {
		name = pod.Annotations[defaultContainer]
	}
	names := Names(pod)
	switch {
	case len(pod.Spec.Containers) == 0:
		return "", fmt.Errorf("pod %s/%s does not have any containers", pod.Namespace, pod.Name)
	case name != "" && !slices.Contains(names, name):
		return "", fmt.Errorf("container %s is not valid for pod %s out of: %s", name, pod.Name, listed(pod))
	case name != "":
		return name, nil
	}
	if len(names) > 1 {
		if _, err := fmt.Fprintf(notice, "Defaulted container %q out of: %s\n", names[0], listed(pod)); err != nil {
			return "", err
		}
	}
	return names[0], nil
}
