package podworker

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/note"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/image"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/volume"
)

// Images brings images to the node. A *image.Store is one.
type Images interface {
	Get(ctx context.Context, name string) (image.Image, error)
	Pull(ctx context.Context, r image.PullRequest) (image.Image, error)
}

// Network connects pods. A *network.Network is one.
type Network interface {
	Attach(ctx context.Context, netNS, uid string) (netip.Addr, error)
	Detach(ctx context.Context, uid string) error
	Address(uid string) (netip.Addr, bool)
}

// Contents asks for the ConfigMaps and Secrets that an order refers to.
type Contents interface {
	Config(ctx context.Context, r state.ConfigRequest) (*state.ConfigAnswer, error)
}

// Reporter takes what is found about pods and sees that it arrives. Gone is called when the control plane no longer has the
// pod.
type Reporter interface {
	Report(r state.PodReport, gone func())
}

// Deps is what workers work with.
type Deps struct {
	Runtime  runtime.Runtime
	Images   Images
	Network  Network
	Volumes  *volume.Volumes
	Contents Contents
	Reporter Reporter
	Notes    *note.Noter
	Node     Node
}

// worker keeps one pod: one namespace and name, with one uid at a time.
type worker struct {
	Deps
	node    Node
	volumes *volume.Volumes
	gate    *gate
	ended   func() bool // asked once nothing is left of the pod: false if a newer order came

	mu      sync.Mutex
	next    *order // told, not yet taken
	current context.CancelFunc
	wake    chan struct{}

	// Of the goroutine alone.
	order    *order
	seen     observed
	began    time.Time
	reported *corev1.PodStatus
	stopped  bool // reported as such
	knocked  bool // at the gate
	contents *contents
}

func newWorker(d Deps, first *order, ended func() bool) *worker {
	return &worker{
		Deps: d, node: d.Node, volumes: d.Volumes, ended: ended, next: first, wake: make(chan struct{}, 1),
		seen: observed{holds: map[string]hold{}},
	}
}

// tell gives the worker a newer order. What it is doing is ended if the new order makes it pointless.
func (w *worker) tell(o *order) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = o
	if w.current != nil && w.urgent(o) {
		w.current()
	}
	w.nudge()
}

// urgent says that an order must not wait for what is being done: the pod is to end, or to end sooner than it was. What is ending
// already is not interrupted for anything else: its containers would get their signal twice. Caller holds mu.
func (w *worker) urgent(o *order) bool {
	had := w.order
	if o.gone || had.gone {
		return o.gone != had.gone
	}
	return o.Finished && !had.Finished || sooner(o.Pod.DeletionTimestamp, had.Pod.DeletionTimestamp)
}

// sooner says that a deletion is due before the one that was known, if any was.
func sooner(next, had *metav1.Time) bool {
	return next != nil && (had == nil || next.Before(had))
}

// nudge has the worker look again.
func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run keeps the pod until nothing is left of it or ctx ends.
func (w *worker) run(ctx context.Context) {
	timer := clock.Stopped()
	defer timer.Stop()
	for ctx.Err() == nil {
		w.take()
		if err := w.observe(ctx); err != nil {
			slog.WarnContext(ctx, "pod cannot be looked at", "component", "podworker", "name", w.order.Pod.Name, "err", err)
			if !clock.Pause(ctx, time.Second) {
				return
			}
			continue
		}
		w.knock()
		a := step(w.order, &w.seen, w.node.Now())
		w.report(a)
		if a.kind == doConclude && w.conclude() {
			return
		}
		if a.kind != doNothing && a.kind != doConclude {
			w.perform(ctx, a)
			continue
		}
		if !a.until.IsZero() {
			timer.Reset(max(a.until.Sub(w.node.Now()), 0))
		}
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.wake:
		}
		timer.Stop()
	}
}

// take adopts the newest order.
func (w *worker) take() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next == nil {
		return
	}
	had := w.order
	w.order, w.next = w.next, nil
	if had == nil {
		return
	}
	w.order.told = firstTold(had, w.order)
	if had.gone && !w.order.gone { // as if it came for the first time
		w.knocked, w.reported, w.stopped = false, nil, false
	}
	if had.revision != w.order.revision {
		w.contents = nil // it may name newer ones
		w.dropHolds(had.Pod)
	}
}

// dropHolds has containers tried again at once for which a new revision may have brought what was missing: a ConfigMap or Secret,
// or another image.
func (w *worker) dropHolds(before *corev1.Pod) {
	for name, h := range w.seen.holds {
		was, is := findContainer(before, name), findContainer(w.order.Pod, name)
		if h.reason == reasonConfigError || was != nil && is != nil && was.Image != is.Image {
			delete(w.seen.holds, name)
		}
	}
}

// firstTold keeps the time at which the pod was first said to be deleted.
func firstTold(had, next *order) time.Time {
	if had.Pod.DeletionTimestamp != nil {
		return had.told
	}
	return next.told
}

// perform does one action; it is cut short if a new order makes it pointless.
func (w *worker) perform(ctx context.Context, a action) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	w.current = cancel
	if w.next != nil && w.urgent(w.next) {
		cancel()
	}
	w.mu.Unlock()
	w.act(ctx, a)
	w.mu.Lock()
	w.current = nil
	w.mu.Unlock()
}

// observe looks at what there is of the pod. It asks nobody over the network.
func (w *worker) observe(ctx context.Context) error {
	uid := string(w.order.Pod.UID)
	containers, err := w.Runtime.List(ctx, uid)
	if err != nil {
		return err
	}
	w.seen.containers = map[string][]runtime.Container{}
	for _, c := range containers {
		w.seen.containers[c.Name] = append(w.seen.containers[c.Name], c)
	}
	for _, runs := range w.seen.containers {
		sortRuns(runs)
	}
	if w.began.IsZero() {
		w.began = w.node.Now()
		return w.adopt(ctx, uid)
	}
	return nil
}

// adopt finds the sandbox that an earlier kubelet made.
func (w *worker) adopt(ctx context.Context, uid string) error {
	pods, err := w.Runtime.ListPods(ctx)
	if err != nil {
		w.began = time.Time{}
		return err
	}
	for _, p := range pods {
		if p.UID != uid {
			continue
		}
		w.seen.leftovers = true
		w.seen.sandbox = p.Ready
		if !p.CreatedAt.IsZero() {
			w.began = p.CreatedAt
		}
	}
	_, attached := w.Network.Address(uid)
	w.seen.network = attached || w.order.Pod.Spec.HostNetwork
	w.seen.volumes = w.volumes.Exists(uid)
	w.seen.leftovers = w.seen.leftovers || attached || w.seen.volumes || len(w.seen.containers) > 0
	return nil
}

// knock asks the gate once, unless the pod is to end anyway: one of which there is something here was let in before.
func (w *worker) knock() {
	pod := w.order.Pod
	if w.knocked || w.order.gone || w.order.Finished || pod.DeletionTimestamp != nil {
		return
	}
	w.knocked = true
	if w.seen.leftovers {
		w.gate.occupy(pod)
		return
	}
	if r := w.gate.admit(pod); r != nil {
		w.seen.rejected = r
		w.Notes.Warning(pod, r.Reason, "%s", r.Message)
	}
}

// report tells what was found, if it is not what was told last.
func (w *worker) report(a action) {
	if w.order.gone {
		return
	}
	pod := w.order.Pod
	stopped := a.kind == doConclude
	if stopped && w.reported != nil {
		w.tellStopped()
		return
	}
	f := facts{hostIP: w.node.HostIP, started: w.began, now: w.node.Now()}
	f.address = w.address(pod)
	s := makeStatus(w.order, &w.seen, f)
	if w.reported != nil && s.PodIP == "" && podinfo.Finished(&corev1.Pod{Status: s}) {
		s.PodIP, s.PodIPs = w.reported.PodIP, w.reported.PodIPs // given back, but it had it
	}
	if w.reported != nil && equality.Semantic.DeepEqual(w.reported, &s) {
		return
	}
	if podinfo.Finished(&corev1.Pod{Status: s}) {
		w.gate.release(pod.UID)
	}
	w.reported, w.stopped = &s, stopped
	w.send()
}

// tellStopped says once that nothing of the pod runs any more, with what was last seen of it: its containers are gone.
func (w *worker) tellStopped() {
	if !w.stopped {
		w.stopped = true
		w.send()
	}
}

// send reports what was found. Of a pod that the control plane calls finished only its own end is worth telling: what is not found
// here (the disk was lost), or was stopped on that word, must not make it unfinished (P16).
func (w *worker) send() {
	pod := w.order.Pod
	if w.order.Finished && !podinfo.Finished(&corev1.Pod{Status: *w.reported}) {
		return
	}
	w.Reporter.Report(state.PodReport{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Order: w.order.revision, Status: *w.reported, Stopped: w.stopped,
	}, w.forget)
}

// forget is told that the control plane no longer has the pod. What the pod held is given to others at once, as the scheduler
// does, though it may take a moment to stop.
func (w *worker) forget() {
	last := w.latest()
	w.gate.release(last.Pod.UID)
	w.tell(&order{Order: last.Order, revision: last.revision, gone: true})
}

// latest is the order that the worker was told last.
func (w *worker) latest() *order {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next != nil {
		return w.next
	}
	return w.order
}

// address is the pod's IP; the zero address if it has none yet.
func (w *worker) address(pod *corev1.Pod) netip.Addr {
	if !pod.Spec.HostNetwork {
		a, _ := w.Network.Address(string(pod.UID))
		return a
	}
	a, err := netip.ParseAddr(w.node.HostIP)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// conclude ends the worker if nobody waits for a report any more. The manager decides, which knows whether a newer order came: it
// takes the worker's lock under its own, so that none is held here.
func (w *worker) conclude() bool {
	return w.order.gone && w.ended()
}

// over says that the worker was told of no order since it was told that there is none.
func (w *worker) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next == nil || w.next.gone
}
