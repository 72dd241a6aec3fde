package podworker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/image"
	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/volume"
)

// Waiting reasons of containers that cannot be started, in Kubernetes' words.
const (
	reasonErrImagePull       = "ErrImagePull"
	reasonImagePullBackOff   = "ImagePullBackOff"
	reasonErrImageNeverPull  = "ErrImageNeverPull"
	reasonInvalidImageName   = "InvalidImageName"
	reasonConfigError        = "CreateContainerConfigError"
	reasonCreateError        = "CreateContainerError"
	reasonRunError           = "RunContainerError"
	reasonFailedSandbox      = "FailedCreatePodSandBox"
	reasonFailedMount        = "FailedMount"
	setUpRetryFirst          = time.Second
	setUpRetryMost           = time.Minute
	cleanUpRetry             = time.Second
	eventFailed, eventPulled = "Failed", "Pulled"
)

// act does what step has named. What fails leaves a hold or is tried again; nothing half done is left unseen.
func (w *worker) act(ctx context.Context, a action) {
	switch a.kind {
	case doSetUp:
		w.setUp(ctx)
	case doStart:
		w.start(ctx, a)
	case doStop:
		w.stop(ctx, a.grace)
	case doDetach:
		if err := w.Network.Detach(ctx, string(w.order.Pod.UID)); err != nil {
			slog.WarnContext(ctx, "address was not given back", "component", "podworker", "name", w.order.Pod.Name, "err", err)
		}
		w.seen.network = false
	case doCleanUp:
		w.cleanUp(ctx)
	case doNothing, doConclude:
	}
}

// setUp makes the sandbox, the network and the volumes of the pod.
func (w *worker) setUp(ctx context.Context) {
	pod := w.order.Pod
	w.seen.leftovers = true
	sandbox, err := w.Runtime.CreatePod(ctx, makeSandbox(pod))
	if err != nil {
		w.holdPod(ctx, reasonFailedSandbox, fmt.Errorf("Failed to create pod sandbox: %w", err))
		return
	}
	w.seen.sandbox = true
	if !pod.Spec.HostNetwork {
		if _, err := w.Network.Attach(ctx, sandbox.NetNS, string(pod.UID)); err != nil {
			w.holdPod(ctx, reasonFailedSandbox, fmt.Errorf("Failed to create pod sandbox: %w", err))
			return
		}
	}
	w.seen.network = true
	address := w.address(pod)
	text := ""
	if address.IsValid() {
		text = address.String()
	}
	if err := w.volumes.SetUp(pod, hostname(pod), text); err != nil {
		reason := fmt.Errorf("MountVolume.SetUp failed: %w", err)
		if _, ok := errors.AsType[*volume.UnsupportedError](err); ok {
			reason = err
		}
		w.holdPod(ctx, reasonFailedMount, reason)
		return
	}
	w.seen.volumes, w.seen.podHold = true, nil
}

// holdPod has the pod wait before it is set up again.
func (w *worker) holdPod(ctx context.Context, reason string, err error) {
	if ctx.Err() != nil {
		return // a new order came
	}
	had := hold{}
	if w.seen.podHold != nil {
		had = *w.seen.podHold
	}
	h := had.again(reason, w.node.Now(), setUpRetryFirst, setUpRetryMost)
	w.seen.podHold = &h
	w.Notes.Warning(w.order.Pod, reason, "%v", err)
}

// start runs one container: its image, its configuration, itself.
func (w *worker) start(ctx context.Context, a action) {
	pod, c := w.order.Pod, a.container
	if a.attempt > 0 && w.seen.latest(c.Name) != nil && backoffAfter(w.seen.latest(c.Name)) > 0 {
		w.Notes.Container(pod, c.Name, corev1.EventTypeWarning, "BackOff",
			fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)", c.Name, pod.Name, pod.Namespace, pod.UID))
	}
	local, err := w.image(ctx, pod, c)
	if err != nil {
		return // a hold says why
	}
	config, err := w.configure(ctx, a, local)
	if err != nil {
		w.holdContainer(ctx, c, reasonConfigError, err)
		return
	}
	created, err := w.Runtime.Create(ctx, config)
	if err != nil {
		w.holdContainer(ctx, c, reasonCreateError, err)
		return
	}
	if created.State == runtime.StateCreated {
		w.Notes.Container(pod, c.Name, corev1.EventTypeNormal, "Created", "Container created")
	}
	if _, err = w.Runtime.Start(ctx, created.ID); err != nil {
		w.startFailed(ctx, c, err)
		return
	}
	delete(w.seen.holds, c.Name)
	w.Notes.Container(pod, c.Name, corev1.EventTypeNormal, "Started", "Container started")
	w.removeOld(ctx, c.Name)
}

// startFailed tells of a container whose command could not be run. It has ended with that: the restart policy decides what
// follows.
func (w *worker) startFailed(ctx context.Context, c *corev1.Container, err error) {
	if ctx.Err() != nil {
		return
	}
	w.Notes.Container(w.order.Pod, c.Name, corev1.EventTypeWarning, eventFailed, "Error: "+err.Error())
	if _, ok := errors.AsType[*runtime.StartError](err); !ok {
		w.holdContainer(ctx, c, reasonRunError, err)
	}
}

// removeOld removes all runs of a container but the newest and the one before: the log and the end of that are still asked for.
func (w *worker) removeOld(ctx context.Context, name string) {
	runs := w.seen.containers[name]
	for i := range max(len(runs)-1, 0) {
		if err := w.Runtime.Remove(ctx, runs[i].ID); err != nil {
			slog.WarnContext(ctx, "old container is left", "component", "podworker", "name", w.order.Pod.Name, "err", err)
			return
		}
		if err := logs.Remove(runs[i].LogPath); err != nil {
			slog.WarnContext(ctx, "old log is left", "component", "podworker", "name", w.order.Pod.Name, "err", err)
		}
	}
}

// holdContainer has one container wait before it is tried again, and says why.
func (w *worker) holdContainer(ctx context.Context, c *corev1.Container, reason string, err error) {
	if ctx.Err() != nil {
		return // a new order came
	}
	w.Notes.Container(w.order.Pod, c.Name, corev1.EventTypeWarning, eventFailed, "Error: "+err.Error())
	w.seen.holds[c.Name] = hold{reason: reason, message: err.Error(), until: w.node.Now().Add(configRetry)}
}

// configure makes the configuration of a container, with the ConfigMaps and Secrets that it refers to.
func (w *worker) configure(ctx context.Context, a action, local localImage) (runtime.ContainerConfig, error) {
	have, err := w.fetchContents(ctx)
	if err != nil {
		return runtime.ContainerConfig{}, err
	}
	f := facts{hostIP: w.node.HostIP, address: w.address(w.order.Pod)}
	env := &environment{pod: w.order.Pod, facts: f, node: w.node.Name, capacity: w.node.Allocatable, contents: have}
	return w.makeContainer(w.order, a, local, env)
}

// fetchContents asks for what the order refers to, once for each revision of the order.
func (w *worker) fetchContents(ctx context.Context) (*contents, error) {
	if w.contents != nil {
		return w.contents, nil
	}
	refs := state.ConfigRefs(w.order.Pod)
	if len(refs) == 0 {
		w.contents = newContents(&state.ConfigAnswer{})
		return w.contents, nil
	}
	answer, err := w.Contents.Config(ctx, state.ConfigRequest{
		Namespace: w.order.Pod.Namespace, Pod: w.order.Pod.Name, Order: w.order.revision, Refs: refs,
	})
	if err != nil {
		return nil, fmt.Errorf("ask for its configuration: %w", err)
	}
	w.contents = newContents(answer)
	return w.contents, nil
}

// image finds or pulls the image of a container, as its policy says. An error has left a hold.
func (w *worker) image(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (localImage, error) {
	name, err := image.Normalize(c.Image)
	if err != nil {
		w.holdImage(ctx, c, reasonInvalidImageName, fmt.Errorf("Failed to apply default image tag %q: %w", c.Image, err))
		return localImage{}, err
	}
	local, err := w.Images.Get(ctx, name)
	present := err == nil
	switch {
	case err != nil && !errors.Is(err, image.ErrNotFound):
		w.holdImage(ctx, c, reasonErrImagePull, err)
		return localImage{}, err
	case present && c.ImagePullPolicy != corev1.PullAlways:
		w.Notes.Container(pod, c.Name, corev1.EventTypeNormal, eventPulled,
			fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", c.Image))
		return named(local, name), nil
	case !present && c.ImagePullPolicy == corev1.PullNever:
		err = fmt.Errorf("Container image %q is not present with pull policy of Never", c.Image)
		w.holdImage(ctx, c, reasonErrImageNeverPull, err)
		return localImage{}, err
	}
	return w.pull(ctx, pod, c, name)
}

// localImage is an image on this node.
type localImage struct {
	runtime.Image
	user string // as whom it wants to run: a name or number, perhaps with a group; empty: root
}

// named is a local image under the name that the pod gave it.
func named(i image.Image, name string) localImage {
	local := localImage{Image: i.Local(), user: i.Config.User}
	local.Name = name
	return local
}

func (w *worker) pull(ctx context.Context, pod *corev1.Pod, c *corev1.Container, name string) (localImage, error) {
	w.Notes.Container(pod, c.Name, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
	began := w.node.Now()
	pulled, err := w.Images.Pull(ctx, image.PullRequest{Name: name})
	if err != nil {
		w.holdImage(ctx, c, reasonErrImagePull, err)
		return localImage{}, err
	}
	took := w.node.Now().Sub(began).Round(time.Millisecond)
	w.Notes.Container(pod, c.Name, corev1.EventTypeNormal, eventPulled, fmt.Sprintf(
		"Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.", c.Image, took, took, pulled.SizeBytes))
	return named(pulled, name), nil
}

// holdImage has a container wait for its image: at first with the error itself, then backing off.
func (w *worker) holdImage(ctx context.Context, c *corev1.Container, reason string, err error) {
	if ctx.Err() != nil {
		return // a new order came
	}
	w.Notes.Container(w.order.Pod, c.Name, corev1.EventTypeWarning, eventFailed, sentence(reason, c.Image, err))
	w.Notes.Container(w.order.Pod, c.Name, corev1.EventTypeWarning, eventFailed, "Error: "+reason)
	had := w.seen.holds[c.Name]
	h := had.again(reason, w.node.Now(), imageBackoffFirst, imageBackoffMost)
	h.message = err.Error()
	if reason == reasonErrImagePull && had.delay > 0 {
		w.Notes.Container(w.order.Pod, c.Name, corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", c.Image))
		h.reason = reasonImagePullBackOff
		h.message = fmt.Sprintf("Back-off pulling image %q: %s: %s", c.Image, reasonErrImagePull, err)
	}
	w.seen.holds[c.Name] = h
}

func sentence(reason, name string, err error) string {
	if reason == reasonErrImagePull {
		return fmt.Sprintf("Failed to pull image %q: %v", name, err)
	}
	return err.Error()
}

// stop stops all containers of the pod at once: the containers first, then sidecars. After a failure it waits a while.
func (w *worker) stop(ctx context.Context, grace time.Duration) {
	pod := w.order.Pod
	if at := pod.DeletionTimestamp; at != nil && !w.order.gone {
		grace = min(grace, max(at.Sub(w.node.Now()), time.Second)) // the mark counts from when it was made
	}
	var apps, others []runtime.Container
	for _, runs := range w.seen.containers {
		for _, c := range runs {
			switch {
			case c.State != runtime.StateRunning:
			case c.Kind == runtime.KindApp:
				apps = append(apps, c)
			default:
				others = append(others, c)
			}
		}
	}
	var failed atomic.Bool
	for _, list := range [][]runtime.Container{apps, others} {
		var wg sync.WaitGroup
		for _, c := range list {
			w.Notes.Container(pod, c.Name, corev1.EventTypeNormal, "Killing", "Stopping container "+c.Name)
			wg.Go(func() {
				if _, err := w.Runtime.Stop(ctx, c.ID, grace); err != nil && ctx.Err() == nil {
					failed.Store(true)
					slog.WarnContext(ctx, "container was not stopped", "component", "podworker", "name", pod.Name, "container", c.Name, "err", err)
				}
			})
		}
		wg.Wait()
	}
	if failed.Load() {
		clock.Pause(ctx, cleanUpRetry)
	}
}

// cleanUp removes everything of the pod from the node but what is still to be reported.
func (w *worker) cleanUp(ctx context.Context) {
	pod := w.order.Pod
	uid := string(pod.UID)
	err := errors.Join(
		w.Network.Detach(ctx, uid), w.Runtime.RemovePod(ctx, uid), w.volumes.CleanUp(uid),
		logs.RemovePod(w.node.LogDir, pod.Namespace, pod.Name, uid),
	)
	if err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "pod is not cleaned up yet", "component", "podworker", "name", pod.Name, "err", err)
			clock.Pause(ctx, cleanUpRetry)
		}
		return
	}
	w.seen.leftovers, w.seen.sandbox, w.seen.network, w.seen.volumes = false, false, false, false
}

func sortRuns(runs []runtime.Container) {
	slices.SortFunc(runs, func(a, b runtime.Container) int { return cmp.Compare(a.Attempt, b.Attempt) })
}
