package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/services/kubelet/internal/runtime"
)

// Runtime is a [runtime.Runtime] over a machine.
type Runtime struct {
	m       *Machine
	adopted chan struct{}
	watches chan *container
	events  chan runtime.Event
}

var _ runtime.Runtime = (*Runtime)(nil)

// Runtime makes what one kubelet has of the machine. One at a time is to run.
func (m *Machine) Runtime() *Runtime {
	return &Runtime{m: m, adopted: make(chan struct{}), watches: make(chan *container), events: make(chan runtime.Event)}
}

// Events are the exits, for one reader.
func (r *Runtime) Events() <-chan runtime.Event { return r.events }

// Run watches every container until ctx ends.
func (r *Runtime) Run(ctx context.Context) error {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	if err := r.waitUp(ctx); err != nil {
		return nil
	}
	r.m.mu.Lock()
	for _, c := range r.m.containers {
		if c.now.State == runtime.StateRunning {
			watchers.Go(func() { r.watch(ctx, c) })
		}
	}
	r.m.mu.Unlock()
	close(r.adopted)
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-r.watches:
			watchers.Go(func() { r.watch(ctx, c) })
		}
	}
}

func (r *Runtime) waitUp(ctx context.Context) error {
	r.m.mu.Lock()
	up := r.m.up
	r.m.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch makes the end of a process known, once the daemon is there to say so.
func (r *Runtime) watch(ctx context.Context, c *container) {
	r.m.mu.Lock()
	twice := c.watched == r
	c.watched = r
	r.m.mu.Unlock()
	if twice {
		return
	}
	select {
	case <-c.proc.done:
	case <-ctx.Done():
		return
	}
	if r.waitUp(ctx) != nil {
		return
	}
	r.m.finish(c, c.proc.result())
	select {
	case r.events <- runtime.Event{Container: r.m.status(c)}:
	case <-ctx.Done():
	}
}

// finish notes how a container ended.
func (m *Machine) finish(c *container, o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.now.State == runtime.StateExited {
		return
	}
	c.now.State, c.now.PID, c.now.FinishedAt, c.now.ExitCode = runtime.StateExited, 0, o.at, o.code
	const signalled, signals = 128, 65
	if n := o.code - signalled; n > 0 && n < signals && !o.lost {
		c.now.Signal = n
	}
	switch {
	case o.lost:
		c.now.Reason = runtime.ReasonUnknown
	case o.startError != "":
		c.now.Reason, c.now.Message = runtime.ReasonStartError, o.startError
	case o.oom:
		c.now.Reason, c.now.OOMKills = runtime.ReasonOOMKilled, 1
	case o.code == 0:
		c.now.Reason = runtime.ReasonCompleted
	default:
		c.now.Reason = runtime.ReasonError
	}
	close(c.ended)
}

func (m *Machine) status(c *container) runtime.Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.now
}

// before is what every call begins with.
func (r *Runtime) before(ctx context.Context, c Call) error {
	select {
	case <-r.adopted:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.m.cfg.Before != nil {
		if err := r.m.cfg.Before(ctx, c); err != nil {
			return err
		}
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if !r.m.isUp() {
		return runtime.ErrUnavailable
	}
	return nil
}

// find is a container that is there; the call is told to the test.
func (r *Runtime) find(ctx context.Context, op Op, id string) (*container, error) {
	select {
	case <-r.adopted:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.m.mu.Lock()
	c, ok := r.m.containers[id]
	r.m.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("container %s: %w", id, runtime.ErrNotFound)
	}
	if op == "" {
		return c, nil
	}
	return c, r.before(ctx, Call{Op: op, PodUID: c.config.PodUID, Container: c.config.Name, Attempt: c.config.Attempt})
}

// CreatePod makes a sandbox.
func (r *Runtime) CreatePod(ctx context.Context, c runtime.PodConfig) (runtime.Pod, error) {
	if err := r.before(ctx, Call{Op: OpCreatePod, PodUID: c.UID}); err != nil {
		return runtime.Pod{}, fmt.Errorf("create pod %s/%s: %w", c.Namespace, c.Name, err)
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	p, ok := r.m.pods[c.UID]
	if !ok || !p.Ready {
		p = runtime.Pod{UID: c.UID, Namespace: c.Namespace, Name: c.Name, Cgroup: "/fake/pod" + c.UID, Ready: true, CreatedAt: time.Now()}
		if !c.HostNetwork {
			p.NetNS = "/fake/" + c.UID + "/net"
		}
		r.m.pods[c.UID] = p
	}
	return p, nil
}

// RemovePod removes a sandbox with its containers.
func (r *Runtime) RemovePod(ctx context.Context, uid string) error {
	if err := r.before(ctx, Call{Op: OpRemovePod, PodUID: uid}); err != nil {
		return fmt.Errorf("remove pod %s: %w", uid, err)
	}
	list, err := r.List(ctx, uid)
	if err != nil {
		return err
	}
	all, removing := errgroup.WithContext(ctx)
	for _, c := range list {
		all.Go(func() error { return r.Remove(removing, c.ID) })
	}
	if err := all.Wait(); err != nil {
		return fmt.Errorf("remove pod %s: %w", uid, err)
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	delete(r.m.pods, uid)
	return nil
}

// ListPods gives every sandbox.
func (r *Runtime) ListPods(ctx context.Context) ([]runtime.Pod, error) {
	select {
	case <-r.adopted:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	pods := make([]runtime.Pod, 0, len(r.m.pods))
	for _, p := range r.m.pods {
		pods = append(pods, p)
	}
	runtime.SortPods(pods)
	return pods, nil
}

// Create makes a container.
func (r *Runtime) Create(ctx context.Context, c runtime.ContainerConfig) (runtime.Container, error) {
	got, err := r.create(ctx, c)
	if err != nil {
		return got, fmt.Errorf("create container %s: %w", c.Name, err)
	}
	return got, nil
}

func (r *Runtime) create(ctx context.Context, c runtime.ContainerConfig) (runtime.Container, error) {
	id := runtime.ContainerID(c.PodUID, c.Name, c.Attempt)
	if had, err := r.find(ctx, "", id); err == nil {
		return r.m.status(had), nil
	}
	if err := r.before(ctx, Call{Op: OpCreate, PodUID: c.PodUID, Container: c.Name, Attempt: c.Attempt}); err != nil {
		return runtime.Container{}, err
	}
	if err := check(&c); err != nil {
		return runtime.Container{}, err
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	pod, ok := r.m.pods[c.PodUID]
	switch {
	case !ok:
		return runtime.Container{}, fmt.Errorf("pod %s: %w", c.PodUID, runtime.ErrNotFound)
	case r.m.lacks(c.Image):
		return runtime.Container{}, fmt.Errorf("image %s: %w", c.Image.Name, runtime.ErrImageNotFound)
	}
	if c.Image.Digest == "" {
		c.Image.Digest = "sha256:" + runtime.ContainerID(c.Image.Name, "", 0)
	}
	made := &container{config: c, ended: make(chan struct{}), now: runtime.Container{
		ID: id, PodUID: c.PodUID, PodNamespace: pod.Namespace, PodName: pod.Name, Name: c.Name, Attempt: c.Attempt, Kind: c.Kind,
		Image: c.Image, State: runtime.StateCreated, CreatedAt: time.Now(), LogPath: c.Log.Path, Cgroup: pod.Cgroup + "/" + id,
		TTY: c.TTY, Stdin: c.Stdin, StdinOnce: c.StdinOnce, Labels: c.Labels,
	}}
	r.m.containers[id] = made
	return made.now, nil
}

// check refuses what no machine could run.
func check(c *runtime.ContainerConfig) error {
	known := []string{"ALL", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_PTRACE", "SYS_TIME", "SYS_ADMIN", "CHOWN", "KILL", "SETUID", "SETGID", "DAC_OVERRIDE", "FOWNER", "MKNOD", "IPC_LOCK", "SYS_NICE"}
	for _, name := range slices.Concat(c.Security.AddCapabilities, c.Security.DropCapabilities) {
		if !slices.Contains(known, strings.TrimPrefix(strings.ToUpper(name), "CAP_")) {
			return fmt.Errorf("%w: unknown capability %q", runtime.ErrInvalid, name)
		}
	}
	if c.StopSignal != "" {
		if _, err := signalName(c.StopSignal); err != nil {
			return err
		}
	}
	return nil
}

// signals are those that programs here may get.
var signals = []string{"TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "WINCH"}

func signalName(s string) (string, error) {
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := map[string]string{"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "15": "TERM"}[name]; ok {
		name = n
	}
	if !slices.Contains(signals, name) {
		return "", fmt.Errorf("%w: unknown signal %q", runtime.ErrInvalid, s)
	}
	return name, nil
}

// Start runs a container.
func (r *Runtime) Start(ctx context.Context, id string) (runtime.Container, error) {
	c, err := r.find(ctx, OpStart, id)
	if err != nil {
		return runtime.Container{}, err
	}
	name := c.config.Name
	switch now := r.m.status(c); now.State {
	case runtime.StateRunning:
		return now, nil
	case runtime.StateExited:
		return now, fmt.Errorf("start container %s: %w", name, runtime.ErrEnded)
	case runtime.StateCreated:
	}
	if err := r.m.start(ctx, c); err != nil {
		if failed, ok := errors.AsType[*runtime.StartError](err); ok {
			r.m.finish(c, outcome{code: runtime.ExitStartError, startError: failed.Message, at: time.Now()})
		}
		return r.m.status(c), fmt.Errorf("start container %s: %w", name, err)
	}
	select {
	case r.watches <- c:
	case <-ctx.Done():
		return r.m.status(c), context.Cause(ctx)
	}
	return r.m.status(c), nil
}

// Stop ends a container, gently at first.
func (r *Runtime) Stop(ctx context.Context, id string, grace time.Duration) (runtime.Container, error) {
	c, err := r.find(ctx, OpStop, id)
	if err != nil {
		return runtime.Container{}, err
	}
	if r.m.status(c).State != runtime.StateRunning {
		return r.m.status(c), nil
	}
	if grace > 0 {
		signal := "TERM"
		if c.config.StopSignal != "" {
			if signal, err = signalName(c.config.StopSignal); err != nil {
				return r.m.status(c), err
			}
		}
		c.proc.signal(signal)
		deadline := time.NewTimer(grace)
		defer deadline.Stop()
		select {
		case <-c.ended:
		case <-deadline.C:
		case <-ctx.Done():
			return r.m.status(c), context.Cause(ctx)
		}
	}
	return r.kill(ctx, c)
}

func (r *Runtime) kill(ctx context.Context, c *container) (runtime.Container, error) {
	if now := r.m.status(c); now.State != runtime.StateRunning {
		return now, nil
	}
	c.proc.signal("KILL")
	select {
	case <-c.ended:
		return r.m.status(c), nil
	case <-ctx.Done():
		return r.m.status(c), context.Cause(ctx)
	}
}

// running is a container that runs.
func (r *Runtime) running(ctx context.Context, op Op, id string) (*container, error) {
	c, err := r.find(ctx, op, id)
	if err != nil {
		return nil, err
	}
	if r.m.status(c).State != runtime.StateRunning {
		return nil, fmt.Errorf("container %s: %w", c.config.Name, runtime.ErrNotRunning)
	}
	return c, nil
}

// Kill sends a signal.
func (r *Runtime) Kill(ctx context.Context, id, signal string) error {
	c, err := r.running(ctx, OpKill, id)
	if err != nil {
		return err
	}
	name, err := signalName(signal)
	if err != nil {
		return err
	}
	c.proc.signal(name)
	return nil
}

// Update changes nothing but is told to the test.
func (r *Runtime) Update(ctx context.Context, id string, _ runtime.Resources) error {
	_, err := r.running(ctx, OpUpdate, id)
	return err
}

// Remove removes a container.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	c, err := r.find(ctx, OpRemove, id)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := r.kill(ctx, c); err != nil {
		return fmt.Errorf("remove container %s: %w", c.config.Name, err)
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	delete(r.m.containers, id)
	return nil
}

// Status is one container.
func (r *Runtime) Status(ctx context.Context, id string) (runtime.Container, error) {
	c, err := r.find(ctx, "", id)
	if err != nil {
		return runtime.Container{}, err
	}
	return r.m.status(c), nil
}

// List gives the containers of a pod, or all.
func (r *Runtime) List(ctx context.Context, podUID string) ([]runtime.Container, error) {
	select {
	case <-r.adopted:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return slices.DeleteFunc(r.m.Containers(), func(c runtime.Container) bool { return podUID != "" && c.PodUID != podUID }), nil
}

// Wait returns when a container has ended.
func (r *Runtime) Wait(ctx context.Context, id string) (runtime.Container, error) {
	c, err := r.find(ctx, "", id)
	if err != nil {
		return runtime.Container{}, err
	}
	select {
	case <-c.ended:
		return r.m.status(c), nil
	case <-ctx.Done():
		return r.m.status(c), context.Cause(ctx)
	}
}
