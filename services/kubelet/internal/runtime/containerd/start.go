package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/logger"
	"millrace.dev/services/kubelet/internal/runtime"
)

// startTime bounds a start; what takes longer is not going to be. It is Kubernetes' runtime request timeout.
const startTime = 2 * time.Minute

var errStartTime = fmt.Errorf("%w: a start takes too long", runtime.ErrUnavailable)

// Start runs a created container: two calls to the daemon, one to make the process, one to let it go.
func (r *Runtime) Start(ctx context.Context, id string) (runtime.Container, error) {
	e, err := r.find(ctx, id)
	if err != nil {
		return runtime.Container{}, err
	}
	switch now := e.status(); now.State {
	case runtime.StateRunning:
		return now, nil
	case runtime.StateExited:
		return now, fmt.Errorf("start container %s: %w", e.meta.Name, runtime.ErrEnded)
	case runtime.StateCreated:
	}
	// Not cut off half-way by its caller: whether it runs would be anybody's guess.
	lasting, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), startTime, errStartTime)
	defer cancel()
	err = r.start(lasting, e)
	if failed, ok := errors.AsType[*runtime.StartError](err); ok {
		// That it could not be run is its result, like any other.
		res := result{Finished: time.Now(), ExitCode: runtime.ExitStartError, Reason: runtime.ReasonStartError, Message: failed.Message}
		if err := r.finish(lasting, e, res); err != nil {
			return e.status(), fmt.Errorf("start container %s: %w", e.meta.Name, err)
		}
	}
	if err != nil {
		return e.status(), fmt.Errorf("start container %s: %w", e.meta.Name, err)
	}
	select { // the watcher; it would find an end that has come meanwhile
	case r.watches <- e:
	case <-ctx.Done():
		return e.status(), context.Cause(ctx)
	}
	return e.status(), nil
}

func (r *Runtime) start(ctx context.Context, e *entry) error {
	req, err := r.taskRequest(ctx, e)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.hasTask = true // or will have, whatever the answer is
	e.mu.Unlock()
	created, err := r.tasks.Create(ctx, req)
	pid := created.GetPid()
	switch native := errgrpc.ToNative(err); {
	case errdefs.IsAlreadyExists(native):
		// Of an attempt that a crash cut off. Whether it was let go is seen when we try to.
	case err != nil:
		r.releasePipes(e)
		return startError(ctx, "failed to create containerd task: ", err)
	}
	at := time.Now() // not later: a short process may have ended when the call returns
	started, err := r.tasks.Start(ctx, &tasks.StartRequest{ContainerID: e.id})
	if err != nil {
		if pid = r.runningTask(ctx, e.id); pid == 0 {
			return r.notStarted(ctx, e, err)
		}
	}
	if p := started.GetPid(); p != 0 {
		pid = p
	}
	if err := r.noteStart(e.id, at); err != nil {
		return fmt.Errorf("note start: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hasTask, e.mounts = false, nil
	e.now.State, e.now.PID, e.now.StartedAt = runtime.StateRunning, int(pid), at
	return nil
}

// notStarted says why a task that was made did not start. If there is nothing to start, the daemon died as it was made:
// what is left of it is removed, so that the next attempt begins anew.
func (r *Runtime) notStarted(ctx context.Context, e *entry, err error) error {
	if !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		return startError(ctx, "failed to start containerd task: ", err)
	}
	if err := r.deleteTask(ctx, e.id); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", runtime.ErrUnavailable, Translate(ctx, err))
}

// startError tells a command that cannot be run from a daemon that cannot be reached.
func startError(ctx context.Context, prefix string, err error) error {
	err = Translate(ctx, err)
	if ctx.Err() != nil || errors.Is(err, runtime.ErrUnavailable) {
		return err
	}
	return &runtime.StartError{Message: prefix + err.Error()}
}

// runningTask is the process of a task that runs already; 0 if it does not.
func (r *Runtime) runningTask(ctx context.Context, id string) uint32 {
	got, err := r.tasks.Get(ctx, &tasks.GetRequest{ContainerID: id})
	if err != nil || !runs(got.GetProcess().GetStatus()) {
		return 0
	}
	return got.GetProcess().GetPid()
}

func (r *Runtime) taskRequest(ctx context.Context, e *entry) (*tasks.CreateTaskRequest, error) {
	e.mu.Lock()
	mounts := e.mounts
	e.mu.Unlock()
	if mounts == nil { // adopted
		var err error
		if mounts, err = r.snapshots.Mounts(ctx, e.id); err != nil {
			return nil, fmt.Errorf("find root file system: %w", Translate(ctx, err))
		}
	}
	req := &tasks.CreateTaskRequest{ContainerID: e.id, Terminal: e.meta.TTY}
	for _, m := range mounts {
		req.Rootfs = append(req.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return req, r.connectOutput(ctx, e, req)
}

// connectOutput says where the container's streams go: to a logger that the shim starts, or, with an input or a terminal,
// to a hub that is started here.
func (r *Runtime) connectOutput(ctx context.Context, e *entry, req *tasks.CreateTaskRequest) error {
	log := e.meta.Log
	if log.Path == "" && !e.interactive() {
		return nil
	}
	cfg := logger.Config{Path: log.Path, MaxBytes: log.MaxBytes, MaxFiles: log.MaxFiles}
	if cfg.Path == "" {
		cfg.Path = os.DevNull
	} else if err := touch(cfg.Path); err != nil {
		return fmt.Errorf("create log: %w", err)
	}
	if e.interactive() {
		return r.startHub(ctx, e, req, cfg)
	}
	uri, err := cio.LogURIGenerator("binary", r.cfg.Logger, cfg.Params())
	if err != nil {
		return fmt.Errorf("create log: %w", err)
	}
	req.Stdout, req.Stderr = uri.String(), uri.String()
	return nil
}

// interactive says that somebody may want to be attached to more than its log.
func (e *entry) interactive() bool { return e.meta.TTY || e.meta.Stdin }

// touch makes a log and its directory, so that what is wrong with them is said here and not by a logger that nobody hears.
func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}

// startHub starts the process between the container's streams, its log and those who attach.
func (r *Runtime) startHub(ctx context.Context, e *entry, req *tasks.CreateTaskRequest, cfg logger.Config) error {
	dir := r.pipeDir(e.id)
	req.Stdout = filepath.Join(dir, logger.HubStdout)
	if e.meta.Stdin {
		req.Stdin = filepath.Join(dir, logger.HubStdin)
	}
	if !e.meta.TTY {
		req.Stderr = filepath.Join(dir, logger.HubStderr)
	}
	if c, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, logger.HubSocket)); err == nil {
		return c.Close() // there already, from an attempt that was cut off
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("start hub: %w", err)
	}
	// It outlives ctx: it ends by itself in a moment, and must not be cut off between its parent and its child.
	out, err := exec.CommandContext(context.WithoutCancel(ctx), r.cfg.Logger, logger.HubArgs(dir, e.meta.TTY, cfg)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("start hub: %w: %s", err, out)
	}
	return nil
}

// releasePipes lets the hub of a container that did not start come to its end: it waits for the shim to open the pipes.
func (r *Runtime) releasePipes(e *entry) {
	if !e.interactive() {
		return
	}
	for _, name := range []string{logger.HubStdout, logger.HubStderr} {
		if fd, err := unix.Open(filepath.Join(r.pipeDir(e.id), name), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Close(fd)
		}
	}
}
