package podinfo

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func ended(code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
}

var runs = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}

// seen is the status of a container; a running one is ready.
func seen(name string, state corev1.ContainerState, restarts int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: state, RestartCount: restarts, Ready: state.Running != nil, Started: new(state.Running != nil)}
}

func condition(t corev1.PodConditionType, reason string) []corev1.PodCondition {
	return []corev1.PodCondition{{Type: t, Status: corev1.ConditionTrue, Reason: reason}}
}

func TestSummarize(t *testing.T) {
	later := metav1.NewTime(time.Unix(200, 0))
	restarted := func(s corev1.ContainerStatus, at int64) corev1.ContainerStatus {
		s.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(time.Unix(at, 0))}}
		return s
	}
	tests := []struct {
		name      string
		init, app []corev1.ContainerStatus
		sidecars  []string // names of init containers that stay
		status    corev1.PodStatus
		deleted   bool
		want      Summary
	}{
		{name: "not yet anywhere", status: corev1.PodStatus{Phase: corev1.PodPending}, want: Summary{Status: "Pending", Containers: 1}},
		{name: "gated", status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: condition(corev1.PodScheduled, "SchedulingGated")}, want: Summary{Status: "SchedulingGated", Containers: 1}},
		{name: "evicted", status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}, want: Summary{Status: "Evicted", Containers: 1}},
		{
			name: "first of three init containers", status: corev1.PodStatus{Phase: corev1.PodPending},
			init: []corev1.ContainerStatus{seen("i", runs, 0), seen("j", waiting("PodInitializing"), 0), seen("k", waiting("PodInitializing"), 0)},
			app:  []corev1.ContainerStatus{seen("a", waiting("PodInitializing"), 0)},
			want: Summary{Status: "Init:0/3", Containers: 1},
		},
		{
			name: "last of two init containers", status: corev1.PodStatus{Phase: corev1.PodPending},
			init: []corev1.ContainerStatus{seen("i", ended(0, "Completed"), 0), seen("j", waiting(""), 0)},
			want: Summary{Status: "Init:1/2", Containers: 1},
		},
		{
			name: "init container in back-off", status: corev1.PodStatus{Phase: corev1.PodPending},
			init: []corev1.ContainerStatus{restarted(seen("i", waiting("CrashLoopBackOff"), 3), 100), seen("j", waiting("PodInitializing"), 7)},
			want: Summary{Status: "Init:CrashLoopBackOff", Containers: 1, Restarts: 3, LastRestart: time.Unix(100, 0)},
		},
		{name: "init container failed", init: []corev1.ContainerStatus{seen("i", ended(1, "Error"), 0)}, want: Summary{Status: "Init:Error", Containers: 1}},
		{name: "init container failed without a word", init: []corev1.ContainerStatus{seen("i", ended(2, ""), 0)}, want: Summary{Status: "Init:ExitCode:2", Containers: 1}},
		{
			name: "init container killed", want: Summary{Status: "Init:Signal:9", Containers: 1},
			init: []corev1.ContainerStatus{seen("i", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Signal: 9}}, 0)},
		},
		{
			name: "initialised", status: corev1.PodStatus{Phase: corev1.PodPending},
			init: []corev1.ContainerStatus{restarted(seen("i", ended(0, "Completed"), 2), 100)},
			app:  []corev1.ContainerStatus{seen("a", waiting("PodInitializing"), 0)},
			want: Summary{Status: "PodInitializing", Containers: 1},
		},
		{
			name: "runs", status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: condition(corev1.PodReady, "")},
			app:  []corev1.ContainerStatus{restarted(seen("a", runs, 1), 100), restarted(seen("b", runs, 2), 200)},
			want: Summary{Status: "Running", Ready: 2, Containers: 2, Restarts: 3, LastRestart: later.Time},
		},
		{
			name: "sidecar counts", status: corev1.PodStatus{Phase: corev1.PodRunning}, sidecars: []string{"i"},
			init: []corev1.ContainerStatus{restarted(seen("i", runs, 1), 200), restarted(seen("j", ended(0, "Completed"), 5), 300)},
			app:  []corev1.ContainerStatus{seen("a", runs, 0)},
			want: Summary{Status: "Running", Ready: 2, Containers: 2, Restarts: 1, LastRestart: later.Time},
		},
		{
			name: "sidecar that has not started holds the pod back", status: corev1.PodStatus{Phase: corev1.PodPending}, sidecars: []string{"i"},
			init: []corev1.ContainerStatus{{Name: "i", State: runs}},
			want: Summary{Status: "Init:0/1", Containers: 2},
		},
		{
			name: "sidecar that fails after the pod was initialised", status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: condition(corev1.PodInitialized, "")}, sidecars: []string{"i"},
			init: []corev1.ContainerStatus{seen("i", waiting("CrashLoopBackOff"), 1)},
			app:  []corev1.ContainerStatus{seen("a", runs, 0)},
			want: Summary{Status: "Init:CrashLoopBackOff", Ready: 1, Containers: 2, Restarts: 1},
		},
		{name: "back-off", status: corev1.PodStatus{Phase: corev1.PodRunning}, app: []corev1.ContainerStatus{seen("a", waiting("CrashLoopBackOff"), 4)}, want: Summary{Status: "CrashLoopBackOff", Containers: 1, Restarts: 4}},
		{name: "the first container's trouble", app: []corev1.ContainerStatus{seen("a", waiting("ErrImagePull"), 0), seen("b", waiting("CrashLoopBackOff"), 0)}, want: Summary{Status: "ErrImagePull", Containers: 2}},
		{name: "completed", status: corev1.PodStatus{Phase: corev1.PodSucceeded}, app: []corev1.ContainerStatus{seen("a", ended(0, "Completed"), 0)}, want: Summary{Status: "Completed", Containers: 1}},
		{name: "failed", status: corev1.PodStatus{Phase: corev1.PodFailed}, app: []corev1.ContainerStatus{seen("a", ended(1, "Error"), 0)}, want: Summary{Status: "Error", Containers: 1}},
		{name: "failed without a word", app: []corev1.ContainerStatus{seen("a", ended(3, ""), 0)}, want: Summary{Status: "ExitCode:3", Containers: 1}},
		{name: "killed", app: []corev1.ContainerStatus{seen("a", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Signal: 9}}, 0)}, want: Summary{Status: "Signal:9", Containers: 1}},
		{
			name: "one has ended, another runs", status: corev1.PodStatus{Phase: corev1.PodRunning},
			app:  []corev1.ContainerStatus{seen("a", ended(0, "Completed"), 0), seen("b", runs, 0)},
			want: Summary{Status: "NotReady", Ready: 1, Containers: 2},
		},
		{
			name: "one has ended, another runs, and that is enough", status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: condition(corev1.PodReady, "")},
			app:  []corev1.ContainerStatus{seen("a", ended(0, "Completed"), 0), seen("b", runs, 0)},
			want: Summary{Status: "Running", Ready: 1, Containers: 2},
		},
		{
			name: "one has ended well, another badly", status: corev1.PodStatus{Phase: corev1.PodFailed},
			app:  []corev1.ContainerStatus{seen("a", ended(0, "Completed"), 0), seen("b", ended(137, "OOMKilled"), 0)},
			want: Summary{Status: "OOMKilled", Containers: 2},
		},
		{name: "deleted", deleted: true, status: corev1.PodStatus{Phase: corev1.PodRunning}, app: []corev1.ContainerStatus{seen("a", runs, 0)}, want: Summary{Status: "Terminating", Ready: 1, Containers: 1}},
		{name: "deleted when it was over", deleted: true, status: corev1.PodStatus{Phase: corev1.PodSucceeded}, app: []corev1.ContainerStatus{seen("a", ended(0, "Completed"), 0)}, want: Summary{Status: "Completed", Containers: 1}},
		{name: "deleted on a lost node", deleted: true, status: corev1.PodStatus{Phase: corev1.PodRunning, Reason: "NodeLost"}, want: Summary{Status: "Unknown", Containers: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{Status: tt.status}
			pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = tt.init, tt.app
			for _, s := range tt.init {
				c := corev1.Container{Name: s.Name}
				for _, name := range tt.sidecars {
					if name == s.Name {
						c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
					}
				}
				pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
			}
			for range max(1, len(tt.app)) {
				pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{})
			}
			if tt.deleted {
				pod.DeletionTimestamp = &later
			}
			if got := Summarize(pod); got != tt.want {
				t.Errorf("Summarize = %+v\nwant        %+v", got, tt.want)
			}
		})
	}
}
