package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/runtime"
)

// Stop ends a container, gently at first.
func (r *Runtime) Stop(ctx context.Context, id string, grace time.Duration) (runtime.Container, error) {
	e, err := r.find(ctx, id)
	if err != nil {
		return runtime.Container{}, err
	}
	if grace > 0 && e.status().State == runtime.StateRunning {
		if err := r.ask(ctx, e, grace); err != nil {
			return e.status(), fmt.Errorf("stop container %s: %w", e.meta.Name, err)
		}
	}
	now, err := r.end(ctx, e)
	if err != nil {
		return now, fmt.Errorf("stop container %s: %w", e.meta.Name, err)
	}
	return now, nil
}

// ask sends the stop signal and waits for the end, but not beyond grace.
func (r *Runtime) ask(ctx context.Context, e *entry, grace time.Duration) error {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	signal := unix.SIGTERM
	if e.meta.StopSignal != "" {
		var err error
		if signal, err = signalNumber(e.meta.StopSignal); err != nil {
			return err
		}
	}
	if err := r.signal(ctx, e.id, signal, false); err != nil && !errors.Is(err, runtime.ErrNotRunning) {
		return err
	}
	select {
	case <-e.ended:
	case <-deadline.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// end kills whatever runs in a container and waits until its result is stored. One that does not run is left as it is;
// what a start that failed half-way left of it is removed.
func (r *Runtime) end(ctx context.Context, e *entry) (runtime.Container, error) {
	if now := e.status(); now.State != runtime.StateRunning {
		return now, r.dropTask(ctx, e)
	}
	err := r.persist(ctx, func() error { return r.signal(ctx, e.id, unix.SIGKILL, true) })
	if err != nil && !errors.Is(err, runtime.ErrNotRunning) {
		return e.status(), err
	}
	select {
	case <-e.ended:
		return e.status(), nil
	case <-ctx.Done():
		return e.status(), context.Cause(ctx)
	}
}

// dropTask removes the task of a container that has one although it does not run.
func (r *Runtime) dropTask(ctx context.Context, e *entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.hasTask {
		return nil
	}
	if err := r.deleteTask(ctx, e.id); err != nil {
		return err
	}
	e.hasTask = false
	return nil
}

// Kill sends a signal to the first process of a container.
func (r *Runtime) Kill(ctx context.Context, id, signal string) error {
	e, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	number, err := signalNumber(signal)
	if err != nil {
		return err
	}
	if e.status().State != runtime.StateRunning {
		return fmt.Errorf("signal container %s: %w", e.meta.Name, runtime.ErrNotRunning)
	}
	if err := r.signal(ctx, id, number, false); err != nil {
		return fmt.Errorf("signal container %s: %w", e.meta.Name, err)
	}
	return nil
}

func (r *Runtime) signal(ctx context.Context, id string, signal unix.Signal, all bool) error {
	_, err := r.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(signal), All: all})
	if native := errgrpc.ToNative(err); errdefs.IsNotFound(native) || errdefs.IsFailedPrecondition(native) {
		return runtime.ErrNotRunning
	}
	err = Translate(ctx, err)
	if err == nil || ctx.Err() != nil || errors.Is(err, runtime.ErrUnavailable) {
		return err
	}
	// The daemon has many words for a shim that ends just now.
	if r.runningTask(ctx, id) == 0 {
		return runtime.ErrNotRunning
	}
	return err
}

// Update changes the limits of a running container.
func (r *Runtime) Update(ctx context.Context, id string, res runtime.Resources) error {
	e, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	if e.status().State != runtime.StateRunning {
		return fmt.Errorf("update container %s: %w", e.meta.Name, runtime.ErrNotRunning)
	}
	limits := linuxResources(res)
	if res.CPUQuota <= 0 {
		limits.CPU.Quota = new(int64(-1)) // no limit any more
	}
	encoded, err := typeurl.MarshalAnyToProto(limits)
	if err != nil {
		return fmt.Errorf("encode limits: %w", err)
	}
	if _, err := r.tasks.Update(ctx, &tasks.UpdateTaskRequest{ContainerID: id, Resources: encoded}); err != nil {
		return fmt.Errorf("update container %s: %w", e.meta.Name, Translate(ctx, err))
	}
	return nil
}

// processStart is when a process began, to a hundredth of a second; zero if it is not there. Only for a container whose
// start was cut off before it was noted.
func processStart(pid int) time.Time {
	const ticksPerSecond, startField = 100, 22
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < startField-2 {
		return time.Time{}
	}
	ticks, err := strconv.ParseInt(fields[startField-3], 10, 64)
	if err != nil {
		return time.Time{}
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}
	}
	boot := time.Now().Add(-time.Duration(up.Nano()))
	return boot.Add(time.Duration(ticks) * time.Second / ticksPerSecond)
}
