package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/cgroup"
	"millrace.dev/services/kubelet/internal/runtime/containerd/daemon"
	"millrace.dev/services/kubelet/internal/sandbox"
)

// ShutdownConfig names what is to end.
type ShutdownConfig struct {
	Runtime Config
	Daemon  daemon.Config
	// Grace is what containers get between their stop signal and their end.
	Grace time.Duration
	// RemoveRoot removes images and everything else that would last.
	RemoveRoot bool
}

// shutdownTime bounds the part of a shutdown that needs the daemon, beyond the grace of the containers.
const shutdownTime = 60 * time.Second

// Shutdown ends every container of a node with its own containerd, then that with all its shims, and removes what they
// leave: records, root file systems, mounts, control groups, namespaces, pipes, the run directory and the daemon's state. It
// needs no kubelet, and none may run. The network is torn down by its own package. It does as much as it can: an error tells
// of what is left, and it may be called again.
func Shutdown(ctx context.Context, cfg ShutdownConfig, log *slog.Logger) error {
	d, err := daemon.New(cfg.Daemon, log)
	if err != nil {
		return err
	}
	dirs := []string{cfg.Runtime.RunDir, cfg.Daemon.State, cfg.Daemon.Root}
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
			return fmt.Errorf("shut down: directory %q: want an absolute path of our own", dir)
		}
	}
	errs := []error{removeAll(ctx, cfg, d, log)}
	if cfg.Runtime.CgroupParent == "" {
		cfg.Runtime.CgroupParent = DefaultCgroupParent
	}
	// What is left now is killed without asking the daemon.
	if groups, err := cgroup.Find(); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, groups.Remove(cfg.Runtime.CgroupParent))
	}
	const patience = 5 * time.Second
	errs = append(errs, d.Stop(ctx, patience), d.KillShims(ctx))
	errs = append(errs, removeSandboxes(cfg.Runtime.RunDir), removeSockets(cfg.Daemon.State))
	for _, dir := range dirs {
		errs = append(errs, unmountBelow(dir))
	}
	errs = append(errs, os.RemoveAll(cfg.Runtime.RunDir), os.RemoveAll(cfg.Daemon.State))
	if cfg.RemoveRoot {
		errs = append(errs, os.RemoveAll(cfg.Daemon.Root))
	}
	return errors.Join(errs...)
}

// removeAll removes every pod through the daemon, which is started for it if need be: only so its records go too.
func removeAll(ctx context.Context, cfg ShutdownConfig, d *daemon.Daemon, log *slog.Logger) (err error) {
	if _, err := os.Stat(cfg.Daemon.Root); errors.Is(err, os.ErrNotExist) {
		return nil // nothing ever ran
	}
	if _, err := d.Start(ctx); err != nil {
		return err
	}
	conn, err := Dial(d.Address(), "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r, err := New(cfg.Runtime, conn, log)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, cfg.Grace+shutdownTime)
	defer cancel()
	members, running := errgroup.WithContext(bounded)
	members.Go(func() error { return r.Run(running) })
	members.Go(func() error {
		defer cancel()
		return r.removePods(running, cfg.Grace)
	})
	if err := members.Wait(); err != nil {
		return fmt.Errorf("remove pods: %w", err)
	}
	return nil
}

func (r *Runtime) removePods(ctx context.Context, grace time.Duration) error {
	pods, err := r.ListPods(ctx)
	if err != nil {
		return err
	}
	all, removing := errgroup.WithContext(ctx)
	for _, pod := range pods {
		all.Go(func() error {
			if err := r.stopPod(removing, pod.UID, grace); err != nil {
				return err
			}
			return r.RemovePod(removing, pod.UID)
		})
	}
	return all.Wait()
}

func (r *Runtime) stopPod(ctx context.Context, uid string, grace time.Duration) error {
	containers, err := r.List(ctx, uid)
	if err != nil {
		return err
	}
	all, stopping := errgroup.WithContext(ctx)
	for _, c := range containers {
		all.Go(func() error {
			_, err := r.Stop(stopping, c.ID, grace)
			return err
		})
	}
	return all.Wait()
}

func removeSandboxes(runDir string) error {
	dirs, err := os.ReadDir(filepath.Join(runDir, podsDir))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	var errs []error
	for _, d := range dirs {
		errs = append(errs, sandbox.Remove(filepath.Join(runDir, podsDir, d.Name(), namespaceDir)))
	}
	return errors.Join(errs...)
}

// removeSockets removes those of shims that were killed: they lie outside the daemon's directories, which only name them.
func removeSockets(state string) error {
	names, err := filepath.Glob(filepath.Join(state, "io.containerd.runtime.v2.task", "*", "*", "address"))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if body, err := os.ReadFile(name); err == nil {
			errs = append(errs, removeFile(strings.TrimPrefix(strings.TrimSpace(string(body)), "unix://")))
		}
	}
	return errors.Join(errs...)
}

// unmountBelow removes every mount at or below a directory, the latest first.
func unmountBelow(dir string) error {
	body, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(body)) {
		const mountPoint = 4
		if fields := strings.Fields(line); len(fields) > mountPoint {
			if p := fields[mountPoint]; p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/") {
				points = append(points, p)
			}
		}
	}
	var errs []error
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, &os.PathError{Op: "unmount", Path: p, Err: err})
		}
	}
	return errors.Join(errs...)
}
