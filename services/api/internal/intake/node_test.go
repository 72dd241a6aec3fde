package intake_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/intake"
)

const superseded = `Operation cannot be fulfilled on nodes "n1": another kubelet has started under this name`

func uidOf(node string) types.UID { return objtest.Node(node).Obj().UID }

func nodeSubject(node string) string {
	return wire.FromNodes + "." + wire.NodeSubject(wire.NodeReport, node, "node")
}

// about is a node's report of a machine with two CPUs.
func about(start, counter uint64) state.NodeReport {
	room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourcePods: resource.MustParse("110")}
	return state.NodeReport{
		Report: state.Report{Start: start, Counter: counter}, Labels: map[string]string{corev1.LabelArchStable: "amd64"},
		Status: corev1.NodeStatus{Capacity: room, Allocatable: room.DeepCopy()},
	}
}

func (a *api) joins(name string, r state.NodeReport) *corev1.Node {
	a.t.Helper()
	node := apitest.JSON[state.NodeAnswer](a.t, a.do(nodeSubject(name), r)).Node
	a.Fresh(a.t)
	if diff := cmp.Diff(a.Node(name), node); diff != "" {
		a.t.Errorf("the answer is not what there is (-there +answered):\n%s", diff)
	}
	return node
}

// A machine that shows itself for the first time becomes a Node: with a stamp and a range of addresses, in one batch, and kept from
// pods until it has been heard.
func TestP18_MachineJoins(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		written := len(a.Writes.All())
		got := a.joins("n3", about(1, 1))
		if got.UID == "" {
			t.Error("it has no uid")
		}
		now := metav1.NewTime(time.Now()).Rfc3339Copy()
		want := &corev1.Node{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
			ObjectMeta: metav1.ObjectMeta{
				Name: "n3", UID: got.UID, ResourceVersion: got.ResourceVersion, CreationTimestamp: now,
				Labels: map[string]string{corev1.LabelArchStable: "amd64"},
			},
			Spec: corev1.NodeSpec{
				PodCIDR: "10.244.0.0/24", PodCIDRs: []string{"10.244.0.0/24"},
				Taints: []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &now}},
			},
			Status: about(1, 1).Status,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("node (-want +got):\n%s", diff)
		}
		keys := []state.Key{state.ClaimKey(state.ClaimPodCIDR, "10.244.0.0/24"), nodeKey("n3"), state.StampKey(state.StampNode, "n3")}
		if diff := cmp.Diff(keys, keysOf(a.Writes.All()[written])); diff != "" {
			t.Errorf("batch (-want +got):\n%s", diff)
		}
	})
}

func nodeKey(name string) state.Key {
	return state.ObjectKey(state.ObjectRef{Resource: scheme.Nodes, Name: name})
}

// Nodes that join at once, at different replicas, get ranges of their own, and one machine that is heard twice makes one Node (P1).
func TestP1_NodesThatJoinAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		replicas := []*api{a, a.second()}
		const nodes = 200
		uids := [2 * nodes]types.UID{}
		var wg sync.WaitGroup
		for i := range 2 * nodes {
			wg.Go(func() {
				answer := replicas[i%2].do(nodeSubject(fmt.Sprint("new", i/2)), about(1, 1))
				uids[i] = apitest.JSON[state.NodeAnswer](t, answer).Node.UID
			})
			if i%4 == 3 {
				wg.Wait()
			}
		}
		wg.Wait()
		a.Fresh(t)
		ranges := map[string]string{}
		for i := range nodes {
			name := fmt.Sprint("new", i)
			cidr := a.Node(name).Spec.PodCIDR
			if other, taken := ranges[cidr]; taken {
				t.Errorf("%s and %s have the range %s", name, other, cidr)
			}
			ranges[cidr] = name
			if uids[2*i] != uids[2*i+1] || uids[2*i] != a.Node(name).UID {
				t.Errorf("%s joined as %s and as %s, and is %s", name, uids[2*i], uids[2*i+1], a.Node(name).UID)
			}
		}
	})
}

// A range is not given out again while pods of its last node may still be on their way out (P2).
func TestP2_RangeWaitsOutItsTombstone(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		leave := func(name string) {
			t.Helper()
			node := a.Node(name)
			removal, err := state.Removal(node.DeepCopy())
			if err != nil {
				t.Fatal(err)
			}
			stamp := a.View.Stamp(state.StampNode, name)
			stamp.End = true
			b := events.NodeDeleted.Batch(events.Meta{Source: apitest.Source}, stamp)
			b.Add(removal)
			claim := state.ClaimKey(state.ClaimPodCIDR, node.Spec.PodCIDR)
			b.AddAs(events.ClaimTaken.Info(), state.Change{Key: claim, Replaces: a.View.Revision(claim), Body: a.View.Body(claim), Remove: true})
			if _, err := a.Writer.Put(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			a.Fresh(t)
		}
		first := a.joins("n3", about(1, 1))
		leave("n3")
		again := a.joins("n3", about(1, 1)) // the name is free at once, the range is not
		if again.UID == first.UID || again.Spec.PodCIDR != "10.244.1.0/24" {
			t.Errorf("it came back as %s with %s, want another Node with 10.244.1.0/24", again.UID, again.Spec.PodCIDR)
		}
		apitest.Elapse(state.TombstoneTTL + time.Minute)
		a.Fresh(t)
		if late := a.joins("n4", about(1, 1)); late.Spec.PodCIDR != "10.244.0.0/24" {
			t.Errorf("an hour later a node got %s, want 10.244.0.0/24", late.Spec.PodCIDR)
		}
	})
}

func TestRangesOfACluster(t *testing.T) {
	tests := []struct {
		name    string
		cluster string
		bits    int
		want    []string // then none is left
	}{
		{"one for all", "10.1.2.0/24", 24, []string{"10.1.2.0/24"}},
		{"across an octet", "10.1.254.0/23", 24, []string{"10.1.254.0/24", "10.1.255.0/24"}},
		{"the smallest", "10.1.2.8/29", 30, []string{"10.1.2.8/30", "10.1.2.12/30"}},
		{"written as an address inside", "10.1.2.77/23", 24, []string{"10.1.2.0/24", "10.1.3.0/24"}},
		{"at the end of all addresses", "255.255.255.0/24", 25, []string{"255.255.255.0/25", "255.255.255.128/25"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				a.intake.CIDRs = intake.CIDRs{Cluster: netip.MustParsePrefix(tt.cluster), Bits: tt.bits}
				for i, want := range tt.want {
					if got := a.joins(fmt.Sprint("new", i), about(1, 1)).Spec.PodCIDR; got != want {
						t.Errorf("node %d got %s, want %s", i, got, want)
					}
				}
				err := a.do(nodeSubject("last"), about(1, 1)).Err
				apitest.WantStatus(t, err, metav1.StatusReasonForbidden,
					fmt.Sprintf(`nodes "last" is forbidden: no range of %s is free for its pods`, tt.cluster))
			})
		})
	}
}

func TestNodeNames(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		if got := a.joins("rack-1.example.com", about(1, 1)).Name; got != "rack-1.example.com" {
			t.Errorf("it joined as %q", got)
		}
		for _, name := range []string{"", "N3", "a b", "n3/x", "-n3"} {
			err := a.do(nodeSubject(name), about(1, 1)).Err
			if err == nil || wire.StatusOf(err).Reason != metav1.StatusReasonBadRequest {
				t.Errorf("a node called %q: %v, want BadRequest", name, err)
			}
		}
	})
}

// A kubelet that starts again finds the Node that it was; what others say of it stays.
func TestNodeIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		had := objtest.Node("n1").Label("zone", "a").Taint("gpu", "true", corev1.TaintEffectNoSchedule).Unschedulable().Obj()
		a.Put(t, had)
		ready := had.Status.Conditions[0]
		r := about(2, 1)
		pressure := corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}
		r.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}, pressure}
		got := a.joins("n1", r)
		want := a.Node("n1").DeepCopy()
		want.UID, want.Spec = had.UID, had.Spec
		want.Labels = map[string]string{corev1.LabelHostname: "n1", corev1.LabelArchStable: "amd64", "zone": "a"}
		want.Status = about(2, 1).Status
		want.Status.Conditions = []corev1.NodeCondition{pressure, ready}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("node (-want +got):\n%s", diff)
		}
		record := a.View.Get(nodeKey("n1"))
		if diff := cmp.Diff([]string{"system:node:n1", "2.1"}, []string{record.Actor, record.Report}); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	})
}

// What the scheduler reads of a node moves the stamp of the node's pods (P9); what it does not read leaves it alone.
func TestP9_WhatANodeOffersMovesItsStamp(t *testing.T) {
	tests := []struct {
		name   string
		change func(*state.NodeReport)
		want   bool
	}{
		{"allocatable", func(r *state.NodeReport) { r.Status.Allocatable[corev1.ResourceCPU] = resource.MustParse("1") }, true},
		{"a label", func(r *state.NodeReport) { r.Labels["zone"] = "b" }, true},
		{"a condition", func(r *state.NodeReport) {
			r.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse}}
		}, false},
		{"an address", func(r *state.NodeReport) { r.Status.Addresses = []corev1.NodeAddress{{Address: "192.0.2.1"}} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				joined := a.joins("n3", about(1, 1))
				before := a.View.Stamp(state.StampNode, "n3").Revision
				r := about(1, 2)
				r.UID = joined.UID
				tt.change(&r)
				if now := a.joins("n3", r); now.ResourceVersion == joined.ResourceVersion {
					t.Error("the node did not change")
				}
				if now := a.View.Stamp(state.StampNode, "n3").Revision; (now > before) != tt.want {
					t.Errorf("the stamp went from %d to %d; want it moved: %v", before, now, tt.want)
				}
			})
		})
	}
}

// A node's report that is older than the one taken, or that one again, changes nothing, and is answered with what there is (P17).
func TestP17_OlderReportOfANodeIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		joined := a.joins("n3", about(2, 5))
		for _, counter := range []uint64{5, 4} {
			r := about(2, counter)
			r.UID = joined.UID
			r.Status.Allocatable[corev1.ResourceCPU] = resource.MustParse("1")
			if diff := cmp.Diff(joined, a.joins("n3", r)); diff != "" {
				t.Errorf("report 2.%d changed the node (-was +is):\n%s", counter, diff)
			}
		}
	})
}

// Of two kubelets under one name the one that started later has it (P18).
func TestP18_KubeletBehindWhichAnotherStartedIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		a.Put(t, pod)
		a.joins("n1", about(2, 1))
		apitest.WantStatus(t, a.do(nodeSubject("n1"), about(1, 99)).Err, metav1.StatusReasonConflict, superseded)
		apitest.WantStatus(t, a.send("n1", 1, of(pod, 99, "late")).Err, metav1.StatusReasonConflict, superseded)
		a.wantMessage("web", "")
		a.wantOutcomes(a.send("n1", 2, of(pod, 1, "sent")), state.Accepted)
		a.wantMessage("web", "sent")
	})
}

// A kubelet whose Node was deleted, or is another's now, is refused and does not bring it back (P18).
func TestP18_KubeletWhoseNodeIsGoneIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Node("n1").Obj()
		a.Put(t, pod)
		before := a.View.Position()
		for name, uid := range map[string]types.UID{"n1": "another", "n3": "uid-n3"} {
			r := about(9, 1)
			r.UID = uid
			notFound := fmt.Sprintf("nodes %q not found", name)
			apitest.WantStatus(t, a.do(nodeSubject(name), r).Err, metav1.StatusReasonNotFound, notFound)
			reports := state.PodReports{Start: 9, UID: uid, Pods: []state.PodReport{of(pod, 1, "sent")}}
			apitest.WantStatus(t, a.do(podsSubject(name), reports).Err, metav1.StatusReasonNotFound, notFound)
		}
		a.Fresh(t)
		if now := a.View.Position(); now != before {
			t.Errorf("the bucket moved from %d to %d", before, now)
		}
	})
}

// A node that has just joined at one replica is not unknown to another.
func TestP18_ReplicaThatIsBehindRefusesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		release := a.Store.Hold()
		if _, err := a.Writer.Put(t.Context(), a.Batch(t, objtest.Node("n3").Obj())); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, release)
		a.wantOutcomes(a.send("n3", 1, of(objtest.Pod("web").Obj(), 1, "")), state.Gone)
	})
}

// A node's report that meets another write keeps it.
func TestReportOfANodeMeetsAnotherWrite(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		b := a.second()
		a.Writes.Before(func() {
			b.Fresh(t)
			b.Put(t, objtest.Node("n1").Unschedulable().Obj())
		})
		if got := a.joins("n1", about(1, 1)); !got.Spec.Unschedulable {
			t.Errorf("spec %+v: the cordon is lost", got.Spec)
		}
	})
}
