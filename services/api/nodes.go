package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/daemon"
	"millrace.dev/pkg/lease"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/version"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
)

// announceLimit bounds the wait for a kubelet.
const announceLimit = 5 * time.Second

// kubelets reaches kubelets over NATS: they only dial out, and hear what is asked of them.
type kubelets struct{ nc *wire.Conn }

// Announce implements [verb.Nodes].
func (k kubelets) Announce(ctx context.Context, node string, r state.SessionRequest) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, announceLimit)
	defer cancel()
	_, err = wire.Do(ctx, k.nc, wire.Call{Subject: wire.KubeletSubject(node, "session"), Body: body})
	if errors.Is(err, store.ErrUnavailable) {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("the kubelet of node %q does not answer", node))
	}
	return err
}

// informer tells what the cluster is, as this replica knows it, and who leads where one of several works.
func informer(v *view.View, leases *lease.Leases, d *daemon.Deps) func(context.Context) (*client.Info, error) {
	return func(ctx context.Context) (*client.Info, error) {
		server, err := json.Marshal(version.Get())
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, announceLimit)
		defer cancel()
		api := client.Component{Kind: "api", Name: d.Process, Healthy: true}
		if err := v.Fresh(ctx); err != nil {
			api.Healthy, api.Message = false, "its view is behind the state"
		}
		info := &client.Info{Server: server, NATS: d.NATS.ConnectedUrlRedacted(), Components: []client.Component{api}}
		for _, kind := range []string{"scheduler", "controller"} {
			info.Components = append(info.Components, leader(ctx, leases, kind))
		}
		return info, nil
	}
}

// leader is the process that holds the lease of a service, which bears its name.
func leader(ctx context.Context, leases *lease.Leases, kind string) client.Component {
	holder, err := leases.Holder(ctx, kind)
	c := client.Component{Kind: kind, Name: holder, Leader: true, Healthy: true}
	switch {
	case err != nil:
		c.Leader, c.Healthy, c.Message = false, false, err.Error()
	case holder == "":
		c.Leader, c.Healthy, c.Message = false, false, "no process has taken the lead; a dead leader's lease ends after "+lease.TTL.String()
	}
	return c
}
