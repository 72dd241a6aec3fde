package podworker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/fake"
)

// What runs is found by the next kubelet and goes on running: same container, same address, nothing is pulled.
func TestKubeletAdoptsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pod := r.run(objtest.Pod("web"))
		before := r.status(pod)
		r.stop()
		r.pass(time.Hour)
		r.reports.all = nil
		r.start()
		r.order(orderOf(pod))
		if diff := cmp.Diff(before, r.status(pod)); diff != "" {
			t.Errorf("status after the kubelet was killed (-before +after):\n%s", diff)
		}
		if got := r.begun(); len(got) != 1 || r.called(fake.OpStop) != 0 || r.called(fake.OpCreatePod) != 1 || len(r.images.pulled()) != 1 {
			t.Errorf("starts %v; calls %v", got, r.calls)
		}
	})
}

// What ended while there was no kubelet is seen by the next one.
func TestKubeletFindsWhatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pod := r.run(objtest.Pod("web"))
		r.stop()
		r.machine.End(runtime.ContainerID(string(pod.UID), "c", 0), 3, false)
		r.pass(time.Minute)
		r.start()
		r.order(orderOf(pod))
		c := r.status(pod).ContainerStatuses[0]
		if c.RestartCount != 1 || c.State.Running == nil || c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != 3 {
			t.Errorf("container is %+v", c)
		}
	})
}

// P17: an order whose uid has changed waits until the pod that was there is stopped fully.
func TestP17_AnotherUIDWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.behave(func(c runtime.ContainerConfig) fake.Program {
			if c.PodUID == "old" {
				return exits(time.Hour, 0) // TERM does not move it
			}
			return serves(0)
		})
		r.run(objtest.Pod("db").UID("old"))
		next := objtest.Pod("db").UID("new").Node("n1").Obj()
		r.order(orderOf(next))
		r.pass(forcedGrace - 1)
		for range 3 { // newer revisions do not give the old pod more time
			r.order(orderOf(next))
		}
		if got := r.begun(); len(got) != 1 || len(r.running()) != 1 {
			t.Errorf("starts %v while the old pod runs, want its own alone", got)
		}
		r.pass(1)
		want := []started{{"c", 0, 0}, {"c", 0, forcedGrace}}
		if diff := cmp.Diff(want, r.begun()); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"new"}, r.manager.UIDs()); diff != "" {
			t.Errorf("workers (-want +got):\n%s", diff)
		}
		for _, c := range r.machine.Containers() {
			if c.PodUID == "old" {
				t.Errorf("container %+v is left of the old pod", c)
			}
		}
		if got := r.last(next).Status.Phase; got != corev1.PodRunning {
			t.Errorf("the new pod is %s, want Running", got)
		}
	})
}

// The order that waits may go before its turn comes.
func TestWaitingOrderIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.behave(func(runtime.ContainerConfig) fake.Program { return exits(time.Hour, 0) })
		r.run(objtest.Pod("db").UID("old"))
		next := objtest.Pod("db").UID("new").Node("n1").Obj()
		r.tell(orderOf(next))
		r.remove(next)
		r.pass(time.Minute)
		if got := r.manager.UIDs(); len(got) != 0 || len(r.begun()) != 1 {
			t.Errorf("workers of %v, starts %v; want none, and the old pod's alone", got, r.begun())
		}
	})
}

func TestRetainEndsWhatHasNoOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		kept, lost := r.run(objtest.Pod("kept")), r.run(objtest.Pod("lost"))
		reported := len(r.reports.of(lost.UID))
		r.manager.Retain(map[state.Key]bool{key(kept): true})
		r.pass(forcedGrace)
		if diff := cmp.Diff([]string{string(kept.UID)}, r.manager.UIDs()); diff != "" {
			t.Errorf("workers (-want +got):\n%s", diff)
		}
		if got := len(r.reports.of(lost.UID)); got != reported {
			t.Errorf("%d reports of a pod that nobody knows", got-reported)
		}
		if got := len(r.machine.Containers()); got != 1 {
			t.Errorf("%d containers are left, want 1", got)
		}
	})
}

func TestOrderThatCannotBeRead(t *testing.T) {
	m := NewManager(Deps{Node: Node{Now: time.Now}})
	for _, body := range []string{"", "{", "{}", `{"pod":null}`} {
		if err := m.Apply(state.FeedEntry{Key: "edge.order.n1.default.web", Revision: 3, Body: []byte(body)}); err == nil {
			t.Errorf("Apply(%q) = nil, want an error", body)
		}
	}
	if got := m.UIDs(); len(got) != 0 {
		t.Errorf("workers of %v, want none", got)
	}
	if err := m.Apply(state.FeedEntry{Key: "edge.order.n1.default.web", Removed: true}); err != nil {
		t.Errorf("Apply(removal of what is not known) = %v", err)
	}
}

// A pod for which there is no room fails for good; what is held by one that has ended or vanished is free at once.
func TestNodeRefusesWhatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		big := r.run(objtest.Pod("big").Request(corev1.ResourceCPU, "3"))
		refused := r.run(objtest.Pod("refused").Request(corev1.ResourceCPU, "2"))
		s := r.status(refused)
		want := "Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000"
		if s.Phase != corev1.PodFailed || s.Reason != "OutOfcpu" || s.Message != want {
			t.Errorf("status is %s, %s, %q; want Failed, OutOfcpu, %q", s.Phase, s.Reason, s.Message, want)
		}
		r.pass(time.Hour)
		if got := len(r.begun()); got != 1 {
			t.Errorf("%d containers were started, want 1", got)
		}
		orders := []*state.Order{orderOf(big)}
		for i := range 10 {
			orders = append(orders, orderOf(objtest.Pod(fmt.Sprint("late-", i)).Request(corev1.ResourceCPU, "2").Node("n1").Obj()))
		}
		r.restart(orders...) // what is there holds what it holds before anyone else is let in
		for _, o := range orders[1:] {
			if s := r.status(o.Pod); s.Phase != corev1.PodFailed {
				t.Errorf("%s is %s beside an adopted pod, want Failed", o.Pod.Name, s.Phase)
			}
		}
		small := r.run(objtest.Pod("small").RestartPolicy(corev1.RestartPolicyNever).Request(corev1.ResourceCPU, "1"))
		r.machine.End(runtime.ContainerID(string(small.UID), "c", 0), 0, false)
		synctest.Wait()
		if s := r.status(r.run(objtest.Pod("next").Request(corev1.ResourceCPU, "1"))); s.Phase != corev1.PodRunning {
			t.Errorf("phase %s when another has ended, want Running", s.Phase)
		}
		r.remove(objtest.Pod("next").Obj())
		r.remove(big)
		after := r.run(objtest.Pod("after").Request(corev1.ResourceCPU, "4"))
		if s := r.status(after); s.Phase != corev1.PodRunning {
			t.Errorf("phase %s when there is room, want Running", s.Phase)
		}
	})
}

// The end of a worker and a new revision of its order may meet: the manager asks the worker while it is being told, so the worker
// must hold no lock then, and the revision must not be lost.
func TestOrderMeetsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pod := r.run(objtest.Pod("web"))
		w := r.manager.byUID[pod.UID]
		end, met := w.ended, false
		w.ended = func() bool {
			if !w.mu.TryLock() {
				t.Error("the worker ends under its own lock, which the manager takes under its own")
				return end()
			}
			w.mu.Unlock()
			if !met {
				met = true
				r.tell(orderOf(pod))
			}
			return end()
		}
		reported := len(r.reports.of(pod.UID))
		r.remove(pod)
		r.pass(forcedGrace)
		if got := r.reports.of(pod.UID)[reported:]; len(got) == 0 || got[len(got)-1].Status.Phase != corev1.PodRunning || got[len(got)-1].Stopped {
			t.Errorf("reported %+v, want that it runs", got)
		}
		if len(r.manager.gate.inside) != 1 {
			t.Error("the pod holds nothing of the node")
		}
		if got := r.running(); !met || len(got) != 1 || len(r.manager.UIDs()) != 1 {
			t.Errorf("%v run, workers of %v; want the pod that is ordered again", got, r.manager.UIDs())
		}
	})
}
