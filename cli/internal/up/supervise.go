//go:build linux

package up

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"millrace.dev/pkg/auth"
)

const (
	// restartFirst and restartMost bound the pause before a process that died is started again; one that lived for longer than
	// steady begins anew.
	restartFirst = 100 * time.Millisecond
	restartMost  = time.Second
	steady       = 10 * time.Second
	// badConfig is the exit code of a process that cannot use its flags or its configuration.
	badConfig = 2
	// configLife is how long such a process lives at most.
	configLife = 2 * time.Second
	// stopPatience is how long a process may take to end before it is killed.
	stopPatience = 10 * time.Second
)

// State is what a running cluster tells of itself on this machine.
type State struct {
	PID       int            `json:"pid"` // of the supervisor
	URL       string         `json:"url"`
	Processes map[string]int `json:"processes"` // name to pid
}

// readState is the state of a cluster whose supervisor lives; nil if none does.
func readState(c *Config) (*State, error) {
	body, err := os.ReadFile(c.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s State
	if err := json.Unmarshal(body, &s); err != nil {
		slog.Warn("the state of a cluster cannot be read and counts for nothing", "file", c.stateFile(), "err", err)
		return nil, nil
	}
	if !alive(s.PID) {
		return nil, nil // what a killed supervisor left behind
	}
	return &s, nil
}

// alive says that a process exists and is a supervisor: pids are used again. Its program may have been replaced since.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	self, selfErr := os.Executable()
	return err == nil && selfErr == nil && filepath.Base(strings.TrimSuffix(program, " (deleted)")) == filepath.Base(self)
}

// child is one process and its life so far.
type child struct {
	process
	cmd     *exec.Cmd
	started time.Time
	pause   time.Duration
}

// supervisor keeps the processes of a cluster alive. It lives on one thread: the kernel sends the children a signal when the
// thread that made them ends, so that none is left when the supervisor is killed.
type supervisor struct {
	config   *Config
	children []*child
	exits    chan exit
}

type exit struct {
	child *child
	cmd   *exec.Cmd
	err   error
}

// Supervise runs the cluster until ctx ends, then stops it in order.
func Supervise(ctx context.Context, c *Config) error {
	if s, err := readState(c); err != nil || s != nil {
		return errors.Join(err, errors.New("the cluster runs already"))
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	processes, err := prepare(c, filepath.Dir(self))
	if err != nil {
		return err
	}
	runtime.LockOSThread() // never unlocked: the thread lives as long as the process
	s := &supervisor{config: c, exits: make(chan exit)}
	defer func() { // a state without a supervisor counts for nothing
		if err := os.Remove(c.stateFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			slog.Warn("the state stays behind", "err", err)
		}
	}()
	for _, p := range processes {
		s.children = append(s.children, &child{process: p})
	}
	for _, ch := range s.children {
		if err := s.start(ch); err != nil {
			s.stopAll()
			return err
		}
	}
	err = s.watch(ctx)
	s.stopAll()
	return err
}

// start starts a process, its output going to a file of its own.
func (s *supervisor) start(ch *child) error {
	out, err := os.OpenFile(s.config.logFile(ch.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the child has its own
	cmd := &exec.Cmd{                  // no context ends it: the supervisor stops its children in order
		Path: ch.args[0], Args: ch.args, Stdout: out, Stderr: out,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", ch.name, err)
	}
	ch.cmd, ch.started = cmd, time.Now()
	go func() { s.exits <- exit{ch, cmd, cmd.Wait()} }()
	slog.Info("process started", "name", ch.name, "pid", cmd.Process.Pid)
	return s.writeState()
}

func (s *supervisor) writeState() error {
	state := State{PID: os.Getpid(), URL: s.config.url(), Processes: map[string]int{}}
	for _, ch := range s.children {
		if ch.cmd != nil {
			state.Processes[ch.name] = ch.cmd.Process.Pid
		}
	}
	body, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	return auth.WriteSecret(s.config.stateFile(), body)
}

// hopeless says that a process cannot use its configuration. The Go runtime ends a program that panics with the same code; one
// that has lived for a moment had a configuration.
func hopeless(end error, lived time.Duration) bool {
	status, ok := errors.AsType[*exec.ExitError](end)
	return ok && status.ExitCode() == badConfig && lived < configLife
}

// watch starts again what dies, until ctx ends or a process cannot use its configuration, which no restart would mend.
func (s *supervisor) watch(ctx context.Context) error {
	due := make(chan *child)
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-s.exits:
			ch := e.child
			if hopeless(e.err, time.Since(ch.started)) {
				ch.cmd = nil
				return fmt.Errorf("%s cannot use its configuration:\n%s", ch.name, tail(s.config.logFile(ch.name), 1))
			}
			if time.Since(ch.started) > steady {
				ch.pause = 0
			}
			ch.cmd = nil
			ch.pause = min(max(2*ch.pause, restartFirst), restartMost)
			slog.Warn("process ended", "name", ch.name, "err", e.err, "again_after", ch.pause)
			time.AfterFunc(ch.pause, func() {
				select {
				case due <- ch:
				case <-ctx.Done():
				}
			})
		case ch := <-due:
			if err := s.start(ch); err != nil {
				slog.Error("process cannot be started", "name", ch.name, "err", err)
			}
		}
	}
}

// stopAll stops the processes, the last first: nodes, then the control plane, then the NATS server.
func (s *supervisor) stopAll() {
	for _, ch := range slices.Backward(s.children) {
		if ch.cmd != nil {
			s.stop(ch)
		}
	}
}

// signal sends a signal; a process that has ended is none the worse for it: its exit will be read.
func (ch *child) signal(sig syscall.Signal) {
	if err := ch.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		slog.Error("process cannot be signalled", "name", ch.name, "signal", sig.String(), "err", err)
	}
}

func (s *supervisor) stop(ch *child) {
	ch.signal(syscall.SIGTERM)
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	for {
		select {
		case e := <-s.exits:
			e.child.cmd = nil
			if e.child == ch {
				slog.Info("process stopped", "name", ch.name)
				return
			}
		case <-patience.C:
			slog.Warn("process does not end: killing it", "name", ch.name)
			ch.signal(syscall.SIGKILL)
		}
	}
}
