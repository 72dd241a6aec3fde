package cache

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/services/scheduler/internal/framework"
)

// bucket is what the view would know: it gives the cache each change as the view does.
type bucket struct {
	t        testing.TB
	cache    *Cache
	records  map[state.Key]*view.Record
	revision uint64
	// told is what the cache told its listener, in words.
	told []string
}

func (b *bucket) Waits(p *framework.Pod) { b.told = append(b.told, "waits "+p.Name) }
func (b *bucket) Left(uid string)        { b.told = append(b.told, "left "+uid) }

func (b *bucket) Happened(e framework.Event) {
	b.told = append(b.told, map[framework.Event]string{
		framework.PodGone: "pod gone", framework.NodeAdded: "node added", framework.NodeChanged: "node changed",
	}[e])
}

func newBucket(t testing.TB) *bucket {
	t.Helper()
	b := &bucket{t: t, records: map[state.Key]*view.Record{}}
	b.cache = New(corev1.DefaultSchedulerName, b)
	return b
}

func (b *bucket) change(r *view.Record) uint64 {
	b.revision++
	r.Revision = b.revision
	before := b.records[r.Key]
	b.records[r.Key] = r
	b.cache.Changed(before, r)
	return r.Revision
}

func (b *bucket) put(obj scheme.Object) {
	b.t.Helper()
	body, err := state.Encode(obj)
	if err != nil {
		b.t.Fatal(err)
	}
	ref := state.RefOf(obj)
	b.change(&view.Record{Key: state.ObjectKey(ref), Ref: ref, Body: body})
}

func (b *bucket) remove(obj scheme.Object) {
	b.t.Helper()
	ref := state.RefOf(obj)
	body, err := state.Encode(obj)
	if err != nil {
		b.t.Fatal(err)
	}
	b.change(&view.Record{Key: state.ObjectKey(ref), Ref: ref, Body: body, Removed: true})
}

func (b *bucket) stamp(kind state.StampKind, id string, removed bool) uint64 {
	return b.change(&view.Record{Key: state.StampKey(kind, id), Body: []byte("{}"), Removed: removed})
}

// join makes a node and its stamp, as one batch does.
func (b *bucket) join(n *objtest.NodeBuilder) {
	node := n.Obj()
	b.put(node)
	b.stamp(state.StampNode, node.Name, false)
}

func (b *bucket) wantTold(what string, want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), append([]string{}, b.told...)); diff != "" {
		b.t.Errorf("%s: told (-want +got):\n%s", what, diff)
	}
	b.told = nil
}

// wantNodes compares the snapshot with lines such as "n1: 500m, 1 pods".
func (b *bucket) wantNodes(what string, want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), b.snapshot()); diff != "" {
		b.t.Errorf("%s: snapshot (-want +got):\n%s", what, diff)
	}
}

func (b *bucket) snapshot() []string {
	lines := []string{}
	for _, n := range b.cache.Snapshot().Nodes {
		lines = append(lines, fmt.Sprintf("%s: %dm, %d pods", n.Name, n.Requested.MilliCPU, n.Requested.Pods))
	}
	slices.Sort(lines)
	return lines
}

func TestLifeOfAPod(t *testing.T) {
	b := newBucket(t)
	b.join(objtest.Node("n1"))
	b.told = nil
	pod := objtest.Pod("web").Request("cpu", "500m")
	b.put(pod.Obj())
	b.wantTold("created", "waits web")
	b.wantNodes("created", "n1: 0m, 0 pods")
	b.put(pod.Label("a", "b").Obj())
	b.wantTold("changed while it waits", "waits web")
	b.put(pod.Node("n1").Obj())
	b.wantTold("assigned", "left uid-web")
	b.wantNodes("assigned", "n1: 500m, 1 pods")
	b.put(pod.Phase(corev1.PodRunning).Obj())
	b.wantTold("running", "left uid-web")
	b.wantNodes("running", "n1: 500m, 1 pods")
	b.put(pod.Deleting(metav1.Now().Time).Obj())
	b.wantTold("terminating", "left uid-web")
	b.wantNodes("terminating: it still takes room", "n1: 500m, 1 pods")
	b.put(pod.Phase(corev1.PodSucceeded).Obj())
	b.wantTold("finished", "pod gone", "left uid-web")
	b.wantNodes("finished", "n1: 0m, 0 pods")
	b.remove(pod.Obj())
	b.wantTold("removed: its room was given back before", "left uid-web")
	b.wantNodes("removed", "n1: 0m, 0 pods")
}

func TestRemovalGivesRoomBack(t *testing.T) {
	b := newBucket(t)
	b.join(objtest.Node("n1"))
	pod := objtest.Pod("web").Node("n1").Request("cpu", "500m")
	b.put(pod.Obj())
	b.wantNodes("running", "n1: 500m, 1 pods")
	b.told = nil
	b.remove(pod.Obj())
	b.wantTold("removed", "pod gone", "left uid-web")
	b.wantNodes("removed", "n1: 0m, 0 pods")
}

// A name that is taken by another pod between two revisions that the view has seen.
func TestUIDChangesUnderOneName(t *testing.T) {
	b := newBucket(t)
	b.join(objtest.Node("n1"))
	b.put(objtest.Pod("web").Node("n1").Request("cpu", "500m").Obj())
	b.told = nil
	b.put(objtest.Pod("web").UID("second").Obj())
	b.wantTold("replaced", "pod gone", "left uid-web", "waits web")
	b.wantNodes("replaced", "n1: 0m, 0 pods")
	b.put(objtest.Pod("web").UID("third").Node("n1").Request("cpu", "100m").Obj())
	b.wantTold("replaced by one that runs", "left second")
	b.wantNodes("replaced by one that runs", "n1: 100m, 1 pods")
	b.put(objtest.Pod("web").UID("fourth").Node("n2").Obj())
	b.wantTold("replaced by one that runs elsewhere", "pod gone", "left third")
	b.wantNodes("replaced by one that runs elsewhere", "n1: 0m, 0 pods")
}

func TestWhoWaits(t *testing.T) {
	gated := objtest.Pod("a").Obj()
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wait"}}
	others := objtest.Pod("a").Obj()
	others.Spec.SchedulerName = "other"
	tests := []struct {
		name string
		pod  *corev1.Pod
		want bool
	}{
		{name: "a new pod", pod: objtest.Pod("a").Obj(), want: true},
		{name: "one with a node", pod: objtest.Pod("a").Node("n1").Obj()},
		{name: "one that is to be deleted", pod: objtest.Pod("a").Deleting(metav1.Now().Time).Obj()},
		{name: "one that has failed without a node", pod: objtest.Pod("a").Phase(corev1.PodFailed).Obj()},
		{name: "one behind a gate", pod: gated},
		{name: "one of another scheduler", pod: others},
	}
	for _, tt := range tests {
		b := newBucket(t)
		b.put(tt.pod)
		if got := slices.Contains(b.told, "waits a"); got != tt.want {
			t.Errorf("%s waits: %v, want %v", tt.name, got, tt.want)
		}
		b.told = nil
		b.put(objtest.Pod("a").Obj())
		b.wantTold(tt.name+", then as any other", map[bool][]string{true: {"waits a"}, false: append(leftIf(tt.pod), "waits a")}[tt.want]...)
	}
}

// leftIf is what is said of a pod that did not wait when its next revision comes.
func leftIf(pod *corev1.Pod) []string {
	if pod.Spec.NodeName != "" {
		return []string{"pod gone"}
	}
	return nil
}

// A node may be used once it is there and its stamp is: without that there is nothing to expect (P9).
func TestP9_NodeIsUsedWithItsStamp(t *testing.T) {
	b := newBucket(t)
	node := objtest.Node("n1")
	b.put(node.Obj())
	b.wantNodes("without a stamp")
	b.wantTold("without a stamp")
	stamp := b.stamp(state.StampNode, "n1", false)
	b.wantNodes("with its stamp", "n1: 0m, 0 pods")
	// A cycle that ran between the two has put every pod aside for want of a node.
	b.wantTold("with its stamp", "node added")
	if got := b.cache.Snapshot().Nodes[0].Stamp; got != stamp {
		t.Errorf("the node's stamp is %d, want %d", got, stamp)
	}
	b.put(node.Label("disk", "ssd").Obj())
	b.wantTold("changed", "node changed")
	stamp = b.stamp(state.StampNode, "n1", false)
	b.wantTold("its stamp moved")
	if got := b.cache.Snapshot().Nodes[0].Stamp; got != stamp {
		t.Errorf("the node's stamp is %d, want %d", got, stamp)
	}
	b.remove(node.Obj())
	b.stamp(state.StampNode, "n1", true)
	b.wantNodes("deleted")
	b.wantTold("deleted")
}

// A rebuild shows keys by sequence: the stamp of a node that has reported since comes before the node, and so do its pods.
func TestOrderOfComingDoesNotMatter(t *testing.T) {
	b := newBucket(t)
	b.put(objtest.Pod("web").Node("n1").Request("cpu", "1").Obj())
	b.stamp(state.StampNode, "n1", false)
	b.wantNodes("without the node")
	b.put(objtest.Node("n1").Obj())
	b.wantTold("with the node", "node added")
	b.wantNodes("with the node", "n1: 1000m, 1 pods")
}

// The pods of a node that was deleted are there until somebody removes them: they take room if it comes back.
func TestNodeThatComesBackHasItsPods(t *testing.T) {
	b := newBucket(t)
	b.join(objtest.Node("n1"))
	pod := objtest.Pod("web").Node("n1").Request("cpu", "1").Obj()
	b.put(pod)
	b.remove(objtest.Node("n1").Obj())
	b.stamp(state.StampNode, "n1", true)
	b.wantNodes("deleted")
	b.join(objtest.Node("n1").Label("again", "true"))
	b.wantNodes("again", "n1: 1000m, 1 pods")
	b.remove(pod)
	b.remove(objtest.Node("n1").Obj())
	b.stamp(state.StampNode, "n1", true)
	if len(b.cache.nodes) != 0 || len(b.cache.placed) != 0 {
		t.Errorf("%d nodes and %d pods are remembered that are gone", len(b.cache.nodes), len(b.cache.placed))
	}
}

// Assuming a pod in a snapshot is forgotten with the snapshot: what is decided counts once it has come back from the bucket.
func TestSnapshotIsItsOwn(t *testing.T) {
	b := newBucket(t)
	b.join(objtest.Node("n1").Allocatable("example.com/gpu", "4"))
	b.put(objtest.Pod("web").Node("n1").Request("cpu", "1").Request("example.com/gpu", "1").Obj())
	scheduler := b.stamp(state.StampScheduler, state.TheScheduler, false)
	s := b.cache.Snapshot()
	if s.Stamp != scheduler {
		t.Errorf("stamp of the scheduler is %d, want %d", s.Stamp, scheduler)
	}
	assumed := framework.NewPod(objtest.Pod("more").Request("cpu", "2").Request("example.com/gpu", "2").Obj())
	s.Assume(assumed, s.Nodes[0])
	again := b.cache.Snapshot().Nodes[0]
	if again.Requested.MilliCPU != 1000 || again.Requested.Other["example.com/gpu"] != 1 || len(again.Pods) != 1 {
		t.Errorf("requested is %+v by %d pods after another snapshot was changed, want 1 CPU and 1 GPU by 1", again.Requested, len(again.Pods))
	}
	b.put(objtest.Pod("late").Node("n1").Request("cpu", "1").Obj())
	b.remove(objtest.Pod("web").Node("n1").Obj())
	if got := s.Nodes[0]; got.Requested.MilliCPU != 3000 || len(got.Pods) != 2 || got.Pods[0].Name != "web" || got.Pods[1].Name != "more" {
		t.Errorf("an old snapshot has %+v requested by %d pods, want the 3000 by the 2 that it had", got.Requested, len(got.Pods))
	}
}

func TestOtherKeysDoNotMatter(t *testing.T) {
	b := newBucket(t)
	b.put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "default"}})
	b.stamp(state.StampOwner, "uid", false)
	b.change(&view.Record{Key: state.OrderKey("n1", "default", "web"), Body: []byte("{}")})
	b.wantTold("others")
	b.wantNodes("others")
}

// Whatever comes in whatever order, the cache is what the bucket is: the nodes with a stamp, and on each what its pods request.
func TestCacheIsWhatTheBucketIs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBucket(t)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "name")
			switch rapid.SampledFrom([]string{"pod", "pod", "pod", "remove pod", "node", "remove node", "stamp", "remove stamp"}).Draw(rt, "step") {
			case "pod":
				b.put(drawPod(rt, name))
			case "remove pod":
				b.removeIfThere(scheme.Pods, name)
			case "node":
				b.put(objtest.Node(name).Obj())
			case "remove node":
				b.removeIfThere(scheme.Nodes, name)
			case "stamp":
				b.stamp(state.StampNode, name, false)
			case "remove stamp":
				b.stamp(state.StampNode, name, true)
			}
		}
		if diff := cmp.Diff(b.nodes(), b.snapshot()); diff != "" {
			rt.Fatalf("snapshot (-want +got):\n%s", diff)
		}
	})
}

func drawPod(t *rapid.T, name string) *corev1.Pod {
	p := objtest.Pod(name).UID(types.UID(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "uid") + name))
	p.Request("cpu", rapid.SampledFrom([]string{"0", "100m", "300m"}).Draw(t, "cpu"))
	p.Node(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "node"))
	return p.Phase(rapid.SampledFrom([]corev1.PodPhase{corev1.PodRunning, corev1.PodFailed}).Draw(t, "phase")).Obj()
}

func (b *bucket) removeIfThere(resource, name string) {
	for _, r := range b.records {
		if r.Ref.Resource == resource && r.Ref.Name == name && !r.Removed {
			obj, err := r.Object()
			if err != nil {
				b.t.Fatal(err)
			}
			b.remove(obj)
			return
		}
	}
}

// nodes reads from the bucket what the snapshot must be.
func (b *bucket) nodes() []string {
	cpu, pods := map[string]int64{}, map[string]int{}
	for _, r := range b.records {
		if p, ok := view.As[*corev1.Pod](r); ok && p.Spec.NodeName != "" && p.Status.Phase == corev1.PodRunning {
			cpu[p.Spec.NodeName] += p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
			pods[p.Spec.NodeName]++
		}
	}
	lines := []string{}
	for _, r := range b.records {
		stamp := b.records[state.StampKey(state.StampNode, r.Ref.Name)]
		if r.Ref.Resource == scheme.Nodes && !r.Removed && stamp != nil && !stamp.Removed {
			lines = append(lines, fmt.Sprintf("%s: %dm, %d pods", r.Ref.Name, cpu[r.Ref.Name], pods[r.Ref.Name]))
		}
	}
	slices.Sort(lines)
	return lines
}
