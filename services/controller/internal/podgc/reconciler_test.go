package podgc

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/services/controller/internal/apitest"
)

func newReconciler(a *apitest.API) *Reconciler {
	v, _ := a.View(a, view.Config{})
	return &Reconciler{View: v, API: func(events.Meta) API { return a }}
}

var podKey = reconcile.Key{Namespace: "default", Name: "a"}

func podRef(name string) state.ObjectRef {
	return state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: name}
}

func wantAsked(t *testing.T, a *apitest.API, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), append([]string{}, a.Asked()...)); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestWhoIsRemoved(t *testing.T) {
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		want bool
	}{
		{name: "one of a node that exists", pod: objtest.Pod("a").Node("n1")},
		{name: "one without a node", pod: objtest.Pod("a")},
		{name: "one of a node that is gone", pod: objtest.Pod("a").Node("gone"), want: true},
		{name: "one that has finished there", pod: objtest.Pod("a").Node("gone").Phase(corev1.PodSucceeded), want: true},
		{name: "one that is to be deleted and that its node will never report", pod: objtest.Pod("a").Node("gone").Deleting(time.Now().Add(time.Hour)), want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := apitest.New(t)
				a.Put(objtest.Node("n1").Obj())
				a.Put(tt.pod.Obj())
				r := newReconciler(a)
				if err := r.Reconcile(t.Context(), podKey); err != nil {
					t.Fatal(err)
				}
				if got := a.Object(podRef("a")) == nil; got != tt.want {
					t.Errorf("removed: %v, want %v", got, tt.want)
				}
				if a.Body(state.OrderKey("gone", "default", "a")) != nil {
					t.Error("the order of a pod that is gone is still there")
				}
			})
		})
	}
}

func TestNodeKeyStandsForItsPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(objtest.Node("n1").Obj())
		for name, node := range map[string]string{"a": "gone", "b": "gone", "c": "n1", "d": "other", "e": ""} {
			a.Put(objtest.Pod(name).Node(node).Obj())
		}
		r := newReconciler(a)
		if err := r.Reconcile(t.Context(), NodeKey("gone")); err != nil {
			t.Fatal(err)
		}
		wantAsked(t, a, "delete pods/default/a", "delete pods/default/b")
		if err := r.Reconcile(t.Context(), NodeKey("n1")); err != nil {
			t.Fatal(err)
		}
		wantAsked(t, a, "delete pods/default/a", "delete pods/default/b")
	})
}

func TestPodThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		if err := newReconciler(a).Reconcile(t.Context(), podKey); err != nil {
			t.Fatal(err)
		}
		wantAsked(t, a)
	})
}

// A view may show a pod before the node that it was made for: nothing is removed before the newest has been seen.
func TestNodeThatJoinedAMomentAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(objtest.Pod("a").Node("n1").Obj())
		r := newReconciler(a)
		release := a.Hold()
		a.Put(objtest.Node("n1").Obj())
		done := make(chan error)
		go func() { done <- r.Reconcile(t.Context(), podKey) }()
		apitest.Elapse(time.Second)
		wantAsked(t, a)
		release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantAsked(t, a)
	})
}

// Woken late with an old plan: the pod has been replaced by another of its name, on a node that exists.
func TestOldPlanRemovesNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(objtest.Node("n1").Obj())
		a.Put(objtest.Pod("a").Node("gone").Obj())
		r := newReconciler(a)
		old := r.View.Object(podRef("a"))
		pod, _ := view.As[*corev1.Pod](old)
		a.Remove(podRef("a"))
		a.Put(objtest.Pod("a").UID("second").Node("n1").Obj())
		if err := r.removeOrphan(t.Context(), old, pod); !errors.Is(err, store.ErrConflict) {
			t.Errorf("removal of a pod that is another now = %v, want a conflict, to look again", err)
		}
		if a.Object(podRef("a")) == nil {
			t.Error("the pod that has taken the name was removed")
		}
		if err := r.Reconcile(t.Context(), podKey); err != nil {
			t.Errorf("look again: %v", err)
		}
	})
}

// Somebody else was quicker.
func TestPodThatIsRemovedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(objtest.Pod("a").Node("gone").Obj())
		r := newReconciler(a)
		a.SetFault(func(string) apitest.Fault {
			a.Remove(podRef("a"))
			return apitest.OK
		})
		if err := r.Reconcile(t.Context(), podKey); err != nil {
			t.Errorf("Reconcile = %v", err)
		}
		wantAsked(t, a, "delete pods/default/a")
	})
}

// Whatever requests are refused or answered by nobody, and however often the process is killed between two: in the end every
// orphan is gone, and nobody else is.
func TestReconcileProperties(t *testing.T) {
	nodes := []string{"", "n1", "gone1", "gone2"}
	rapid.Check(t, func(rt *rapid.T) {
		where := rapid.SliceOfN(rapid.SampledFrom(nodes), 1, 12).Draw(rt, "nodes of the pods")
		faults := rapid.SliceOfN(rapid.SampledFrom([]apitest.Fault{apitest.OK, apitest.Refuse, apitest.Lose}), 0, 12).Draw(rt, "faults")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			a := apitest.New(t)
			a.Put(objtest.Node("n1").Obj())
			for i, node := range where {
				a.Put(objtest.Pod(fmt.Sprint("p", i)).Node(node).Obj())
			}
			a.SetFault(func(string) apitest.Fault {
				if len(faults) == 0 {
					return apitest.OK
				}
				f := faults[0]
				faults = faults[1:]
				return f
			})
			r := newReconciler(a)
			q := reconcile.NewQueue("podgc")
			m := reconcile.NewMeters(nil)
			for _, node := range nodes[1:] {
				q.Add(NodeKey(node))
			}
			for range 3 { // killed twice
				stop := a.Start(func(ctx context.Context) error { return q.Run(ctx, r, 2, m) })
				apitest.Elapse(3 * time.Millisecond)
				stop()
				for _, node := range nodes[1:] {
					q.Add(NodeKey(node))
				}
			}
			a.Start(func(ctx context.Context) error { return q.Run(ctx, r, 2, m) })
			apitest.Elapse(time.Minute)
			for i, node := range where {
				gone, orphan := a.Object(podRef(fmt.Sprint("p", i))) == nil, node == "gone1" || node == "gone2"
				if gone != orphan {
					failure = fmt.Sprintf("pod %d of node %q is gone: %v", i, node, gone)
				}
			}
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}
