// Package daemon owns a containerd of the node: it writes its configuration, starts it as a process of its own session,
// takes over one that runs already, and starts it anew when it dies. It never ends it because the kubelet ends: containers
// need neither.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config says where a private containerd lives. Nothing of it is shared with another containerd on the machine.
type Config struct {
	// Root holds images and what containers write; it lasts. Required, absolute.
	Root string `json:"root"`
	// State holds sockets, logs and what runs; it should not outlive the machine's boot. Required, absolute, and short: the
	// path of a socket has at most 107 bytes.
	State string `json:"state"`
	// Binary is the program containerd. Default: the one in PATH, where its shim and runc must be too.
	Binary string `json:"binary,omitempty"`
}

// Daemon is one containerd.
type Daemon struct {
	cfg Config
	log *slog.Logger
}

// The first pause before a daemon that died is started anew, and the longest.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// New checks cfg.
func New(cfg Config, log *slog.Logger) (*Daemon, error) {
	if cfg.Binary == "" {
		cfg.Binary = "containerd"
	}
	d := &Daemon{cfg: cfg, log: log}
	const longest = 107
	switch {
	case !filepath.IsAbs(cfg.Root) || !filepath.IsAbs(cfg.State):
		return nil, fmt.Errorf("containerd root %q and state %q: want absolute paths", cfg.Root, cfg.State)
	case len(d.Address()) > longest-len(".ttrpc"):
		return nil, fmt.Errorf("containerd state %q: its socket would have more than %d bytes", cfg.State, longest)
	}
	return d, nil
}

// Address is the daemon's socket.
func (d *Daemon) Address() string { return filepath.Join(d.cfg.State, "containerd.sock") }

// LogPath is where the daemon's own log goes.
func (d *Daemon) LogPath() string { return filepath.Join(d.cfg.State, "containerd.log") }

func (d *Daemon) configPath() string { return filepath.Join(d.cfg.State, "config.toml") }

// Run keeps a daemon alive until ctx ends, which leaves it running and returns nil. It fails only if the daemon cannot be
// started at all: its program is missing, or its directories cannot be made.
func (d *Daemon) Run(ctx context.Context) error {
	pause := firstPause
	for {
		began := time.Now()
		pid, err := d.Start(ctx)
		if err != nil {
			return err
		}
		err = await(ctx, pid)
		select {
		case <-ctx.Done():
			return nil // that is how it is told to end
		default:
		}
		if err != nil {
			return fmt.Errorf("watch containerd: %w", err)
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		d.log.WarnContext(ctx, "containerd has died and is started anew", "pid", pid, "duration", time.Since(began))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		pause = min(2*pause, lastPause)
	}
}

// Start gives the process of the daemon that runs, or starts one. It does not wait until that answers.
func (d *Daemon) Start(ctx context.Context) (pid int, err error) {
	if pid := d.PID(); pid != 0 {
		return pid, nil
	}
	for _, dir := range []string{d.cfg.Root, d.cfg.State} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return 0, fmt.Errorf("start containerd: %w", err)
		}
	}
	if err := d.writeConfig(ctx); err != nil {
		return 0, fmt.Errorf("start containerd: %w", err)
	}
	log, err := os.OpenFile(d.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return 0, fmt.Errorf("start containerd: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), d.cfg.Binary, "--config", d.configPath()) // it outlives us
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // nothing of what the kubelet was told gets into shims and loggers
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start containerd: %w", err)
	}
	pid = cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil { // await takes leave of it
		return 0, fmt.Errorf("start containerd: %w", err)
	}
	d.log.InfoContext(ctx, "containerd is started", "pid", pid, "address", d.Address())
	return pid, os.WriteFile(filepath.Join(d.cfg.State, "containerd.pid"), []byte(strconv.Itoa(pid)), 0o600)
}

// disabled are the plug-ins that we do not use: Kubernetes' own interface (under its names in 1.6 and 2), snapshotters that
// need what machines seldom have, metrics, tracing, and two that keep waking up or write outside our directories.
var disabled = []string{
	"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri",
	"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
	"io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
	"io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.opt",
	"io.containerd.internal.v1.restart", "io.containerd.monitor.container.v1.restart", "io.containerd.monitor.v1.cgroups",
	"io.containerd.monitor.task.v1.cgroups",
}

func (d *Daemon) writeConfig(ctx context.Context) error {
	version := 2
	if out, err := exec.CommandContext(ctx, d.cfg.Binary, "--version").Output(); err != nil {
		return err
	} else if strings.Contains(string(out), "/containerd/v2 ") {
		version = 3
	}
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "version = %d\nroot = %q\nstate = %q\ndisabled_plugins = [\n", version, d.cfg.Root, d.cfg.State)
	for _, id := range disabled {
		_, _ = fmt.Fprintf(&b, "  %q,\n", id)
	}
	_, _ = fmt.Fprintf(&b, "]\n[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n[debug]\n  level = \"warn\"\n", d.Address(), d.Address()+".ttrpc")
	return os.WriteFile(d.configPath(), []byte(b.String()), 0o600)
}

// PID is the daemon's process, 0 if there is none. It is found by its command line: neither a pid file, which may be old,
// nor a socket, on which it may not listen yet, says so.
func (d *Daemon) PID() int {
	for _, pid := range processes(func(args []string) bool {
		return len(args) > 2 && args[len(args)-2] == "--config" && args[len(args)-1] == d.configPath()
	}) {
		return pid
	}
	return 0
}

// Shims are the processes between this daemon and its containers.
func (d *Daemon) Shims() []int {
	return processes(func(args []string) bool {
		for i := 1; i < len(args); i++ {
			if args[i-1] == "-address" && args[i] == d.Address() {
				return true
			}
		}
		return false
	})
}

// processes finds those whose command line is wanted.
func processes(wanted func(args []string) bool) []int {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil || len(body) == 0 {
			continue // gone, or a kernel thread, or one that has ended
		}
		if wanted(strings.Split(strings.TrimSuffix(string(body), "\x00"), "\x00")) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Stop ends the daemon: it is asked to, and killed if it has not ended after patience. Shims and containers stay.
func (d *Daemon) Stop(ctx context.Context, patience time.Duration) error {
	pid := d.PID()
	if pid == 0 {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := unix.Kill(pid, unix.SIGTERM); err == nil && await(asked, pid) == nil {
		return nil
	}
	return d.kill(ctx, pid)
}

// Kill ends the daemon at once.
func (d *Daemon) Kill(ctx context.Context) error {
	if pid := d.PID(); pid != 0 {
		return d.kill(ctx, pid)
	}
	return nil
}

// KillShims ends what is left of shims, at once.
func (d *Daemon) KillShims(ctx context.Context) error {
	var errs []error
	for _, pid := range d.Shims() {
		errs = append(errs, d.kill(ctx, pid))
	}
	return errors.Join(errs...)
}

func (d *Daemon) kill(ctx context.Context, pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return await(ctx, pid)
}

// await returns nil when a process has ended, or the cause of ctx. It need not be our child; if it is, it is taken leave of.
func await(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "process "+strconv.Itoa(pid))
	defer func() { _ = f.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(0, 1)) })
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // not our child: an error
	return nil
}
