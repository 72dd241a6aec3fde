// Package configrevision announces new revisions of ConfigMaps and Secrets to the nodes that use them, by writing them into
// the orders that refer to them (P21).
package configrevision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
)

const indexOrders = "orders by config"

// Index is what the view of a [Reconciler] must file: orders by the ConfigMaps and Secrets that they refer to.
var Index = view.Index{Name: indexOrders, Keys: func(r *view.Record) []string {
	if _, _, ok := state.ParseOrderKey(r.Key); !ok {
		return nil
	}
	order, err := state.DecodeOrder(r.Body)
	if err != nil {
		return nil // a damaged order is the boot check's to repair
	}
	var keys []string
	for _, ref := range state.ConfigRefs(order.Pod) {
		keys = append(keys, ref.String())
	}
	return keys
}}

// Key is the key of one ConfigMap or Secret.
func Key(ref state.ObjectRef) reconcile.Key {
	return reconcile.Key{Namespace: ref.Namespace, Name: ref.Resource + "/" + ref.Name}
}

// Reconciler writes the newest revisions into orders.
//
// Reads: ConfigMaps, Secrets, orders. Writes: the config revisions of orders, in the bulk queue. Stamp: none; each order is
// decided by itself.
type Reconciler struct {
	View   *view.View
	Writer *commit.Writer
	Source string
}

// Reconcile announces the newest revision of one ConfigMap or Secret.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Key) error {
	resource, name, _ := strings.Cut(key.Name, "/")
	ref := state.ObjectRef{Resource: resource, Namespace: key.Namespace, Name: name}
	orders, _ := r.View.ByIndex(indexOrders, ref.String())
	cause := events.Meta{}
	if record := r.View.Get(state.ObjectKey(ref)); record != nil {
		cause = record.Event()
	}
	cause.Source, cause.Actor = r.Source, "system:controller"
	errs := make([]error, len(orders))
	var wg sync.WaitGroup
	for i, order := range orders {
		wg.Go(func() { errs[i] = r.announce(ctx, order.Key, cause) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *Reconciler) announce(ctx context.Context, order state.Key, cause events.Meta) error {
	change, changed, err := state.ConfigChange(r.View, order)
	if err != nil || !changed {
		return err
	}
	b := events.ConfigAnnounced.Batch(cause)
	b.Queue = events.QueueBulk
	b.Add(change)
	if _, err := r.Writer.Put(ctx, b); err != nil {
		return fmt.Errorf("announce to %s: %w", order, err)
	}
	return nil
}

// Concerns says that a record is a ConfigMap or a Secret.
func Concerns(r *view.Record) bool {
	return r.Ref.Resource == scheme.ConfigMaps || r.Ref.Resource == scheme.Secrets
}
