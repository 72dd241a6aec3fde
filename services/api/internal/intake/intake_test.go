package intake_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/intake"
)

// api is one replica that takes reports, over a bucket in memory.
type api struct {
	*apitest.State
	t      *testing.T
	intake *intake.Intake
}

// inBubble runs a test against a replica with the nodes n1 and n2. Time is virtual.
func inBubble(t *testing.T, test func(t *testing.T, a *api)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := serve(t, apitest.New(t, view.Config{}))
		a.Put(t, objtest.Node("n1").Obj(), objtest.Node("n2").Obj())
		test(t, a)
	})
}

func serve(t *testing.T, s *apitest.State) *api {
	return &api{State: s, t: t, intake: &intake.Intake{
		View: s.View, Writer: s.Writer, Source: apitest.Source, Now: time.Now,
		CIDRs: intake.CIDRs{Cluster: netip.MustParsePrefix("10.244.0.0/16"), Bits: 24},
	}}
}

// second is another replica over the same bucket.
func (a *api) second() *api {
	a.t.Helper()
	return serve(a.t, a.Replica(a.t, "api-2", view.Config{}))
}

// inside is a test inside a bubble as rapid takes it, which would ask a *testing.T for its deadline outside.
type inside struct{ testing.TB }

func (a *api) do(subject string, body any) apitest.Answer {
	return apitest.Do(a.t.Context(), a.intake.Handle, apitest.Call{Subject: subject, Body: body})
}

func podsSubject(node string) string {
	return wire.FromNodes + "." + wire.NodeSubject(wire.NodeReport, node, "pods")
}

// send has the kubelet of a node report in its start with this number.
func (a *api) send(node string, start uint64, pods ...state.PodReport) apitest.Answer {
	return a.do(podsSubject(node), state.PodReports{Start: start, UID: uidOf(node), Pods: pods})
}

func (a *api) wantOutcomes(answer apitest.Answer, want ...state.Outcome) {
	a.t.Helper()
	if diff := cmp.Diff(want, apitest.JSON[state.PodOutcomes](a.t, answer).Outcomes); diff != "" {
		a.t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// of is a report about a pod with the status of a running one, whose message tells it from others.
func of(pod *corev1.Pod, counter uint64, message string) state.PodReport {
	return state.PodReport{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Counter: counter,
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Message: message},
	}
}

// ended is a report that nothing of a pod runs any more.
func ended(pod *corev1.Pod, counter uint64, phase corev1.PodPhase) state.PodReport {
	r := of(pod, counter, "")
	r.Status.Phase, r.Stopped = phase, true
	return r
}

func (a *api) orderRevision(node, pod string) uint64 {
	return a.View.Revision(state.OrderKey(node, metav1.NamespaceDefault, pod))
}

func podRecord(s *apitest.State, name string) *view.Record {
	return s.View.Object(state.ObjectRef{Resource: scheme.Pods, Namespace: metav1.NamespaceDefault, Name: name})
}

// change writes a pod past the api, as somebody else does.
func (a *api) change(name string, change func(*corev1.Pod)) {
	a.t.Helper()
	a.Fresh(a.t)
	pod := a.Pod(name).DeepCopy()
	change(pod)
	a.Put(a.t, pod)
}

func (a *api) wantMessage(pod, want string) {
	a.t.Helper()
	a.Fresh(a.t)
	if got := a.Pod(pod).Status.Message; got != want {
		a.t.Errorf("status of pod %s is %q, want %q", pod, got, want)
	}
}

func TestReportBecomesStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}
		pod.Status.Conditions = []corev1.PodCondition{scheduled}
		pod.Status.NominatedNodeName = "n1"
		a.Put(t, pod)
		had, order := a.Pod("web"), a.orderRevision("n1", "web")

		r := of(pod, 7, "")
		r.Status.PodIP = "10.244.0.2"
		r.Status.QOSClass, r.Status.NominatedNodeName = corev1.PodQOSGuaranteed, "n2" // not the node's to say, nor whether it is scheduled
		r.Status.Conditions = []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.PodScheduled, Status: corev1.ConditionFalse},
		}
		a.wantOutcomes(a.send("n1", 3, r), state.Accepted)

		a.Fresh(t)
		want := had.DeepCopy()
		want.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.244.0.2", QOSClass: corev1.PodQOSBestEffort,
			Conditions: []corev1.PodCondition{{
				Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Truncate(time.Second)),
			}, scheduled},
		}
		want.ResourceVersion = a.Pod("web").ResourceVersion
		if diff := cmp.Diff(want, a.Pod("web")); diff != "" {
			t.Errorf("pod (-want +got):\n%s", diff)
		}
		if got := a.orderRevision("n1", "web"); got != order {
			t.Errorf("the order moved from %d to %d", order, got)
		}
		record := podRecord(a.State, "web")
		told := []string{record.EventType, record.Actor, record.Report}
		if diff := cmp.Diff([]string{events.PodReported.Name, "system:node:n1", "3.7"}, told); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	})
}

func TestTransitionTimeIsThatOfTheChange(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		a.Put(t, pod)
		began := time.Now()
		ready := func(counter uint64, status corev1.ConditionStatus) time.Time {
			r := of(pod, counter, "")
			r.Status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(began.Add(-time.Hour)), // by the node's own clock
			}}
			a.wantOutcomes(a.send("n1", 1, r), state.Accepted)
			a.Fresh(t)
			return a.Pod("web").Status.Conditions[0].LastTransitionTime.Time
		}
		for i, step := range []struct {
			status corev1.ConditionStatus
			want   time.Duration
		}{{corev1.ConditionFalse, 0}, {corev1.ConditionFalse, 0}, {corev1.ConditionTrue, 20 * time.Second}, {corev1.ConditionTrue, 20 * time.Second}} {
			if got := ready(uint64(i+1), step.status).Sub(began.Truncate(time.Second)); got != step.want {
				t.Errorf("report %d: Ready is %s since %s, want %s", i+1, step.status, got, step.want)
			}
			apitest.Elapse(10 * time.Second)
		}
	})
}

// A condition that several may set is the node's only while the node says it.
func TestSharedConditionStays(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI"}}
		a.Put(t, pod)
		reasons := func() (reasons []string) {
			a.Fresh(t)
			for _, c := range a.Pod("web").Status.Conditions {
				reasons = append(reasons, c.Reason)
			}
			return reasons
		}
		a.wantOutcomes(a.send("n1", 1, of(pod, 1, "")), state.Accepted)
		if diff := cmp.Diff([]string{"EvictionByEvictionAPI"}, reasons()); diff != "" {
			t.Errorf("after a report without it (-want +got):\n%s", diff)
		}
		r := of(pod, 2, "")
		r.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "TerminationByKubelet"}}
		a.wantOutcomes(a.send("n1", 1, r), state.Accepted)
		if diff := cmp.Diff([]string{"TerminationByKubelet"}, reasons()); diff != "" {
			t.Errorf("after a report with it (-want +got):\n%s", diff)
		}
	})
}

// A report that is older than the one that was taken, or that one again, changes nothing; the node need not send it again.
func TestP17_OlderReportIsDropped(t *testing.T) {
	tests := []struct {
		name           string
		start, counter uint64
		wantTaken      bool
	}{
		{"the same again", 2, 5, false},
		{"the one before", 2, 4, false},
		{"a later count of an earlier start", 1, 9, false},
		{"the next", 2, 6, true},
		{"much later, those between were never sent", 2, 99, true},
		{"an earlier count of a later start", 3, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				pod := objtest.Pod("web").Node("n1").Obj()
				a.Put(t, pod)
				a.wantOutcomes(a.send("n1", 2, of(pod, 5, "taken")), state.Accepted)
				a.wantMessage("web", "taken")
				a.wantOutcomes(a.send("n1", tt.start, of(pod, tt.counter, "sent")), state.Accepted)
				want := "taken"
				if tt.wantTaken {
					want = "sent"
				}
				a.wantMessage("web", want)
			})
		})
	}
}

// The number of a report counts even if its status was there already: what was sent before it may still be on its way.
func TestP17_LateReportBehindOneThatChangedNothing(t *testing.T) {
	for name, start := range map[string]uint64{"of one start": 1, "of a start before": 2} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				pod := objtest.Pod("web").Node("n1").Obj()
				a.Put(t, pod)
				a.wantOutcomes(a.send("n1", 1, of(pod, 1, "ready")), state.Accepted)
				a.wantOutcomes(a.send("n1", start, of(pod, 3, "ready")), state.Accepted)
				a.wantOutcomes(a.send("n1", 1, of(pod, 2, "not ready")), state.Accepted) // late
				a.wantMessage("web", "ready")
			})
		})
	}
}

// However reports are delayed, doubled and mixed on their way to two replicas, the newest is what stays.
func TestP17_NewestReportStays(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		replicas := []*api{a, a.second()}
		pods := 0
		rapid.Check(inside{t}, func(r *rapid.T) {
			pods++
			pod := objtest.Pod(fmt.Sprint("web", pods)).Node("n1").Obj()
			a.Put(t, pod)
			replicas[1].Fresh(t)
			type sent struct{ start, counter uint64 }
			number := rapid.Custom(func(r *rapid.T) sent {
				return sent{rapid.Uint64Range(1, 3).Draw(r, "start"), rapid.Uint64Range(1, 4).Draw(r, "counter")}
			})
			// A status depends on the number alone, and different numbers may have equal ones.
			message := func(s sent) string { return fmt.Sprint("status ", (s.start+s.counter)%3) }
			newest := sent{}
			for range rapid.IntRange(1, 4).Draw(r, "rounds") {
				var wg sync.WaitGroup
				for i, s := range rapid.SliceOfN(number, 1, 4).Draw(r, "reports") {
					if s.start > newest.start || s.start == newest.start && s.counter > newest.counter {
						newest = s
					}
					wg.Go(func() {
						a.wantOutcomes(replicas[i%2].send("n1", s.start, of(pod, s.counter, message(s))), state.Accepted)
					})
				}
				wg.Wait()
			}
			a.Fresh(t)
			got := a.Pod(pod.Name).Status.Message
			if want := message(newest); got != want {
				r.Fatalf("the newest report is %v: %q, but the status is %q", newest, want, got)
			}
		})
	})
}

// A report about a pod that is not the node's to run is answered as gone and changes nothing: the kubelet removes what it has.
func TestP17_UnknownPodIsGone(t *testing.T) {
	other := objtest.Pod("web").Node("n1").UID("earlier").Obj()
	tests := []struct {
		name string
		node string
		pod  *corev1.Pod
	}{
		{"no such pod", "n1", objtest.Pod("absent").Node("n1").Obj()},
		{"another pod has its name", "n1", other},
		{"it was given to another node", "n2", objtest.Pod("web").Obj()},
		{"no node has it", "n1", objtest.Pod("pending").Obj()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				a.Put(t, objtest.Pod("web").Node("n1").Obj(), objtest.Pod("pending").Obj())
				before := a.View.Position()
				a.wantOutcomes(a.send(tt.node, 1, of(tt.pod, 1, "sent"), ended(tt.pod, 2, corev1.PodFailed)), state.Gone, state.Gone)
				a.Fresh(t)
				if now := a.View.Position(); now != before {
					t.Errorf("the bucket moved from %d to %d", before, now)
				}
			})
		})
	}
}

// A replica that has not seen the order that a report names does not judge the report: the pod is not gone, it is not there yet.
func TestP17_ReportAwaitsItsOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		release := a.Store.Hold()
		pod := objtest.Pod("web").Node("n1").Obj()
		written, err := a.Writer.Put(t.Context(), a.Batch(t, pod))
		if err != nil {
			t.Fatal(err)
		}
		r := of(pod, 1, "sent")
		r.Order = written.Max()
		time.AfterFunc(time.Second, release)
		a.wantOutcomes(a.send("n1", 1, r), state.Accepted)
		a.wantMessage("web", "sent")
	})
}

func TestP17_ReportOfAnOrderThatDoesNotComeIsSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		a.Put(t, pod)
		began := time.Now()
		r := of(pod, 1, "sent")
		r.Order = a.View.Position() + 1000
		a.wantOutcomes(a.send("n1", 1, r, of(objtest.Pod("absent").Obj(), 2, "")), state.Retry, state.Gone)
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("answered after %s, want 2s", waited)
		}
		a.wantMessage("web", "")
	})
}

// Reports in one message stand for themselves, and their outcomes come in their order.
func TestReportsOfOneMessageAreIndependent(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		var reports []state.PodReport
		var want []state.Outcome
		for i := range 30 {
			pod := objtest.Pod(fmt.Sprint("p", i)).Node("n1").Obj()
			outcome := state.Gone
			if i%3 > 0 {
				a.Put(t, pod)
				outcome = state.Accepted
			}
			reports, want = append(reports, of(pod, uint64(i+1), fmt.Sprint(i))), append(want, outcome)
		}
		a.wantOutcomes(a.send("n1", 1, reports...), want...)
		for i, outcome := range want {
			if outcome == state.Accepted {
				a.wantMessage(fmt.Sprint("p", i), fmt.Sprint(i))
			}
		}
		a.wantOutcomes(a.send("n1", 1), []state.Outcome{}...)
	})
}

// A report that meets another write decides again on what there is then.
func TestReportThatMeetsAnotherWrite(t *testing.T) {
	t.Run("keeps it", func(t *testing.T) {
		inBubble(t, func(t *testing.T, a *api) {
			b := a.second()
			pod := objtest.Pod("web").Node("n1").Obj()
			a.Put(t, pod)
			a.Writes.Before(func() { b.change("web", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }) })
			a.wantOutcomes(a.send("n1", 1, of(pod, 1, "sent")), state.Accepted)
			a.wantMessage("web", "sent")
			if diff := cmp.Diff(map[string]string{"app": "web"}, a.Pod("web").Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("that took a newer report", func(t *testing.T) {
		inBubble(t, func(t *testing.T, a *api) {
			b := a.second()
			pod := objtest.Pod("web").Node("n1").Obj()
			a.Put(t, pod)
			b.Fresh(t)
			a.Writes.Before(func() { b.wantOutcomes(b.send("n1", 1, of(pod, 2, "newer")), state.Accepted) })
			a.wantOutcomes(a.send("n1", 1, of(pod, 1, "older")), state.Accepted)
			a.wantMessage("web", "newer")
		})
	})
	t.Run("that put another pod in its place", func(t *testing.T) {
		inBubble(t, func(t *testing.T, a *api) {
			b := a.second()
			pod := objtest.Pod("web").Node("n1").Obj()
			a.Put(t, pod)
			a.Writes.Before(func() { b.change("web", func(p *corev1.Pod) { p.UID = "another" }) })
			a.wantOutcomes(a.send("n1", 1, of(pod, 1, "sent")), state.Gone)
			a.wantMessage("web", "")
		})
	})
	t.Run("for ever", func(t *testing.T) {
		inBubble(t, func(t *testing.T, a *api) {
			pod := objtest.Pod("web").Node("n1").Obj()
			a.Put(t, pod)
			a.Store.SetFault(func(m []events.Message) memstore.Fault {
				if m[0].Key == state.ObjectKey(state.RefOf(pod)) {
					return memstore.Conflict
				}
				return memstore.OK
			})
			a.wantOutcomes(a.send("n1", 1, of(pod, 1, "sent")), state.Retry)
			a.Store.SetFault(nil)
			a.wantOutcomes(a.send("n1", 1, of(pod, 1, "sent")), state.Accepted)
			a.wantMessage("web", "sent")
		})
	})
}

// An acknowledgement of the store that is lost is none of the node's business.
func TestReportWhoseWriteIsNotAcknowledged(t *testing.T) {
	for name, fault := range map[string]memstore.Fault{"written": memstore.LostAck, "not written": memstore.LostSend} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				pod := objtest.Pod("web").Node("n1").Obj()
				a.Put(t, pod)
				once := false
				a.Store.SetFault(func([]events.Message) memstore.Fault {
					if once {
						return memstore.OK
					}
					once = true
					return fault
				})
				a.wantOutcomes(a.send("n1", 1, of(pod, 1, "sent")), state.Accepted)
				a.wantMessage("web", "sent")
			})
		})
	}
}

// A pod that ends says so in its order, in the very batch (P16): a node that lost its disk must not run it again.
func TestP16_EndReachesTheOrderInTheSameBatch(t *testing.T) {
	for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed} {
		t.Run(string(phase), func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				pod := objtest.Pod("web").Node("n1").RestartPolicy(corev1.RestartPolicyNever).Obj()
				a.Put(t, pod)
				written := len(a.Writes.All())
				a.wantOutcomes(a.send("n1", 1, ended(pod, 1, phase)), state.Accepted)
				a.Fresh(t)
				if order := a.Order(t, "n1", "web"); order == nil || !order.Finished {
					t.Errorf("order %+v, want it finished", order)
				}
				want := []state.Key{state.ObjectKey(state.RefOf(pod)), state.OrderKey("n1", "default", "web")}
				if diff := cmp.Diff(want, keysOf(a.Writes.All()[written])); diff != "" {
					t.Errorf("batch (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func keysOf(messages []events.Message) (keys []state.Key) {
	for _, m := range messages {
		keys = append(keys, m.Key)
	}
	return keys
}

// What has ended for good does not come back to life, whatever its node had sent meanwhile (P16): somebody may have counted it.
func TestP16_FinishedPodStaysFinished(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		a.Put(t, pod)
		a.change("web", func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" }) // by somebody else
		a.wantOutcomes(a.send("n1", 1, of(pod, 1, "running")), state.Accepted)
		a.wantMessage("web", "running") // its containers are as reported
		if got := a.Pod("web").Status.Phase; got != corev1.PodFailed {
			t.Errorf("phase %s, want it Failed", got)
		}
		if order := a.Order(t, "n1", "web"); order == nil || !order.Finished {
			t.Errorf("order %+v, want it finished", order)
		}
		a.wantOutcomes(a.send("n1", 1, ended(pod, 2, corev1.PodSucceeded)), state.Accepted)
		a.Fresh(t)
		if got := a.Pod("web").Status.Phase; got != corev1.PodFailed {
			t.Errorf("phase %s after its containers ended well, want it Failed", got)
		}
	})
}

// A pod that is being deleted goes with the report that nothing of it runs, and its order with it (P22).
func TestP22_LastReportRemovesPodAndOrder(t *testing.T) {
	for _, phase := range []corev1.PodPhase{corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed} {
		t.Run(string(phase), func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				pod := objtest.Pod("web").Node("n1").Deleting(time.Now()).Obj()
				a.Put(t, pod)
				written := len(a.Writes.All())
				a.wantOutcomes(a.send("n1", 1, ended(pod, 1, phase)), state.Gone)
				a.Fresh(t)
				if got := a.Pod("web"); got != nil || a.Order(t, "n1", "web") != nil {
					t.Errorf("pod %v, order %v; want neither", got, a.Order(t, "n1", "web"))
				}
				batch := a.Writes.All()[written]
				want := []state.Key{state.OrderKey("n1", "default", "web"), state.ObjectKey(state.RefOf(pod))}
				if diff := cmp.Diff(want, keysOf(batch)); diff != "" || !batch[0].Remove || !batch[1].Remove {
					t.Errorf("batch, of removals (-want +got):\n%s", diff)
				}
				gone := a.View.Get(state.ObjectKey(state.RefOf(pod)))
				if last, ok := view.Last[*corev1.Pod](gone); !ok || !podinfo.Finished(last) || gone.EventType != events.PodDeleted.Name {
					t.Errorf("%s tells of %+v, want pod.deleted of a finished pod", gone.EventType, last.Status)
				}
				a.wantOutcomes(a.send("n1", 1, ended(pod, 1, phase)), state.Gone) // its answer was lost
			})
		})
	}
}

func TestDeletedPodStaysWhileItRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Deleting(time.Now()).Obj()
		a.Put(t, pod)
		a.wantOutcomes(a.send("n1", 1, of(pod, 1, "stopping")), state.Accepted)
		a.wantMessage("web", "stopping")
		if got := a.Pod("web").Status.Phase; got != corev1.PodRunning || a.Order(t, "n1", "web") == nil {
			t.Errorf("phase %s and order %v, want it running with an order", got, a.Order(t, "n1", "web"))
		}
	})
}

// A finalizer outlives the node's part: the pod has ended and waits for whoever holds it.
func TestDeletedPodWithAFinalizerHasFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Deleting(time.Now()).Obj()
		pod.Finalizers = []string{"example.com/wait"}
		a.Put(t, pod)
		a.wantOutcomes(a.send("n1", 1, ended(pod, 1, corev1.PodRunning)), state.Accepted)
		a.Fresh(t)
		if got := a.Pod("web"); got == nil || got.Status.Phase != corev1.PodFailed {
			t.Errorf("pod %+v, want it there and Failed", got)
		}
		if order := a.Order(t, "n1", "web"); order == nil || !order.Finished {
			t.Errorf("order %+v, want it finished", order)
		}
	})
}

func TestStoppedPodThatNobodyDeletesKeepsItsPhase(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		a.Put(t, pod)
		a.wantOutcomes(a.send("n1", 1, ended(pod, 1, corev1.PodRunning)), state.Accepted)
		a.Fresh(t)
		if got := a.Pod("web").Status.Phase; got != corev1.PodRunning {
			t.Errorf("phase %s, want Running as reported", got)
		}
	})
}

func TestReportsThatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		for name, call := range map[string]apitest.Call{
			"no JSON":            {Subject: podsSubject("n1"), Body: []byte("x")},
			"nothing":            {Subject: podsSubject("n1")},
			"a node's, no JSON":  {Subject: nodeSubject("n1"), Body: []byte("[")},
			"no node's subject":  {Subject: "u.report.n1.pods", Body: state.PodReports{}},
			"an illegal subject": {Subject: "n.report.n=1.pods", Body: state.PodReports{}},
		} {
			err := apitest.Do(t.Context(), a.intake.Handle, call).Err
			if err == nil || wire.StatusOf(err).Reason != metav1.StatusReasonBadRequest {
				t.Errorf("%s: %v, want BadRequest", name, err)
			}
		}
	})
}
