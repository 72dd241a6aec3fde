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
	"millrace.dev/pkg/view"
)

// attempts is how often a write that lost against another is decided again.
const attempts = 16

// write is what a request writes: objects as readers will see them, and their batch.
type write struct {
	batch   *events.Batch
	objects []written
	named   map[state.ObjectRef]bool
}

// name reports whether the write has not been about this object before; a batch holds each object once.
func (w *write) name(ref state.ObjectRef) bool {
	if w.named[ref] {
		return false
	}
	w.named[ref] = true
	return true
}

// written is one object of a write.
type written struct {
	plain    []byte // as readers see it, but for the resourceVersion
	entry    int    // in the batch; -1: nothing of it is written
	revision uint64 // where it is if nothing is written
}

// commit decides by build and writes; when the write loses, it lets the view catch up and decides again. A build that adds
// nothing to the batch writes nothing. A refusal may rest on a view that does not show yet what another replica has answered,
// such as the end of the object that is in the way: it is given only by a view that was behind nobody.
func (v *Verbs) commit(ctx context.Context, r *request, dryRun bool, build func(*write) error) ([][]byte, error) {
	var lost error
	fresh := false
	for range attempts {
		w := &write{batch: v.batch(r), named: map[state.ObjectRef]bool{}}
		err := build(w)
		switch {
		case err != nil && (fresh || !restsOnView(err)):
			return nil, err
		case err != nil:
			lost = err
		case dryRun || len(w.batch.Entries) == 0:
			return w.answer(nil), nil
		default:
			if err := v.addRequestStamp(ctx, r, w.batch); err != nil {
				return nil, err
			}
			result, err := v.Writer.Put(ctx, w.batch)
			if err == nil {
				return w.answer(result.Revisions), nil
			}
			if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrReset) {
				return nil, writeError(ctx, r, err)
			}
			lost = err
		}
		if err := v.View.Fresh(ctx); err != nil {
			return nil, unavailable(err)
		}
		fresh = true
	}
	return nil, fmt.Errorf("the object kept changing while it was written: %w", lost)
}

// restsOnView reports whether a refusal is about what is there, not about what was sent.
func restsOnView(err error) bool {
	return apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsForbidden(err)
}

// writeError is the answer to a write that will not be tried again.
func writeError(ctx context.Context, r *request, err error) error {
	switch {
	case errors.Is(err, store.ErrInvalid):
		return apierrors.NewRequestEntityTooLargeError(err.Error())
	case ctx.Err() != nil: // this replica is stopping; the write may be on its way
		err = fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return fmt.Errorf("%s: %w", r.target.Verb, err)
}

// addRequestStamp has the batch bear the stamp of the set that the caller decides about (P8). A caller that saw an older
// one has decided on old knowledge and loses here; one whose view is ahead of ours is waited for.
func (v *Verbs) addRequestStamp(ctx context.Context, r *request, b *events.Batch) error {
	s := r.body.Stamp
	if s == nil {
		return nil
	}
	if err := known(ctx, v.state, s.Revision); err != nil {
		return err
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
// it: a pod's order, a node's stamp, a Secret's seal. seen is what the decision was made on, a tombstone perhaps, or nil: the
// change replaces that and nothing newer (P1).
func (v *Verbs) put(w *write, seen *view.Record, before, after scheme.Object) error {
	shown := after
	if after == nil {
		shown = before
	}
	plain, err := state.Encode(shown)
	if err != nil {
		return err
	}
	w.objects = append(w.objects, written{plain: plain, entry: len(w.batch.Entries)})
	if pod, ok := shown.(*corev1.Pod); ok {
		if unheld(pod) {
			after = nil
		}
		return v.putPod(w, seen, cast[*corev1.Pod](before), cast[*corev1.Pod](after), pod)
	}
	c, err := v.change(seen, before, after)
	if err != nil {
		return err
	}
	switch obj := shown.(type) {
	case *corev1.Node:
		v.putNode(w, c, before, obj)
	case *corev1.Namespace:
		v.putNamespace(w, c, before, obj)
	default:
		typ := events.ConfigWritten.Info()
		if c.Remove {
			typ = events.ConfigDeleted.Info()
		}
		w.batch.AddAs(typ, c)
	}
	return nil
}

// cast keeps nil nil.
func cast[T scheme.Object](obj scheme.Object) (t T) {
	if obj != nil {
		t, _ = obj.(T)
	}
	return t
}

// revisionOf is the revision that a change of what was seen replaces; 0 if nothing was.
func revisionOf(seen *view.Record) uint64 {
	if seen == nil {
		return 0
	}
	return seen.Revision
}

// change is the plain change of one object, sealed if it is a Secret.
func (v *Verbs) change(seen *view.Record, before, after scheme.Object) (c state.Change, err error) {
	shown := after
	if after == nil {
		shown = before
		c, err = state.Removal(before)
	} else {
		c, err = state.ObjectChange(after, revisionOf(seen))
	}
	if before != nil {
		c.Report = seen.Report
	}
	if _, secret := shown.(*corev1.Secret); secret && err == nil {
		c.Body, err = v.Sealer.Seal(c.Key, c.Body)
	}
	return c, err
}

// pinned is a view that shows one key as it was when a decision was made.
type pinned struct {
	*view.View
	key  state.Key
	seen *view.Record
}

// Revision implements [state.Seen].
func (p pinned) Revision(key state.Key) uint64 {
	if key == p.key {
		return revisionOf(p.seen)
	}
	return p.View.Revision(key)
}

func (v *Verbs) putPod(w *write, seen *view.Record, before, after, shown *corev1.Pod) error {
	changes, err := state.PodChange(pinned{v.View, state.ObjectKey(state.RefOf(shown)), seen}, before, after)
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
func (v *Verbs) putNode(w *write, c state.Change, before scheme.Object, node *corev1.Node) {
	stamp := v.View.Stamp(state.StampNode, node.Name)
	typ := events.NodeUpdated.Info()
	switch {
	case c.Remove:
		typ, stamp.End = events.NodeDeleted.Info(), true
	case before == nil:
		typ, stamp = events.NodeJoined.Info(), v.born(stamp)
	}
	w.batch.AddAs(typ, c)
	addStamp(w.batch, stamp)
	if c.Remove {
		v.freePodCIDR(w, node)
	}
}

// born is a stamp as the batch that creates its owner writes it: over nothing, or over the tombstone of an earlier one (P2).
func (v *Verbs) born(s state.Stamp) state.Stamp {
	return state.Stamp{Kind: s.Kind, ID: s.ID, Revision: revisionOf(v.View.Get(s.Key()))}
}

func (v *Verbs) freePodCIDR(w *write, node *corev1.Node) {
	key := state.ClaimKey(state.ClaimPodCIDR, node.Spec.PodCIDR)
	if claim := v.View.Get(key); claim != nil && !claim.Removed && node.Spec.PodCIDR != "" {
		w.batch.AddAs(events.ClaimTaken.Info(), state.Change{Key: key, Replaces: claim.Revision, Body: claim.Body, Remove: true})
	}
}

// putNamespace keeps the namespace's stamp, which moves only when the namespace begins to end (P9).
func (v *Verbs) putNamespace(w *write, c state.Change, before scheme.Object, namespace *corev1.Namespace) {
	stamp := v.View.Stamp(state.StampNamespace, namespace.Name)
	switch {
	case c.Remove:
		stamp.End = true
		w.batch.AddAs(events.NamespaceDeleted.Info(), c)
	case before == nil:
		w.batch.AddAs(events.NamespaceCreated.Info(), c)
		stamp = v.born(stamp)
	case before.GetDeletionTimestamp() == nil && namespace.DeletionTimestamp != nil:
		w.batch.AddAs(events.NamespaceDeleting.Info(), c)
	default:
		w.batch.AddAs(events.NamespaceUpdated.Info(), c)
		return
	}
	addStamp(w.batch, stamp)
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
			return unavailable(err)
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
		forbidden := apierrors.NewForbidden(groupResource(kind), obj.GetName(),
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
