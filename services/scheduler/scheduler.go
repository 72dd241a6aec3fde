// Package scheduler decides which node runs which pod. It writes that decision and touches nothing else: the kubelet of the
// node reacts to the order that comes with it.
package scheduler

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/daemon"
	"millrace.dev/pkg/note"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/services/scheduler/internal/cache"
	"millrace.dev/services/scheduler/internal/framework"
	"millrace.dev/services/scheduler/internal/plugins/nodename"
	"millrace.dev/services/scheduler/internal/plugins/nodeports"
	"millrace.dev/services/scheduler/internal/plugins/noderesources"
	"millrace.dev/services/scheduler/internal/plugins/nodeselector"
	"millrace.dev/services/scheduler/internal/plugins/taint"
	"millrace.dev/services/scheduler/internal/plugins/unschedulable"
	"millrace.dev/services/scheduler/internal/queue"
)

// Config is the configuration of the scheduler.
type Config struct {
	daemon.Common
	// SchedulerName is the spec.schedulerName of the pods that it places. Default: Kubernetes' default-scheduler.
	SchedulerName string `json:"schedulerName"`
	// Lease says that only the holder of a lease schedules. Default: true. Without it several schedule at once, which the stamps
	// keep safe and which wastes the work of those that lose.
	Lease bool `json:"lease"`
}

// DefaultConfig is what a scheduler starts from.
func DefaultConfig() *Config {
	return &Config{Common: daemon.DefaultCommon(), SchedulerName: corev1.DefaultSchedulerName, Lease: true}
}

// Base implements [daemon.Config].
func (c *Config) Base() *daemon.Common { return &c.Common }

// Validate says everything that is wrong.
func (c *Config) Validate() error {
	var named error
	if c.SchedulerName == "" {
		named = errors.New("schedulerName: a name is required")
	}
	return errors.Join(c.Common.Validate(), named)
}

// filters are the plugins that say where a pod fits, in the order in which they are asked, which is Kubernetes': a node that several
// would reject is counted for the first.
func filters() []framework.Filter {
	return []framework.Filter{
		unschedulable.Plugin{}, nodename.Plugin{}, taint.Plugin{}, nodeselector.Plugin{}, nodeports.Plugin{}, noderesources.Fit{},
	}
}

// scorers are the plugins that choose among the nodes that a pod fits on, with Kubernetes' weights.
func scorers() []framework.Weighted {
	return []framework.Weighted{{Scorer: noderesources.Pack{}, Weight: 1}}
}

// Run schedules until ctx ends or a member fails. The list below is the whole service.
func Run(ctx context.Context, cfg *Config, d *daemon.Deps) error {
	st, err := d.Store(ctx)
	if err != nil {
		return err
	}
	q := queue.New(filters())
	c := cache.New(cfg.SchedulerName, q)
	v := view.New(st, view.Config{
		Process: d.Process, Source: d.Source, Subscribers: []view.Subscriber{c.Changed}, Loaded: func(uint64) { d.Ready() },
	})
	w := commit.New(st, commit.Config{Service: state.Scheduler, Process: d.Process, View: v, Meters: d.Meters})
	s := &scheduler{
		view: v, writer: w, cache: c, queue: q, source: d.Source, now: time.Now, filters: filters(), scorers: scorers(),
		notes: note.New(cfg.SchedulerName, "", note.ToStream(d.NATS)),
	}
	work := daemon.Member(s.run)
	if cfg.Lease {
		leases, err := d.Leases()
		if err != nil {
			return err
		}
		work = leases.Guard("scheduler", s.run)
	}
	return daemon.All(ctx, v.Run, w.Run, work)
}
