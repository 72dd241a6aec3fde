package podworker

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/admission"
	"millrace.dev/services/kubelet/internal/runtime"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// seen is what there is of a pod that is set up, with these runs of containers.
func seen(runs ...runtime.Container) *observed {
	o := &observed{sandbox: true, network: true, volumes: true, leftovers: true, containers: map[string][]runtime.Container{}, holds: map[string]hold{}}
	for _, c := range runs {
		o.containers[c.Name] = append(o.containers[c.Name], c)
	}
	return o
}

func (o *observed) with(change func(o *observed)) *observed {
	change(o)
	return o
}

func created(name string, attempt int) runtime.Container {
	return runtime.Container{ID: name + strconv.Itoa(attempt), Name: name, Attempt: attempt, State: runtime.StateCreated}
}

func running(name string, attempt int) runtime.Container {
	c := created(name, attempt)
	c.State, c.StartedAt = runtime.StateRunning, now.Add(-time.Minute)
	return c
}

// exited is a run that ended a while ago, after a second, with this time to wait.
func exited(name string, attempt, code int, ago, backoff time.Duration) runtime.Container {
	c := created(name, attempt)
	c.State, c.ExitCode, c.FinishedAt = runtime.StateExited, code, now.Add(-ago)
	c.StartedAt = c.FinishedAt.Add(-time.Second)
	c.Reason = runtime.ReasonCompleted
	if code != 0 {
		c.Reason = runtime.ReasonError
	}
	c.Labels = map[string]string{labelBackoff: backoff.String()}
	return c
}

func container(name string) corev1.Container {
	return corev1.Container{Name: name, Image: "busybox", ImagePullPolicy: corev1.PullIfNotPresent}
}

func sidecar(name string) corev1.Container {
	c := container(name)
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return c
}

// did is what a test compares of an action.
type did struct {
	Kind      actionKind
	Container string
	Init      bool
	Attempt   int
	Grace     time.Duration
	In        time.Duration // from now until it is to look again; 0: when woken
}

func didOf(a action) did {
	d := did{Kind: a.kind, Attempt: a.attempt, Grace: a.grace}
	if a.kind == doStart {
		d.Container, d.Init = a.container.Name, a.init
	}
	if !a.until.IsZero() {
		d.In = a.until.Sub(now)
	}
	return d
}

func TestStep(t *testing.T) {
	always, onFailure, never := corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever
	pod := func() *objtest.PodBuilder { return objtest.Pod("p") }
	two := func() *objtest.PodBuilder { return pod().Container(container("a")).Container(container("b")) }
	inits := func() *objtest.PodBuilder { return pod().Init(container("i1")).Init(container("i2")) }
	nothing := did{Kind: doNothing}
	tests := []struct {
		name  string
		pod   *objtest.PodBuilder
		order func(o *order)
		seen  *observed
		want  did
	}{
		{name: "nothing there", pod: pod(), seen: &observed{}, want: did{Kind: doSetUp}},
		{name: "no network", pod: pod(), seen: seen().with(func(o *observed) { o.network = false }), want: did{Kind: doSetUp}},
		{name: "no volumes", pod: pod(), seen: seen().with(func(o *observed) { o.volumes = false }), want: did{Kind: doSetUp}},
		{name: "no sandbox any more", pod: pod(), seen: seen(running("c", 0)).with(func(o *observed) { o.sandbox = false }), want: did{Kind: doSetUp}},
		{
			name: "set-up failed", pod: pod(), seen: (&observed{}).with(func(o *observed) { o.podHold = &hold{until: now.Add(time.Second)} }),
			want: did{Kind: doNothing, In: time.Second},
		},
		{name: "set-up failed a while ago", pod: pod(), seen: (&observed{}).with(func(o *observed) { o.podHold = &hold{until: now} }), want: did{Kind: doSetUp}},
		{name: "rejected", pod: pod(), seen: (&observed{}).with(func(o *observed) { o.rejected = &admission.Rejection{} }), want: nothing},

		{name: "first container", pod: two(), seen: seen(), want: did{Kind: doStart, Container: "a"}},
		{name: "made, not started", pod: two(), seen: seen(created("a", 0)), want: did{Kind: doStart, Container: "a"}},
		{name: "second container", pod: two(), seen: seen(running("a", 0)), want: did{Kind: doStart, Container: "b"}},
		{name: "all run", pod: two(), seen: seen(running("a", 0), running("b", 0)), want: nothing},
		{
			name: "one is held, the other is not", pod: two(),
			seen: seen().with(func(o *observed) { o.holds["a"] = hold{until: now.Add(time.Minute)} }), want: did{Kind: doStart, Container: "b"},
		},
		{
			name: "the hold that ends first", pod: two(),
			seen: seen().with(func(o *observed) {
				o.holds["a"], o.holds["b"] = hold{until: now.Add(time.Minute)}, hold{until: now.Add(time.Second)}
			}), want: did{Kind: doNothing, In: time.Second},
		},
		{
			name: "the hold is over", pod: pod(), seen: seen().with(func(o *observed) { o.holds["c"] = hold{until: now} }),
			want: did{Kind: doStart, Container: "c"},
		},

		{name: "first init container", pod: inits(), seen: seen(), want: did{Kind: doStart, Container: "i1", Init: true}},
		{name: "first init container runs", pod: inits(), seen: seen(running("i1", 0)), want: nothing},
		{name: "second init container", pod: inits(), seen: seen(exited("i1", 0, 0, time.Hour, 0)), want: did{Kind: doStart, Container: "i2", Init: true}},
		{
			name: "after the init containers", pod: inits(), seen: seen(exited("i1", 0, 0, time.Hour, 0), exited("i2", 0, 0, time.Hour, 0)),
			want: did{Kind: doStart, Container: "c"},
		},
		{
			name: "an init container failed", pod: inits(), seen: seen(exited("i1", 2, 1, time.Second, 20*time.Second)),
			want: did{Kind: doNothing, In: 19 * time.Second},
		},
		{
			name: "an init container failed and is due", pod: inits(), seen: seen(exited("i1", 2, 1, 20*time.Second, 20*time.Second)),
			want: did{Kind: doStart, Container: "i1", Init: true, Attempt: 3},
		},
		{name: "an init container failed for good", pod: inits().RestartPolicy(never), seen: seen(exited("i1", 0, 1, 0, 0)), want: did{Kind: doDetach}},
		{name: "an init container fails on failure", pod: inits().RestartPolicy(onFailure), seen: seen(exited("i1", 0, 1, 0, 0)), want: did{Kind: doStart, Container: "i1", Init: true, Attempt: 1}},
		{name: "a sidecar runs", pod: pod().Init(sidecar("s")), seen: seen(running("s", 0)), want: did{Kind: doStart, Container: "c"}},
		{
			name: "a sidecar ended", pod: pod().RestartPolicy(never).Init(sidecar("s")), seen: seen(exited("s", 0, 0, 0, 0), running("c", 0)),
			want: did{Kind: doStart, Container: "s", Init: true, Attempt: 1},
		},

		{
			name: "a sidecar and a container ended", pod: pod().Init(sidecar("s")), seen: seen(exited("s", 3, 1, 0, time.Minute), exited("c", 0, 1, 0, 0)),
			want: did{Kind: doStart, Container: "c", Attempt: 1}, // it does not wait for the sidecar
		},
		{
			name: "a sidecar is due before a container", pod: pod().Init(sidecar("s")),
			seen: seen(exited("s", 3, 1, 0, 10*time.Second), exited("c", 2, 1, 0, 20*time.Second)), want: did{Kind: doNothing, In: 10 * time.Second},
		},
		{
			name: "the containers have ended, a sidecar runs", pod: pod().RestartPolicy(never).Init(sidecar("s")), seen: seen(running("s", 0), exited("c", 0, 0, 0, 0)),
			want: did{Kind: doStop, Grace: 30 * time.Second},
		},
		{
			name: "the containers have ended, and the sidecar", pod: pod().RestartPolicy(never).Init(sidecar("s")), seen: seen(exited("s", 0, 0, 0, 0), exited("c", 0, 0, 0, 0)),
			want: did{Kind: doDetach},
		},
		{
			name: "an init container failed for good, a sidecar runs", pod: pod().RestartPolicy(never).Init(sidecar("s")).Init(container("i1")),
			seen: seen(running("s", 0), exited("i1", 0, 1, 0, 0)), want: did{Kind: doStop, Grace: 30 * time.Second},
		},

		{name: "always, ended well", pod: pod().RestartPolicy(always), seen: seen(exited("c", 0, 0, 0, 0)), want: did{Kind: doStart, Container: "c", Attempt: 1}},
		{name: "always, failed", pod: pod().RestartPolicy(always), seen: seen(exited("c", 0, 1, 0, 0)), want: did{Kind: doStart, Container: "c", Attempt: 1}},
		{
			name: "always, in back-off", pod: pod().RestartPolicy(always), seen: seen(exited("c", 4, 0, 30*time.Second, 80*time.Second)),
			want: did{Kind: doNothing, In: 50 * time.Second},
		},
		{
			name: "back-off of two", pod: two(), seen: seen(exited("a", 4, 1, 0, 80*time.Second), exited("b", 1, 1, 0, 10*time.Second)),
			want: did{Kind: doNothing, In: 10 * time.Second},
		},
		{
			name: "ran well, then failed", pod: pod(), seen: seen(exited("c", 9, 1, 0, 5*time.Minute)).with(func(o *observed) {
				o.containers["c"][0].StartedAt = now.Add(-healthyAfter)
			}), want: did{Kind: doStart, Container: "c", Attempt: 10},
		},
		{name: "on failure, ended well", pod: pod().RestartPolicy(onFailure), seen: seen(exited("c", 0, 0, 0, 0)), want: did{Kind: doDetach}},
		{name: "on failure, failed", pod: pod().RestartPolicy(onFailure), seen: seen(exited("c", 0, 1, 0, 0)), want: did{Kind: doStart, Container: "c", Attempt: 1}},
		{name: "on failure, one of two ended", pod: two().RestartPolicy(onFailure), seen: seen(exited("a", 0, 0, 0, 0), running("b", 0)), want: nothing},
		{name: "never, ended well", pod: pod().RestartPolicy(never), seen: seen(exited("c", 0, 0, 0, 0)), want: did{Kind: doDetach}},
		{name: "never, failed", pod: pod().RestartPolicy(never), seen: seen(exited("c", 0, 1, 0, 0)), want: did{Kind: doDetach}},
		{name: "never, one has not run yet", pod: two().RestartPolicy(never), seen: seen(exited("a", 0, 1, 0, 0)), want: did{Kind: doStart, Container: "b"}},
		{
			name: "ended and detached", pod: pod().RestartPolicy(never), seen: seen(exited("c", 0, 0, 0, 0)).with(func(o *observed) { o.network = false }),
			want: nothing,
		},
		{name: "finished, but not on this disk", pod: pod(), order: finishedOrder, seen: &observed{}, want: nothing},
		{name: "finished, and runs", pod: pod(), order: finishedOrder, seen: seen(running("c", 0)), want: did{Kind: doStop, Grace: 30 * time.Second}},

		{name: "marked, clients are still sent", pod: pod(), order: markedOrder(false), seen: seen(running("c", 0)), want: did{Kind: doNothing, In: drainBound - time.Second}},
		{name: "marked and released", pod: pod(), order: markedOrder(true), seen: seen(running("c", 0)), want: did{Kind: doStop, Grace: 7 * time.Second}},
		{
			name: "marked, proxies do not answer", pod: pod(), order: func(o *order) { markedOrder(false)(o); o.told = now.Add(-drainBound) },
			seen: seen(running("c", 0)), want: did{Kind: doStop, Grace: 7 * time.Second},
		},
		{name: "marked, nothing runs", pod: pod(), order: markedOrder(false), seen: seen(exited("c", 0, 0, 0, 0)), want: did{Kind: doCleanUp}},
		{name: "marked before it was set up", pod: pod(), order: markedOrder(false), seen: &observed{}, want: did{Kind: doConclude}},
		{
			name: "marked while it is held", pod: pod(), order: markedOrder(false),
			seen: (&observed{leftovers: true}).with(func(o *observed) { o.podHold = &hold{until: now.Add(time.Minute)} }), want: did{Kind: doCleanUp},
		},
		{name: "no order, runs", pod: pod(), order: goneOrder, seen: seen(running("c", 0)), want: did{Kind: doStop, Grace: forcedGrace}},
		{name: "no order, nothing runs", pod: pod(), order: goneOrder, seen: seen(exited("c", 0, 0, 0, 0)), want: did{Kind: doCleanUp}},
		{name: "no order, nothing there", pod: pod(), order: goneOrder, seen: &observed{}, want: did{Kind: doConclude}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := &order{Order: &state.Order{Pod: tt.pod.Obj()}, revision: 1}
			if tt.order != nil {
				tt.order(o)
			}
			if diff := cmp.Diff(tt.want, didOf(step(o, tt.seen, now))); diff != "" {
				t.Errorf("step (-want +got):\n%s", diff)
			}
		})
	}
}

func finishedOrder(o *order) { o.Finished = true }
func goneOrder(o *order)     { o.gone = true }

// markedOrder says that the pod is to be deleted with 7 s of grace, told a second ago.
func markedOrder(released bool) func(*order) {
	return func(o *order) {
		o.Pod, o.Released, o.told = marked(o.Pod, now, 7*time.Second), released, now.Add(-time.Second)
	}
}

// drawRun draws the runs of one container.
func drawRun(t *rapid.T, name string) []runtime.Container {
	attempt := rapid.IntRange(0, 3).Draw(t, name+" attempt")
	switch rapid.IntRange(0, 4).Draw(t, name+" state") {
	case 0:
		return nil
	case 1:
		return []runtime.Container{created(name, attempt)}
	case 2:
		return []runtime.Container{running(name, attempt)}
	default:
		ago := time.Duration(rapid.IntRange(0, 60).Draw(t, name+" ago")) * time.Second
		backoff := time.Duration(rapid.IntRange(0, 60).Draw(t, name+" backoff")) * time.Second
		return []runtime.Container{exited(name, attempt, rapid.IntRange(0, 1).Draw(t, name+" code"), ago, backoff)}
	}
}

func drawPod(t *rapid.T) *corev1.Pod {
	policies := []corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}
	b := objtest.Pod("p").RestartPolicy(rapid.SampledFrom(policies).Draw(t, "policy")).Container(container("a")).Container(container("b"))
	for _, name := range []string{"i", "s"} {
		switch rapid.IntRange(0, 2).Draw(t, name) {
		case 1:
			b.Init(container(name))
		case 2:
			b.Init(sidecar(name))
		}
	}
	return b.Obj()
}

func TestStepProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod := drawPod(t)
		var runs []runtime.Container
		for _, name := range []string{"i", "s", "a", "b"} {
			if findContainer(pod, name) != nil {
				runs = append(runs, drawRun(t, name)...)
			}
		}
		o := &order{Order: &state.Order{Pod: pod, Released: rapid.Bool().Draw(t, "released"), Finished: rapid.Bool().Draw(t, "finished")}, told: now}
		if rapid.Bool().Draw(t, "marked") {
			o.Pod = marked(pod, now, time.Minute)
		}
		o.gone = rapid.Bool().Draw(t, "gone")
		s := seen(runs...)
		a := step(o, s, now)
		over := o.gone || o.Finished || o.Pod.DeletionTimestamp != nil
		switch {
		case over && (a.kind == doStart || a.kind == doSetUp):
			t.Fatalf("%s of a pod that is to end", a.kind)
		case s.anyRunning() && (a.kind == doCleanUp || a.kind == doConclude || a.kind == doDetach):
			t.Fatalf("%s while something runs", a.kind)
		case a.kind == doNothing && !a.until.IsZero() && !a.until.After(now):
			t.Fatalf("wait until %v, which is not after %v: it would never sleep", a.until, now)
		case a.kind == doStart:
			checkStart(t, pod, s, a)
		}
	})
}

// checkStart says what must be true of every start.
func checkStart(t *rapid.T, pod *corev1.Pod, s *observed, a action) {
	latest := s.latest(a.container.Name)
	switch {
	case latest == nil && a.attempt != 0, latest != nil && latest.State == runtime.StateCreated && a.attempt != latest.Attempt:
		t.Fatalf("start of attempt %d after %+v", a.attempt, latest)
	case latest != nil && latest.State == runtime.StateRunning:
		t.Fatalf("start of %s, which runs", a.container.Name)
	case latest != nil && latest.State == runtime.StateExited:
		if a.attempt != latest.Attempt+1 || now.Before(latest.FinishedAt.Add(backoffAfter(latest))) ||
			!podinfo.Restarts(&pod.Spec, a.container, int32(latest.ExitCode)) {
			t.Fatalf("start of attempt %d after %+v", a.attempt, latest)
		}
	}
	if a.init || initialized(pod, s) {
		return
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if !initDone(c, s.latest(c.Name)) {
			t.Fatalf("start of %s before init container %s is done", a.container.Name, c.Name)
		}
	}
}
