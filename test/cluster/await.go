//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

// Create creates the objects of a manifest, which may have several documents, and returns their JSON.
func (c *Cluster) Create(manifest string) []json.RawMessage {
	c.t.Helper()
	var all []json.RawMessage
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		a, err := c.TryCreate(c.t.Context(), document)
		if err != nil {
			c.t.Fatalf("create: %v\n%s", err, document)
		}
		all = append(all, a.Objects...)
	}
	return all
}

// TryCreate creates one document.
func (c *Cluster) TryCreate(ctx context.Context, document string) (*client.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return c.Client.Create(ctx, "", "", client.Request{Manifest: document}, metav1.CreateOptions{})
}

// Pod reads a pod; nil if there is none.
func (c *Cluster) Pod(namespace, name string) *corev1.Pod {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	var pod corev1.Pod
	err := c.GetInto(ctx, state.ObjectRef{Resource: scheme.Pods, Namespace: namespace, Name: name}, &pod)
	if err != nil {
		return nil
	}
	return &pod
}

// PodCondition is what a test waits for; the text says what is missing.
type PodCondition func(pod *corev1.Pod) (missing string)

// Running is a pod that runs with all its containers ready.
func Running(pod *corev1.Pod) string {
	if pod == nil {
		return "it does not exist"
	}
	if pod.Status.Phase != corev1.PodRunning || !podinfo.Ready(pod) {
		return fmt.Sprintf("it is %s", describe(pod))
	}
	return ""
}

// Phase is a pod in a phase.
func Phase(phase corev1.PodPhase) PodCondition {
	return func(pod *corev1.Pod) string {
		if pod == nil {
			return "it does not exist"
		}
		if pod.Status.Phase != phase {
			return fmt.Sprintf("it is %s", describe(pod))
		}
		return ""
	}
}

// Restarted is a pod whose container has been restarted at least so often, and runs.
func Restarted(container string, times int32) PodCondition {
	return func(pod *corev1.Pod) string {
		if pod == nil {
			return "it does not exist"
		}
		s := podinfo.ContainerStatus(pod.Status.ContainerStatuses, container)
		if s == nil || s.RestartCount < times || s.State.Running == nil {
			return fmt.Sprintf("it is %s", describe(pod))
		}
		return ""
	}
}

// Waiting is a pod with a container that waits for a reason.
func Waiting(container, reason string) PodCondition {
	return func(pod *corev1.Pod) string {
		if pod == nil {
			return "it does not exist"
		}
		s := podinfo.ContainerStatus(pod.Status.ContainerStatuses, container)
		if s == nil || s.State.Waiting == nil || s.State.Waiting.Reason != reason {
			return fmt.Sprintf("it is %s", describe(pod))
		}
		return ""
	}
}

// Gone is a pod that does not exist.
func Gone(pod *corev1.Pod) string {
	if pod != nil {
		return fmt.Sprintf("it is %s", describe(pod))
	}
	return ""
}

func describe(pod *corev1.Pod) string {
	s := podinfo.Summarize(pod)
	return fmt.Sprintf("%s, %d/%d ready, %d restarts", s.Status, s.Ready, s.Containers, s.Restarts)
}

// AwaitPod watches a pod until it is as wanted, and returns it as it then was (nil if it is gone).
func (c *Cluster) AwaitPod(namespace, name string, wanted PodCondition, patience time.Duration) *corev1.Pod {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	pod := c.Pod(namespace, name)
	missing := wanted(pod)
	found := errors.New("found")
	for missing != "" && ctx.Err() == nil {
		options := metav1.ListOptions{FieldSelector: "metadata.name=" + name}
		err := c.Watch(ctx, scheme.Pods, namespace, options, func(e client.WatchEvent) error {
			var seen corev1.Pod
			if err := json.Unmarshal(e.Object, &seen); err != nil {
				return err
			}
			if pod = &seen; e.Type == "DELETED" {
				pod = nil
			}
			if missing = wanted(pod); missing == "" {
				return found
			}
			return nil
		})
		if missing != "" && !errors.Is(err, found) { // the api went away: begin again from what there is
			if pod = c.Pod(namespace, name); ctx.Err() == nil {
				missing = wanted(pod)
			}
		}
	}
	if missing != "" {
		c.t.Fatalf("pod %s/%s: waited %v in vain: %s\n%s", namespace, name, patience, missing, c.Story(namespace, name))
	}
	return pod
}

// Story tells everything that helps to understand why a pod is as it is.
func (c *Cluster) Story(namespace, name string) string {
	var b strings.Builder
	if pod := c.Pod(namespace, name); pod != nil {
		body, err := json.MarshalIndent(pod, "", " ")
		fmt.Fprintf(&b, "%s %v\n", body, err)
	}
	for _, e := range c.Events(namespace, name) {
		fmt.Fprintf(&b, "event %s %s ×%d: %s\n", e.Type, e.Reason, e.Count, e.Message)
	}
	return b.String() + c.logs(30)
}

// Events are the events about a pod.
func (c *Cluster) Events(namespace, name string) []corev1.Event {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	list, err := c.All(ctx, scheme.Events, namespace, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return nil
	}
	var events []corev1.Event
	for _, raw := range list.Items {
		var e corev1.Event
		if json.Unmarshal(raw, &e) == nil {
			events = append(events, e)
		}
	}
	return events
}

// Delete deletes one object with the grace period that it asks for.
func (c *Cluster) Delete(resource, namespace, name string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.Client.Delete(ctx, state.ObjectRef{Resource: resource, Namespace: namespace, Name: name}, metav1.DeleteOptions{}); err != nil {
		c.t.Fatalf("delete %s %s/%s: %v", resource, namespace, name, err)
	}
}

// AwaitEvent waits until an Event about a pod has this type, reason and message; a message that ends with … may go on.
func (c *Cluster) AwaitEvent(namespace, name, typ, reason, message string) {
	c.t.Helper()
	start, open := strings.CutSuffix(message, "…")
	c.Until(10*time.Second, fmt.Sprintf("event %s %s of pod %s: %s", typ, reason, name, message), func() bool {
		return slices.ContainsFunc(c.Events(namespace, name), func(e corev1.Event) bool {
			return e.Type == typ && e.Reason == reason && (e.Message == message || open && strings.HasPrefix(e.Message, start))
		})
	})
}

// TryUpdate replaces an object by obj and returns what the api says.
func (c *Cluster) TryUpdate(ctx context.Context, resource string, obj scheme.Object) error {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := json.Marshal(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = c.Update(ctx, resource, obj.GetNamespace(), client.Request{Name: obj.GetName(), Objects: []json.RawMessage{body}}, metav1.UpdateOptions{})
	return err
}
