package verb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
)

// session brings a client and the kubelet of a pod together: exec and log. What they then say to each other does not pass through
// the api.
func (v *Verbs) session(ctx context.Context, r *request) error {
	if err := v.Authz.Allow(r.asked()); err != nil {
		return err
	}
	ref, err := r.ref()
	if err != nil {
		return err
	}
	offer := r.body.Session
	if offer == nil || offer.Identity != r.target.Identity {
		return apierrors.NewBadRequest("the request needs the offer of a session of the caller's own")
	}
	record, err := v.current(ctx, r.kind, ref, "")
	if err != nil {
		return err
	}
	pod, ok := view.As[*corev1.Pod](record)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("%s has no %s", r.target.Resource, r.target.Verb))
	}
	if err := r.chooseContainer(pod); err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	announcement := state.SessionRequest{
		Verb: r.target.Verb, Namespace: pod.Namespace, Pod: pod.Name, UID: pod.UID, Options: r.body.Options,
		ID: offer.ID, Secret: offer.Secret, Identity: offer.Identity,
	}
	if err := v.Nodes.Announce(ctx, pod.Spec.NodeName, announcement); err != nil {
		return r.explain(pod, err)
	}
	return r.in.AnswerJSON(client.SessionAnswer{Node: pod.Spec.NodeName})
}

// explain gives the refusal of a kubelet that has no log to show the reason that the container has not started, in Kubernetes'
// words: what is known of the pod says it better than that there is no container.
func (r *request) explain(pod *corev1.Pod, refusal error) error {
	var o corev1.PodLogOptions
	if err := r.options(&o); err != nil || r.target.Verb != client.VerbLog || o.Previous || !apierrors.IsBadRequest(refusal) {
		return refusal
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		s := podinfo.ContainerStatus(statuses, o.Container)
		if s == nil || s.State.Waiting == nil || s.State.Waiting.Reason == "" || s.LastTerminationState.Terminated != nil {
			continue
		}
		reason := s.State.Waiting.Reason
		switch reason {
		case "ErrImagePull":
			reason = "image can't be pulled"
		case "ImagePullBackOff":
			reason = "trying and failing to pull image"
		}
		return apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: %s", o.Container, pod.Name, reason))
	}
	return refusal
}

// chooseContainer puts the container into the options if the caller left the choice to us, and refuses one that is not there.
func (r *request) chooseContainer(pod *corev1.Pod) error {
	var o struct {
		metav1.TypeMeta
		Container string `json:"container"`
	}
	if err := r.options(&o); err != nil {
		return err
	}
	names := containerNames(pod)
	if o.Container != "" {
		if !slices.Contains(names, o.Container) {
			return apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s out of: %s",
				o.Container, pod.Name, strings.Join(listed(pod), ", ")))
		}
		return nil
	}
	chosen := pod.Annotations["kubectl.kubernetes.io/default-container"]
	if !slices.Contains(names, chosen) {
		chosen = pod.Spec.Containers[0].Name
	}
	return r.setOption("container", chosen)
}

func containerNames(pod *corev1.Pod) []string {
	var names []string
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.InitContainers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	return names
}

// listed names the containers as Kubernetes does in its complaint.
func listed(pod *corev1.Pod) []string {
	names := containerNames(pod)
	for i := range names {
		if i >= len(pod.Spec.Containers) {
			kind := "init"
			if i >= len(pod.Spec.Containers)+len(pod.Spec.InitContainers) {
				kind = "ephem"
			}
			names[i] += " (" + kind + ")"
		}
	}
	return names
}

// setOption changes one option of the request.
func (r *request) setOption(name string, value any) error {
	options := map[string]any{}
	if err := r.options(&options); err != nil {
		return err
	}
	options[name] = value
	raw, err := json.Marshal(options)
	r.body.Options = raw
	return err
}
