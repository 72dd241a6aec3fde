// Package nodeconfig answers what nodes ask for: snapshots of their orders, the contents of the ConfigMaps and Secrets that their
// orders refer to, and heartbeats. A node gets nothing that no order of its own refers to.
package nodeconfig

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/seal"
)

// indexOrders files orders by their node.
const indexOrders = "orders by node"

// Index is what the view of a [Config] must file.
var Index = view.Index{Name: indexOrders, Keys: func(r *view.Record) []string {
	if node, _, ok := state.ParseOrderKey(r.Key); ok {
		return []string{node}
	}
	return nil
}}

// awaitOrder bounds the wait for the order that a request names.
const awaitOrder = 5 * time.Second

// Config answers nodes. Safe for concurrent use.
type Config struct {
	View    *view.View
	Sealer  *seal.Sealer
	Digests *Digests
}

// Snapshot is a [wire.Handler] for snap.<node>: everything the node must run, from a view that is not older than the question.
func (c *Config) Snapshot(ctx context.Context, in *wire.Incoming) error {
	_, node, err := wire.ParseNodeSubject(in.Subject)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	var r state.SnapshotRequest
	if len(in.Body) > 0 {
		if err := json.Unmarshal(in.Body, &r); err != nil {
			return apierrors.NewBadRequest(fmt.Sprintf("snapshot: %v", err))
		}
	}
	if err := c.View.Fresh(ctx); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	read := func() ([]*view.Record, uint64) { return c.View.ByIndex(indexOrders, node) }
	if r.Routes {
		read = func() ([]*view.Record, uint64) { return c.View.ListPrefix(state.RoutePrefix()) }
	}
	records, s, err := c.exactly(ctx, read)
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return sendSnapshot(in, records, s)
}

// exactly reads while the view is exact (P5): what lies in a hole of it would be missing from the snapshot, and the node would
// end pods that it has to run. What was read belongs to the epoch and the revision of the snapshot.
func (c *Config) exactly(ctx context.Context, read func() ([]*view.Record, uint64)) (records []*view.Record, s state.Snapshot, err error) {
	for {
		exact := uint64(0)
		if err := c.View.ReadExact(ctx, func(position uint64) { exact = position }); err != nil {
			return nil, s, err
		}
		s.Epoch = c.View.Revision(state.Epoch)
		if records, s.Revision = read(); s.Revision == exact {
			return records, s, nil
		}
	}
}

// sendSnapshot sends the entries in pieces; every piece bears the revision that all stand for.
func sendSnapshot(in *wire.Incoming, records []*view.Record, s state.Snapshot) error {
	size := 0
	for _, r := range records {
		if size > 0 && size+len(r.Body) > wire.PieceSize {
			if err := sendPiece(in, s, false); err != nil {
				return err
			}
			s.Entries, size = nil, 0
		}
		s.Entries = append(s.Entries, state.FeedEntry{Key: r.Key, Revision: r.Revision, Body: r.Body})
		size += len(r.Body)
	}
	return sendPiece(in, s, true)
}

func sendPiece(in *wire.Incoming, s state.Snapshot, last bool) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return in.Piece(body, last)
}

// Contents is a [wire.Handler] for config.<node>: ConfigMaps and Secrets that an order of the node refers to.
func (c *Config) Contents(ctx context.Context, in *wire.Incoming) error {
	_, node, err := wire.ParseNodeSubject(in.Subject)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	var r state.ConfigRequest
	if err := json.Unmarshal(in.Body, &r); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("config: %v", err))
	}
	order, err := c.order(ctx, node, &r)
	if err != nil {
		return err
	}
	allowed := state.ConfigRefs(order.Pod)
	var answer state.ConfigAnswer
	for _, ref := range r.Refs {
		if !slices.Contains(allowed, ref) {
			return apierrors.NewForbidden(schema.GroupResource{Resource: ref.Resource}, ref.Name,
				fmt.Errorf("no order of node %q refers to it", node))
		}
		if err := c.add(&answer, ref); err != nil {
			return err
		}
	}
	return in.AnswerJSON(answer)
}

// order is the order that the request names, at least as new as the node knows it (P21).
func (c *Config) order(ctx context.Context, node string, r *state.ConfigRequest) (*state.Order, error) {
	ctx, cancel := context.WithTimeout(ctx, awaitOrder)
	defer cancel()
	if err := c.View.AwaitExact(ctx, r.Order); err != nil {
		return nil, fmt.Errorf("%w: await order %d: %w", store.ErrUnavailable, r.Order, err)
	}
	body := c.View.Body(state.OrderKey(node, r.Namespace, r.Pod))
	if body == nil {
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: scheme.Pods}, r.Pod, fmt.Errorf("node %q has no order for it", node))
	}
	return state.DecodeOrder(body)
}

func (c *Config) add(answer *state.ConfigAnswer, ref state.ObjectRef) error {
	record := c.View.Object(ref)
	if record == nil {
		return nil // the kubelet says what is missing
	}
	if ref.Resource == scheme.ConfigMaps {
		if configMap, ok := view.As[*corev1.ConfigMap](record); ok {
			answer.ConfigMaps = append(answer.ConfigMaps, *configMap)
		}
		return nil
	}
	plain, err := c.Sealer.Open(record.Key, record.Body)
	if err != nil {
		return err
	}
	var secret corev1.Secret
	if err := state.Decode(plain, record.Revision, &secret); err != nil {
		return err
	}
	answer.Secrets = append(answer.Secrets, secret)
	return nil
}

// Heartbeat is a [wire.Handler] for hb.<node>: it says what the node should hold, and whether it may go on.
func (c *Config) Heartbeat(ctx context.Context, in *wire.Incoming) error {
	_, name, err := wire.ParseNodeSubject(in.Subject)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	var h state.Heartbeat
	if err := json.Unmarshal(in.Body, &h); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("heartbeat: %v", err))
	}
	refused := c.refusal(name, &h)
	if refused != "" { // perhaps only this replica has not heard of the Node yet; a kubelet that is refused ends
		if err := c.View.Fresh(ctx); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		refused = c.refusal(name, &h)
	}
	b := c.Digests.beat(name)
	b.Epoch, b.Refused = c.View.Revision(state.Epoch), refused
	return in.AnswerJSON(b)
}

// refusal says why a kubelet may not go on under its name; "": it may.
func (c *Config) refusal(name string, h *state.Heartbeat) string {
	record := c.View.Object(state.ObjectRef{Resource: scheme.Nodes, Name: name})
	node, ok := view.As[*corev1.Node](record)
	switch {
	case !ok || node.UID != h.UID:
		return "the node is gone"
	case h.Start < state.ParseReport(record.Report).Start:
		return "another kubelet has started under this name"
	default:
		return ""
	}
}

// Ack is a [wire.Handler] for ack.<node>, the sign of life of a proxy: it says which routes it should hold.
func (c *Config) Ack(_ context.Context, in *wire.Incoming) error {
	if _, _, err := wire.ParseNodeSubject(in.Subject); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	b := c.Digests.routesBeat()
	b.Epoch = c.View.Revision(state.Epoch)
	return in.AnswerJSON(b)
}

// Digests keeps the digest of every node's orders, and that of all routes: what a sign of life answers costs a look-up. It is
// a subscriber of the view. Safe for concurrent use.
type Digests struct {
	mu       sync.Mutex
	position uint64
	orders   map[string]*state.Digest // by node
	routes   state.Digest
}

// NewDigests makes an empty set of digests.
func NewDigests() *Digests { return &Digests{orders: map[string]*state.Digest{}} }

// Changed is a subscriber of the view.
func (d *Digests) Changed(before, after *view.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.position = max(d.position, after.Revision)
	if strings.HasPrefix(string(after.Key), string(state.RoutePrefix())) {
		update(&d.routes, before, after)
		return
	}
	node, _, ok := state.ParseOrderKey(after.Key)
	if !ok {
		return
	}
	digest := d.orders[node]
	if digest == nil {
		digest = &state.Digest{}
		d.orders[node] = digest
	}
	if update(digest, before, after); digest.Count == 0 {
		delete(d.orders, node)
	}
}

func update(d *state.Digest, before, after *view.Record) {
	if before != nil && !before.Removed {
		d.Remove(before.Key, before.Revision)
	}
	if !after.Removed {
		d.Add(after.Key, after.Revision)
	}
}

// Loaded is told when the view has become whole: what was known under an older position is void.
func (d *Digests) Loaded(position uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.position = position
}

// beat is the digest of a node's orders, and the revision that it stands for.
func (d *Digests) beat(node string) state.Beat {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := state.Beat{Revision: d.position}
	if digest := d.orders[node]; digest != nil {
		b.Digest = *digest
	}
	return b
}

func (d *Digests) routesBeat() state.Beat {
	d.mu.Lock()
	defer d.mu.Unlock()
	return state.Beat{Revision: d.position, Digest: d.routes}
}
