package podworker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/fake"
)

// waitingFor is the reason and message for which a container waits; empty if it does not.
func waitingFor(s corev1.PodStatus) string {
	if w := s.ContainerStatuses[0].State.Waiting; w != nil {
		return w.Reason + ": " + w.Message
	}
	return ""
}

func TestS5_1_BackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		const healthy = 8 // this attempt runs well for a while
		r.behave(func(c runtime.ContainerConfig) fake.Program {
			if c.Attempt == healthy {
				return exits(healthyAfter, 1)
			}
			return exits(0, 1)
		})
		pod := r.run(objtest.Pod("web"))
		r.pass(time.Second)
		s := r.status(pod)
		want := "CrashLoopBackOff: back-off 10s restarting failed container=c pod=web_default(uid-web)"
		if got := waitingFor(s); got != want {
			t.Errorf("container waits for %q, want %q", got, want)
		}
		if c := s.ContainerStatuses[0]; s.Phase != corev1.PodRunning || c.RestartCount != 1 || c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != 1 {
			t.Errorf("status in back-off is %s, %+v", s.Phase, c)
		}
		r.pass(40 * time.Minute)
		var waits []time.Duration
		begun := r.begun()
		for i := range begun[1:] {
			waits = append(waits, begun[i+1].At-begun[i].At)
		}
		ran := healthyAfter // the healthy run is forgiven: at once, then from the beginning
		wantWaits := []time.Duration{
			0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute, 5 * time.Minute,
			ran, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute,
		}
		if diff := cmp.Diff(wantWaits, waits[:min(len(waits), len(wantWaits))]); diff != "" {
			t.Errorf("from one start to the next (-want +got):\n%s", diff)
		}
		if r.noted("Warning BackOff Back-off restarting failed container c in pod web_default(uid-web)") == 0 {
			t.Error("no note of the back-off")
		}
		if got := len(r.machine.Containers()); got != 2 {
			t.Errorf("%d runs of the container are kept, want the newest and the one before", got)
		}
	})
}

func TestBackOffOfThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.behave(func(runtime.ContainerConfig) fake.Program { return exits(0, 1) })
		r.run(objtest.Pod("web").Annotation(podinfo.AnnotationRestartBackoff, "initial=1s,max=5s"))
		r.pass(20 * time.Second)
		want := []started{{"c", 0, 0}, {"c", 1, 0}, {"c", 2, time.Second}, {"c", 3, 3 * time.Second}, {"c", 4, 7 * time.Second}, {"c", 5, 12 * time.Second}, {"c", 6, 17 * time.Second}}
		if diff := cmp.Diff(want, r.begun()); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

// A kubelet that is killed goes on with the back-off where it was.
func TestBackOffOutlivesTheKubelet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.behave(func(runtime.ContainerConfig) fake.Program { return exits(0, 1) })
		pod := r.run(objtest.Pod("web"))
		r.pass(35 * time.Second) // started at 0, 0, 10 and 30; the next wait is 40 s
		r.restart(orderOf(pod))
		r.pass(40 * time.Second)
		want := []started{{"c", 0, 0}, {"c", 1, 0}, {"c", 2, 10 * time.Second}, {"c", 3, 30 * time.Second}, {"c", 4, 70 * time.Second}}
		if diff := cmp.Diff(want, r.begun()); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

// An order that comes between the look at a pod and the action is not passed over: here a shorter grace.
func TestOrderBeforeTheActionCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := objtest.Pod("web").Obj()
		w := newWorker(Deps{}, &order{Order: orderOf(marked(pod, time.Now(), time.Minute))}, nil)
		w.take()
		w.tell(&order{Order: orderOf(marked(pod, time.Now(), time.Second))})
		called := false
		w.node.Now = time.Now
		w.Runtime = stopping{stop: func(ctx context.Context) { called = ctx.Err() == nil }}
		w.seen.containers = map[string][]runtime.Container{"c": {running("c", 0)}}
		w.perform(t.Context(), action{kind: doStop, grace: time.Minute})
		if called {
			t.Error("the long grace began although a shorter one was ordered")
		}
	})
}

// stopping is a runtime of which only Stop may be used.
type stopping struct {
	runtime.Runtime
	stop func(ctx context.Context)
}

func (f stopping) Stop(ctx context.Context, _ string, _ time.Duration) (runtime.Container, error) {
	f.stop(ctx)
	return runtime.Container{}, ctx.Err()
}
