// Package api is the door of a cluster for people, clients, nodes and the control plane's own creations.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/daemon"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store/natskv"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/authz"
	"millrace.dev/services/api/internal/boot"
	"millrace.dev/services/api/internal/endpoint"
	"millrace.dev/services/api/internal/intake"
	"millrace.dev/services/api/internal/nodeconfig"
	"millrace.dev/services/api/internal/notes"
	"millrace.dev/services/api/internal/seal"
	"millrace.dev/services/api/internal/verb"
	"millrace.dev/services/api/internal/watch"
)

// Config is the configuration of the api.
type Config struct {
	daemon.Common
	// MasterKey is the file with the key that Secrets are sealed under; it is made if it does not exist. Default:
	// /var/lib/millrace/keys/master.key.
	MasterKey string `json:"masterKey"`
	// Replicas is how many servers hold the state: 1, or 3 or 5 of a cluster. Default: 1.
	Replicas int `json:"replicas"`
	// PodCIDR is the range of all pods. Default: 10.244.0.0/16, as Kubernetes' installers have it.
	PodCIDR string `json:"podCIDR"`
	// NodeCIDRBits is the length of a node's prefix out of PodCIDR. Default: 24, 254 addresses for pods.
	NodeCIDRBits int `json:"nodeCIDRBits"`
	// Admins are the identities that may do everything. Default: admin.
	Admins []string `json:"admins"`
}

// DefaultConfig is what an api starts from.
func DefaultConfig() *Config {
	return &Config{
		Common: daemon.DefaultCommon(), MasterKey: "/var/lib/millrace/keys/master.key", Replicas: 1, PodCIDR: "10.244.0.0/16",
		NodeCIDRBits: 24, Admins: []string{"admin"},
	}
}

// Base implements [daemon.Config].
func (c *Config) Base() *daemon.Common { return &c.Common }

// Validate says everything that is wrong.
func (c *Config) Validate() error {
	errs := []error{c.Common.Validate()}
	if c.MasterKey == "" {
		errs = append(errs, errors.New("masterKey: a file name is required"))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fmt.Errorf("replicas: %d is none of 1, 3, 5", c.Replicas))
	}
	prefix, err := netip.ParsePrefix(c.PodCIDR)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("podCIDR: %w", err))
	case !prefix.Addr().Is4():
		errs = append(errs, fmt.Errorf("podCIDR: %s is not an IPv4 range", c.PodCIDR))
	case c.NodeCIDRBits < prefix.Bits() || c.NodeCIDRBits > 30:
		errs = append(errs, fmt.Errorf("nodeCIDRBits: %d is not between those of podCIDR, %d, and 30", c.NodeCIDRBits, prefix.Bits()))
	}
	return errors.Join(errs...)
}

// reportLimit is how many messages of nodes one replica handles at once.
const reportLimit = 256

// Run answers requests until ctx ends or a member fails. The list at its end is the whole service.
func Run(ctx context.Context, cfg *Config, d *daemon.Deps) error {
	sealer, err := seal.Load(cfg.MasterKey)
	if err != nil {
		return err
	}
	committing, err := d.Committing()
	if err != nil {
		return err
	}
	streams := func(ctx context.Context) error { return natskv.EnsureAll(ctx, committing, cfg.Replicas) }
	if err := streams(ctx); err != nil {
		return err
	}
	s, err := natskv.Open(ctx, committing)
	if err != nil {
		return err
	}
	hub, digests, events := watch.New(), nodeconfig.NewDigests(), notes.New(time.Now)
	leases, err := d.Leases()
	if err != nil {
		return err
	}
	v := view.New(s, view.Config{
		Process: d.Process, Source: d.Source, Indexes: []view.Index{nodeconfig.Index},
		Subscribers: []view.Subscriber{hub.Changed, digests.Changed},
		Loaded: func(position uint64) {
			hub.Loaded(position)
			digests.Loaded(position)
		},
	})
	w := commit.New(s, commit.Config{Service: state.API, Process: d.Process, View: v, Meters: d.Meters})
	outputs := wire.NewStreams(d.Process)
	verbs := verb.New(verb.Deps{
		View: v, Writer: w, Hub: hub, Notes: events, Sealer: sealer, Authz: authz.New(cfg.Admins...), Streams: outputs,
		Nodes: kubelets{d.NATS}, Source: d.Source, Now: time.Now, Info: informer(v, leases, d),
	})
	in := &intake.Intake{
		View: v, Writer: w, Source: d.Source, Now: time.Now,
		CIDRs: intake.CIDRs{Cluster: netip.MustParsePrefix(cfg.PodCIDR), Bits: cfg.NodeCIDRBits},
	}
	nodes := &nodeconfig.Config{View: v, Sealer: sealer, Digests: digests}
	told := &notes.Intake{View: v, Publish: d.NATS.Publish}
	b := &boot.Boot{View: v, Writer: w, Server: s, Streams: streams, Source: d.Source, Now: time.Now}
	return daemon.All(ctx, v.Run, w.Run,
		func(ctx context.Context) error { return natskv.Tail(ctx, d.NATS, natskv.StreamNotes, events.Deliver) },
		func(ctx context.Context) error { return outputs.Serve(ctx, d.NATS, wire.FromUsers, wire.FromServices) },
		func(ctx context.Context) error {
			if err := b.Ensure(ctx); err != nil { // before anyone is served
				return err
			}
			return daemon.All(ctx, b.Keep,
				func(ctx context.Context) error {
					return endpoint.Serve(ctx, d.NATS, d.Ready,
						endpoint.Endpoint{Name: "users", Subject: "u.api.>", Handle: verbs.Handle},
						endpoint.Endpoint{Name: "services", Subject: "c.api.>", Handle: verbs.Handle})
				},
				serveNodes(d.NATS, wire.NodeReport, ">", in.Handle),
				serveNodes(d.NATS, wire.NodeSnapshot, "*", nodes.Snapshot),
				serveNodes(d.NATS, wire.NodeConfig, "*", nodes.Contents),
				serveNodes(d.NATS, wire.NodeHeartbeat, "*", nodes.Heartbeat),
				serveNodes(d.NATS, wire.NodeAck, "*", nodes.Ack),
				serveNodes(d.NATS, wire.NodeNote, ">", told.Handle))
		})
}

// serveNodes answers one kind of node request, each by one replica.
func serveNodes(nc *wire.Conn, what, rest string, handle wire.Handler) daemon.Member {
	return func(ctx context.Context) error {
		subject := wire.FromNodes + "." + what + "." + rest
		return wire.Serve(ctx, nc, wire.Service{Subject: subject, Queue: "api", Limit: reportLimit, Handle: handle})
	}
}
