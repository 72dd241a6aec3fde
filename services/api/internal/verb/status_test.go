package verb_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/services/api/internal/apitest"
)

// drawPod is web with some other metadata, spec and status than it has: each a change that its own kind of update allows.
func drawPod(r *rapid.T, had *corev1.Pod) *corev1.Pod {
	pod := had.DeepCopy()
	text := rapid.StringMatching(`[a-z]{0,2}`)
	pod.Labels = map[string]string{"app": text.Draw(r, "label")}
	pod.Annotations = map[string]string{"note": text.Draw(r, "annotation")}
	pod.Spec.Containers[0].Image = "busybox:" + rapid.StringMatching(`[a-z]`).Draw(r, "image")
	pod.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{corev1.PodPending, corev1.PodRunning}).Draw(r, "phase")
	pod.Status.Message = text.Draw(r, "message")
	pod.Generation = rapid.Int64Range(0, 9).Draw(r, "generation")
	pod.UID, pod.ResourceVersion = had.UID, rapid.SampledFrom([]string{"", had.ResourceVersion}).Draw(r, "version")
	return pod
}

// An update never touches the status, and an update of the status nothing else; the generation counts changes of the spec.
func TestSpecAndStatusAreApart(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.create(scheme.Pods, "default", objtest.Pod("web").Node("n1").Obj())
		rapid.Check(inside{t}, func(r *rapid.T) {
			had := apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web"))
			sent := drawPod(r, had)
			want := had.DeepCopy()
			var answer apitest.Answer
			if rapid.Bool().Draw(r, "status") {
				want.Status.Phase, want.Status.Message = sent.Status.Phase, sent.Status.Message
				answer = a.updateStatus(scheme.Pods, "default", sent)
			} else {
				want.Labels, want.Annotations, want.Spec = sent.Labels, sent.Annotations, sent.Spec
				if want.Spec.Containers[0].Image != had.Spec.Containers[0].Image {
					want.Generation++
				}
				answer = a.update(scheme.Pods, "default", sent)
			}
			got := object[*corev1.Pod](t, answer)
			want.ResourceVersion = got.ResourceVersion
			if diff := cmp.Diff(want, got); diff != "" {
				r.Fatalf("update (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(got, apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web"))); diff != "" {
				r.Fatalf("the answer is not what there is (-answered +there):\n%s", diff)
			}
			if order := a.Order(t, "n1", "web"); order == nil || order.Pod.Spec.Containers[0].Image != got.Spec.Containers[0].Image {
				r.Fatalf("order %+v, want one of the image %s", order, got.Spec.Containers[0].Image)
			}
		})
	})
}

func TestSpecAndStatusOfANodeAreApart(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		had := apitest.JSON[*corev1.Node](t, a.get(scheme.Nodes, "", "n1"))
		sent := had.DeepCopy()
		sent.Spec.Unschedulable, sent.Labels["zone"] = true, "a"
		sent.Status.NodeInfo.MachineID = "m"
		want := had.DeepCopy()
		want.Status.NodeInfo.MachineID = "m"
		got := object[*corev1.Node](t, a.updateStatus(scheme.Nodes, "", sent))
		want.ResourceVersion = got.ResourceVersion
		same(t, "after an update of its status", want, got)

		sent.ResourceVersion, sent.Status = "", corev1.NodeStatus{}
		want.Spec.Unschedulable, want.Labels["zone"] = true, "a"
		got = object[*corev1.Node](t, a.update(scheme.Nodes, "", sent))
		want.ResourceVersion = got.ResourceVersion
		same(t, "after an update", want, got)
	})
}

// The end of a namespace cannot be said by a status, nor undone by one.
func TestStatusOfANamespace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		had := apitest.JSON[*corev1.Namespace](t, a.get(scheme.Namespaces, "", "other"))
		sent := had.DeepCopy()
		sent.Spec.Finalizers = nil
		sent.Status.Conditions = []corev1.NamespaceCondition{{Type: corev1.NamespaceContentRemaining, Status: corev1.ConditionTrue}}
		got := object[*corev1.Namespace](t, a.updateStatus(scheme.Namespaces, "", sent))
		want := had.DeepCopy()
		want.Status.Conditions, want.ResourceVersion = sent.Status.Conditions, got.ResourceVersion
		same(t, "namespace", want, got)

		got.Status.Phase = corev1.NamespaceTerminating
		if fields := causeFields(a.updateStatus(scheme.Namespaces, "", got).Err); len(fields) != 1 || fields[0] != "status.Phase" {
			t.Errorf("a status that says it ends is refused at %v, want status.Phase", fields)
		}
		marked := object[*corev1.Namespace](t, a.delete(scheme.Namespaces, "", "other", metav1.DeleteOptions{}))
		marked.Status.Phase = corev1.NamespaceActive
		if fields := causeFields(a.updateStatus(scheme.Namespaces, "", marked).Err); len(fields) != 1 || fields[0] != "status.Phase" {
			t.Errorf("a status that says it does not end is refused at %v, want status.Phase", fields)
		}
	})
}

// A status that is there already is not written again.
func TestStatusThatChangesNothingKeepsTheVersion(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Node("n1").Obj())
		had := apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web"))
		sent := had.DeepCopy()
		sent.Labels = map[string]string{"app": "web"} // not its to say
		same(t, "answer", had, object[*corev1.Pod](t, a.updateStatus(scheme.Pods, "default", sent)))
		same(t, "get", had, apitest.JSON[*corev1.Pod](t, a.get(scheme.Pods, "default", "web")))
	})
}

func TestStatusOfWhatIsNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		apitest.WantStatus(t, a.updateStatus(scheme.Pods, "default", objtest.Pod("web").Obj()).Err, metav1.StatusReasonNotFound, `pods "web" not found`)
		a.Put(t, objtest.Pod("web").Obj())
		apitest.WantStatus(t, a.updateStatus(scheme.Pods, "default", objtest.Pod("web").UID("another").Obj()).Err, metav1.StatusReasonConflict,
			`Operation cannot be fulfilled on pods "web": Precondition failed: UID in precondition: another, UID in object meta: uid-web`)
	})
}

// Whatever is written over a report bears the report's number on, so that an older one which comes late is still known as that (P17).
func TestP17_WritesBearTheNumberOfTheReport(t *testing.T) {
	report := state.FormatReport(state.Report{Start: 3, Counter: 7})
	tests := []struct {
		name  string
		ref   state.ObjectRef
		write func(a *api) apitest.Answer
	}{
		{"a label of a pod", state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: "web"}, func(a *api) apitest.Answer {
			return a.update(scheme.Pods, "default", objtest.Pod("web").Node("n1").Label("app", "web").Obj())
		}},
		{"a status of a pod", state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: "web"}, func(a *api) apitest.Answer {
			return a.updateStatus(scheme.Pods, "default", objtest.Pod("web").Node("n1").Phase(corev1.PodRunning).Obj())
		}},
		{"the mark of a pod", state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: "web"}, func(a *api) apitest.Answer {
			return a.delete(scheme.Pods, "default", "web", metav1.DeleteOptions{})
		}},
		{"a cordon", state.ObjectRef{Resource: scheme.Nodes, Name: "n1"}, func(a *api) apitest.Answer {
			return a.update(scheme.Nodes, "", objtest.Node("n1").Unschedulable().Obj())
		}},
		{"a status of a node", state.ObjectRef{Resource: scheme.Nodes, Name: "n1"}, func(a *api) apitest.Answer {
			return a.updateStatus(scheme.Nodes, "", objtest.Node("n1").Ready(corev1.ConditionFalse).Obj())
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				a.Put(t, objtest.Pod("web").Node("n1").Obj())
				for _, obj := range []scheme.Object{a.Pod("web"), a.Node("n1")} {
					b := a.Batch(t, obj)
					b.Entries[0].Report = report
					if _, err := a.Writer.Put(t.Context(), b); err != nil {
						t.Fatal(err)
					}
				}
				a.Fresh(t)
				before := a.View.Object(tt.ref)
				if answer := tt.write(a); answer.Err != nil {
					t.Fatal(answer.Err)
				}
				a.Fresh(t)
				after := a.View.Object(tt.ref)
				if after.Revision == before.Revision || after.Report != report {
					t.Errorf("revision %d after %d bears the report %q, want a new one with %q", after.Revision, before.Revision, after.Report, report)
				}
			})
		})
	}
}

// The status of several objects is written whole or not at all.
func TestStatusOfManyIsAllOrNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("a").Node("n1").Obj(), objtest.Pod("b").Node("n1").Obj())
		stale := objtest.Pod("b").Node("n1").Phase(corev1.PodRunning).Obj()
		stale.ResourceVersion = "1"
		r := client.Request{Subresource: client.Status, Objects: []json.RawMessage{
			raw(t, objtest.Pod("a").Node("n1").Phase(corev1.PodRunning).Obj()), raw(t, stale),
		}}
		answer := a.ask(client.VerbUpdate, scheme.Pods, "default", r)
		if answer.Err == nil {
			t.Fatal("a stale status was written")
		}
		a.Fresh(t)
		same(t, "phase of the other", corev1.PodPending, a.Pod("a").Status.Phase)
	})
}
