package namespace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

var (
	shop = reconcile.Key{Name: "shop"}
	self = state.ObjectRef{Resource: scheme.Namespaces, Name: "shop"}
)

func configMap(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
}

// controller is the reconciler with its queue, which every change of a namespace or of something in it makes due.
type controller struct {
	*Reconciler
	queue *reconcile.Queue
}

func newController(a *apitest.API) *controller {
	c := &controller{queue: reconcile.NewQueue("namespace")}
	v, _ := a.View(a, view.Config{Subscribers: []view.Subscriber{func(_, after *view.Record) {
		if after.Ref.Resource == scheme.Namespaces {
			c.queue.Add(reconcile.Key{Name: after.Ref.Name})
		} else if after.Removed {
			c.queue.Add(reconcile.Key{Name: after.Ref.Namespace})
		}
	}}})
	c.Reconciler = &Reconciler{View: v, API: func(events.Meta) API { return a }}
	return c
}

func (c *controller) run(ctx context.Context) error {
	return c.queue.Run(ctx, c, 2, reconcile.NewMeters(nil))
}

func wantAsked(t *testing.T, a *apitest.API, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, a.Asked()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// Pods end in their time; what they use outlives them; then the namespace goes.
func TestNamespaceIsEmptiedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(namespace(true, corev1.FinalizerKubernetes))
		a.Put(objtest.Pod("runs").Namespace("shop").Node("n1").Obj())
		a.Put(objtest.Pod("waits").Namespace("shop").Obj())
		a.Put(objtest.Pod("elsewhere").Obj())
		a.Put(configMap("shop", "c"))
		a.Put(configMap("default", "elsewhere"))
		c := newController(a)
		a.Start(c.run)
		apitest.Elapse(time.Minute)
		wantAsked(t, a)
		a.Put(namespace(false, corev1.FinalizerKubernetes))
		apitest.Elapse(time.Minute)
		wantAsked(t, a, "delete pods/shop/runs", "delete pods/shop/waits")
		a.Remove(ref(scheme.Pods, "runs")) // its node has reported that it ended
		apitest.Elapse(time.Minute)
		wantAsked(t, a, "delete pods/shop/runs", "delete pods/shop/waits", "delete configmaps/shop/c", "update namespaces/shop")
		if a.Object(self) != nil {
			t.Error("the namespace is still there")
		}
		if a.Object(state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: "elsewhere"}) == nil ||
			a.Object(state.ObjectRef{Resource: scheme.ConfigMaps, Namespace: "default", Name: "elsewhere"}) == nil {
			t.Error("something of another namespace was removed")
		}
	})
}

// A finalizer that somebody else put there is that one's to take away.
func TestForeignFinalizersStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(namespace(false, "example.com/a", corev1.FinalizerKubernetes, "example.com/b"))
		c := newController(a)
		a.Start(c.run)
		apitest.Elapse(time.Hour)
		ns, _ := a.Object(self).(*corev1.Namespace)
		if ns == nil {
			t.Fatal("the namespace is gone")
		}
		if diff := cmp.Diff([]corev1.FinalizerName{"example.com/a", "example.com/b"}, ns.Spec.Finalizers); diff != "" {
			t.Errorf("finalizers (-want +got):\n%s", diff)
		}
		wantAsked(t, a, "update namespaces/shop") // once, not again and again
	})
}

// The view may not yet show what was created just before the end began: that must not be left behind.
func TestWhatWasCreatedJustBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(namespace(false, corev1.FinalizerKubernetes))
		c := newController(a)
		release := a.Hold()
		a.Put(configMap("shop", "late"))
		done := make(chan error)
		go func() { done <- c.Reconcile(t.Context(), shop) }()
		apitest.Elapse(time.Minute)
		if len(a.Asked()) > 0 {
			t.Errorf("asked %v before the newest was seen", a.Asked())
		}
		release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantAsked(t, a, "delete configmaps/shop/late")
	})
}

// Woken late with an old plan: the namespace has been let go, and another of its name has been made.
func TestOldPlanFinalizesNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(namespace(false, corev1.FinalizerKubernetes))
		c := newController(a)
		old, _ := view.As[*corev1.Namespace](c.View.Object(self))
		a.Remove(self)
		if err := finalize(t.Context(), a, old); err != nil {
			t.Errorf("finalize of a namespace that is gone = %v", err)
		}
		a.Put(namespace(true, corev1.FinalizerKubernetes))
		if err := finalize(t.Context(), a, old); !errors.Is(err, store.ErrConflict) {
			t.Errorf("finalize of a namespace that is another now = %v, want a conflict", err)
		}
		ns, _ := a.Object(self).(*corev1.Namespace)
		if ns == nil || len(ns.Spec.Finalizers) != 1 {
			t.Error("the namespace that has taken the name is no longer held")
		}
	})
}

// One object that cannot be removed holds up no other.
func TestRefusalHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(namespace(false, corev1.FinalizerKubernetes))
		for _, name := range []string{"a", "b", "c"} {
			a.Put(configMap("shop", name))
		}
		a.SetFault(func(request string) apitest.Fault {
			if strings.HasSuffix(request, "/a") {
				return apitest.Refuse
			}
			return apitest.OK
		})
		c := newController(a)
		if err := c.Reconcile(t.Context(), shop); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "delete configmaps/shop/a") {
			t.Errorf("Reconcile = %v, want the refusal", err)
		}
		if a.Object(ref(scheme.ConfigMaps, "b")) != nil || a.Object(ref(scheme.ConfigMaps, "c")) != nil {
			t.Error("what could be removed was not")
		}
	})
}

// Whatever is in it, whatever requests fail, however often the process is killed between two: the namespace ends empty, and never
// did anything but a pod go before the last pod.
func TestReconcileProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pods, others := rapid.IntRange(0, 4).Draw(rt, "pods"), rapid.IntRange(0, 4).Draw(rt, "others")
		faults := rapid.SliceOfN(rapid.SampledFrom([]apitest.Fault{apitest.OK, apitest.Refuse, apitest.Lose}), 0, 12).Draw(rt, "faults")
		kills := rapid.IntRange(0, 3).Draw(rt, "kills")
		var failures []string
		synctest.Test(t, func(t *testing.T) {
			a := apitest.New(t)
			a.Put(namespace(true, corev1.FinalizerKubernetes))
			for i := range pods {
				a.Put(objtest.Pod(fmt.Sprint("p", i)).Namespace("shop").Node([]string{"", "n1"}[i%2]).Obj())
			}
			for i := range others {
				a.Put(configMap("shop", fmt.Sprint("c", i)))
			}
			a.SetFault(func(request string) apitest.Fault {
				if strings.HasPrefix(request, "delete configmaps") && len(podsLeft(a, pods)) > 0 {
					failures = append(failures, request+" beside a pod")
				}
				if len(faults) == 0 {
					return apitest.OK
				}
				f := faults[0]
				faults = faults[1:]
				return f
			})
			a.Put(namespace(false, corev1.FinalizerKubernetes))
			for range kills {
				stop := a.Start(newController(a).run)
				apitest.Elapse(2 * time.Millisecond)
				stop()
			}
			a.Start(newController(a).run)
			for range pods + 1 { // nodes report the ends of their pods, one after the other
				apitest.Elapse(time.Minute)
				if left := podsLeft(a, pods); len(left) > 0 {
					a.Remove(ref(scheme.Pods, left[0]))
				}
			}
			apitest.Elapse(time.Minute)
			if a.Object(self) != nil {
				failures = append(failures, "the namespace is still there")
			}
		})
		if len(failures) > 0 {
			rt.Fatalf("%v", failures)
		}
	})
}

func podsLeft(a *apitest.API, count int) (left []string) {
	for i := range count {
		if name := fmt.Sprint("p", i); a.Object(ref(scheme.Pods, name)) != nil {
			left = append(left, name)
		}
	}
	return left
}
