// Package boot makes the bucket usable: what must exist in every cluster, the epoch of a server that has started, and the
// repair of what a power loss has torn.
package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/registry"
)

// Server is what boot asks about the NATS server. A *natskv.Store is one.
type Server interface {
	Server() string
	Alone() bool
	Torn(context.Context) (bool, error)
	// Reconnected gets a value at each new connection, until stop is called.
	Reconnected() (connected <-chan struct{}, stop func())
}

// Boot prepares the bucket.
type Boot struct {
	View   *view.View
	Writer *commit.Writer
	Server Server
	// Streams makes the streams that are missing.
	Streams func(context.Context) error
	Source  string
	Now     func() time.Time
}

// namespaces are in every cluster from its first moment.
var namespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

const retryAfter = 100 * time.Millisecond

// Ensure makes what must exist, once the view is whole. Several replicas may do it at once.
func (b *Boot) Ensure(ctx context.Context) error {
	for {
		err := b.ensure(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		slog.WarnContext(ctx, "cluster is not prepared yet", "component", "boot", "err", err)
		if !clock.Pause(ctx, retryAfter) {
			return context.Cause(ctx)
		}
	}
}

func (b *Boot) ensure(ctx context.Context) error {
	if err := b.View.Fresh(ctx); err != nil {
		return err
	}
	if err := b.Epoch(ctx); err != nil {
		return err
	}
	for _, name := range namespaces {
		if err := b.ensureNamespace(ctx, name); err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	return b.ensureSchedulerStamp(ctx)
}

func (b *Boot) ensureNamespace(ctx context.Context, name string) error {
	ref := state.ObjectRef{Resource: scheme.Namespaces, Name: name}
	if b.View.Object(ref) != nil {
		return nil
	}
	kind, _ := scheme.ByResource(scheme.Namespaces)
	namespace := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	rules := registry.For(kind)
	rules.Default(namespace)
	rules.PrepareCreate(namespace, types.UID(uuid.NewUUID()), b.Now())
	change, err := state.ObjectChange(namespace, state.Absent(b.View, state.ObjectKey(ref)))
	if err != nil {
		return err
	}
	stamp := state.Stamp{Kind: state.StampNamespace, ID: name}
	stamp.Revision = state.Absent(b.View, stamp.Key())
	batch := events.NamespaceCreated.Batch(b.meta(), stamp)
	batch.Add(change)
	return b.put(ctx, batch)
}

// ensureSchedulerStamp gives birth to the one stamp that no object owns.
func (b *Boot) ensureSchedulerStamp(ctx context.Context) error {
	key := state.StampKey(state.StampScheduler, state.TheScheduler)
	if b.View.Body(key) != nil {
		return nil
	}
	body, err := json.Marshal(state.StampBody{By: b.Source})
	if err != nil {
		return err
	}
	batch := &events.Batch{ID: events.NewID(), Meta: b.meta()}
	batch.AddAs(events.StampMoved.Info(), state.Change{Key: key, Replaces: state.Absent(b.View, key), Body: body})
	return b.put(ctx, batch)
}

func (b *Boot) meta() events.Meta { return events.Meta{Source: b.Source, Actor: "system:api"} }

// put writes what another replica may have written meanwhile.
func (b *Boot) put(ctx context.Context, batch *events.Batch) error {
	_, err := b.Writer.Put(ctx, batch)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// Epoch rewrites the epoch if the server is another instance than the one that it names: on one server, sequences of
// before may have been lost and given out again (P15). What a power loss has torn is repaired first.
func (b *Boot) Epoch(ctx context.Context) error {
	if !b.Server.Alone() && b.View.Body(state.Epoch) != nil {
		return nil
	}
	var had state.EpochBody
	revision := b.View.Revision(state.Epoch) // first: what is replaced is what was read, or older
	if body := b.View.Body(state.Epoch); body != nil {
		if err := json.Unmarshal(body, &had); err != nil {
			return fmt.Errorf("read epoch: %w", err)
		}
	}
	now := state.EpochBody{Server: b.Server.Server()}
	if had.Server == now.Server {
		return nil
	}
	var err error
	if now.Torn, err = b.Server.Torn(ctx); err != nil {
		return err
	}
	if now.Torn {
		slog.WarnContext(ctx, "a batch was torn by a power loss: repairing", "component", "boot")
		if err := b.Repair(ctx); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	body, err := json.Marshal(now)
	if err != nil {
		return err
	}
	batch := events.EpochBegun.Batch(b.meta())
	batch.Add(state.Change{Key: state.Epoch, Replaces: revision, Body: body})
	return b.put(ctx, batch)
}

// Keep looks after the bucket at every new connection, until ctx ends: streams in memory have gone with a server that ended, and
// another instance begins another epoch.
func (b *Boot) Keep(ctx context.Context) error {
	connected, stop := b.Server.Reconnected()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-connected:
		}
		for b.renew(ctx) != nil {
			if !clock.Pause(ctx, retryAfter) {
				return context.Cause(ctx)
			}
		}
	}
}

// renew looks at the streams, and at the epoch once the view has caught up with the server it is now connected to.
func (b *Boot) renew(ctx context.Context) error {
	if err := b.Streams(ctx); err != nil {
		return err
	}
	if err := b.View.Fresh(ctx); err != nil {
		return err
	}
	err := b.Epoch(ctx)
	if err != nil && ctx.Err() == nil {
		slog.WarnContext(ctx, "epoch is not written", "component", "boot", "err", err)
	}
	return err
}
