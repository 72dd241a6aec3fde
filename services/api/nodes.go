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

// informer tells what the cluster is, as this replica knows it.
func informer(v *view.View, d *daemon.Deps) func(context.Context) (*client.Info, error) {
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
		return &client.Info{Server: server, NATS: d.NATS.ConnectedUrlRedacted(), Components: []client.Component{api}}, nil
	}
}
