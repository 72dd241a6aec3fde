package verb

import (
	"encoding/json"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/wire"
)

func TestExplain(t *testing.T) {
	refusal := apierrors.NewBadRequest("it has not been created")
	waits := func(reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
	}
	ranBefore := waits("CrashLoopBackOff")
	ranBefore.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{}
	for _, c := range []struct {
		name    string
		verb    string
		options corev1.PodLogOptions
		refusal error
		status  corev1.ContainerStatus
		init    bool
		want    string
	}{
		{name: "being made", status: waits("ContainerCreating"), want: `container "c" in pod "web" is waiting to start: ContainerCreating`},
		{name: "no image", status: waits("ErrImagePull"), want: `container "c" in pod "web" is waiting to start: image can't be pulled`},
		{name: "no image again", status: waits("ImagePullBackOff"), want: `container "c" in pod "web" is waiting to start: trying and failing to pull image`},
		{name: "init container", status: waits("PodInitializing"), init: true, want: `container "c" in pod "web" is waiting to start: PodInitializing`},
		{name: "no reason", status: waits(""), want: refusal.Error()},
		{name: "ran before", status: ranBefore, want: refusal.Error()},
		{name: "the run before", status: waits("ContainerCreating"), options: corev1.PodLogOptions{Previous: true}, want: refusal.Error()},
		{name: "not a log", verb: client.VerbExec, status: waits("ContainerCreating"), want: refusal.Error()},
		{name: "another refusal", status: waits("ContainerCreating"), refusal: errors.New("no kubelet"), want: "no kubelet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Container = "c"
			raw, err := json.Marshal(c.options)
			if err != nil {
				t.Fatal(err)
			}
			r := &request{target: wire.Target{Verb: client.VerbLog}, body: client.Request{Options: raw}}
			if c.verb != "" {
				r.target.Verb = c.verb
			}
			if c.refusal == nil {
				c.refusal = refusal
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
			if c.init {
				pod.Status.InitContainerStatuses = []corev1.ContainerStatus{c.status}
			} else {
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{c.status}
			}
			if got := r.explain(pod, c.refusal).Error(); got != c.want {
				t.Errorf("explain: %s, want %s", got, c.want)
			}
		})
	}
}
