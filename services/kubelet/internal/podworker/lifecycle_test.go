package podworker

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/image"
	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/fake"
)

func TestPodStartsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.behave(func(c runtime.ContainerConfig) fake.Program {
			if c.Kind == runtime.KindInit {
				return exits(time.Second, 0)
			}
			return serves(0)
		})
		pod := r.run(objtest.Pod("web").Init(container("i1")).Init(container("i2")).Container(container("a")).Container(container("b")))
		if s := r.status(pod); s.Phase != corev1.PodPending || s.PodIP != "10.244.0.1" || waitingFor(s) != "PodInitializing: " {
			t.Errorf("while it initialises: %s, IP %q, container waits for %q", s.Phase, s.PodIP, waitingFor(s))
		}
		r.pass(2 * time.Second)
		want := []started{{"i1", 0, 0}, {"i2", 0, time.Second}, {"a", 0, 2 * time.Second}, {"b", 0, 2 * time.Second}}
		if diff := cmp.Diff(want, r.begun()); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if s := r.status(pod); s.Phase != corev1.PodRunning || !s.ContainerStatuses[0].Ready || !s.ContainerStatuses[1].Ready {
			t.Errorf("at the end: %+v", s)
		}
		reported := len(r.reports.of(pod.UID))
		r.pass(time.Hour)
		if got := len(r.reports.of(pod.UID)); got != reported {
			t.Errorf("%d reports in an hour in which nothing happened", got-reported)
		}
	})
}

func TestS5_2_RestartPolicy(t *testing.T) {
	always, onFailure, never := corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever
	tests := []struct {
		policy corev1.RestartPolicy
		code   int
		runs   int
		want   corev1.PodPhase
	}{
		{never, 0, 1, corev1.PodSucceeded},
		{never, 1, 1, corev1.PodFailed},
		{onFailure, 0, 1, corev1.PodSucceeded},
		{onFailure, 1, 3, corev1.PodRunning}, // at 1, 2 and 13 s
		{always, 0, 3, corev1.PodRunning},
		{always, 1, 3, corev1.PodRunning},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.behave(func(runtime.ContainerConfig) fake.Program { return exits(time.Second, tt.code) })
				pod := r.run(objtest.Pod("job").RestartPolicy(tt.policy))
				r.pass(15 * time.Second)
				s := r.status(pod)
				if got := len(r.begun()); got != tt.runs || s.Phase != tt.want {
					t.Errorf("exit %d: %d runs, phase %s; want %d, %s", tt.code, got, s.Phase, tt.runs, tt.want)
				}
				if tt.want == corev1.PodRunning {
					return
				}
				if _, attached := r.network.Address(string(pod.UID)); attached || s.PodIP != "10.244.0.1" {
					t.Errorf("address is kept: %v; status says %q", attached, s.PodIP)
				}
				if got := len(r.machine.Containers()); got != 1 {
					t.Errorf("%d containers are left, want the one whose log may be read", got)
				}
			})
		})
	}
}

// A sidecar that ends comes back beside containers that run on; it is stopped when they have ended, and the pod has finished then.
func TestSidecarLivesAsLongAsThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.behave(func(c runtime.ContainerConfig) fake.Program {
			switch {
			case c.Name == "c":
				return exits(time.Minute, 0)
			case c.Attempt < 2:
				return exits(time.Second, 1)
			default:
				return serves(5 * time.Second)
			}
		})
		pod := r.run(objtest.Pod("job").RestartPolicy(corev1.RestartPolicyNever).Init(sidecar("s")))
		r.pass(3 * time.Second) // it has failed twice and is in back-off
		if s := r.status(pod); s.Phase != corev1.PodRunning || s.Conditions[1].Status != corev1.ConditionTrue {
			t.Errorf("phase %s, %+v while the sidecar is away; want Running and Initialized", s.Phase, s.Conditions[1])
		}
		r.pass(time.Minute - 3*time.Second)
		if s := r.status(pod); s.Phase != corev1.PodRunning {
			t.Errorf("phase %s while the sidecar is being stopped, want Running", s.Phase)
		}
		r.pass(5 * time.Second)
		s := r.status(pod)
		if c := s.InitContainerStatuses[0]; s.Phase != corev1.PodSucceeded || c.State.Terminated == nil {
			t.Errorf("phase %s, sidecar %+v; want Succeeded and terminated", s.Phase, c)
		}
		want := []started{{"s", 0, 0}, {"c", 0, 0}, {"s", 1, time.Second}, {"s", 2, 12 * time.Second}}
		if diff := cmp.Diff(want, r.begun()); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

func TestDeletionIsGraceful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.behave(func(runtime.ContainerConfig) fake.Program { return serves(5 * time.Second) })
		pod := r.run(objtest.Pod("web").Volume(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}))
		r.mark(pod, 30*time.Second, true)
		r.pass(5*time.Second - 1)
		if got := r.running(); len(got) != 1 {
			t.Errorf("%v run 5 s before the process ends by itself, want c", got)
		}
		r.pass(1)
		if last := r.last(pod); !last.Stopped || last.Status.ContainerStatuses[0].State.Terminated == nil || last.Status.ContainerStatuses[0].State.Terminated.ExitCode != 0 {
			t.Errorf("last report: %+v", last)
		}
		if r.noted("Normal Killing Stopping container c") != 1 {
			t.Error("no note that it is killed")
		}
		_, attached := r.network.Address(string(pod.UID))
		_, err := os.Stat(logs.PodDir(r.node.LogDir, pod.Namespace, pod.Name, string(pod.UID)))
		if attached || r.volumes.Exists(string(pod.UID)) || !errors.Is(err, os.ErrNotExist) || len(r.machine.Containers()) != 0 || r.called(fake.OpRemovePod) != 1 {
			t.Errorf("something is left: address %v, volumes %v, logs %v", attached, r.volumes.Exists(string(pod.UID)), err)
		}
		if got := r.manager.UIDs(); len(got) != 1 {
			t.Errorf("workers of %v; the pod is to be reported until the api acknowledges", got)
		}
		r.reports.gone(pod.UID)
		synctest.Wait()
		if got := r.manager.UIDs(); len(got) != 0 {
			t.Errorf("workers of %v after the acknowledgement, want none", got)
		}
	})
}

func TestGraceEnds(t *testing.T) {
	stubborn := func(runtime.ContainerConfig) fake.Program { return exits(time.Hour, 0) }
	tests := []struct {
		name string
		act  func(r *rig, pod *corev1.Pod)
		want time.Duration // until nothing runs
	}{
		{name: "of the mark", act: func(r *rig, pod *corev1.Pod) { r.mark(pod, 20*time.Second, true) }, want: 20 * time.Second},
		{name: "none", act: func(r *rig, pod *corev1.Pod) { r.mark(pod, 0, true) }},
		{
			name: "shortened", act: func(r *rig, pod *corev1.Pod) {
				r.mark(pod, 20*time.Second, true)
				r.pass(2 * time.Second)
				r.mark(pod, 3*time.Second, true)
			}, want: 5 * time.Second,
		},
		{
			name: "counts from the mark, not from the end of the drain",
			act:  func(r *rig, pod *corev1.Pod) { r.mark(pod, 20*time.Second, false) }, want: 20 * time.Second,
		},
		{name: "order removed", act: func(r *rig, pod *corev1.Pod) { r.remove(pod) }, want: forcedGrace},
		{name: "not known to the api", act: func(r *rig, pod *corev1.Pod) { r.reports.gone(pod.UID) }, want: forcedGrace},
		{
			name: "order removed in the grace", act: func(r *rig, pod *corev1.Pod) {
				r.mark(pod, 20*time.Second, true)
				r.pass(2 * time.Second)
				r.remove(pod)
			}, want: 2*time.Second + forcedGrace,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.behave(stubborn)
				pod := r.run(objtest.Pod("web"))
				began := time.Now()
				tt.act(r, pod)
				for len(r.running()) > 0 {
					r.pass(100 * time.Millisecond)
				}
				if got := time.Since(began); got != tt.want {
					t.Errorf("stopped after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// A program that is ending hears TERM once: many take the second for impatience.
func TestTermIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		terms := 0
		r.behave(func(runtime.ContainerConfig) fake.Program {
			return func(ctx context.Context, p *fake.Process) int {
				for {
					select {
					case <-p.Signals:
						terms++
					case <-ctx.Done():
						return 137
					}
				}
			}
		})
		pod := r.run(objtest.Pod("web"))
		mark := marked(pod, time.Now(), 20*time.Second)
		r.order(&state.Order{Pod: mark})
		r.pass(drainBound)
		r.order(&state.Order{Pod: mark, Released: true}) // a proxy was late
		r.order(&state.Order{Pod: mark, Released: true, Config: map[string]uint64{"configmaps/cm": 7}})
		r.pass(time.Second)
		if len(r.running()) != 1 || terms != 1 {
			t.Errorf("%d signals, %v run; want one, and that it runs on", terms, r.running())
		}
		r.pass(20*time.Second - drainBound - time.Second)
		if got := r.running(); len(got) != 0 {
			t.Errorf("%v run after the grace, want none", got)
		}
	})
}

func TestStopIsTriedAgainWithoutHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		failures := 0
		r.refuse = func(c fake.Call) error {
			if c.Op != fake.OpStop || failures == 100 {
				return nil
			}
			failures++
			return runtime.ErrUnavailable
		}
		pod := r.run(objtest.Pod("web"))
		r.mark(pod, 0, true)
		r.pass(cleanUpRetry)
		if got := r.called(fake.OpStop); got != 2 {
			t.Errorf("tried %d times in %v while the runtime is away, want twice", got, cleanUpRetry)
		}
		r.mark(pod, 0, true)
		r.pass(100 * cleanUpRetry)
		if last := r.last(pod); !last.Stopped {
			t.Errorf("last report: %+v, want that it is stopped once the runtime is back", last)
		}
	})
}

// P16: what the control plane calls finished has ended, whatever is or is not found here: a node that lost its disk neither runs
// the pod again nor says that it has not run.
func TestP16_FinishedPodIsNotUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		lost := objtest.Pod("lost").RestartPolicy(corev1.RestartPolicyNever).Node("n1").Obj()
		r.order(&state.Order{Pod: lost, Finished: true})
		given := r.run(objtest.Pod("given"))
		reported := len(r.reports.of(given.UID))
		r.order(&state.Order{Pod: given, Finished: true}) // its node was given up, and came back
		r.pass(time.Minute)
		if got := r.begun(); len(got) != 1 || len(r.running()) != 0 {
			t.Errorf("starts %v, %v run; want one start before, and nothing now", got, r.running())
		}
		if got := r.reports.of(lost.UID); len(got) != 0 {
			t.Errorf("of a pod of which nothing is known was reported %+v", got)
		}
		if got := r.reports.of(given.UID)[reported:]; len(got) != 0 {
			t.Errorf("of a pod that has finished was reported %+v", got)
		}
	})
}

// P23: clients are still sent to a pod until every proxy has heard.
func TestP23_DrainBeforeStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pod, other := r.run(objtest.Pod("a")), r.run(objtest.Pod("b"))
		r.mark(pod, time.Minute, false)
		r.mark(other, time.Minute, false)
		r.pass(time.Second)
		r.mark(other, time.Minute, false) // the bound counts from the first mark
		if got := r.running(); len(got) != 2 {
			t.Errorf("%v run before they are released, want both", got)
		}
		r.mark(pod, time.Minute, true)
		if got := r.running(); len(got) != 1 {
			t.Errorf("%v run after one is released, want one", got)
		}
		r.pass(time.Second)
		if got := r.running(); len(got) != 0 {
			t.Errorf("%v run %v after the mark, want none", got, drainBound)
		}
	})
}

func TestImagePullPolicy(t *testing.T) {
	const name = "docker.io/library/busybox:latest"
	always, missing, never := corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever
	tests := []struct {
		name    string
		image   string
		policy  corev1.PullPolicy
		present bool
		pulls   int
		waits   string
		note    string
	}{
		{name: "always, present", policy: always, present: true, pulls: 1, note: `Normal Pulled Successfully pulled image "busybox" in 0s (0s including waiting). Image size: 0 bytes.`},
		{name: "always, missing", policy: always, pulls: 1, note: `Normal Pulled Successfully pulled image "busybox" in 0s (0s including waiting). Image size: 42 bytes.`},
		{name: "if not present, present", policy: missing, present: true, note: `Normal Pulled Container image "busybox" already present on machine and can be accessed by the pod`},
		{name: "if not present, missing", policy: missing, pulls: 1, note: `Normal Pulling Pulling image "busybox"`},
		{name: "never, present", policy: never, present: true},
		{
			name: "never, missing", policy: never, waits: `ErrImageNeverPull: Container image "busybox" is not present with pull policy of Never`,
			note: "Warning Failed Error: ErrImageNeverPull",
		},
		{
			name: "bad name", image: "busybox:", policy: missing,
			waits: `InvalidImageName: Failed to apply default image tag "busybox:": couldn't parse image name "busybox:": invalid reference format`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				if tt.present {
					r.images.has(name, image.Settings{})
				}
				c := corev1.Container{Name: "c", Image: "busybox", ImagePullPolicy: tt.policy}
				if tt.image != "" {
					c.Image = tt.image
				}
				pod := r.run(objtest.Pod("web").Container(c))
				if got := len(r.images.pulled()); got != tt.pulls {
					t.Errorf("%d pulls, want %d", got, tt.pulls)
				}
				if got := waitingFor(r.status(pod)); got != tt.waits {
					t.Errorf("container waits for %q, want %q", got, tt.waits)
				}
				if tt.note != "" && r.noted(tt.note) == 0 {
					t.Errorf("notes are %q, want %q", r.notes, tt.note)
				}
			})
		})
	}
}

func TestImagePullBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		const name = "docker.io/library/busybox:latest"
		r.images.fail(name, errors.New("registry is away"))
		pod := r.run(objtest.Pod("web"))
		if got, want := waitingFor(r.status(pod)), "ErrImagePull: registry is away"; got != want {
			t.Errorf("after the first failure the container waits for %q, want %q", got, want)
		}
		if s := r.status(pod); s.Phase != corev1.PodPending {
			t.Errorf("phase %s, want Pending", s.Phase)
		}
		var at []time.Duration
		for seen := 1; seen < 8; {
			r.pass(time.Second)
			if n := len(r.images.pulled()); n > seen {
				seen, at = n, append(at, time.Since(r.began))
			}
		}
		want := []time.Duration{10, 30, 70, 150, 310, 610, 910}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("pulled again after (-want +got):\n%s", diff)
		}
		if got, want := waitingFor(r.status(pod)), `ImagePullBackOff: Back-off pulling image "busybox": ErrImagePull: registry is away`; got != want {
			t.Errorf("later the container waits for %q, want %q", got, want)
		}
		for _, note := range []string{`Warning Failed Failed to pull image "busybox": registry is away`, "Warning Failed Error: ErrImagePull", `Normal BackOff Back-off pulling image "busybox"`} {
			if r.noted(note) == 0 {
				t.Errorf("no note %q", note)
			}
		}
		r.images.fail(name, nil)
		r.pass(imageBackoffMost)
		if s := r.status(pod); s.Phase != corev1.PodRunning {
			t.Errorf("phase %s when the registry is back, want Running", s.Phase)
		}
	})
}

// Whoever has corrected the name of an image does not wait for the back-off of the wrong one.
func TestAnotherImageIsPulledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.images.fail("docker.io/library/bussybox:latest", errors.New("not found"))
		two := objtest.Pod("web").Container(container("a")).Container(container("b"))
		pod := two.Obj()
		pod.Spec.Containers[0].Image = "bussybox"
		pod.Spec.Containers[1].Image = "bussybox"
		r.order(orderOf(pod))
		r.pass(time.Minute)
		pulls := len(r.images.pulled())
		pod = pod.DeepCopy()
		pod.Spec.Containers[0].Image = "busybox"
		r.order(orderOf(pod))
		if diff := cmp.Diff([]string{"docker.io/library/busybox:latest"}, r.images.pulled()[pulls:]); diff != "" {
			t.Errorf("pulled (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a"}, r.running()); diff != "" {
			t.Errorf("running (-want +got):\n%s", diff)
		}
	})
}

func TestConfigErrorWaitsForWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var asked []state.ConfigRequest
		answer := &state.ConfigAnswer{}
		r.contents = func(q state.ConfigRequest) (*state.ConfigAnswer, error) {
			asked = append(asked, q)
			return answer, nil
		}
		r.restart()
		c := container("c")
		c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}}}
		pod := r.run(objtest.Pod("web").Container(c))
		if got, want := waitingFor(r.status(pod)), `CreateContainerConfigError: configmap "cm" not found`; got != want {
			t.Errorf("container waits for %q, want %q", got, want)
		}
		if r.noted(`Warning Failed Error: configmap "cm" not found`) != 1 {
			t.Error("no note of it")
		}
		answer = &state.ConfigAnswer{ConfigMaps: []corev1.ConfigMap{{Data: map[string]string{"K": "v"}}}}
		answer.ConfigMaps[0].Name = "cm"
		r.order(&state.Order{Pod: pod, Config: map[string]uint64{"configmaps/cm": 7}}) // at once, not in 10 s
		if s := r.status(pod); s.Phase != corev1.PodRunning {
			t.Errorf("phase %s once it is there, want Running", s.Phase)
		}
		want := []state.ConfigRequest{
			{Namespace: "default", Pod: "web", Order: 1, Refs: []state.ObjectRef{{Resource: "configmaps", Namespace: "default", Name: "cm"}}},
			{Namespace: "default", Pod: "web", Order: 2, Refs: []state.ObjectRef{{Resource: "configmaps", Namespace: "default", Name: "cm"}}},
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

func TestRuntimeErrors(t *testing.T) {
	tests := []struct {
		name   string
		refuse fake.Op
		err    error
		waits  string
		phase  corev1.PodPhase
	}{
		{name: "create", refuse: fake.OpCreate, err: errors.New("no room"), waits: "CreateContainerError: create container c: no room", phase: corev1.PodPending},
		{name: "start", refuse: fake.OpStart, err: errors.New("no room"), waits: "RunContainerError: no room", phase: corev1.PodPending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.refuse = func(c fake.Call) error {
					if c.Op == tt.refuse {
						return tt.err
					}
					return nil
				}
				pod := r.run(objtest.Pod("web"))
				if s := r.status(pod); waitingFor(s) != tt.waits || s.Phase != tt.phase {
					t.Errorf("phase %s, container waits for %q; want %s, %q", s.Phase, waitingFor(s), tt.phase, tt.waits)
				}
				r.pass(configRetry)
				if got := r.called(tt.refuse); got != 2 {
					t.Errorf("tried %d times in %v, want twice", got, configRetry)
				}
			})
		})
	}
}

// A command that cannot be run has ended with 128: the restart policy decides what follows.
func TestStartError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		c := container("c")
		c.Command = []string{"no-such"}
		pod := r.run(objtest.Pod("web").RestartPolicy(corev1.RestartPolicyNever).Container(c))
		s := r.status(pod)
		end := s.ContainerStatuses[0].State.Terminated
		if s.Phase != corev1.PodFailed || end == nil || end.ExitCode != 128 || end.Reason != "StartError" || end.Message == "" {
			t.Errorf("status is %s, %+v", s.Phase, s.ContainerStatuses)
		}
		if r.noted(`Warning Failed Error: start container c: exec: "no-such": executable file not found in $PATH`) != 1 {
			t.Errorf("notes are %q", r.notes)
		}
	})
}

func TestSetUpIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.network.fail(errors.New("no address is left"))
		pod := r.run(objtest.Pod("web"))
		s := r.status(pod)
		if s.Phase != corev1.PodPending || waitingFor(s) != "ContainerCreating: " {
			t.Errorf("phase %s, container waits for %q", s.Phase, waitingFor(s))
		}
		if r.noted("Warning FailedCreatePodSandBox Failed to create pod sandbox: no address is left") != 1 {
			t.Errorf("notes are %q", r.notes)
		}
		r.pass(7 * time.Second) // after 1, 2 and 4 s
		if got := r.called(fake.OpCreatePod); got != 4 {
			t.Errorf("tried %d times in 7 s, want 4", got)
		}
		r.network.fail(nil)
		r.pass(setUpRetryMost)
		if s := r.status(pod); s.Phase != corev1.PodRunning {
			t.Errorf("phase %s once there are addresses, want Running", s.Phase)
		}
	})
}

func TestUnknownVolumeIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pod := r.run(objtest.Pod("web").Volume(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{}}}))
		if s := r.status(pod); s.Phase != corev1.PodPending {
			t.Errorf("phase %s, want Pending", s.Phase)
		}
		if r.noted(`Warning FailedMount volume "v" is of a kind that this node cannot make; it makes emptyDir`) != 1 {
			t.Errorf("notes are %q", r.notes)
		}
	})
}

func TestHostNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		b := objtest.Pod("web").Node("n1").Obj()
		b.Spec.HostNetwork = true
		r.order(orderOf(b))
		if s := r.status(b); s.Phase != corev1.PodRunning || s.PodIP != r.node.HostIP || s.HostIP != r.node.HostIP || len(r.network.attached) != 0 {
			t.Errorf("phase %s, pod IP %q, host IP %q, attached %v", s.Phase, s.PodIP, s.HostIP, r.network.attached)
		}
	})
}
