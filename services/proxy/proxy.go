// Package proxy makes a node's network match the routes of the cluster's Services.
package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"millrace.dev/pkg/daemon"
	"millrace.dev/pkg/feed"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// Config is the configuration of a proxy.
type Config struct {
	daemon.Common
	// NodeName is the name of its Node. Default: the host's.
	NodeName string `json:"nodeName"`
}

// DefaultConfig is what a proxy starts from.
func DefaultConfig() *Config { return &Config{Common: daemon.DefaultCommon()} }

// Base implements [daemon.Config].
func (c *Config) Base() *daemon.Common { return &c.Common }

// Validate says everything that is wrong.
func (c *Config) Validate() error { return c.Common.Validate() }

// Run follows the routes until ctx ends or a member fails.
func Run(ctx context.Context, cfg *Config, d *daemon.Deps) error {
	host, err := os.Hostname()
	if err != nil && cfg.NodeName == "" {
		return fmt.Errorf("name of the node: %w", err)
	}
	p := &proxy{nc: d.NATS, node: cmp.Or(cfg.NodeName, host)}
	routes := feed.New(d.NATS, feed.Config{
		Subject: "edge.route.>", Prefix: state.RoutePrefix(), Snapshot: p.snapshot, Beat: p.ack,
		Handle: func(state.FeedEntry) {}, // there are no routes yet: nobody makes them
		Meters: d.Meters,
	})
	return daemon.All(ctx, routes.Run, func(ctx context.Context) error {
		select {
		case <-routes.Synced():
			d.Ready()
		case <-ctx.Done():
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
}

type proxy struct {
	nc   *wire.Conn
	node string
}

// snapshot asks for all routes.
func (p *proxy) snapshot(ctx context.Context) (*state.Snapshot, error) {
	request, err := json.Marshal(state.SnapshotRequest{Routes: true})
	if err != nil {
		return nil, err
	}
	whole := &state.Snapshot{}
	call := wire.Call{Subject: wire.NodeSubject(wire.NodeSnapshot, p.node), Body: request}
	err = wire.Pieces(ctx, p.nc, call, whole.Append)
	return whole, err
}

// ack is the proxy's sign of life.
func (p *proxy) ack(ctx context.Context) (*state.Beat, error) {
	answer, err := wire.Do(ctx, p.nc, wire.Call{Subject: wire.NodeSubject(wire.NodeAck, p.node), Body: []byte("{}")})
	if err != nil {
		return nil, err
	}
	var b state.Beat
	if err := json.Unmarshal(answer, &b); err != nil {
		return nil, fmt.Errorf("read answer to ack: %w", err)
	}
	return &b, nil
}
