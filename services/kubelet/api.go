package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/note"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
)

// requestLimit bounds one request to the api; what is not answered is asked again by whoever asked.
const requestLimit = 10 * time.Second

// door speaks to the api for one node.
type door struct {
	nc   *wire.Conn
	node string
}

func (d *door) request(ctx context.Context, what string, body any, into any, more ...string) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	answer, err := wire.Do(ctx, d.nc, wire.Call{Subject: wire.NodeSubject(what, d.node, more...), Body: raw})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read answer to %s: %w", what, err)
	}
	return nil
}

// Register tells what the node is and learns its Node.
func (d *door) Register(ctx context.Context, r state.NodeReport) (*corev1.Node, error) {
	var a state.NodeAnswer
	err := d.request(ctx, wire.NodeReport, r, &a, "node")
	if err == nil && a.Node == nil {
		err = errors.New("the api answered without a node")
	}
	return a.Node, err
}

// Pods sends reports about pods.
func (d *door) Pods(ctx context.Context, r state.PodReports) (*state.PodOutcomes, error) {
	var a state.PodOutcomes
	return &a, d.request(ctx, wire.NodeReport, r, &a, "pods")
}

// Config asks for ConfigMaps and Secrets.
func (d *door) Config(ctx context.Context, r state.ConfigRequest) (*state.ConfigAnswer, error) {
	var a state.ConfigAnswer
	return &a, d.request(ctx, wire.NodeConfig, r, &a)
}

// Beat sends a sign of life.
func (d *door) Beat(ctx context.Context, h state.Heartbeat) (*state.Beat, error) {
	var b state.Beat
	return &b, d.request(ctx, wire.NodeHeartbeat, h, &b)
}

// Snapshot asks for all orders.
func (d *door) Snapshot(ctx context.Context) (*state.Snapshot, error) {
	whole := &state.Snapshot{}
	call := wire.Call{Subject: wire.NodeSubject(wire.NodeSnapshot, d.node), Body: []byte("{}")}
	return whole, wire.Pieces(ctx, d.nc, call, whole.Append)
}

// notes tells notes to the api, which checks that they are this node's to tell.
func (d *door) notes() *note.Noter {
	return note.New("kubelet", d.node, func(event *corev1.Event, body []byte) error {
		return d.nc.Publish(wire.NodeSubject(wire.NodeNote, d.node, event.Namespace, event.Name), body)
	})
}

// refused says that the api heard the request and will not have it, now or later.
func refused(err error) bool {
	_, answered := errors.AsType[*wire.StatusError](err)
	return answered && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknown)
}
