package configrevision

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
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/view"
	"millrace.dev/services/controller/internal/apitest"
)

func configRef(name string) state.ObjectRef {
	return state.ObjectRef{Resource: scheme.ConfigMaps, Namespace: "default", Name: name}
}

// config is a ConfigMap with this content.
func config(name, content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{"k": content},
	}
}

// user is a pod on n1 whose environment comes from ConfigMaps.
func user(name string, configs ...string) *corev1.Pod {
	c := corev1.Container{Name: "app", Image: "busybox"}
	for _, from := range configs {
		c.EnvFrom = append(c.EnvFrom, corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: from}}})
	}
	return objtest.Pod(name).Container(c).Node("n1").Obj()
}

func newReconciler(a *apitest.API, s store.Store) *Reconciler {
	v, w := a.View(s, view.Config{Indexes: []view.Index{Index}})
	return &Reconciler{View: v, Writer: w, Source: "/controller"}
}

// announced is what the order of a pod names.
func announced(t *testing.T, a *apitest.API, pod string) map[string]uint64 {
	t.Helper()
	order, err := state.DecodeOrder(a.Body(state.OrderKey("n1", "default", pod)))
	if err != nil {
		t.Fatal(err)
	}
	return order.Config
}

func wantAnnounced(t *testing.T, a *apitest.API, pod string, configs ...string) {
	t.Helper()
	want := map[string]uint64{}
	for _, name := range configs {
		want["configmaps/"+name] = a.Revision(state.ObjectKey(configRef(name)))
	}
	got := announced(t, a, pod)
	if got == nil {
		got = map[string]uint64{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order of %s names (-want +got):\n%s", pod, diff)
	}
}

func last(t *testing.T, a *apitest.API) uint64 {
	t.Helper()
	p, err := a.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.Sequence
}

// P21: an order that names an older revision is corrected, and only that.
func TestP21_NewRevisionIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(config("used", "1"))
		a.Put(config("other", "1"))
		a.Put(user("one", "used"))
		a.Put(user("both", "used", "other", "absent"))
		a.Put(user("none", "other"))
		r := newReconciler(a, a)
		reconciles := func(name string, changed int) {
			t.Helper()
			before := last(t, a)
			if err := r.Reconcile(t.Context(), Key(configRef(name))); err != nil {
				t.Fatal(err)
			}
			apitest.Elapse(time.Second)
			if got := last(t, a) - before; got != uint64(changed) {
				t.Errorf("%d orders were written for %s, want %d", got, name, changed)
			}
		}
		reconciles("used", 0)
		a.Put(config("used", "2"))
		apitest.Elapse(time.Second)
		reconciles("used", 2)
		wantAnnounced(t, a, "one", "used")
		wantAnnounced(t, a, "both", "used", "other")
		wantAnnounced(t, a, "none", "other")
		reconciles("used", 0)
		a.Put(config("absent", "1"))
		apitest.Elapse(time.Second)
		reconciles("absent", 1)
		wantAnnounced(t, a, "both", "used", "other", "absent")
		a.Remove(configRef("other"))
		apitest.Elapse(time.Second)
		reconciles("other", 2)
		wantAnnounced(t, a, "both", "used", "absent")
		wantAnnounced(t, a, "none")
		reconciles("nobody-uses-it", 0)
	})
}

// The announcement is an event of its own, caused by the change, and leaves the rest of the order alone.
func TestAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(config("used", "1"))
		pod := user("one", "used")
		pod.DeletionTimestamp = &metav1.Time{Time: time.Unix(5, 0)}
		a.Put(pod)
		key := state.OrderKey("n1", "default", "one")
		before, err := state.DecodeOrder(a.Body(key))
		if err != nil {
			t.Fatal(err)
		}
		r := newReconciler(a, a)
		a.Put(config("used", "2"))
		apitest.Elapse(time.Second)
		if err := r.Reconcile(t.Context(), Key(configRef("used"))); err != nil {
			t.Fatal(err)
		}
		entry, err := a.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		event, err := events.Decode(entry.Header)
		cause := r.View.Object(configRef("used")).EventID
		if err != nil || event.Type != events.ConfigAnnounced.Name || event.Causation != cause || event.Actor != "system:controller" {
			t.Errorf("event %+v, %v; want an announcement caused by %s", event, err, cause)
		}
		after, err := state.DecodeOrder(entry.Body)
		if err != nil {
			t.Fatal(err)
		}
		before.Config = after.Config
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("the order besides its config (-want +got):\n%s", diff)
		}
	})
}

// Woken late with an old plan: the order has changed since the reconciler read it, and must not be put back.
func TestLateRiserLoses(t *testing.T) {
	tests := []struct {
		name string
		then func(*apitest.API)
		gone bool
	}{
		{name: "the pod is marked for deletion", then: func(a *apitest.API) {
			pod := user("one", "used")
			pod.DeletionTimestamp = &metav1.Time{Time: time.Unix(5, 0)}
			a.Put(pod)
		}},
		{name: "the pod is gone", then: func(a *apitest.API) {
			a.Remove(state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: "one"})
		}, gone: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := apitest.New(t)
				a.Put(config("used", "1"))
				a.Put(user("one", "used"))
				woken := false
				r := newReconciler(a, &apitest.Interposed{Store: a, Before: func([]events.Message) error {
					if !woken {
						woken = true
						tt.then(a)
					}
					return nil
				}})
				a.Put(config("used", "2"))
				apitest.Elapse(time.Second)
				if err := r.Reconcile(t.Context(), Key(configRef("used"))); !errors.Is(err, store.ErrConflict) {
					t.Errorf("Reconcile with an old plan = %v, want a conflict", err)
				}
				body := a.Body(state.OrderKey("n1", "default", "one"))
				if tt.gone {
					if body != nil {
						t.Error("an order that was removed is back")
					}
				} else if order, err := state.DecodeOrder(body); err != nil || order.Pod.DeletionTimestamp == nil {
					t.Errorf("the mark of deletion is lost: %v", err)
				}
				apitest.Elapse(time.Second)
				if err := r.Reconcile(t.Context(), Key(configRef("used"))); err != nil {
					t.Errorf("Reconcile with what there is = %v", err)
				}
			})
		})
	}
}

// A damaged order is left to the boot check and holds up no other.
func TestDamagedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(config("used", "1"))
		a.Put(user("one", "used"))
		b := events.ConfigWritten.Batch(events.Meta{Source: "/test"})
		b.Add(state.Change{Key: state.OrderKey("n1", "default", "bad"), Body: []byte("{")})
		messages, err := b.Messages("test", time.Now())
		if err == nil {
			_, err = a.Write(t.Context(), messages)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := newReconciler(a, a)
		a.Put(config("used", "2"))
		apitest.Elapse(time.Second)
		if err := r.Reconcile(t.Context(), Key(configRef("used"))); err != nil {
			t.Fatal(err)
		}
		wantAnnounced(t, a, "one", "used")
	})
}

func TestConcerns(t *testing.T) {
	for resource, want := range map[string]bool{scheme.ConfigMaps: true, scheme.Secrets: true, scheme.Pods: false, "": false} {
		if got := Concerns(&view.Record{Ref: state.ObjectRef{Resource: resource}}); got != want {
			t.Errorf("Concerns(%q) = %v, want %v", resource, got, want)
		}
	}
}

// Whatever ConfigMaps come, change and go, whatever writes fail, and however often the process is killed: once it is quiet, every
// order names exactly the newest revisions (P21).
func TestP21_Properties(t *testing.T) {
	names := []string{"a", "b", "c"}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"put a", "put b", "put c", "remove a", "remove b", "kill"}), 1, 12).Draw(rt, "steps")
		faults := rapid.SliceOfN(rapid.SampledFrom([]memstore.Fault{memstore.OK, memstore.Conflict, memstore.LostAck, memstore.LostSend}), 0, 12).Draw(rt, "faults")
		diff := ""
		synctest.Test(t, func(t *testing.T) {
			a := apitest.New(t)
			for i := range 5 {
				a.Put(user(fmt.Sprint("p", i), names[i%3], names[(i+1)%3]))
			}
			a.Store.SetFault(func(m []events.Message) memstore.Fault {
				if len(faults) == 0 || !strings.HasPrefix(string(m[0].Key), string(state.OrderPrefix(""))) {
					return memstore.OK // what the test itself writes is not disturbed
				}
				f := faults[0]
				faults = faults[1:]
				return f
			})
			stop := begin(a)
			for i, step := range steps {
				switch verb, name, _ := strings.Cut(step, " "); verb {
				case "put":
					a.Put(config(name, fmt.Sprint(i)))
				case "remove":
					a.Remove(configRef(name))
				case "kill":
					stop()
					stop = begin(a)
				}
				apitest.Elapse(time.Millisecond)
			}
			apitest.Elapse(time.Minute)
			for i := range 5 {
				want := map[string]uint64{}
				for _, name := range []string{names[i%3], names[(i+1)%3]} {
					if a.Object(configRef(name)) != nil {
						want["configmaps/"+name] = a.Revision(state.ObjectKey(configRef(name)))
					}
				}
				got := announced(t, a, fmt.Sprint("p", i))
				if d := cmp.Diff(want, got); d != "" && len(want)+len(got) > 0 {
					diff += fmt.Sprintf("p%d (-want +got):\n%s", i, d)
				}
			}
		})
		if diff != "" {
			rt.Fatal(diff)
		}
	})
}

// begin starts a process with the reconciler: everything is due, then what changes, and what a new order refers to. Without that an
// announcement whose answer was lost could be written after the object has gone, and would stay.
func begin(a *apitest.API) (stop func()) {
	q := reconcile.NewQueue("configrevision")
	v, w := a.View(a, view.Config{Indexes: []view.Index{Index}, Subscribers: []view.Subscriber{func(_, after *view.Record) {
		if Concerns(after) {
			q.Add(Key(after.Ref))
		}
		if order, err := state.DecodeOrder(after.Body); err == nil && !after.Removed {
			for _, ref := range state.ConfigRefs(order.Pod) {
				q.Add(Key(ref))
			}
		}
	}}})
	for _, name := range []string{"a", "b", "c"} {
		q.Add(Key(configRef(name)))
	}
	r := &Reconciler{View: v, Writer: w, Source: "/controller"}
	return a.Start(func(ctx context.Context) error { return q.Run(ctx, r, 2, reconcile.NewMeters(nil)) })
}
