package verb_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/services/api/internal/apitest"
)

const modified = `Operation cannot be fulfilled on %s: the object has been modified; please apply your changes to the latest version and try again`

func TestUpdateNamesTheVersionItReplaces(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		created := object[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("c", "k", "1")))
		next := created.DeepCopy()
		next.Data["k"] = "2"
		got := object[*corev1.ConfigMap](t, a.update(scheme.ConfigMaps, "default", next))
		same(t, "data", map[string]string{"k": "2"}, got.Data)
		same(t, "uid and creationTimestamp", []any{created.UID, created.CreationTimestamp}, []any{got.UID, got.CreationTimestamp})
		if got.ResourceVersion == created.ResourceVersion {
			t.Error("it changed and has the same resourceVersion")
		}
		same(t, "get", got, apitest.JSON[*corev1.ConfigMap](t, a.get(scheme.ConfigMaps, "default", "c")))

		next.Data["k"] = "3" // still names the version of before
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", next).Err, metav1.StatusReasonConflict, fmt.Sprintf(modified, `configmaps "c"`))
		for _, version := range []string{"", "0"} { // whatever there is
			next.ResourceVersion, next.Data["k"] = version, "for "+version
			if got := object[*corev1.ConfigMap](t, a.update(scheme.ConfigMaps, "default", next)); got.Data["k"] != "for "+version {
				t.Errorf("update with resourceVersion %q gave %v", version, got.Data)
			}
		}
		next.ResourceVersion = "99999"
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", next).Err, metav1.StatusReasonConflict, fmt.Sprintf(modified, `configmaps "c"`))
		next.ResourceVersion = "x"
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", next).Err, metav1.StatusReasonBadRequest, `resourceVersion "x" is not a revision`)
	})
}

func TestUpdateOfAnotherObject(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, apitest.ConfigMap("c"))
		other := apitest.ConfigMap("c", "k", "v")
		other.UID = "another"
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", other).Err, metav1.StatusReasonConflict,
			`Operation cannot be fulfilled on configmaps "c": Precondition failed: UID in precondition: another, UID in object meta: uid-c`)
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", apitest.ConfigMap("gone")).Err, metav1.StatusReasonNotFound, `configmaps "gone" not found`)
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", apitest.ConfigMap("")).Err, metav1.StatusReasonBadRequest, "name must be provided")
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", apitest.ConfigMap("c"), apitest.ConfigMap("c")).Err, metav1.StatusReasonBadRequest,
			"the request brings configmaps/default/c twice")
	})
}

func TestUpdateThatChangesNothingKeepsTheVersion(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		created := object[*corev1.Pod](t, a.create(scheme.Pods, "default", objtest.Pod("web").Node("n1").Obj()))
		a.Fresh(t)
		before := a.View.Position()
		same(t, "answer", created, object[*corev1.Pod](t, a.update(scheme.Pods, "default", created)))
		unversioned := created.DeepCopy()
		unversioned.ResourceVersion = ""
		same(t, "answer without a version", created, object[*corev1.Pod](t, a.update(scheme.Pods, "default", unversioned)))
		a.Fresh(t)
		same(t, "position", before, a.View.Position())
	})
}

func TestUpdateManyIsAllOrNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, apitest.ConfigMap("a"), apitest.ConfigMap("b"))
		stale := apitest.ConfigMap("b", "k", "v")
		stale.ResourceVersion = "1"
		apitest.WantStatus(t, a.update(scheme.ConfigMaps, "default", apitest.ConfigMap("a", "k", "v"), stale).Err,
			metav1.StatusReasonConflict, fmt.Sprintf(modified, `configmaps "b"`))
		if got := apitest.JSON[*corev1.ConfigMap](t, a.get(scheme.ConfigMaps, "default", "a")); got.Data != nil {
			t.Errorf("a was changed to %v although b was not", got.Data)
		}
	})
}

func TestUpdateKeepsWhatIsNotItsTo(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Node("n1").Phase(corev1.PodRunning).Obj())
		pod := apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web"))
		next := pod.DeepCopy()
		next.Labels = map[string]string{"app": "web"}
		next.Status = corev1.PodStatus{Phase: corev1.PodFailed}
		next.Generation = 99
		got := object[*corev1.Pod](t, a.update(scheme.Pods, "default", next))
		same(t, "labels", map[string]string{"app": "web"}, got.Labels)
		same(t, "status", pod.Status, got.Status)
		same(t, "generation", pod.Generation, got.Generation)
		a.Fresh(t)
		if order := a.Order(t, "n1", "web"); order == nil || order.Pod.Labels["app"] != "web" {
			t.Errorf("order %+v, want it with the new label", order)
		}
	})
}

func TestUpdateOfFieldsThatNeverChange(t *testing.T) {
	frozen := apitest.ConfigMap("c", "k", "1")
	frozen.Immutable = new(true)
	thawed := apitest.ConfigMap("c", "k", "1")
	renamed := objtest.Pod("web").Container(corev1.Container{Name: "other", Image: "busybox"}).Obj()
	moved := objtest.Pod("web").Node("n1").Obj()
	typed := apitest.Secret("s")
	typed.Type = corev1.SecretTypeBasicAuth
	typed.Data = map[string][]byte{corev1.BasicAuthUsernameKey: []byte("u")}
	ranged := objtest.Node("n1").Obj()
	ranged.Spec.PodCIDR, ranged.Spec.PodCIDRs = "10.9.0.0/24", []string{"10.9.0.0/24"}
	node := objtest.Node("n1").Obj()
	node.Spec.PodCIDR, node.Spec.PodCIDRs = "10.244.0.0/24", []string{"10.244.0.0/24"}
	tests := []struct {
		name      string
		old, next scheme.Object
		wantField string
	}{
		{"data of an immutable ConfigMap", frozen, func() scheme.Object { c := frozen.DeepCopy(); c.Data["k"] = "2"; return c }(), "data"},
		{"its immutability", frozen, thawed, "immutable"},
		{"the containers of a pod", objtest.Pod("web").Obj(), renamed, "spec"},
		{"the node of a pod", objtest.Pod("web").Obj(), moved, "spec"},
		{"the type of a Secret", apitest.Secret("s"), typed, "type"},
		{"the range of a node", node, ranged, "spec.podCIDRs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				a.Put(t, tt.old)
				ref := state.RefOf(tt.next)
				err := a.update(ref.Resource, ref.Namespace, tt.next).Err
				if got := causeFields(err); len(got) == 0 || got[0] != tt.wantField {
					t.Errorf("update = %v, at fields %v; want Invalid at %s", err, got, tt.wantField)
				}
			})
		})
	}
}

// Who names no version loses against nobody: he decides again on what there is, as often as it takes.
func TestUpdateWithoutAVersionTriesAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, apitest.ConfigMap("c"))
		const writers = 8
		replicas := []*api{a, a.second()}
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				if answer := replicas[i%2].update(scheme.ConfigMaps, "default", apitest.ConfigMap("c", "k", fmt.Sprint(i))); answer.Err != nil {
					t.Errorf("writer %d: %v", i, answer.Err)
				}
			})
		}
		wg.Wait()
	})
}

// Of those who name one version exactly one wins (P1), and the others hear of a conflict.
func TestP1_OfManyUpdatesOfOneVersionOneWins(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		const rounds, writers = 20, 4
		replicas := []*api{a, a.second()}
		current := object[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("c")))
		for round := range rounds {
			won := make(chan *corev1.ConfigMap, writers)
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() {
					next := current.DeepCopy()
					next.Data = map[string]string{"k": fmt.Sprintf("%d of round %d", i, round)}
					if answer := replicas[i%2].update(scheme.ConfigMaps, "default", next); answer.Err == nil {
						won <- object[*corev1.ConfigMap](t, answer)
					} else {
						apitest.WantStatus(t, answer.Err, metav1.StatusReasonConflict, fmt.Sprintf(modified, `configmaps "c"`))
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%d of %d writers of one version won", len(won), writers)
			}
			current = <-won
		}
	})
}

func TestUpdateStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Node("n1").Obj())
		pod := apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web"))
		next := pod.DeepCopy()
		next.Status.Phase = corev1.PodRunning
		next.Labels = map[string]string{"app": "web"}
		next.Spec.Containers[0].Image = "other"
		got := object[*corev1.Pod](t, a.updateStatus(scheme.Pods, "default", next))
		same(t, "phase", corev1.PodRunning, got.Status.Phase)
		same(t, "spec", pod.Spec, got.Spec)
		same(t, "labels", pod.Labels, got.Labels)
		same(t, "generation", pod.Generation, got.Generation)
		apitest.WantStatus(t, a.updateStatus(scheme.Pods, "default", next).Err, metav1.StatusReasonConflict, fmt.Sprintf(modified, `pods "web"`))
		next.ResourceVersion = ""
		if answer := a.updateStatus(scheme.Pods, "default", next); answer.Err != nil {
			t.Errorf("status without a version: %v", answer.Err)
		}
		apitest.WantStatus(t, a.updateStatus(scheme.ConfigMaps, "default", apitest.ConfigMap("c")).Err, metav1.StatusReasonNotFound,
			"the server could not find the requested resource")
	})
}

// A pod that finishes says so in its order, in the same write (P16): a node that lost its disk must not run it again.
func TestP16_FinishReachesTheOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Node("n1").RestartPolicy(corev1.RestartPolicyNever).Obj())
		pod := apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web"))
		pod.Status.Phase = corev1.PodSucceeded
		if answer := a.updateStatus(scheme.Pods, "default", pod); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		a.Fresh(t)
		if order := a.Order(t, "n1", "web"); order == nil || !order.Finished {
			t.Errorf("order %+v, want finished", order)
		}
	})
}

// What the scheduler reads of a node moves the stamp of the node's pods (P9).
func TestP9_ChangeOfANodeMovesItsStamp(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		change := func(what string, change func(*corev1.Node) apitest.Answer) {
			before := a.View.Stamp(state.StampNode, "n1").Revision
			if answer := change(apitest.JSON[*corev1.Node](t, a.get(scheme.Nodes, "", "n1"))); answer.Err != nil {
				t.Fatalf("%s: %v", what, answer.Err)
			}
			a.Fresh(t)
			if now := a.View.Stamp(state.StampNode, "n1").Revision; now <= before {
				t.Errorf("%s: the stamp is at %d, as before", what, now)
			}
		}
		change("cordon", func(n *corev1.Node) apitest.Answer {
			n.Spec.Unschedulable = true
			return a.update(scheme.Nodes, "", n)
		})
		change("taint", func(n *corev1.Node) apitest.Answer {
			n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
			return a.update(scheme.Nodes, "", n)
		})
		change("allocatable", func(n *corev1.Node) apitest.Answer {
			n.Status.Allocatable[corev1.ResourceCPU] = resource.MustParse("1")
			return a.updateStatus(scheme.Nodes, "", n)
		})
	})
}

// Whoever has emptied a namespace takes its finalizer away: it goes, and its stamp with it.
func TestFinalizeNamespace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		finalize := func(ns *corev1.Namespace) apitest.Answer {
			return a.ask(client.VerbUpdate, scheme.Namespaces, "", client.Request{Subresource: client.Finalize, Objects: []json.RawMessage{raw(t, ns)}})
		}
		ns := object[*corev1.Namespace](t, a.delete(scheme.Namespaces, "", "other", metav1.DeleteOptions{}))
		plain := ns.DeepCopy()
		plain.Spec.Finalizers = nil
		if got := object[*corev1.Namespace](t, a.update(scheme.Namespaces, "", plain)); len(got.Spec.Finalizers) != 1 {
			t.Errorf("a plain update took the finalizers away: %v", got.Spec.Finalizers)
		}
		ns.Spec.Finalizers, ns.Labels = nil, map[string]string{"more": "x"}
		got := object[*corev1.Namespace](t, finalize(ns))
		if _, changed := got.Labels["more"]; changed {
			t.Error("finalize changed more than the finalizers")
		}
		a.wantGone(scheme.Namespaces, "", "other")
		if a.View.Stamp(state.StampNamespace, "other").Revision != 0 {
			t.Error("its stamp is still there")
		}
		apitest.WantStatus(t, a.ask(client.VerbUpdate, scheme.Pods, "default", client.Request{
			Subresource: client.Finalize, Objects: []json.RawMessage{raw(t, objtest.Pod("web").Obj())},
		}).Err, metav1.StatusReasonNotFound, "the server could not find the requested resource")
	})
}

func TestUpdateDryRunWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, apitest.ConfigMap("c"))
		before := a.View.Position()
		options := metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}}
		got := object[*corev1.ConfigMap](t, a.write(client.VerbUpdate, scheme.ConfigMaps, "default", options, apitest.ConfigMap("c", "k", "v")))
		same(t, "answer", "v", got.Data["k"])
		a.Fresh(t)
		same(t, "position", before, a.View.Position())
	})
}
