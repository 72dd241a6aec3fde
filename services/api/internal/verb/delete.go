package verb

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
)

// delete asks for the end of one object: it goes at once if nothing holds it, and is marked otherwise.
func (v *Verbs) delete(ctx context.Context, r *request) error {
	if err := v.Authz.Allow(r.asked()); err != nil {
		return err
	}
	if err := writable(r.kind, r.target.Verb); err != nil {
		return err
	}
	ref, err := r.ref()
	if err != nil {
		return err
	}
	var o metav1.DeleteOptions
	if err := r.options(&o); err != nil {
		return err
	}
	if err := invalidOptions("DeleteOptions", validation.ValidateDeleteOptions(&o)); err != nil {
		return err
	}
	if o.GracePeriodSeconds != nil && *o.GracePeriodSeconds < 0 {
		o.GracePeriodSeconds = new(int64(1)) // as Kubernetes reads it
	}
	answers, err := v.commit(ctx, r, len(o.DryRun) > 0, func(w *write) error { return v.addDelete(ctx, r, w, ref, &o) })
	if err != nil {
		return err
	}
	return r.answerObjects(raw(answers)...)
}

func (v *Verbs) addDelete(ctx context.Context, r *request, w *write, ref state.ObjectRef, o *metav1.DeleteOptions) error {
	record, err := v.current(ctx, r.kind, ref, "")
	if apierrors.IsNotFound(err) {
		if last := v.View.Get(state.ObjectKey(ref)); last != nil && last.Removed && r.executed(last.EventID) {
			return v.show(w, r.kind, last)
		}
	}
	if err != nil {
		return err
	}
	if r.executed(record.EventID) {
		return v.show(w, r.kind, record)
	}
	old, err := v.source(r.kind).Open(record)
	if err != nil {
		return err
	}
	if err := r.preconditions(old, o); err != nil {
		return err
	}
	return v.end(r, w, record, old.DeepCopyObject().(scheme.Object), o)
}

// preconditions fails if the caller meant another object, or another version, than there is.
func (r *request) preconditions(old scheme.Object, o *metav1.DeleteOptions) error {
	p := o.Preconditions
	if p == nil {
		return nil
	}
	// Kubernetes names the kind here, and has other sentences for namespaces.
	resource := schema.GroupResource{Group: r.kind.Group, Resource: r.kind.Name}
	otherUID := "the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated"
	otherVersion := "the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified"
	if r.kind.Resource() == scheme.Namespaces {
		resource = groupResource(r.kind)
		otherUID = "Precondition failed: UID in precondition: %v, UID in object meta: %v"
		otherVersion = "Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v"
	}
	switch {
	case p.UID != nil && *p.UID != old.GetUID():
		return apierrors.NewConflict(resource, old.GetName(), fmt.Errorf(otherUID, *p.UID, old.GetUID()))
	case p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion():
		return apierrors.NewConflict(resource, old.GetName(), fmt.Errorf(otherVersion, *p.ResourceVersion, old.GetResourceVersion()))
	default:
		return nil
	}
}

// end adds the end of an object to a write: its mark, which is its removal if nothing holds it, or nothing if it is on its way
// already.
func (v *Verbs) end(r *request, w *write, record *view.Record, old scheme.Object, o *metav1.DeleteOptions) error {
	next := old.DeepCopyObject().(scheme.Object)
	switch obj := next.(type) {
	case *corev1.Pod:
		if !v.endPod(obj, o) && !unheld(obj) {
			return v.show(w, r.kind, record)
		}
	case *corev1.Namespace:
		if protected[obj.Name] {
			return apierrors.NewForbidden(groupResource(r.kind), obj.Name, errors.New("this namespace may not be deleted"))
		}
		if obj.DeletionTimestamp != nil {
			return v.show(w, r.kind, record)
		}
		v.mark(obj)
		obj.Status.Phase = corev1.NamespaceTerminating
	default:
		if obj.GetDeletionTimestamp() != nil {
			return v.show(w, r.kind, record)
		}
		v.mark(obj)
	}
	return v.put(w, record, old, next)
}

// protected are the namespaces that the cluster cannot be without.
var protected = map[string]bool{metav1.NamespaceDefault: true, metav1.NamespaceSystem: true, metav1.NamespacePublic: true}

func (v *Verbs) mark(obj scheme.Object) {
	t := now(v.Now)
	obj.SetDeletionTimestamp(&t)
	obj.SetDeletionGracePeriodSeconds(new(int64(0)))
	if obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
}

// endPod marks a pod for its end and reports whether that changes anything.
func (v *Verbs) endPod(pod *corev1.Pod, o *metav1.DeleteOptions) bool {
	if pod.DeletionTimestamp != nil {
		return shorten(pod, o)
	}
	grace := int64(podinfo.GracePeriod(pod) / time.Second)
	if o.GracePeriodSeconds != nil {
		grace = *o.GracePeriodSeconds
	}
	if pod.Spec.NodeName == "" || podinfo.Finished(pod) {
		grace = 0 // nothing runs that would need time
	}
	if pod.Generation > 0 {
		pod.Generation++
	}
	// In whole seconds, up: the kubelet counts the grace from this, and must not count less than was asked for.
	t := metav1.NewTime(v.Now().Add(seconds(grace) + time.Second - 1).Truncate(time.Second))
	pod.DeletionTimestamp = &t
	pod.DeletionGracePeriodSeconds = &grace
	return true
}

// shorten gives a pod that has been marked less time, counted from its first mark, if that is asked for. It never gives more.
func shorten(pod *corev1.Pod, o *metav1.DeleteOptions) bool {
	had, grace := pod.DeletionGracePeriodSeconds, o.GracePeriodSeconds
	if had == nil || grace == nil || *grace >= *had {
		return false
	}
	t := metav1.NewTime(pod.DeletionTimestamp.Add(seconds(*grace - *had)))
	pod.DeletionTimestamp = &t
	pod.DeletionGracePeriodSeconds = new(*grace)
	return true
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// unheld says that a pod is to go without waiting for its node, which stops it when the order is gone: it was deleted by force.
func unheld(pod *corev1.Pod) bool {
	grace := pod.DeletionGracePeriodSeconds
	return pod.DeletionTimestamp != nil && (grace == nil || *grace == 0) && len(pod.Finalizers) == 0
}
