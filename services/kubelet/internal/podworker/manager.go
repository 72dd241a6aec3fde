package podworker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/state"
)

// Manager has one worker for each pod that this node has or had an order for. Safe for concurrent use.
type Manager struct {
	deps Deps
	gate *gate

	mu      sync.Mutex
	workers map[state.Key]*slot
	byUID   map[types.UID]*worker
	wg      sync.WaitGroup
	launch  func(*worker) // starts a worker; nil until Run
}

// slot is the worker of one order key, and the order of another pod under the same key that waits for its end (P17).
type slot struct {
	worker *worker
	waits  *order
}

// NewManager makes a manager without pods.
func NewManager(d Deps) *Manager {
	return &Manager{deps: d, gate: newGate(d.Node.Allocatable), workers: map[state.Key]*slot{}, byUID: map[types.UID]*worker{}}
}

// Run has the workers work until ctx ends, then waits for them. What they run goes on running.
func (m *Manager) Run(ctx context.Context) error {
	there, err := m.deps.Runtime.ListPods(ctx)
	if err != nil {
		return fmt.Errorf("look at what runs already: %w", err)
	}
	m.mu.Lock()
	m.launch = func(w *worker) {
		if ctx.Err() == nil {
			m.wg.Go(func() { w.run(ctx) })
		}
	}
	for _, p := range there { // before anybody else is let in
		if w := m.byUID[types.UID(p.UID)]; w != nil && !w.latest().Finished {
			m.gate.occupy(w.latest().Pod)
		}
	}
	for _, s := range m.workers {
		m.launch(s.worker)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.wg.Wait()
	return context.Cause(ctx)
}

// Apply adopts a revision of an order. The error says that it cannot be read; it is then as if it had not come.
func (m *Manager) Apply(e state.FeedEntry) error {
	if e.Removed {
		m.remove(e.Key)
		return nil
	}
	decoded, err := state.DecodeOrder(e.Body)
	if err != nil {
		return fmt.Errorf("%s at revision %d: %w", e.Key, e.Revision, err)
	}
	o := &order{Order: decoded, revision: e.Revision, told: m.deps.Node.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.workers[e.Key]
	switch {
	case s == nil:
		m.begin(e.Key, o)
	case s.worker.latest().Pod.UID == o.Pod.UID:
		s.waits = nil
		s.worker.tell(o)
	default: // the old pod is stopped fully first
		s.waits = o
		s.worker.forget()
	}
	return nil
}

// begin makes the worker of an order. Caller holds mu.
func (m *Manager) begin(key state.Key, o *order) {
	w := newWorker(m.deps, o, nil)
	w.gate = m.gate
	w.ended = func() bool { return m.end(key, w) }
	m.workers[key] = &slot{worker: w}
	m.byUID[o.Pod.UID] = w
	if m.launch != nil { // else Run will
		m.launch(w)
	}
}

// end is told by a worker that nothing is left of its pod; false: it has been told of a newer order, and goes on.
func (m *Manager) end(key state.Key, w *worker) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !w.over() {
		return false
	}
	s := m.workers[key]
	delete(m.workers, key)
	delete(m.byUID, w.order.Pod.UID)
	m.gate.release(w.order.Pod.UID)
	if s.waits != nil {
		m.begin(key, s.waits)
	}
	return true
}

func (m *Manager) remove(key state.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.workers[key]; s != nil {
		s.waits = nil
		s.worker.forget()
	}
}

// Retain takes away every order that is not among those given: the whole of what the control plane has.
func (m *Manager) Retain(keys map[state.Key]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, s := range m.workers {
		if !keys[key] {
			slog.Info("pod has no order any more", "component", "podworker", "key", string(key))
			s.waits = nil
			s.worker.forget()
		}
	}
}

// Ended has the worker of a pod look at its containers: one has ended.
func (m *Manager) Ended(podUID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.byUID[types.UID(podUID)]; w != nil {
		w.nudge()
	}
}

// UIDs are the pods that have a worker.
func (m *Manager) UIDs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	uids := make([]string, 0, len(m.byUID))
	for uid := range m.byUID {
		uids = append(uids, string(uid))
	}
	return uids
}
