package verb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

// attempts is how often a write that lost against another is decided again.
const attempts = 16

// write is what a request writes: objects as readers will see them, and their batch.
type write struct {
	batch   *events.Batch
	objects []written
}

// written is one object of a write.
type written struct {
	plain    []byte // as readers see it, but for the resourceVersion
	entry    int    // in the batch; -1: nothing of it is written
	revision uint64 // where it is if nothing is written
}

// commit decides by build and writes; when the write loses, it lets the view catch up and decides again. A build that adds
// nothing to the batch writes nothing.
func (v *Verbs) commit(ctx context.Context, r *request, dryRun bool, build func(*write) error) ([][]byte, error) {
	var lost error
	for range attempts {
		w := &write{batch: v.batch(r)}
		if err := build(w); err != nil {
			return nil, err
		}
		if dryRun || len(w.batch.Entries) == 0 {
			return w.answer(nil), nil
		}
		if err := v.addRequestStamp(r, w.batch); err != nil {
			return nil, err
		}
		result, err := v.Writer.Put(ctx, w.batch)
		if err == nil {
			return w.answer(result.Revisions), nil
		}
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrReset) {
			return nil, v.storeError(r, err)
		}
		lost = err
		if err := v.View.Fresh(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return nil, fmt.Errorf("the object kept changing while it was written: %w", lost)
}

func (v *Verbs) storeError(r *request, err error) error {
	if errors.Is(err, store.ErrInvalid) {
		return apierrors.NewRequestEntityTooLargeError(err.Error())
	}
	return fmt.Errorf("%s: %w", r.target.Verb, err)
}

// addRequestStamp has the batch bear the stamp of the set that the caller decides about (P8). A caller that saw an older
// one has decided on old knowledge and loses here.
func (v *Verbs) addRequestStamp(r *request, b *events.Batch) error {
	s := r.body.Stamp
	if s == nil {
		return nil
	}
	seen := v.View.Stamp(s.Kind, s.ID)
	if seen.Revision != s.Revision {
		return fmt.Errorf("stamp %s of %s has moved: %w", s.Kind, s.ID, store.ErrConflict)
	}
	addStamp(b, seen)
	return nil
}

func addStamp(b *events.Batch, s state.Stamp) {
	if !slices.ContainsFunc(b.Stamps, func(had state.Stamp) bool { return had.Key() == s.Key() }) {
		b.Stamps = append(b.Stamps, s)
	}
}

// answer gives the objects as they now are.
func (w *write) answer(revisions []uint64) [][]byte {
	objects := make([][]byte, len(w.objects))
	for i, o := range w.objects {
		revision := o.revision
		if o.entry >= 0 && revisions != nil {
			revision = revisions[o.entry]
		}
		if revision == 0 {
			objects[i] = o.plain // dry run
		} else {
			objects[i] = state.Versioned(o.plain, revision)
		}
	}
	return objects
}

// put adds the change that turns before (nil: absent) into after (nil: gone) to the write, with everything that belongs to
// it: a pod's order, a node's stamp, a Secret's seal.
func (v *Verbs) put(w *write, before, after scheme.Object) error {
	shown := after
	if after == nil {
		shown = before
	}
	plain, err := state.Encode(shown)
	if err != nil {
		return err
	}
	w.objects = append(w.objects, written{plain: plain, entry: len(w.batch.Entries)})
	switch obj := shown.(type) {
	case *corev1.Pod:
		return v.putPod(w, cast[*corev1.Pod](before), cast[*corev1.Pod](after))
	case *corev1.Node:
		return v.putNode(w, before, after, obj)
	case *corev1.Namespace:
		return v.putNamespace(w, before, after, obj)
	}
	c, err := v.change(before, after)
	if err != nil {
		return err
	}
	typ := events.ConfigWritten.Info()
	if c.Remove {
		typ = events.ConfigDeleted.Info()
	}
	w.batch.AddAs(typ, c)
	return nil
}

// cast keeps nil nil.
func cast[T scheme.Object](obj scheme.Object) (t T) {
	if obj != nil {
		t, _ = obj.(T)
	}
	return t
}

// change is the plain change of one object, sealed if it is a Secret.
func (v *Verbs) change(before, after scheme.Object) (c state.Change, err error) {
	switch {
	case after == nil:
		c, err = state.Removal(before)
	case before == nil:
		c, err = state.ObjectChange(after, v.View.Revision(state.ObjectKey(state.RefOf(after))))
	default:
		var revision uint64
		if revision, err = state.ParseRevision(before.GetResourceVersion()); err == nil {
			c, err = state.ObjectChange(after, revision)
		}
	}
	if before != nil {
		c.Report = v.View.Report(c.Key)
	}
	if _, secret := first(after, before).(*corev1.Secret); secret && err == nil {
		c.Body, err = v.Sealer.Seal(c.Key, c.Body)
	}
	return c, err
}

func first(objects ...scheme.Object) scheme.Object {
	for _, o := range objects {
		if o != nil {
			return o
		}
	}
	return nil
}

func (v *Verbs) putPod(w *write, before, after *corev1.Pod) error {
	changes, err := state.PodChange(v.View, before, after)
	if err != nil {
		return err
	}
	typ := events.PodUpdated.Info()
	switch {
	case changes[0].Remove:
		typ = events.PodDeleted.Info()
	case before == nil:
		typ = events.PodCreated.Info()
	case before.DeletionTimestamp == nil && after.DeletionTimestamp != nil:
		typ = events.PodDeleting.Info()
	}
	w.batch.AddAs(typ, changes...)
	if before == nil && after.Spec.NodeName != "" { // an addition to the node's pods (P9)
		stamp := v.View.Stamp(state.StampNode, after.Spec.NodeName)
		if stamp.Revision == 0 {
			return apierrors.NewForbidden(schema.GroupResource{Resource: scheme.Pods}, after.Name,
				fmt.Errorf("node %q does not exist", after.Spec.NodeName))
		}
		addStamp(w.batch, stamp)
	}
	return nil
}

// putNode keeps the stamp of the node's pods: born and ended with the node, moved by whatever the scheduler reads of it (P9).
func (v *Verbs) putNode(w *write, before, after scheme.Object, node *corev1.Node) error {
	c, err := v.change(before, after)
	if err != nil {
		return err
	}
	stamp := v.View.Stamp(state.StampNode, node.Name)
	typ := events.NodeUpdated.Info()
	switch {
	case c.Remove:
		typ, stamp.End = events.NodeDeleted.Info(), true
		v.freePodCIDR(w, node)
	case before == nil:
		typ, stamp = events.NodeJoined.Info(), v.born(stamp)
	}
	w.batch.AddAs(typ, c)
	addStamp(w.batch, stamp)
	return nil
}

// born is a stamp as the batch that creates its owner writes it: over nothing, or over the tombstone of an earlier one (P2).
func (v *Verbs) born(s state.Stamp) state.Stamp {
	return state.Stamp{Kind: s.Kind, ID: s.ID, Revision: v.View.Revision(s.Key())}
}

func (v *Verbs) freePodCIDR(w *write, node *corev1.Node) {
	key := state.ClaimKey(state.ClaimPodCIDR, node.Spec.PodCIDR)
	if body := v.View.Body(key); body != nil && node.Spec.PodCIDR != "" {
		w.batch.AddAs(events.ClaimTaken.Info(), state.Change{Key: key, Replaces: v.View.Revision(key), Body: body, Remove: true})
	}
}

// putNamespace keeps the namespace's stamp, which moves only when the namespace begins to end (P9).
func (v *Verbs) putNamespace(w *write, before, after scheme.Object, namespace *corev1.Namespace) error {
	c, err := v.change(before, after)
	if err != nil {
		return err
	}
	stamp := v.View.Stamp(state.StampNamespace, namespace.Name)
	switch {
	case c.Remove:
		stamp.End = true
		w.batch.AddAs(events.NamespaceDeleted.Info(), c)
		addStamp(w.batch, stamp)
	case before == nil:
		w.batch.AddAs(events.NamespaceCreated.Info(), c)
		addStamp(w.batch, v.born(stamp))
	case before.GetDeletionTimestamp() == nil && after.GetDeletionTimestamp() != nil:
		w.batch.AddAs(events.NamespaceDeleting.Info(), c)
		addStamp(w.batch, stamp)
	default:
		w.batch.AddAs(events.NamespaceUpdated.Info(), c)
	}
	return nil
}

// checkNamespace has the batch fail if the namespace of a new object is gone or begins to end meanwhile.
func (v *Verbs) checkNamespace(ctx context.Context, b *events.Batch, kind *scheme.Kind, obj scheme.Object) error {
	if kind.ClusterScoped {
		return nil
	}
	name := obj.GetNamespace()
	ref := state.ObjectRef{Resource: scheme.Namespaces, Name: name}
	record := v.View.Object(ref)
	if record == nil { // it may have been created a moment ago
		if err := v.View.Fresh(ctx); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		if record = v.View.Object(ref); record == nil {
			return apierrors.NewNotFound(schema.GroupResource{Resource: scheme.Namespaces}, name)
		}
	}
	namespace, err := record.Object()
	if err != nil {
		return err
	}
	if namespace.GetDeletionTimestamp() != nil {
		forbidden := apierrors.NewForbidden(schema.GroupResource{Group: kind.Group, Resource: kind.Plural}, obj.GetName(),
			fmt.Errorf("unable to create new content in namespace %s because it is being terminated", name))
		forbidden.ErrStatus.Details.Causes = []metav1.StatusCause{{
			Type: corev1.NamespaceTerminatingCause, Message: fmt.Sprintf("namespace %s is being terminated", name), Field: "metadata.namespace",
		}}
		return forbidden
	}
	stamp := v.View.Stamp(state.StampNamespace, name)
	b.Check(stamp.Key(), stamp.Revision)
	return nil
}

// executed says that the newest revision of an object was written by this very command: it was sent again.
func (r *request) executed(eventID string) bool {
	return r.in.ID != "" && events.BatchOf(eventID) == r.in.ID
}

func now(clock func() time.Time) metav1.Time { return metav1.NewTime(clock().Truncate(time.Second)) }
