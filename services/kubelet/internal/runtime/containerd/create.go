package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/runtime"
)

// snapshotMount is a mount of a root file system.
type snapshotMount = mount.Mount

// shim is the runtime of containerd that drives runc.
const shim = "io.containerd.runc.v2"

// labelRoot keeps the daemon's garbage collection from a snapshot from the moment it is made. A lease would do the same for
// two more commits a start; what a crash leaves is removed at adoption.
const labelRoot = "containerd.io/gc.root"

// Create makes the record of a container and its root file system.
func (r *Runtime) Create(ctx context.Context, c runtime.ContainerConfig) (runtime.Container, error) {
	if err := r.ready(ctx); err != nil {
		return runtime.Container{}, err
	}
	id := runtime.ContainerID(c.PodUID, c.Name, c.Attempt)
	if e, err := r.find(ctx, id); err == nil {
		return e.status(), nil
	}
	e, err := r.create(ctx, id, &c)
	if err != nil {
		return runtime.Container{}, fmt.Errorf("create container %s: %w", c.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table[id] = e
	return e.status(), nil
}

func (r *Runtime) create(ctx context.Context, id string, c *runtime.ContainerConfig) (*entry, error) {
	pod := r.pod(c.PodUID)
	if pod == nil {
		return nil, fmt.Errorf("pod %s: %w", c.PodUID, runtime.ErrNotFound)
	}
	image, err := r.images.get(ctx, c.Image)
	if err != nil {
		return nil, err
	}
	c.Image.Digest = image.digest
	var mounts []mount.Mount
	preparing, both := errgroup.WithContext(ctx)
	preparing.Go(func() error { return r.guard(both, id) })
	preparing.Go(func() (err error) {
		mounts, err = r.prepare(both, id, c.Image.Name, image)
		return err
	})
	if err := preparing.Wait(); err != nil {
		return nil, errors.Join(err, r.undoCreate(context.WithoutCancel(ctx), id))
	}
	e, err := r.record(ctx, id, &specInput{config: c, image: image, pod: pod}, mounts)
	if err != nil {
		return nil, errors.Join(err, r.undoCreate(context.WithoutCancel(ctx), id))
	}
	return e, nil
}

// undoCreate removes what was made of a container that will not be. Its context is not the one that may be why.
func (r *Runtime) undoCreate(ctx context.Context, id string) error {
	return errors.Join(ignoreNotFound(Translate(ctx, r.snapshots.Remove(ctx, id))), r.unguard(ctx, id))
}

// prepare makes the root file system over the layers of an image. One that an attempt left behind is replaced.
func (r *Runtime) prepare(ctx context.Context, id, name string, image *localImage) ([]mount.Mount, error) {
	labels := snapshots.WithLabels(map[string]string{labelRoot: time.Now().UTC().Format(time.RFC3339), labelName: id})
	mounts, err := r.snapshots.Prepare(ctx, id, image.parent, labels)
	switch {
	case errdefs.IsAlreadyExists(err):
		if err := r.snapshots.Remove(ctx, id); err != nil {
			return nil, fmt.Errorf("replace root file system: %w", Translate(ctx, err))
		}
	case errdefs.IsNotFound(err):
		if err := r.images.restore(ctx, name, image); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("make root file system: %w", Translate(ctx, err))
	default:
		return mounts, nil
	}
	mounts, err = r.snapshots.Prepare(ctx, id, image.parent, labels)
	if err != nil {
		return nil, fmt.Errorf("make root file system: %w", Translate(ctx, err))
	}
	return mounts, nil
}

// record completes in and stores the container in the daemon.
func (r *Runtime) record(ctx context.Context, id string, in *specInput, mounts []mount.Mount) (*entry, error) {
	c := in.config
	var err error
	if in.user, err = r.images.user(ctx, in.image, &c.Security, mounts); err != nil {
		return nil, err
	}
	in.dir, in.confines = r.namespaces(c.PodUID), r.confines
	in.hostNet = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.hostNet.Fd())
	in.cgroup = r.podCgroup(c.PodUID) + "/" + id
	if c.Target != "" {
		target, err := r.Status(ctx, c.Target)
		if err != nil || target.State != runtime.StateRunning {
			return nil, fmt.Errorf("target container: %w", errors.Join(runtime.ErrNotRunning, err))
		}
		in.target = target.PID
	}
	spec, err := makeSpec(in)
	if err != nil {
		return nil, err
	}
	stop := c.StopSignal
	if stop == "" {
		stop = in.image.config.StopSignal
	}
	if stop != "" {
		if _, err := signalNumber(stop); err != nil {
			return nil, err
		}
	}
	meta := &record{
		PodUID: c.PodUID, PodNamespace: in.pod.Namespace, PodName: in.pod.Name, Name: c.Name, Attempt: c.Attempt, Kind: c.Kind,
		Image: c.Image, Cgroup: in.cgroup, Log: c.Log, StopSignal: stop, TTY: c.TTY, Stdin: c.Stdin, StdinOnce: c.StdinOnce,
		User: in.user, Labels: c.Labels, Boot: r.boot,
	}
	stored, err := r.store(ctx, id, meta, spec)
	if err != nil {
		return nil, err
	}
	return &entry{
		id: id, meta: meta, ended: make(chan struct{}), now: meta.container(id, stored.CreatedAt),
		mounts: mounts, execSpec: spec.Process,
	}, nil
}

func (r *Runtime) store(ctx context.Context, id string, meta *record, spec any) (containers.Container, error) {
	specAny, err := typeurl.MarshalAny(spec)
	if err != nil {
		return containers.Container{}, fmt.Errorf("encode specification: %w", err)
	}
	opts, err := typeurl.MarshalAny(&options.Options{
		BinaryName: r.cfg.Runc,
		// Without this every containerd of a machine would share one directory, and ids of ours are not random.
		Root: filepath.Join(r.cfg.RunDir, runcDir),
	})
	if err != nil {
		return containers.Container{}, fmt.Errorf("encode runtime options: %w", err)
	}
	ext, err := meta.extend()
	if err != nil {
		return containers.Container{}, fmt.Errorf("encode container: %w", err)
	}
	c := containers.Container{
		ID: id, Labels: meta.labels(), Image: meta.Image.Name, Spec: specAny,
		Runtime:     containers.RuntimeInfo{Name: shim, Options: opts},
		SnapshotKey: id, Snapshotter: r.cfg.Snapshotter,
		Extensions: map[string]typeurl.Any{extension: ext},
	}
	stored, err := r.containers.Create(ctx, c)
	if errdefs.IsAlreadyExists(err) { // of an attempt whose answer was lost: nobody knows it, nothing runs in it
		if err := r.containers.Delete(ctx, id); err != nil {
			return containers.Container{}, fmt.Errorf("replace container: %w", Translate(ctx, err))
		}
		stored, err = r.containers.Create(ctx, c)
	}
	if err != nil {
		return containers.Container{}, fmt.Errorf("store container: %w", Translate(ctx, err))
	}
	return stored, nil
}

// Remove ends a container if need be and removes what is left of it, its record last.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	e, err := r.find(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.remove(ctx, e); err != nil {
		return fmt.Errorf("remove container %s: %w", e.meta.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.table, id)
	return nil
}

func (r *Runtime) remove(ctx context.Context, e *entry) error {
	e.mu.Lock()
	e.removing = true
	e.mu.Unlock()
	if _, err := r.end(ctx, e); err != nil {
		return err
	}
	removing, gctx := errgroup.WithContext(ctx)
	removing.Go(func() error { return ignoreNotFound(Translate(gctx, r.snapshots.Remove(gctx, e.id))) })
	removing.Go(func() error { return r.unguard(gctx, e.id) })
	removing.Go(func() error { return r.cgroups.Remove(e.meta.Cgroup) }) // runc did, unless it was killed
	if err := removing.Wait(); err != nil {
		return err
	}
	if err := errors.Join(removeFile(r.startedFile(e.id)), removeFile(r.conn.shimSocket(e.id)), os.RemoveAll(r.pipeDir(e.id))); err != nil {
		return err
	}
	return ignoreNotFound(Translate(ctx, r.containers.Delete(ctx, e.id)))
}

// deleteTask removes a task, killing what is left of it. It returns when the log is complete.
func (r *Runtime) deleteTask(ctx context.Context, id string) error {
	_, err := r.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id}, waitForReady)
	if err == nil || errdefs.IsNotFound(errgrpc.ToNative(err)) {
		return nil
	}
	// It is made but not started, or something of it still runs.
	if _, err := r.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(unix.SIGKILL), All: true}); err == nil {
		if _, err := r.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: id}); err != nil {
			return fmt.Errorf("wait for task: %w", Translate(ctx, err))
		}
	}
	_, err = r.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	return ignoreNotFound(Translate(ctx, err))
}

func (r *Runtime) pipeDir(id string) string { return filepath.Join(r.cfg.RunDir, ioDir, id[:16]) }

func ignoreNotFound(err error) error {
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
