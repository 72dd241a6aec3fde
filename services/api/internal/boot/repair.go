package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
)

// Repair makes the bucket whole again after a batch was torn. Batches are written so that every prefix can be repaired (P11):
// orders are rewritten from their pods, stamps are made that their owners lack, and what lies beside no object any more is dropped.
func (b *Boot) Repair(ctx context.Context) error {
	batches, err := b.repairs(ctx)
	if err != nil {
		return err
	}
	for _, batch := range batches {
		slog.WarnContext(ctx, "repaired", "component", "boot", "subject", batch.Entries[0].Key)
		if _, err := b.Writer.Put(ctx, batch); err != nil {
			return fmt.Errorf("%s: %w", batch.Entries[0].Key, err)
		}
	}
	return b.View.Fresh(ctx)
}

// repairs lists what differs from what follows from the objects, one batch each.
func (b *Boot) repairs(ctx context.Context) ([]*events.Batch, error) {
	var batches []*events.Batch
	add := func(t events.Info, changes ...state.Change) {
		if len(changes) > 0 {
			batch := &events.Batch{ID: events.NewID(), Meta: b.meta(), Queue: events.QueueBulk}
			batch.AddAs(t, changes...)
			batches = append(batches, batch)
		}
	}
	// What may lie beside no object is read first and judged by a view that shows the rest of its batch too: others write meanwhile.
	records, _ := b.View.ListPrefix("")
	if err := b.View.Fresh(ctx); err != nil {
		return nil, err
	}
	wanted := map[state.Key]bool{}
	for _, record := range b.View.List(scheme.Pods, "") {
		pod, ok := view.As[*corev1.Pod](record)
		if !ok || pod.Spec.NodeName == "" {
			continue
		}
		wanted[state.OrderKey(pod.Spec.NodeName, pod.Namespace, pod.Name)] = true
		changes, err := state.PodChange(b.View, pod, pod.DeepCopy())
		if err != nil {
			return nil, err
		}
		if len(changes) > 1 || changes[0].Remove { // its order is missing or differs
			add(events.PodUpdated.Info(), changes...)
		}
	}
	b.dropOrphans(records, wanted, add)
	return batches, b.bearStamps(add)
}

// bearStamps gives birth to the stamps that nodes and namespaces lack: a stamp is the last message of the batch that makes its
// owner.
func (b *Boot) bearStamps(add func(events.Info, ...state.Change)) error {
	body, err := json.Marshal(state.StampBody{By: b.Source})
	if err != nil {
		return err
	}
	for resource, kind := range map[string]state.StampKind{scheme.Nodes: state.StampNode, scheme.Namespaces: state.StampNamespace} {
		for _, owner := range b.View.List(resource, "") {
			key := state.StampKey(kind, owner.Ref.Name)
			revision := b.View.Revision(key) // first: if the owner goes meanwhile, it is seen to be gone
			if b.View.Body(key) == nil && b.View.Object(owner.Ref) != nil {
				add(events.StampMoved.Info(), state.Change{Key: key, Replaces: revision, Body: body})
			}
		}
	}
	return nil
}

// dropOrphans drops orders without a pod, claims without an object, and stamps of nodes and namespaces that do not exist.
func (b *Boot) dropOrphans(records []*view.Record, wanted map[state.Key]bool, add func(events.Info, ...state.Change)) {
	for _, r := range records {
		orphan := false
		if _, _, ok := state.ParseOrderKey(r.Key); ok {
			orphan = !wanted[r.Key]
		} else if _, _, ok := state.ParseClaimKey(r.Key); ok {
			var owner state.ObjectRef
			orphan = json.Unmarshal(bytes.TrimSpace(r.Body), &owner) != nil || b.View.Object(owner) == nil
		} else if kind, id, ok := state.ParseStampKey(r.Key); ok {
			orphan = b.ownerless(kind, id)
		}
		if orphan {
			add(events.Repaired.Info(), state.Change{Key: r.Key, Replaces: r.Revision, Body: r.Body, Remove: true})
		}
	}
}

func (b *Boot) ownerless(kind state.StampKind, id string) bool {
	switch kind {
	case state.StampNode:
		return b.View.Object(state.ObjectRef{Resource: scheme.Nodes, Name: id}) == nil
	case state.StampNamespace:
		return b.View.Object(state.ObjectRef{Resource: scheme.Namespaces, Name: id}) == nil
	default:
		return false
	}
}
