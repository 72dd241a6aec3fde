// Package fake is a runtime without containers, for tests of what lies above it and for nodes that only seem to be ones.
// It passes the suite of runtimetest: containers have states, logs, exit codes and events, and outlive the runtime that
// made them. What runs in them is a program that the test gives, or a small part of a shell's language.
//
// It uses no clock but that of package time, so that it works inside a bubble of testing/synctest.
package fake

import (
	"context"
	"sync"
	"time"

	"millrace.dev/services/kubelet/internal/runtime"
)

// Op is a call that a test can watch, delay or let fail.
type Op string

// The calls, as the methods of the runtime.
const (
	OpCreatePod Op = "CreatePod"
	OpRemovePod Op = "RemovePod"
	OpCreate    Op = "Create"
	OpStart     Op = "Start"
	OpStop      Op = "Stop"
	OpKill      Op = "Kill"
	OpRemove    Op = "Remove"
	OpUpdate    Op = "Update"
	OpExec      Op = "Exec"
	OpAttach    Op = "Attach"
)

// Call is one call: of a pod, or of a container in it.
type Call struct {
	Op        Op
	PodUID    string
	Container string // its name; empty for a pod
	Attempt   int
}

// Config is how a machine behaves. Every field may be nil.
type Config struct {
	// Before is called, without locks, before each call takes effect: it may note it, block for a while, or return the error
	// that the call then has. It is called by many at once.
	Before func(ctx context.Context, c Call) error
	// Program says what runs in a container; a [runtime.StartError] that it cannot be run. Nil: see [Shell].
	Program func(c runtime.ContainerConfig) (Program, error)
	// Exec says what a command in a container does. Nil: see [Shell].
	Exec func(c runtime.Container, e runtime.ExecConfig) (Program, error)
	// Lacks says that an image is not on the machine. Nil: docker.io/library/nothing is missing.
	Lacks func(i runtime.Image) bool
}

// Machine is what the runtimes over it share, as a real machine outlives kubelets: its pods and containers.
type Machine struct {
	cfg  Config
	off  chan struct{} // closed when it is switched off
	runs sync.WaitGroup

	mu         sync.Mutex
	pods       map[string]runtime.Pod
	containers map[string]*container
	nextPID    int
	up         chan struct{} // closed while the daemon is there
}

// container is one container on the machine.
type container struct {
	config runtime.ContainerConfig
	proc   *process      // nil before its start
	ended  chan struct{} // closed when its result is known

	// Under the machine's lock.
	now     runtime.Container
	watched *Runtime
}

// NewMachine makes an empty machine. [Machine.Close] ends what runs on it.
func NewMachine(cfg Config) *Machine {
	m := &Machine{
		cfg: cfg, off: make(chan struct{}),
		pods: map[string]runtime.Pod{}, containers: map[string]*container{}, nextPID: 1000, up: make(chan struct{}),
	}
	close(m.up)
	return m
}

// Close ends everything that runs on the machine and waits for it. Call it once.
func (m *Machine) Close() {
	close(m.off)
	m.runs.Wait()
}

// Crash takes the daemon away: calls fail with [runtime.ErrUnavailable], containers run on. Revive brings it back.
func (m *Machine) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isUp() {
		m.up = make(chan struct{})
	}
}

// Revive ends what Crash began.
func (m *Machine) Revive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.isUp() {
		close(m.up)
	}
}

// isUp says whether the daemon is there. The caller holds mu.
func (m *Machine) isUp() bool {
	select {
	case <-m.up:
		return true
	default:
		return false
	}
}

// End lets a running container end by itself with an exit code; an oom of true as if for want of memory. It reports
// whether there was one to end.
func (m *Machine) End(id string, code int, oom bool) bool {
	m.mu.Lock()
	c, ok := m.containers[id]
	m.mu.Unlock()
	if !ok || c.proc == nil {
		return false
	}
	return c.proc.end(outcome{code: code, oom: oom, at: time.Now()})
}

// HasEnded says that a container that was started has ended, whether or not a runtime has seen it.
func (m *Machine) HasEnded(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.containers[id].proc.done:
		return true
	default:
		return false
	}
}

// Reboot is the end of everything that runs, of which no result is known.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for uid, p := range m.pods {
		p.Ready = false
		m.pods[uid] = p
	}
	for _, c := range m.containers {
		if c.proc != nil {
			c.proc.end(outcome{code: runtime.ExitUnknown, lost: true, at: time.Now()})
		}
	}
}

// Containers gives every container of a machine, without any runtime.
func (m *Machine) Containers() []runtime.Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]runtime.Container, 0, len(m.containers))
	for _, c := range m.containers {
		list = append(list, c.now)
	}
	runtime.SortContainers(list)
	return list
}

func (m *Machine) lacks(i runtime.Image) bool {
	if m.cfg.Lacks != nil {
		return m.cfg.Lacks(i)
	}
	return i.Name == "docker.io/library/nothing:1"
}
