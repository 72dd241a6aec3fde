package verb_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/services/api/internal/apitest"
)

func grace(seconds int64) metav1.DeleteOptions {
	return metav1.DeleteOptions{GracePeriodSeconds: &seconds}
}

func finalized(pod *corev1.Pod) *corev1.Pod {
	pod.Finalizers = []string{"example.com/wait"}
	return pod
}

func TestDeletePod(t *testing.T) {
	brief := objtest.Pod("web").Node("n1").Obj()
	brief.Spec.TerminationGracePeriodSeconds = new(int64(5))
	atOnce := objtest.Pod("web").Node("n1").Obj()
	atOnce.Spec.TerminationGracePeriodSeconds = new(int64(0))
	tests := []struct {
		name      string
		pod       *corev1.Pod
		options   metav1.DeleteOptions
		wantGone  bool
		wantGrace int64 // of one that is marked
	}{
		{"with the grace of its spec", objtest.Pod("web").Node("n1").Obj(), metav1.DeleteOptions{}, false, 30},
		{"with another grace in its spec", brief, metav1.DeleteOptions{}, false, 5},
		{"with the grace that is asked for", objtest.Pod("web").Node("n1").Obj(), grace(60), false, 60},
		{"with less than no grace, which means a second", objtest.Pod("web").Node("n1").Obj(), grace(-1), false, 1},
		{"by force", objtest.Pod("web").Node("n1").Obj(), grace(0), true, 0},
		{"of which the spec gives no grace", atOnce, metav1.DeleteOptions{}, true, 0},
		{"that no node has", objtest.Pod("web").Obj(), metav1.DeleteOptions{}, true, 0},
		{"that no node has, with a grace", objtest.Pod("web").Obj(), grace(60), true, 0},
		{"that has succeeded", objtest.Pod("web").Node("n1").Phase(corev1.PodSucceeded).Obj(), grace(60), true, 0},
		{"that has failed", objtest.Pod("web").Node("n1").Phase(corev1.PodFailed).Obj(), metav1.DeleteOptions{}, true, 0},
		{"that has ended and somebody holds", finalized(objtest.Pod("web").Node("n1").Phase(corev1.PodFailed).Obj()), grace(60), false, 0},
		{"that somebody holds", finalized(objtest.Pod("web").Obj()), metav1.DeleteOptions{}, false, 0},
		{"that somebody holds, by force", finalized(objtest.Pod("web").Node("n1").Obj()), grace(0), false, 0},
		{"with any cascade, for nothing hangs on it", objtest.Pod("web").Obj(), metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)}, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				pod := tt.pod.DeepCopy()
				pod.Generation = 1
				a.Put(t, pod)
				got := object[*corev1.Pod](t, a.delete(scheme.Pods, "default", "web", tt.options))
				same(t, "the answer is about uid", pod.UID, got.UID)
				if tt.wantGone {
					a.wantGone(scheme.Pods, "default", "web")
					if order := a.Order(t, "n1", "web"); order != nil {
						t.Errorf("the pod is gone, but its order is %+v", order)
					}
					return
				}
				marked := apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web"))
				same(t, "answer", marked, got)
				same(t, "grace", new(tt.wantGrace), marked.DeletionGracePeriodSeconds)
				same(t, "deletionTimestamp", time.Now().Add(time.Duration(tt.wantGrace)*time.Second).UTC(), marked.DeletionTimestamp.UTC())
				same(t, "generation", int64(2), marked.Generation)
				if order := a.Order(t, "n1", "web"); pod.Spec.NodeName != "" && (order == nil || order.Pod.DeletionTimestamp == nil) {
					t.Errorf("order %+v, want one with the mark", order)
				}
			})
		})
	}
}

// A second delete can only give less time, counted from the first.
func TestDeleteAgainOnlyShortensGrace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Node("n1").Obj())
		first := time.Now()
		a.delete(scheme.Pods, "default", "web", metav1.DeleteOptions{})
		apitest.Elapse(10 * time.Second)
		tests := []struct {
			name    string
			options metav1.DeleteOptions
			want    int64
		}{
			{"longer", grace(60), 30},
			{"by default", metav1.DeleteOptions{}, 30},
			{"shorter", grace(25), 25}, // 15 s from now, not 25: that would be later than at first
			{"a little shorter than at first, longer than now", grace(29), 25},
			{"shorter than what has passed", grace(5), 5},
		}
		for _, tt := range tests {
			got := object[*corev1.Pod](t, a.delete(scheme.Pods, "default", "web", tt.options))
			same(t, tt.name+": grace", new(tt.want), got.DeletionGracePeriodSeconds)
			same(t, tt.name+": deletionTimestamp", first.Add(time.Duration(tt.want)*time.Second).UTC(), got.DeletionTimestamp.UTC())
		}
		a.delete(scheme.Pods, "default", "web", grace(0))
		a.wantGone(scheme.Pods, "default", "web")
	})
}

// Whatever deletes follow each other, a pod's end never moves further away, and the same delete again changes nothing.
func TestDeleteProperties(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		rapid.Check(inside{t}, func(r *rapid.T) {
			a.Put(t, finalized(objtest.Pod("web").Node("n1").Obj()))
			var last *corev1.Pod
			for range rapid.IntRange(1, 5).Draw(r, "deletes") {
				apitest.Elapse(time.Duration(rapid.IntRange(0, 20).Draw(r, "wait")) * time.Second)
				o := metav1.DeleteOptions{}
				if rapid.Bool().Draw(r, "explicit") {
					o = grace(rapid.Int64Range(-1, 40).Draw(r, "grace"))
				}
				got := object[*corev1.Pod](t, a.delete(scheme.Pods, "default", "web", o))
				if last != nil && (got.DeletionTimestamp.After(last.DeletionTimestamp.Time) || *got.DeletionGracePeriodSeconds > *last.DeletionGracePeriodSeconds) {
					r.Fatalf("the end moved from %s (%d s) to %s (%d s)", last.DeletionTimestamp, *last.DeletionGracePeriodSeconds, got.DeletionTimestamp, *got.DeletionGracePeriodSeconds)
				}
				again := object[*corev1.Pod](t, a.delete(scheme.Pods, "default", "web", o))
				if again.ResourceVersion != got.ResourceVersion {
					r.Fatalf("the same delete again changed %v into %v", got.ObjectMeta, again.ObjectMeta)
				}
				last = got
			}
		})
	})
}

// A pod that was deleted by force goes with its last finalizer, though its node may never answer.
func TestForcedPodGoesWithItsLastFinalizer(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, finalized(objtest.Pod("web").Node("n1").Obj()))
		marked := object[*corev1.Pod](t, a.delete(scheme.Pods, "default", "web", grace(0)))
		marked.Finalizers = nil
		if answer := a.update(scheme.Pods, "default", marked); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		a.wantGone(scheme.Pods, "default", "web")
		if a.Order(t, "n1", "web") != nil {
			t.Error("its order is still there")
		}
	})
}

// One that was given time waits for its node, whoever lets go of it.
// The mark is in whole seconds; the pod never gets less time than it was given.
func TestGraceIsNeverCutShort(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Node("n1").Obj())
		apitest.Elapse(300 * time.Millisecond)
		if answer := a.delete(scheme.Pods, "default", "web", metav1.DeleteOptions{GracePeriodSeconds: new(int64(3))}); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		marked := apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web")).DeletionTimestamp
		if got := time.Until(marked.Time); got < 3*time.Second || got >= 4*time.Second {
			t.Errorf("the end is %v away, want 3 s and the rest of a second", got)
		}
	})
}

func TestGracefulPodWaitsForItsNode(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, finalized(objtest.Pod("web").Node("n1").Obj()))
		marked := object[*corev1.Pod](t, a.delete(scheme.Pods, "default", "web", metav1.DeleteOptions{}))
		marked.Finalizers = nil
		got := object[*corev1.Pod](t, a.update(scheme.Pods, "default", marked))
		if got.DeletionTimestamp == nil || a.get(scheme.Pods, "default", "web").Err != nil {
			t.Error("the pod is gone before its node has stopped it")
		}
	})
}

// Whoever takes away what held an object last removes it with the same write (P22).
func TestP22_LastFinalizerRemoves(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		held := apitest.ConfigMap("c")
		held.Finalizers = []string{"example.com/a", "example.com/b"}
		a.Put(t, held)
		marked := object[*corev1.ConfigMap](t, a.delete(scheme.ConfigMaps, "default", "c", metav1.DeleteOptions{}))
		same(t, "deletionTimestamp", time.Now().UTC(), marked.DeletionTimestamp.UTC())
		again := object[*corev1.ConfigMap](t, a.delete(scheme.ConfigMaps, "default", "c", metav1.DeleteOptions{}))
		same(t, "a second delete", marked, again)
		marked.Finalizers = marked.Finalizers[1:]
		if got := object[*corev1.ConfigMap](t, a.update(scheme.ConfigMaps, "default", marked)); len(got.Finalizers) != 1 {
			t.Errorf("finalizers %v", got.Finalizers)
		}
		marked.Finalizers, marked.ResourceVersion = nil, ""
		if answer := a.update(scheme.ConfigMaps, "default", marked); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		a.wantGone(scheme.ConfigMaps, "default", "c")
		if record := a.View.Get(state.ObjectKey(state.RefOf(held))); record == nil || !record.Removed || record.EventType != events.ConfigDeleted.Name {
			t.Errorf("it left %+v, want a tombstone of %s", record, events.ConfigDeleted.Name)
		}
	})
}

func TestDeletePreconditions(t *testing.T) {
	uid, other, version := types.UID("uid-web"), types.UID("another"), "1"
	tests := []struct {
		name        string
		resource    string
		object      string
		p           metav1.Preconditions
		wantMessage string // empty: it is deleted
	}{
		{"its uid", scheme.Pods, "web", metav1.Preconditions{UID: &uid}, ""},
		{
			"another uid", scheme.Pods, "web",
			metav1.Preconditions{UID: &other},
			`Operation cannot be fulfilled on Pod "web": the UID in the precondition (another) does not match the UID in record (uid-web). ` +
				`The object might have been deleted and then recreated`,
		},
		{
			"another version", scheme.Pods, "web",
			metav1.Preconditions{UID: &uid, ResourceVersion: &version},
			`Operation cannot be fulfilled on Pod "web": the ResourceVersion in the precondition (1) does not match the ResourceVersion in ` +
				`record (%s). The object might have been modified`,
		},
		{
			"another uid of a namespace", scheme.Namespaces, "other",
			metav1.Preconditions{UID: &other},
			`Operation cannot be fulfilled on namespaces "other": Precondition failed: UID in precondition: another, UID in object meta: uid-other`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				at := a.Put(t, objtest.Pod("web").Obj())
				namespace := "default"
				if tt.resource == scheme.Namespaces {
					namespace = ""
				}
				err := a.delete(tt.resource, namespace, tt.object, metav1.DeleteOptions{Preconditions: &tt.p}).Err
				if tt.wantMessage == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				message := tt.wantMessage
				if tt.p.ResourceVersion != nil {
					message = fmt.Sprintf(message, state.FormatRevision(at))
				}
				apitest.WantStatus(t, err, metav1.StatusReasonConflict, message)
			})
		})
	}
}

func TestDeleteRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		apitest.WantStatus(t, a.delete(scheme.Pods, "default", "web", metav1.DeleteOptions{}).Err, metav1.StatusReasonNotFound, `pods "web" not found`)
		apitest.WantStatus(t, a.delete(scheme.Pods, "default", "", metav1.DeleteOptions{}).Err, metav1.StatusReasonBadRequest, "name must be provided")
		apitest.WantStatus(t, a.delete(scheme.Namespaces, "", "default", metav1.DeleteOptions{}).Err, metav1.StatusReasonForbidden,
			`namespaces "default" is forbidden: this namespace may not be deleted`)
		a.Put(t, objtest.Pod("web").Obj())
		policy := metav1.DeletionPropagation("Sideways")
		apitest.WantStatus(t, a.delete(scheme.Pods, "default", "web", metav1.DeleteOptions{PropagationPolicy: &policy}).Err, metav1.StatusReasonInvalid,
			`DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil"`)
	})
}

func TestDeleteDryRunWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Obj())
		before := a.View.Position()
		if answer := a.delete(scheme.Pods, "default", "web", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		a.Fresh(t)
		same(t, "position", before, a.View.Position())
	})
}

// A removal bears the last body and frees the name at once: the next object under it expects the tombstone (P2, P3).
func TestP2_NameIsFreeAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		first := object[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("c", "k", "v")))
		a.delete(scheme.ConfigMaps, "default", "c", metav1.DeleteOptions{})
		a.Fresh(t)
		key := state.ObjectKey(state.RefOf(first))
		entry, err := a.Store.Read(t.Context(), key)
		var last corev1.ConfigMap
		if err != nil || !entry.Removed || state.Decode(entry.Body, entry.Revision, &last) != nil || last.Data["k"] != "v" {
			t.Errorf("the tombstone is %+v, %v; want one with the last body", entry, err)
		}
		second := object[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("c")))
		if second.UID == first.UID {
			t.Error("the new object has the uid of the old one")
		}
		a.delete(scheme.ConfigMaps, "default", "c", metav1.DeleteOptions{})
		apitest.Elapse(state.TombstoneTTL + time.Minute)
		if _, err := a.Store.Read(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the tombstone is still there: %v", err)
		}
		if answer := a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("c")); answer.Err != nil {
			t.Errorf("create where a tombstone has expired: %v", answer.Err)
		}
	})
}

// A namespace that ends takes nothing new and waits for whoever empties it.
func TestDeleteNamespace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		stamp := a.View.Stamp(state.StampNamespace, "other").Revision
		marked := object[*corev1.Namespace](t, a.delete(scheme.Namespaces, "", "other", metav1.DeleteOptions{}))
		if marked.DeletionTimestamp == nil || marked.Status.Phase != corev1.NamespaceTerminating {
			t.Errorf("deleted %s, phase %s", marked.DeletionTimestamp, marked.Status.Phase)
		}
		a.Fresh(t)
		if now := a.View.Stamp(state.StampNamespace, "other").Revision; now <= stamp {
			t.Errorf("its stamp is at %d, as before", now)
		}
		again := object[*corev1.Namespace](t, a.delete(scheme.Namespaces, "", "other", metav1.DeleteOptions{}))
		same(t, "a second delete", marked, again)
	})
}

// With a node go its stamp, so that nothing more is assigned to it, and its range.
func TestDeleteNode(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		node := objtest.Node("n2").Obj()
		node.Spec.PodCIDR = "10.244.7.0/24"
		a.Put(t, node)
		claim := state.ClaimKey(state.ClaimPodCIDR, "10.244.7.0/24")
		if a.View.Body(claim) == nil {
			t.Fatal("no claim to begin with")
		}
		if answer := a.delete(scheme.Nodes, "", "n2", metav1.DeleteOptions{}); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		a.wantGone(scheme.Nodes, "", "n2")
		if a.View.Body(claim) != nil || a.View.Stamp(state.StampNode, "n2").Revision != 0 {
			t.Error("its claim or its stamp is still there")
		}
	})
}
