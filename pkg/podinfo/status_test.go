package podinfo

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPhases(t *testing.T) {
	finished := map[corev1.PodPhase]bool{corev1.PodPending: false, corev1.PodRunning: false, corev1.PodSucceeded: true, corev1.PodFailed: true, corev1.PodUnknown: false, "": false}
	for phase, want := range finished {
		if got := Finished(&corev1.Pod{Status: corev1.PodStatus{Phase: phase}}); got != want {
			t.Errorf("Finished in phase %q = %v, want %v", phase, got, want)
		}
	}
}

func TestReady(t *testing.T) {
	for status, want := range map[corev1.ConditionStatus]bool{corev1.ConditionTrue: true, corev1.ConditionFalse: false, corev1.ConditionUnknown: false} {
		pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}}}
		if got := Ready(pod); got != want {
			t.Errorf("Ready with condition %s = %v, want %v", status, got, want)
		}
	}
	if Ready(&corev1.Pod{}) {
		t.Error("Ready without condition")
	}
}

func TestSetCondition(t *testing.T) {
	was, now := time.Unix(100, 0), time.Unix(200, 0)
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, Reason: "a", LastTransitionTime: metav1.NewTime(was)}
	with := func(f func(*corev1.PodCondition)) corev1.PodCondition {
		c := ready
		f(&c)
		return c
	}
	tests := []struct {
		name    string
		had     []corev1.PodCondition
		set     corev1.PodCondition
		changed bool
		moved   bool // the transition time is now
	}{
		{"new", nil, ready, true, true},
		{"another type", []corev1.PodCondition{{Type: corev1.PodScheduled}}, ready, true, true},
		{"the same", []corev1.PodCondition{ready}, ready, false, false},
		{"only the probe time", []corev1.PodCondition{ready}, with(func(c *corev1.PodCondition) { c.LastProbeTime = metav1.NewTime(now) }), false, false},
		{"reason", []corev1.PodCondition{ready}, with(func(c *corev1.PodCondition) { c.Reason = "b" }), true, false},
		{"message", []corev1.PodCondition{ready}, with(func(c *corev1.PodCondition) { c.Message = "b" }), true, false},
		{"generation", []corev1.PodCondition{ready}, with(func(c *corev1.PodCondition) { c.ObservedGeneration = 2 }), true, false},
		{"status", []corev1.PodCondition{ready}, with(func(c *corev1.PodCondition) { c.Status = corev1.ConditionFalse }), true, true},
	}
	for _, tt := range tests {
		status := corev1.PodStatus{Conditions: tt.had}
		if changed := SetCondition(&status, tt.set, now); changed != tt.changed {
			t.Errorf("%s: SetCondition = %v, want %v", tt.name, changed, tt.changed)
		}
		got := Condition(status.Conditions, corev1.PodReady)
		if got == nil || got.Status != tt.set.Status || got.Reason != tt.set.Reason {
			t.Fatalf("%s: condition = %+v, want %+v", tt.name, got, tt.set)
		}
		if moved := got.LastTransitionTime.Time.Equal(now); moved != tt.moved {
			t.Errorf("%s: transition at %v, want it moved: %v", tt.name, got.LastTransitionTime, tt.moved)
		}
	}
}

func TestGracePeriod(t *testing.T) {
	tests := []struct {
		name          string
		spec, deleted *int64
		want          time.Duration
	}{
		{"nobody says", nil, nil, 30 * time.Second},
		{"the spec says", new(int64(5)), nil, 5 * time.Second},
		{"the deletion says", new(int64(5)), new(int64(1)), time.Second},
		{"at once", new(int64(5)), new(int64(0)), 0},
	}
	for _, tt := range tests {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionGracePeriodSeconds: tt.deleted}, Spec: corev1.PodSpec{TerminationGracePeriodSeconds: tt.spec}}
		if got := GracePeriod(pod); got != tt.want {
			t.Errorf("%s: GracePeriod = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestContainerStatus(t *testing.T) {
	list := []corev1.ContainerStatus{{Name: "a"}, {Name: "b"}}
	if got := ContainerStatus(list, "b"); got != &list[1] {
		t.Errorf("ContainerStatus(b) = %v", got)
	}
	if got := ContainerStatus(list, "c"); got != nil {
		t.Errorf("ContainerStatus(c) = %v, want nil", got)
	}
}

func TestNodeCondition(t *testing.T) {
	list := []corev1.NodeCondition{{Type: corev1.NodeMemoryPressure}, {Type: corev1.NodeReady}}
	if got := NodeCondition(list, corev1.NodeReady); got != &list[1] {
		t.Errorf("NodeCondition(Ready) = %v", got)
	}
	if got := NodeCondition(list, corev1.NodeDiskPressure); got != nil {
		t.Errorf("NodeCondition(DiskPressure) = %v, want nil", got)
	}
}
