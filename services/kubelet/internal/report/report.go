// Package report sends what was found about pods to the api: many pods in one message, only the newest of each, again until the
// api has taken it. One message is on its way at a time, so that reports of one pod arrive in order.
package report

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/state"
)

const (
	// most is how many pods one message reports.
	most = 200
	// retryFirst and retryMost bound the pauses while the api does not take reports.
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// Sender sends one message and returns the outcomes, in its order.
type Sender func(ctx context.Context, reports state.PodReports) (*state.PodOutcomes, error)

// Reporter keeps what is still to be reported. Its zero value is not usable: call [New]. Safe for concurrent use.
type Reporter struct {
	start uint64
	send  Sender

	mu      sync.Mutex
	node    types.UID
	counter uint64
	dirty   map[types.UID]entry
	order   []types.UID // of dirty, oldest first
	wake    chan struct{}
}

type entry struct {
	report state.PodReport
	gone   func()
}

// New makes a reporter for the kubelet with this start number.
func New(start uint64, send Sender) *Reporter {
	return &Reporter{start: start, send: send, dirty: map[types.UID]entry{}, wake: make(chan struct{}, 1)}
}

// Node says which Node this kubelet is.
func (r *Reporter) Node(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node = uid
}

// Report has r reported in the place of what is still to be reported of its pod. gone is called when the control plane has not
// got the pod any more.
func (r *Reporter) Report(report state.PodReport, gone func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counter++
	report.Counter = r.counter
	if _, ok := r.dirty[report.UID]; !ok {
		r.order = append(r.order, report.UID)
	}
	r.dirty[report.UID] = entry{report, gone}
	r.nudge()
}

func (r *Reporter) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run reports until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	wait := retryFirst
	for {
		batch := r.take()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-r.wake:
			}
			continue
		}
		if r.deliver(ctx, batch) {
			wait = retryFirst
			continue
		}
		if !clock.Pause(ctx, wait) {
			return context.Cause(ctx)
		}
		wait = min(2*wait, retryMost)
	}
}

// take gives what is to be reported next; it stays dirty until it has been taken.
func (r *Reporter) take() []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var batch []entry
	for _, uid := range r.order[:min(len(r.order), most)] {
		batch = append(batch, r.dirty[uid])
	}
	return batch
}

// deliver sends a batch; false: some of it must be sent again.
func (r *Reporter) deliver(ctx context.Context, batch []entry) bool {
	r.mu.Lock()
	reports := state.PodReports{Start: r.start, UID: r.node}
	r.mu.Unlock()
	for _, e := range batch {
		reports.Pods = append(reports.Pods, e.report)
	}
	answer, err := r.send(ctx, reports)
	if err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "reports were not taken", "component", "report", "pods", len(batch), "err", err)
		}
		return false
	}
	all := len(answer.Outcomes) == len(batch)
	for i, e := range batch[:min(len(batch), len(answer.Outcomes))] {
		switch answer.Outcomes[i] {
		case state.Accepted:
			r.done(e)
		case state.Gone:
			r.done(e)
			e.gone()
		case state.Retry:
			all = false
		}
	}
	return all
}

// done forgets a report, unless a newer one of its pod has come meanwhile.
func (r *Reporter) done(e entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uid := e.report.UID
	if r.dirty[uid].report.Counter != e.report.Counter {
		return
	}
	delete(r.dirty, uid)
	for i, o := range r.order {
		if o == uid {
			r.order = append(r.order[:i:i], r.order[i+1:]...)
			return
		}
	}
}
