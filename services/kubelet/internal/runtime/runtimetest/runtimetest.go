// Package runtimetest is the suite that every implementation of runtime.Runtime passes: what the upper half of the kubelet
// builds on.
package runtimetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
)

// Machine is what an implementation brings for one test: a daemon of its own, if it needs one.
type Machine interface {
	// Open makes a runtime over this machine that does not run yet: what the next kubelet has. The one before has ended.
	Open(t *testing.T) runtime.Runtime
	// CrashDaemon kills what the runtime depends on, without warning. ReviveDaemon brings it back. They do nothing where
	// there is no such thing.
	CrashDaemon(t *testing.T)
	ReviveDaemon(t *testing.T)
	// Ended says, without asking a runtime, that a container has ended.
	Ended(t *testing.T, id string) bool
	// Image has a shell and the usual small commands.
	Image() runtime.Image
	// EatMemory is a command that needs more than 64 MiB at once.
	EatMemory() []string
}

// Run runs the suite. fresh makes an empty machine, which is gone when the test ends.
func Run(t *testing.T, fresh func(t *testing.T) Machine) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"life", life}, {"errors", failures}, {"streams", streams}, {"crashes", crashes},
	} {
		t.Run(group.name, func(t *testing.T) {
			m := fresh(t) // one machine a group: to start a daemon is dear
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(newSuite(t, m)) })
			}
		})
	}
}

type test struct {
	name string
	run  func(s *suite)
}

// suite is one test with its own pod on a machine.
type suite struct {
	*testing.T
	machine Machine
	rt      runtime.Runtime
	dir     string
	pod     runtime.PodConfig
	stop    func()

	mu     sync.Mutex
	events []runtime.Event
}

// patience is what a machine under load may need for what takes a moment.
const patience = 30 * time.Second

var pods struct {
	sync.Mutex
	n int
}

func newSuite(t *testing.T, m Machine) *suite {
	t.Helper()
	pods.Lock()
	pods.n++
	uid := fmt.Sprintf("00000000-0000-4000-8000-%012d", pods.n)
	pods.Unlock()
	s := &suite{T: t, machine: m, dir: t.TempDir()}
	s.pod = runtime.PodConfig{UID: uid, Namespace: "default", Name: "web-0", Hostname: "web-0"}
	s.open()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.rt.RemovePod(ctx, uid); err != nil {
			t.Errorf("remove pod: %v", err)
		}
		s.stop()
	})
	if pod, err := s.rt.CreatePod(t.Context(), s.pod); err != nil || !pod.Ready {
		t.Fatalf("create pod: %+v, %v", pod, err)
	}
	return s
}

// open begins a runtime, as a kubelet does when it starts.
func (s *suite) open() {
	s.Helper()
	s.rt = s.machine.Open(s.T)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.Context()))
	var wg sync.WaitGroup
	rt := s.rt
	wg.Go(func() {
		if err := rt.Run(ctx); err != nil {
			s.Errorf("run: %v", err)
		}
	})
	wg.Go(func() {
		for {
			select {
			case e := <-rt.Events():
				s.mu.Lock()
				s.events = append(s.events, e)
				s.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	s.stop = func() {
		cancel()
		wg.Wait()
	}
}

// reopen is the death of the kubelet and its return.
func (s *suite) reopen() {
	s.Helper()
	s.stop()
	s.open()
}

func (s *suite) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

// config is a container that runs a script.
func (s *suite) config(name, script string) runtime.ContainerConfig {
	return runtime.ContainerConfig{
		PodUID: s.pod.UID, Name: name, Kind: runtime.KindApp, Image: s.machine.Image(),
		Command: []string{"/bin/sh", "-c", script},
		Log:     runtime.Log{Path: filepath.Join(s.dir, name, "0.log")},
	}
}

func (s *suite) create(c runtime.ContainerConfig) runtime.Container {
	s.Helper()
	got, err := s.rt.Create(s.ctx(), c)
	if err != nil {
		s.Fatalf("create %s: %v", c.Name, err)
	}
	return got
}

func (s *suite) start(c runtime.ContainerConfig) runtime.Container {
	s.Helper()
	got, err := s.rt.Start(s.ctx(), s.create(c).ID)
	if err != nil {
		s.Fatalf("start %s: %v", c.Name, err)
	}
	if got.State == runtime.StateRunning && (got.PID <= 0 || got.StartedAt.IsZero()) {
		s.Errorf("%s runs with pid %d since %v", c.Name, got.PID, got.StartedAt)
	}
	return got
}

// run starts a script.
func (s *suite) run(name, script string) runtime.Container {
	s.Helper()
	return s.start(s.config(name, script))
}

func (s *suite) wait(id string) runtime.Container {
	s.Helper()
	got, err := s.rt.Wait(s.ctx(), id)
	if err != nil {
		s.Fatalf("wait: %v", err)
	}
	return got
}

func (s *suite) status(id string) runtime.Container {
	s.Helper()
	got, err := s.rt.Status(s.ctx(), id)
	if err != nil {
		s.Fatalf("status: %v", err)
	}
	return got
}

// ended checks how a container ended.
func (s *suite) ended(got runtime.Container, code int, reason string) {
	s.Helper()
	if got.State != runtime.StateExited || got.ExitCode != code || got.Reason != reason {
		s.Errorf("%s is %s with %d %q (%s), want exited with %d %q", got.Name, got.State, got.ExitCode, got.Reason, got.Message, code, reason)
	}
	if got.FinishedAt.IsZero() || got.FinishedAt.Before(got.StartedAt) || got.PID != 0 {
		s.Errorf("%s started %v, finished %v, has pid %d", got.Name, got.StartedAt, got.FinishedAt, got.PID)
	}
}

func (s *suite) log(c runtime.Container) string {
	s.Helper()
	var out bytes.Buffer
	if err := logs.Copy(s.ctx(), c.LogPath, logs.All(), &out, &out); err != nil {
		s.Errorf("read log: %v", err)
	}
	return out.String()
}

// awaitLog waits until a running container has written a line.
func (s *suite) awaitLog(c runtime.Container, line string) {
	s.Helper()
	ctx, found := context.WithCancel(s.ctx())
	err := logs.Each(ctx, c.LogPath, logs.Options{Tail: -1, Follow: true}, func(r logs.Record) error {
		if string(r.Text) == line {
			found()
			return io.EOF
		}
		return nil
	})
	if ctx.Err() == nil || s.ctx().Err() != nil {
		s.Fatalf("wait for %q in the log: %v", line, err)
	}
}

// told waits for the event of a container.
func (s *suite) told(id string) runtime.Event {
	s.Helper()
	var found runtime.Event
	s.eventually("event of "+id, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Container.ID == id {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// eventually looks again and again: for what no implementation announces.
func (s *suite) eventually(what string, f func() bool) {
	s.Helper()
	if !s.poll(f) {
		s.Fatalf("waited in vain for %s", what)
	}
}

// poll calls f until it is true, or not any more: then it is false.
func (s *suite) poll(f func() bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
	return true
}

// exec runs a script in a container.
func (s *suite) exec(id, script string) (output string, code int) {
	s.Helper()
	var out lockedBuffer
	code, err := s.rt.Exec(s.ctx(), id, runtime.ExecConfig{Args: []string{"/bin/sh", "-c", script}, Stdout: &out, Stderr: &out})
	if err != nil {
		s.Errorf("exec %q: %v", script, err)
	}
	return strings.TrimSpace(out.String()), code
}

// lockedBuffer takes both outputs at once.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
