package scheduler

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/services/scheduler/internal/cache"
	"millrace.dev/services/scheduler/internal/framework"
)

var scheduled = corev1.PodCondition{Status: corev1.ConditionTrue}

func misfitBecause(message string) corev1.PodCondition {
	return corev1.PodCondition{Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message}
}

// Pods that come together are decided together: one batch has all of them with their orders, the stamp of every node used and
// that of the scheduler.
func TestAssignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for _, name := range []string{"n1", "n2", "n3"} {
			c.putNode(objtest.Node(name).Allocatable("cpu", "1"))
		}
		stamp := func(node string) uint64 { return c.Revision(state.StampKey(state.StampNode, node)) }
		unused := stamp("n3")
		for _, name := range []string{"a", "b", "c"} {
			c.putPod(objtest.Pod(name).Request("cpu", "500m").Obj())
		}
		p := newProcess(t, "s", c)
		p.start(p.run)
		settle()
		c.wantPlaces(map[string]string{"a": "n1", "b": "n1", "c": "n2"})
		batches := map[string]bool{}
		for name, node := range map[string]string{"a": "n1", "b": "n1", "c": "n2"} {
			c.wantCondition(name, scheduled)
			pod := c.read(state.ObjectKey(state.ObjectRef{Resource: "pods", Namespace: "default", Name: name}))
			order := c.read(state.OrderKey(node, "default", name))
			for _, e := range []store.Entry{pod, order} {
				event, err := events.Decode(e.Header)
				if err != nil || event.Type != events.PodAssigned.Name || event.Actor != "system:scheduler" {
					t.Errorf("%s is an event %s of %s, %v; want the assignment by the scheduler", e.Key, event.Type, event.Actor, err)
				}
				batches[events.BatchOf(event.ID)] = true
			}
			if o, err := state.DecodeOrder(order.Body); err != nil || o.Pod.Spec.NodeName != node {
				t.Errorf("order of %s: %+v, %v", name, o, err)
			}
		}
		for _, key := range []state.Key{
			state.StampKey(state.StampNode, "n1"), state.StampKey(state.StampNode, "n2"), state.StampKey(state.StampScheduler, state.TheScheduler),
		} {
			var body state.StampBody
			if err := json.Unmarshal(c.Body(key), &body); err != nil || !batches[body.Batch] || body.By != "s" {
				t.Errorf("%s says %+v, %v; want the batch of the assignment", key, body, err)
			}
		}
		if len(batches) != 1 {
			t.Errorf("the assignment is %d batches, want 1", len(batches))
		}
		if stamp("n3") != unused {
			t.Error("the stamp of a node that nothing was assigned to has moved")
		}
		want := []string{
			"Scheduled a: Successfully assigned default/a to n1", "Scheduled b: Successfully assigned default/b to n1",
			"Scheduled c: Successfully assigned default/c to n2",
		}
		if diff := cmp.Diff(want, p.noted()); diff != "" {
			t.Errorf("notes (-want +got):\n%s", diff)
		}
	})
}

// S6.1: placement follows what containers ask for. Who does not fit is told so in Kubernetes' words, once.
func TestS6_1_RequestsDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const message = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, " +
			"preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
		c := newCluster(t)
		c.putNode(objtest.Node("n1").Allocatable("cpu", "2"))
		p := newProcess(t, "s", c)
		p.start(p.run)
		for _, name := range []string{"a", "b", "c"} {
			c.putPod(objtest.Pod(name).Request("cpu", "800m").Obj())
			settle()
		}
		c.wantPlaces(map[string]string{"a": "n1", "b": "n1", "c": "-"})
		c.wantCondition("c", misfitBecause(message))
		if got := p.noted(); got[0] != "FailedScheduling c: "+message {
			t.Errorf("notes are %v, want FailedScheduling first", got)
		}
		before, notes := c.last(), len(p.noted())
		<-time.NewTimer(24 * time.Hour).C // virtual
		if c.last() != before || len(p.noted()) != notes {
			t.Errorf("in a day in which nothing happened %d revisions were written and %d notes told", c.last()-before, len(p.noted())-notes)
		}
		b := c.pod("b")
		b.Status.Phase = corev1.PodSucceeded
		c.putPod(b)
		settle()
		c.wantPlaces(map[string]string{"c": "n1"})
		c.wantCondition("c", scheduled)
	})
}

// Each reason is counted, and what happens later changes the sentence.
func TestExplanation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := newProcess(t, "s", c)
		p.start(p.run)
		c.putPod(objtest.Pod("a").Request("cpu", "2").Obj())
		settle()
		c.wantCondition("a", misfitBecause("no nodes available to schedule pods"))
		c.putNode(objtest.Node("n1").Taint("gpu", "true", corev1.TaintEffectNoSchedule))
		c.putNode(objtest.Node("n2").Allocatable("cpu", "1"))
		c.putNode(objtest.Node("n3").Unschedulable())
		settle()
		c.wantCondition("a", misfitBecause("0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {gpu: true}, 1 node(s) were unschedulable. "+
			"no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."))
		c.putNode(objtest.Node("n3").Unschedulable().Label("x", "y")) // it is tried again, with the same outcome
		revision := c.pod("a").ResourceVersion
		settle()
		if got := c.pod("a").ResourceVersion; got != revision {
			t.Error("a sentence that stands there already was written again")
		}
		c.putNode(objtest.Node("n1"))
		settle()
		c.wantPlaces(map[string]string{"a": "n1"})
		c.wantCondition("a", scheduled)
	})
}

// A pod waits for what may free it: whatever that is, it is tried again at once and not before.
func TestWhatAPodWaitsFor(t *testing.T) {
	full := func(c *cluster) {
		c.putNode(objtest.Node("n1").Allocatable("cpu", "1"))
		c.putPod(objtest.Pod("runs").Node("n1").Request("cpu", "1").Obj())
	}
	tainted := func(c *cluster) { c.putNode(objtest.Node("n1").Taint("gpu", "true", corev1.TaintEffectNoSchedule)) }
	pod := func() *objtest.PodBuilder { return objtest.Pod("a").Request("cpu", "1") }
	tests := []struct {
		name  string
		begin func(*cluster)
		then  func(*cluster)
	}{
		{name: "a pod to go", begin: full, then: func(c *cluster) { c.removePod("runs") }},
		{name: "a pod to finish", begin: full, then: func(c *cluster) {
			p := c.pod("runs")
			p.Status.Phase = corev1.PodFailed
			c.putPod(p)
		}},
		{name: "a node to join", begin: full, then: func(c *cluster) { c.putNode(objtest.Node("n2")) }},
		{name: "a node to grow", begin: full, then: func(c *cluster) { c.putNode(objtest.Node("n1").Allocatable("cpu", "2")) }},
		{name: "a taint to go", begin: tainted, then: func(c *cluster) { c.putNode(objtest.Node("n1")) }},
		{name: "a node to be uncordoned", begin: func(c *cluster) { c.putNode(objtest.Node("n1").Unschedulable()) }, then: func(c *cluster) { c.putNode(objtest.Node("n1")) }},
		{name: "itself to tolerate more", begin: tainted, then: func(c *cluster) {
			p := c.pod("a")
			p.Generation++
			p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
			c.putPod(p)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				tt.begin(c)
				p := newProcess(t, "s", c)
				p.start(p.run)
				c.putPod(pod().Obj())
				settle()
				c.wantPlaces(map[string]string{"a": "-"})
				tt.then(c)
				settle()
				if got := c.place("a"); got == "-" {
					t.Error("it was not tried again")
				}
			})
		})
	}
}

// S6.2: nodes are filled before empty ones are opened.
func TestS6_2_PackTight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for _, name := range []string{"n1", "n2", "n3"} {
			c.putNode(objtest.Node(name).Allocatable("cpu", "1").Allocatable("memory", "1000Mi"))
		}
		p := newProcess(t, "s", c)
		p.start(p.run)
		for i, cpu := range []string{"600m", "400m", "300m", "300m", "200m", "200m"} {
			c.putPod(objtest.Pod(fmt.Sprint("p", i)).Request("cpu", cpu).Obj())
			settle()
		}
		c.wantPlaces(map[string]string{"p0": "n1", "p1": "n1", "p2": "n2", "p3": "n2", "p4": "n2", "p5": "n2"})
		c.removePod("p2")
		settle()
		c.putPod(objtest.Pod("refill").Request("cpu", "300m").Obj())
		settle()
		c.wantPlaces(map[string]string{"refill": "n2"}) // the empty n3 is not opened
	})
}

// The most urgent pod gets the last room.
func TestPriorityDecidesWhoIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.putNode(objtest.Node("n1").Allocatable("cpu", "1"))
		c.putPod(objtest.Pod("a").Request("cpu", "1").Obj())
		c.putPod(objtest.Pod("urgent").Priority(100).Request("cpu", "1").Obj())
		p := newProcess(t, "s", c)
		p.start(p.run)
		settle()
		c.wantPlaces(map[string]string{"a": "-", "urgent": "n1"})
	})
}

// However many pods wait on however many nodes, a batch stays within what one write may have.
func TestManyPodsOnManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 400
		c := newCluster(t)
		for i := range count {
			c.putNode(objtest.Node(fmt.Sprintf("n%03d", i)).Allocatable("pods", "1"))
			c.putPod(objtest.Pod(fmt.Sprintf("p%03d", i)).Obj())
		}
		most, writes := 0, 0
		p := newProcess(t, "s", &interposed{Store: c, after: func(messages []events.Message, err error) {
			most = max(most, len(messages))
			if writes++; err != nil {
				t.Errorf("write of %d messages: %v; a cycle must see the one before", len(messages), err)
			}
		}})
		p.start(p.run)
		settle()
		used := map[string]bool{}
		for i := range count {
			used[c.place(fmt.Sprintf("p%03d", i))] = true
		}
		if len(used) != count || used["-"] {
			t.Errorf("%d pods lie on %d nodes", count, len(used))
		}
		if most > store.MaxBatch || most < store.MaxBatch-2 || writes != 3 {
			t.Errorf("%d writes, the largest with %d messages; want 3 that use the %d that there may be", writes, most, store.MaxBatch)
		}
	})
}

// Whoever loses decides again with what is then there. In each case the change comes between the decision and its write.
func TestConflictIsDecidedAgain(t *testing.T) {
	tests := []struct {
		name string
		when func(*cluster)
		want map[string]string
	}{
		{name: "the node is cordoned", when: func(c *cluster) { c.putNode(objtest.Node("n1").Unschedulable()) }, want: map[string]string{"a": "n2", "b": "n2"}},
		{name: "the node is deleted", when: func(c *cluster) { c.removeNode("n1") }, want: map[string]string{"a": "n2", "b": "n2"}},
		{name: "the node has shrunk", when: func(c *cluster) { c.putNode(objtest.Node("n1").Allocatable("cpu", "1")) }, want: map[string]string{"a": "n1", "b": "n2"}},
		{name: "a pod is deleted", when: func(c *cluster) { c.removePod("a") }, want: map[string]string{"a": "gone", "b": "n1"}},
		{name: "a pod is marked for deletion", when: func(c *cluster) {
			p := objtest.Pod("a").Request("cpu", "1").Deleting(time.Now()).Obj()
			p.Finalizers = []string{"example.com/hold"}
			p.ResourceVersion = c.pod("a").ResourceVersion
			c.putPod(p)
		}, want: map[string]string{"a": "-", "b": "n1"}},
		{name: "a pod is annotated", when: func(c *cluster) {
			c.putPod(objtest.Pod("a").Request("cpu", "1").Annotation("x", "y").Obj())
		}, want: map[string]string{"a": "n1", "b": "n1"}},
		{name: "a pod is replaced by another of its name", when: func(c *cluster) {
			c.removePod("a")
			c.putPod(objtest.Pod("a").UID("second").Request("cpu", "1").Obj())
		}, want: map[string]string{"a": "n1", "b": "n1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.putNode(objtest.Node("n1").Label("first", "true"))
				c.putNode(objtest.Node("n2"))
				c.putPod(objtest.Pod("a").Request("cpu", "1").Obj())
				c.putPod(objtest.Pod("b").Request("cpu", "1").Obj())
				writes := 0
				p := newProcess(t, "s", &interposed{Store: c, before: func([]events.Message) error {
					if writes++; writes == 1 {
						tt.when(c)
					}
					return nil
				}})
				p.start(p.run)
				settle()
				c.wantPlaces(tt.want)
				for name, node := range tt.want {
					ordered := c.Body(state.OrderKey(node, "default", name)) != nil
					if placed := strings.HasPrefix(node, "n"); placed != ordered {
						t.Errorf("%s has an order on %s: %v, want %v", name, node, ordered, placed)
					}
				}
			})
		})
	}
}

// A pod that can never be written, because it always moves, holds up no other.
func TestPodThatKeepsMovingHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.putNode(objtest.Node("n1"))
		for i := range 8 {
			c.putPod(objtest.Pod(fmt.Sprint("p", i)).Obj())
		}
		restless := objtest.Pod("restless")
		c.putPod(restless.Obj())
		moves, seen := 0, -1
		p := newProcess(t, "s", &interposed{Store: c, before: func(messages []events.Message) error {
			for _, m := range messages {
				if strings.HasSuffix(string(m.Key), ".restless") && moves < 50 {
					moves++
					c.putPod(restless.Annotation("moves", fmt.Sprint(moves)).Obj())
				}
			}
			return nil
		}, after: func([]events.Message, error) {
			if seen < 0 && c.place("p7") == "n1" {
				seen = moves
			}
		}})
		p.start(p.run)
		settle()
		c.wantPlaces(map[string]string{"p0": "n1", "p7": "n1", "restless": "n1"})
		if seen < 0 || seen > 25 {
			t.Errorf("the others were placed after it had moved %d times of %d", seen, moves)
		}
	})
}

// P13: an assignment whose answer is lost is made once.
func TestP13_UnknownOutcome(t *testing.T) {
	tests := []struct {
		name  string
		fault memstore.Fault
		times int
	}{
		{name: "it was written", fault: memstore.LostAck, times: 1},
		{name: "it was not", fault: memstore.LostSend, times: 1},
		{name: "nothing arrives for so long that the writer gives up", fault: memstore.LostSend, times: 1000},
		{name: "the store is busy for long", fault: memstore.Conflict, times: 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.putNode(objtest.Node("n1").Allocatable("cpu", "1"))
				c.putPod(objtest.Pod("a").Request("cpu", "1").Obj())
				c.putPod(objtest.Pod("b").Request("cpu", "1").Obj())
				p := newProcess(t, "s", c)
				left := tt.times
				c.SetFault(func([]events.Message) memstore.Fault {
					if left == 0 {
						return memstore.OK
					}
					left--
					return tt.fault
				})
				p.start(p.run)
				<-time.NewTimer(10 * time.Minute).C // virtual
				c.wantPlaces(map[string]string{"a": "n1", "b": "-"})
				c.wantCondition("a", scheduled)
				if pod := c.pod("b"); len(pod.Status.Conditions) != 1 {
					t.Errorf("conditions of the pod that did not fit are %v", pod.Status.Conditions)
				}
			})
		})
	}
}

// Why a pod was not placed is written in the end, whatever happens to the first attempt.
func TestExplanationIsNotLost(t *testing.T) {
	const message = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, " +
		"preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
	tests := []struct {
		name string
		fail func(*cluster) error
	}{
		{name: "the store is away", fail: func(*cluster) error { return store.ErrUnavailable }},
		{name: "the pod was annotated meanwhile", fail: func(c *cluster) error {
			c.putPod(objtest.Pod("a").Request("cpu", "9").Annotation("x", "y").Obj())
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.putNode(objtest.Node("n1"))
				c.putPod(objtest.Pod("a").Request("cpu", "9").Obj())
				writes := 0
				p := newProcess(t, "s", &interposed{Store: c, before: func([]events.Message) error {
					if writes++; writes > 1 {
						return nil
					}
					return tt.fail(c)
				}})
				p.start(p.run)
				settle()
				c.wantCondition("a", misfitBecause(message))
			})
		})
	}
}

// A pod that is deleted while it is explained is not brought back.
func TestPodDeletedWhileItIsExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.putPod(objtest.Pod("a").Obj())
		p := newProcess(t, "s", &interposed{Store: c, before: func([]events.Message) error {
			if c.place("a") != "gone" {
				c.removePod("a")
			}
			return nil
		}})
		p.start(p.run)
		settle()
		c.wantPlaces(map[string]string{"a": "gone"})
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.putPod(objtest.Pod("a").Obj())
		p := newProcess(t, "s", &interposed{Store: c, before: func([]events.Message) error { return store.ErrUnavailable }})
		stop := p.start(p.run) // fails for ever
		settle()
		stop() // returns once it has ended
	})
}

// Whatever pods and nodes there are: a node never gets more than it has, a pod lies only where every filter lets it, and no pod is
// left out that would have fitted at its turn.
func TestChooseProperties(t *testing.T) {
	s := &scheduler{filters: filters(), scorers: scorers()}
	rapid.Check(t, func(t *rapid.T) {
		snapshot := &cache.Snapshot{}
		for i := range rapid.IntRange(0, 5).Draw(t, "nodes") {
			b := objtest.Node(fmt.Sprint("n", i)).Allocatable("cpu", fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "cpu"))).
				Allocatable("pods", fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "room")))
			if rapid.Bool().Draw(t, "tainted") {
				b.Taint("gpu", "true", corev1.TaintEffectNoSchedule)
			}
			node := b.Obj()
			snapshot.Nodes = append(snapshot.Nodes, &framework.Node{Node: node, Allocatable: framework.FromList(node.Status.Allocatable)})
		}
		var pods []*framework.Pod
		for i := range rapid.IntRange(0, 12).Draw(t, "pods") {
			b := objtest.Pod(fmt.Sprint("p", i)).Request("cpu", fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "request")))
			if rapid.Bool().Draw(t, "tolerates") {
				b.Tolerate(corev1.Toleration{Operator: corev1.TolerationOpExists})
			}
			pods = append(pods, framework.NewPod(b.Obj()))
		}
		chosen, misfits := s.choose(snapshot, pods)
		if len(chosen)+len(misfits) != len(pods) {
			t.Fatalf("of %d pods %d are chosen and %d are not", len(pods), len(chosen), len(misfits))
		}
		for _, n := range snapshot.Nodes {
			if n.Requested.MilliCPU > n.Allocatable.MilliCPU || n.Requested.Pods > n.Allocatable.Pods {
				t.Fatalf("%s has %+v of %+v", n.Name, n.Requested, n.Allocatable)
			}
		}
		for _, choice := range chosen {
			if len(choice.node.Spec.Taints) > 0 && len(choice.pod.Spec.Tolerations) == 0 {
				t.Fatalf("%s does not tolerate %s", choice.pod.Name, choice.node.Name)
			}
		}
		for _, m := range misfits { // nodes only fill up, so who fits now had fitted at its turn
			if nodes, _ := s.fitting(&snapshot.Cluster, m.pod); len(nodes) > 0 {
				t.Fatalf("%s is left out, but fits on %s", m.pod.Name, nodes[0].Name)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil || !c.Lease || c.SchedulerName != "default-scheduler" {
		t.Errorf("the default %+v is %v", c, err)
	}
	c.SchedulerName, c.NATS = "", ""
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "schedulerName") || !strings.Contains(err.Error(), "nats") {
		t.Errorf("Validate = %v, want everything that is wrong", err)
	}
	if errors.Is(c.Validate(), store.ErrInvalid) || c.Base() != &c.Common {
		t.Error("Base is not the common part")
	}
}
