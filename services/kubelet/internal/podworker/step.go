package podworker

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/admission"
	"millrace.dev/services/kubelet/internal/runtime"
)

const (
	// drainBound is how long a pod that is to be deleted keeps running while proxies have not acknowledged that they send
	// nobody to it (P23).
	drainBound = 2 * time.Second
	// forcedGrace is what a pod whose order was taken away gets: it was deleted by force, or its node was given up.
	forcedGrace = time.Second
)

// order is what the worker was last told about its pod.
type order struct {
	*state.Order
	revision uint64
	told     time.Time // when it first said that the pod is to be deleted
	// gone says that there is no order any more: the pod must vanish, and nobody waits for a report.
	gone bool
}

// observed is what there is of the pod on this node.
type observed struct {
	sandbox    bool // namespaces and control group
	network    bool // or none is needed
	volumes    bool
	leftovers  bool                           // anything that cleaning up would remove
	containers map[string][]runtime.Container // by name, oldest attempt first
	holds      map[string]hold                // by name: what keeps a container from being started
	podHold    *hold                          // what keeps the pod from being set up
	rejected   *admission.Rejection           // why the node refuses the pod; nil if it does not
}

// hold is why something is not tried again before a time.
type hold struct {
	reason, message string
	until           time.Time
	delay           time.Duration // the next one is twice as long
}

// latest is the newest run of a container; nil if it never ran.
func (o *observed) latest(name string) *runtime.Container {
	runs := o.containers[name]
	if len(runs) == 0 {
		return nil
	}
	return &runs[len(runs)-1]
}

func (o *observed) anyRunning() bool {
	for _, runs := range o.containers {
		for i := range runs {
			if runs[i].State == runtime.StateRunning {
				return true
			}
		}
	}
	return false
}

type actionKind string

// What a worker can do.
const (
	doNothing  actionKind = "nothing" // until it is woken, or until a time
	doSetUp    actionKind = "set up"  // directories, namespaces, network, volumes
	doStart    actionKind = "start"   // one container
	doStop     actionKind = "stop"    // all containers
	doDetach   actionKind = "detach"  // give the address of a finished pod back
	doCleanUp  actionKind = "clean up"
	doConclude actionKind = "conclude" // everything is gone: say so, or be forgotten
)

// action is the next thing to be done for a pod.
type action struct {
	kind      actionKind
	container *corev1.Container // to be started
	init      bool              // it is an init container
	attempt   int
	grace     time.Duration // of a stop
	until     time.Time     // of doNothing; zero: until woken
}

// step decides the next action for one pod. It is pure; every pair of (order, observed) has an answer.
func step(o *order, seen *observed, now time.Time) action {
	pod := o.Pod
	deleting := pod.DeletionTimestamp != nil
	switch {
	case o.gone && seen.anyRunning():
		return action{kind: doStop, grace: forcedGrace}
	case o.gone && seen.leftovers:
		return action{kind: doCleanUp}
	case o.gone:
		return action{kind: doConclude}
	case deleting && seen.anyRunning() && !o.Released && now.Before(o.told.Add(drainBound)):
		return action{kind: doNothing, until: o.told.Add(drainBound)} // the order's next revision, with released, wakes us earlier
	case deleting && seen.anyRunning():
		return action{kind: doStop, grace: podinfo.GracePeriod(pod)}
	case deleting && seen.leftovers:
		return action{kind: doCleanUp}
	case deleting:
		return action{kind: doConclude}
	case (o.Finished || ended(pod, seen)) && seen.anyRunning(): // sidecars, mostly
		return action{kind: doStop, grace: podinfo.GracePeriod(pod)}
	case o.Finished, seen.rejected != nil, ended(pod, seen):
		return afterEnd(seen)
	case seen.podHold != nil && now.Before(seen.podHold.until):
		return action{kind: doNothing, until: seen.podHold.until}
	case !seen.sandbox || !seen.network || !seen.volumes:
		return action{kind: doSetUp}
	}
	return startNext(pod, seen, now)
}

// afterEnd leaves the containers of a finished pod for their logs, and gives its address back.
func afterEnd(seen *observed) action {
	if seen.network && seen.sandbox {
		return action{kind: doDetach}
	}
	return action{kind: doNothing}
}

// startNext starts what is due: init containers one after the other, then all containers; and waits for what is not due yet.
// Once the pod is initialised its sidecars are containers like the others: none waits for another to come back.
func startNext(pod *corev1.Pod, seen *observed, now time.Time) action {
	wait := action{kind: doNothing}
	up := initialized(pod, seen)
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if initDone(c, seen.latest(c.Name)) || up && !podinfo.IsSidecar(c) {
			continue
		}
		a := startOne(pod, c, seen, now).asInit()
		if !up || a.kind == doStart {
			return a
		}
		wait = earlier(wait, a)
	}
	for i := range pod.Spec.Containers {
		a := startOne(pod, &pod.Spec.Containers[i], seen, now)
		if a.kind == doStart {
			return a
		}
		wait = earlier(wait, a)
	}
	return wait
}

func (a action) asInit() action {
	a.init = true
	return a
}

// initialized says that all init containers are done or were once: a container behind them has been made.
func initialized(pod *corev1.Pod, seen *observed) bool {
	for i := range pod.Spec.Containers {
		if seen.latest(pod.Spec.Containers[i].Name) != nil {
			return true
		}
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; !initDone(c, seen.latest(c.Name)) {
			return false
		}
	}
	return true
}

// initDone says that the containers behind an init container may be started: it has ended well, or it is a sidecar that runs.
func initDone(c *corev1.Container, latest *runtime.Container) bool {
	if latest == nil {
		return false
	}
	if podinfo.IsSidecar(c) {
		return latest.State == runtime.StateRunning
	}
	return latest.State == runtime.StateExited && latest.ExitCode == 0
}

// startOne says when a container is to be started; doNothing without a time means never, or not because of time.
func startOne(pod *corev1.Pod, c *corev1.Container, seen *observed, now time.Time) action {
	if h, ok := seen.holds[c.Name]; ok && now.Before(h.until) {
		return action{kind: doNothing, until: h.until}
	}
	latest := seen.latest(c.Name)
	switch {
	case latest == nil:
		return action{kind: doStart, container: c}
	case latest.State == runtime.StateCreated:
		return action{kind: doStart, container: c, attempt: latest.Attempt}
	case latest.State == runtime.StateRunning:
		return action{kind: doNothing}
	case !podinfo.Restarts(&pod.Spec, c, int32(latest.ExitCode)):
		return action{kind: doNothing}
	}
	if due := latest.FinishedAt.Add(backoffAfter(latest)); now.Before(due) {
		return action{kind: doNothing, until: due}
	}
	return action{kind: doStart, container: c, attempt: latest.Attempt + 1}
}

// earlier is the wait that ends first.
func earlier(a, b action) action {
	if a.until.IsZero() || !b.until.IsZero() && b.until.Before(a.until) {
		return b
	}
	return a
}

// ended says that every container has ended and none will be started again, or that an init container failed for good. Sidecars
// may run: the pod has finished once they are stopped.
func ended(pod *corev1.Pod, seen *observed) bool {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		latest := seen.latest(c.Name)
		if latest != nil && latest.State == runtime.StateExited && latest.ExitCode != 0 && !podinfo.Restarts(&pod.Spec, c, int32(latest.ExitCode)) {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		latest := seen.latest(c.Name)
		if latest == nil || latest.State != runtime.StateExited || podinfo.Restarts(&pod.Spec, c, int32(latest.ExitCode)) {
			return false
		}
	}
	return true
}
