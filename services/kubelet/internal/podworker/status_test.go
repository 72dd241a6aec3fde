package podworker

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/admission"
	"millrace.dev/services/kubelet/internal/runtime"
)

// told is what a test compares of a status: one line for the phase, one for each condition, one for each container.
func told(s *corev1.PodStatus) []string {
	lines := []string{strings.Join(strings.Fields(strings.Join([]string{string(s.Phase), s.Reason, s.Message}, " ")), " ")}
	for _, c := range s.Conditions {
		lines = append(lines, strings.TrimSpace(strings.Join([]string{string(c.Type), string(c.Status), c.Reason, c.Message}, " ")))
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			lines = append(lines, toldOf(&list[i]))
		}
	}
	return lines
}

func toldOf(c *corev1.ContainerStatus) string {
	words := []string{c.Name}
	switch {
	case c.State.Waiting != nil:
		words = append(words, "waiting", c.State.Waiting.Reason, c.State.Waiting.Message)
	case c.State.Running != nil:
		words = append(words, "running")
	case c.State.Terminated != nil:
		words = append(words, "terminated", c.State.Terminated.Reason)
	}
	if c.LastTerminationState.Terminated != nil {
		words = append(words, "after", c.LastTerminationState.Terminated.Reason)
	}
	if c.RestartCount > 0 {
		words = append(words, strings.Repeat("again ", int(c.RestartCount)))
	}
	if c.Ready {
		words = append(words, "ready")
	}
	if *c.Started {
		words = append(words, "started")
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

func TestMakeStatus(t *testing.T) {
	pod := func() *objtest.PodBuilder { return objtest.Pod("p") }
	never := func() *objtest.PodBuilder { return pod().RestartPolicy(corev1.RestartPolicyNever) }
	withInit := func() *objtest.PodBuilder { return pod().Init(container("i")) }
	conditions := func(sandbox, initialized, ready string) []string {
		return []string{"PodReadyToStartContainers " + sandbox, "Initialized " + initialized, "Ready " + ready, "ContainersReady " + ready}
	}
	const notReady = "False ContainersNotReady containers with unready status: [c]"
	held := func(name, reason, message string) func(*observed) {
		return func(o *observed) {
			o.holds[name] = hold{reason: reason, message: message, until: now.Add(time.Minute)}
		}
	}
	tests := []struct {
		name       string
		pod        *objtest.PodBuilder
		order      func(o *order)
		seen       *observed
		phase      string
		conditions []string
		containers []string
	}{
		{
			name: "nothing yet", pod: pod(), seen: &observed{}, phase: "Pending", conditions: conditions("False", "True", notReady),
			containers: []string{"c waiting ContainerCreating"},
		},
		{
			name: "set up", pod: pod(), seen: seen(), phase: "Pending", conditions: conditions("True", "True", notReady),
			containers: []string{"c waiting ContainerCreating"},
		},
		{
			name: "made", pod: pod(), seen: seen(created("c", 0)), phase: "Pending", conditions: conditions("True", "True", notReady),
			containers: []string{"c waiting ContainerCreating"},
		},
		{
			name: "set-up fails", pod: pod(), seen: (&observed{}).with(func(o *observed) { o.podHold = &hold{message: "no address"} }), phase: "Pending no address",
			conditions: conditions("False", "True", notReady), containers: []string{"c waiting ContainerCreating"},
		},
		{
			name: "no image", pod: pod(), seen: seen().with(held("c", "ErrImagePull", "away")), phase: "Pending", conditions: conditions("True", "True", notReady),
			containers: []string{"c waiting ErrImagePull away"},
		},
		{
			name: "made, cannot be started", pod: pod(), seen: seen(created("c", 0)).with(held("c", "RunContainerError", "no room")), phase: "Pending",
			conditions: conditions("True", "True", notReady), containers: []string{"c waiting RunContainerError no room"},
		},
		{
			name: "initialises", pod: withInit(), seen: seen(running("i", 0)), phase: "Pending",
			conditions: conditions("True", "False ContainersNotInitialized containers with incomplete status: [i]", notReady),
			containers: []string{"i running started", "c waiting PodInitializing"},
		},
		{
			name: "an init container is in back-off", pod: withInit(), seen: seen(exited("i", 1, 1, 0, 10*time.Second)), phase: "Pending",
			conditions: conditions("True", "False ContainersNotInitialized containers with incomplete status: [i]", notReady),
			containers: []string{
				"i waiting CrashLoopBackOff back-off 10s restarting failed container=i pod=p_default(uid-p) after Error again", "c waiting PodInitializing",
			},
		},
		{
			name: "an init container has ended well, at last", pod: withInit(), seen: seen(exited("i", 0, 1, time.Minute, 0), exited("i", 1, 0, 0, 10*time.Second)), phase: "Pending",
			conditions: conditions("True", "True", notReady), containers: []string{"i terminated Completed after Error again ready", "c waiting ContainerCreating"},
		},
		{
			name: "an init container failed for good", pod: never().Init(container("i")), seen: seen(exited("i", 0, 1, 0, 0)), phase: "Failed",
			conditions: conditions("False", "False ContainersNotInitialized containers with incomplete status: [i]", "False PodFailed"),
			containers: []string{"i terminated Error", "c waiting PodInitializing"},
		},
		{
			name: "a sidecar runs", pod: pod().Init(sidecar("s")).Init(container("i")), seen: seen(running("s", 0), running("i", 0)), phase: "Pending",
			conditions: conditions("True", "False ContainersNotInitialized containers with incomplete status: [i]", notReady),
			containers: []string{"s running ready started", "i running started", "c waiting PodInitializing"},
		},
		{
			name: "runs", pod: withInit(), seen: seen(exited("i", 0, 0, time.Minute, 0), running("c", 0)), phase: "Running",
			conditions: conditions("True", "True", "True"), containers: []string{"i terminated Completed ready", "c running ready started"},
		},
		{
			name: "one of two runs", pod: pod().Container(container("a")).Container(container("b")), seen: seen(running("a", 0)), phase: "Pending",
			conditions: conditions("True", "True", "False ContainersNotReady containers with unready status: [b]"),
			containers: []string{"a running ready started", "b waiting ContainerCreating"},
		},
		{
			name: "in back-off", pod: pod(), seen: seen(exited("c", 0, 1, time.Minute, 0), exited("c", 1, 2, 0, 5*time.Minute)), phase: "Running",
			conditions: conditions("True", "True", notReady),
			containers: []string{"c waiting CrashLoopBackOff back-off 5m0s restarting failed container=c pod=p_default(uid-p) after Error again"},
		},
		{
			name: "restarted, its image is away", pod: pod(), seen: seen(exited("c", 0, 1, 0, 0)).with(held("c", "ErrImagePull", "away")), phase: "Running",
			conditions: conditions("True", "True", notReady), containers: []string{"c waiting ErrImagePull away after Error"},
		},
		{
			name: "runs again", pod: pod(), seen: seen(exited("c", 0, 1, time.Minute, 0), running("c", 1)), phase: "Running",
			conditions: conditions("True", "True", "True"), containers: []string{"c running after Error again ready started"},
		},
		{
			name: "one of two has ended", pod: never().Container(container("a")).Container(container("b")), seen: seen(exited("a", 0, 0, 0, 0), running("b", 0)),
			phase: "Running", conditions: conditions("True", "True", "False ContainersNotReady containers with unready status: [a]"),
			containers: []string{"a terminated Completed", "b running ready started"},
		},
		{
			name: "succeeded", pod: never(), seen: seen(exited("c", 0, 0, 0, 0)), phase: "Succeeded",
			conditions: conditions("False", "True PodCompleted", "False PodCompleted"), containers: []string{"c terminated Completed"},
		},
		{
			name: "one of two failed", pod: never().Container(container("a")).Container(container("b")), seen: seen(exited("a", 0, 1, 0, 0), exited("b", 0, 0, 0, 0)),
			phase: "Failed", conditions: conditions("False", "True", "False PodFailed"), containers: []string{"a terminated Error", "b terminated Completed"},
		},
		{
			name: "marked, in back-off", pod: pod(), order: markedOrder(true), seen: seen(exited("c", 1, 1, 0, time.Minute)), phase: "Running",
			conditions: conditions("True", "True", notReady), containers: []string{"c terminated Error again"},
		},
		{
			name: "rejected", pod: pod(), seen: (&observed{}).with(func(o *observed) { o.rejected = &admission.Rejection{Reason: "OutOfcpu", Message: "too much"} }),
			phase: "Failed OutOfcpu Pod was rejected: too much",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := &order{Order: &state.Order{Pod: tt.pod.Obj()}, revision: 1}
			if tt.order != nil {
				tt.order(o)
			}
			s := makeStatus(o, tt.seen, facts{hostIP: "192.168.0.1", now: now, started: now})
			want := append(append([]string{tt.phase}, tt.conditions...), tt.containers...)
			if diff := cmp.Diff(want, told(&s)); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

// Every field of a status, once.
func TestMakeStatusWhole(t *testing.T) {
	pod := objtest.Pod("p").Obj()
	pod.Generation = 5
	first, second := exited("c", 0, 137, time.Minute, 0), running("c", 1)
	first.Reason, first.Message = runtime.ReasonOOMKilled, "no memory"
	second.Image = runtime.Image{Name: "docker.io/library/busybox:latest", Digest: "sha256:0123"}
	f := facts{hostIP: "192.168.0.1", address: netip.MustParseAddr("10.244.0.7"), started: now.Add(time.Millisecond), now: now}
	got := makeStatus(&order{Order: &state.Order{Pod: pod}}, seen(first, second), f)
	at := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }
	condition := func(typ corev1.PodConditionType) corev1.PodCondition {
		return corev1.PodCondition{Type: typ, Status: corev1.ConditionTrue, ObservedGeneration: 5}
	}
	want := corev1.PodStatus{
		Phase: corev1.PodRunning, HostIP: "192.168.0.1", HostIPs: []corev1.HostIP{{IP: "192.168.0.1"}},
		PodIP: "10.244.0.7", PodIPs: []corev1.PodIP{{IP: "10.244.0.7"}}, StartTime: new(at(0)), ObservedGeneration: 5,
		Conditions: []corev1.PodCondition{
			condition(corev1.PodReadyToStartContainers), condition(corev1.PodInitialized), condition(corev1.PodReady), condition(corev1.ContainersReady),
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", Image: "docker.io/library/busybox:latest", ImageID: "docker.io/library/busybox@sha256:0123", ContainerID: "containerd://c1",
			Ready: true, Started: new(true), RestartCount: 1,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(-time.Minute)}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 137, Reason: "OOMKilled", Message: "no memory", ContainerID: "containerd://c0", StartedAt: at(-time.Minute - time.Second), FinishedAt: at(-time.Minute),
			}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}
