// Package controller holds every reconciler of a cluster: each makes one thing as it should be, whenever what it reads has
// changed.
package controller

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/daemon"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/controller/internal/configrevision"
	"millrace.dev/services/controller/internal/namespace"
	"millrace.dev/services/controller/internal/nodelifecycle"
	"millrace.dev/services/controller/internal/podgc"
)

// Config is the configuration of the controller.
type Config struct {
	daemon.Common
	// Lease says that only the holder of a lease works. Default: true. Without it several work at once, which revisions and
	// stamps keep safe and which wastes the work of those that lose.
	Lease bool `json:"lease"`
}

// DefaultConfig is what a controller starts from.
func DefaultConfig() *Config { return &Config{Common: daemon.DefaultCommon(), Lease: true} }

// Base implements [daemon.Config].
func (c *Config) Base() *daemon.Common { return &c.Common }

// Validate says everything that is wrong.
func (c *Config) Validate() error { return c.Common.Validate() }

// queues are what the reconcilers are due for.
type queues struct {
	nodes, pods, namespaces, configs *reconcile.Queue
}

// Run reconciles until ctx ends or a member fails.
func Run(ctx context.Context, cfg *Config, d *daemon.Deps) error {
	st, err := d.Store(ctx)
	if err != nil {
		return err
	}
	q := &queues{
		nodes: reconcile.NewQueue("node"), pods: reconcile.NewQueue("podgc"), namespaces: reconcile.NewQueue("namespace"),
		configs: reconcile.NewQueue("configrevision"),
	}
	v := view.New(st, view.Config{
		Process: d.Process, Source: d.Source, Indexes: []view.Index{configrevision.Index}, Subscribers: []view.Subscriber{q.changed},
		Loaded: func(uint64) { d.Ready() },
	})
	w := commit.New(st, commit.Config{Service: state.Controller, Process: d.Process, View: v, Meters: d.Meters})
	api := client.ForService(d.NATS, state.Controller)
	beats := nodelifecycle.NewBeats(time.Now())
	meters := reconcile.NewMeters(d.Meters)

	// The one list of reconcilers. What each reads, writes and asks for, and the stamp it holds, stands at its type.
	reconcilers := []daemon.Member{
		worker(q.nodes, 4, meters, &nodelifecycle.Reconciler{
			View: v, Writer: w, API: api, Beats: beats, Source: d.Source, Now: time.Now,
			Link: func() (bool, uint64) { return d.NATS.IsConnected(), d.NATS.Stats().Reconnects },
		}),
		worker(q.pods, 4, meters, &podgc.Reconciler{View: v, API: func(cause events.Meta) podgc.API { return api.Because(cause) }}),
		worker(q.namespaces, 2, meters, &namespace.Reconciler{View: v, API: func(cause events.Meta) namespace.API { return api.Because(cause) }}),
		worker(q.configs, 2, meters, &configrevision.Reconciler{View: v, Writer: w, Source: d.Source}),
	}
	work := func(ctx context.Context) error {
		beats.Lead(time.Now())
		q.all(v)
		return daemon.All(ctx, reconcilers...)
	}
	if cfg.Lease {
		leases, err := d.Leases()
		if err != nil {
			return err
		}
		work = leases.Guard("controller", work)
	}
	return daemon.All(ctx, v.Run, w.Run, listen(d.NATS, beats, q.nodes), work)
}

func worker(q *reconcile.Queue, workers int, m *reconcile.Meters, r reconcile.Reconciler) daemon.Member {
	return func(ctx context.Context) error { return q.Run(ctx, r, workers, m) }
}

// listen hears the heartbeats of all nodes, leader or not: whoever takes over knows at once who lives. The api answers them.
func listen(nc *wire.Conn, beats *nodelifecycle.Beats, nodes *reconcile.Queue) daemon.Member {
	return func(ctx context.Context) error {
		return wire.Serve(ctx, nc, wire.Service{
			Subject: wire.FromNodes + "." + wire.NodeHeartbeat + ".*", Limit: 1, Handle: func(_ context.Context, in *wire.Incoming) error {
				hear(in, beats, nodes)
				return nil
			},
		})
	}
}

// hear takes one heartbeat; what is none is passed over.
func hear(in *wire.Incoming, beats *nodelifecycle.Beats, nodes *reconcile.Queue) {
	what, node, err := wire.ParseNodeSubject(in.Subject)
	var h state.Heartbeat
	if err != nil || what != wire.NodeHeartbeat || json.Unmarshal(in.Body, &h) != nil {
		return
	}
	if beats.Hear(node, h, time.Now()) {
		slog.Debug("heartbeat says something new", "component", "nodelifecycle", "node", node, "ready", h.Ready)
		nodes.Add(reconcile.Key{Name: node})
	}
}

// changed is a subscriber of the view: it says which keys a change makes due.
func (q *queues) changed(_, after *view.Record) {
	ref := after.Ref
	switch {
	case ref.Resource == scheme.Nodes:
		q.nodes.Add(reconcile.Key{Name: ref.Name})
		if after.Removed {
			q.pods.Add(podgc.NodeKey(ref.Name))
		}
	case ref.Resource == scheme.Namespaces:
		q.namespaces.Add(reconcile.Key{Name: ref.Name})
	case ref.Resource == scheme.Pods:
		q.pods.Add(reconcile.Key{Namespace: ref.Namespace, Name: ref.Name})
	case configrevision.Concerns(after):
		q.configs.Add(configrevision.Key(ref))
	default:
		q.orderChanged(after)
	}
	if ref.Namespace != "" && after.Removed {
		q.namespaces.Add(reconcile.Key{Name: ref.Namespace}) // it may have been the last object
	}
}

// orderChanged has a new order checked for config revisions that its writer did not know yet (P21).
func (q *queues) orderChanged(after *view.Record) {
	if _, _, ok := state.ParseOrderKey(after.Key); !ok || after.Removed {
		return
	}
	order, err := state.DecodeOrder(after.Body)
	if err != nil {
		return // the boot check's to repair
	}
	for _, ref := range state.ConfigRefs(order.Pod) {
		q.configs.Add(configrevision.Key(ref))
	}
}

// all makes everything due: this process begins to decide.
func (q *queues) all(v *view.View) {
	for _, kind := range scheme.All() {
		for _, record := range v.List(kind.Resource(), "") {
			q.changed(nil, record)
		}
	}
	orders, _ := v.ListPrefix(state.OrderPrefix(""))
	for _, record := range orders {
		q.orderChanged(record)
	}
}
