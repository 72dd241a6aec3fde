package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/services/scheduler/internal/cache"
	"millrace.dev/services/scheduler/internal/framework"
)

// gated is a store whose follower gets, while it is closed, only what the test lets through.
type gated struct {
	store.Store
	mu     sync.Mutex
	closed chan struct{} // nil: open
	pass   chan struct{}
}

func (g *gated) gate() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

func (g *gated) close() { g.set(make(chan struct{})) }

func (g *gated) open() {
	close(g.gate())
	g.set(nil)
}

func (g *gated) set(c chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = c
}

func (g *gated) Follow(ctx context.Context, after uint64, deliver func(store.Entry)) error {
	return g.Store.Follow(ctx, after, func(e store.Entry) {
		if closed := g.gate(); closed != nil {
			select {
			case <-closed: // opened
			case <-g.pass:
			case <-ctx.Done():
				return
			}
		}
		deliver(e)
	})
}

// assign writes an assignment as another scheduler does.
func (c *cluster) assign(name, node string) {
	c.t.Helper()
	c.decide(func() *events.Batch {
		before := c.pod(name)
		after := before.DeepCopy()
		after.Spec.NodeName = node
		b := c.batch(events.PodAssigned.Info(), state.Stamp{Kind: state.StampNode, ID: node}, state.Stamp{Kind: state.StampScheduler, ID: state.TheScheduler})
		c.add(b, before, after)
		return b
	})
}

// report changes the status of a pod as its node's report does; no stamp moves.
func (c *cluster) report(name string, phase corev1.PodPhase) {
	c.t.Helper()
	c.decide(func() *events.Batch {
		before := c.pod(name)
		after := before.DeepCopy()
		after.Status.Phase = phase
		b := c.batch(events.PodReported.Info())
		c.add(b, before, after)
		return b
	})
}

// A view that shows the newest stamp of a node may still lack a pod on it, if the pod's assignment was overwritten by a report before
// it could be delivered. A scheduler that decided then would hold the right stamp and put two pods where one fits.
func TestP5_NoDecisionFromAViewThatIsNotExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.putNode(objtest.Node("n1").Allocatable("cpu", "1"))
		first := objtest.Pod("first").Request("cpu", "1").Obj()
		first.Spec.SchedulerName = "other" // so that the late one decides about the second alone
		c.putPod(first)
		c.putPod(objtest.Pod("second").Request("cpu", "1").Obj())
		g := &gated{Store: c, pass: make(chan struct{})}
		late := newProcess(t, "late", g)
		settle()
		g.close()
		release := c.Hold()
		c.assign("first", "n1")
		c.report("first", corev1.PodRunning) // overwrites the revision that the assignment wrote
		release()
		for range 3 { // the order, the stamp of the node, that of the scheduler; not the report
			g.pass <- struct{}{}
		}
		synctest.Wait()
		if got, want := late.view.Revision(state.StampKey(state.StampNode, "n1")), c.Revision(state.StampKey(state.StampNode, "n1")); got != want {
			t.Fatalf("the view has the stamp at %d, want the newest, %d", got, want)
		}
		if got := late.cache.Snapshot().Nodes[0].Requested.Pods; got != 0 {
			t.Fatalf("the view shows %d pods on the node; the test wants it to miss the one that is there", got)
		}
		late.start(late.run)
		<-time.NewTimer(time.Minute).C // virtual
		c.wantPlaces(map[string]string{"first": "n1", "second": "-"})
		g.open()
		settle()
		c.wantPlaces(map[string]string{"first": "n1", "second": "-"})
		c.wantCondition("second", misfitBecause("0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "+
			"preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."))
	})
}

// riser is a scheduler that has decided and is stopped before it writes.
type riser struct {
	*process
	snapshot *cache.Snapshot
	chosen   []choice
}

func decide(t *testing.T, c *cluster) *riser {
	t.Helper()
	r := &riser{process: newProcess(t, "riser", c)}
	var pods []*framework.Pod
	err := r.view.ReadExact(t.Context(), func(uint64) { r.snapshot, pods = r.cache.Snapshot(), r.queue.Take(mostPods) })
	if err != nil {
		t.Fatal(err)
	}
	r.chosen, _ = r.choose(r.snapshot, pods)
	if len(r.chosen) == 0 {
		t.Fatal("nothing was decided")
	}
	return r
}

// wantLoses wakes the riser: its write must be refused, whole.
func (r *riser) wantLoses(c *cluster) {
	r.t.Helper()
	settle() // its view has seen everything; its plan has not
	before := c.last()
	if err := r.commit(r.t.Context(), r.snapshot, r.chosen, nil); !errors.Is(err, store.ErrConflict) {
		r.t.Errorf("commit of an old plan = %v, want a conflict", err)
	}
	if c.last() != before {
		r.t.Error("a part of an old plan was written")
	}
}

// A scheduler that is stopped between its decision and its write, and wakes up an hour later, loses: its stamp has moved with every
// pod that was added to the node since (P8). What it wanted to place has not moved, so that nothing but the stamp can tell.
func TestP8_LateRiserLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.putNode(objtest.Node("n1").Allocatable("cpu", "1"))
		c.putPod(objtest.Pod("sleeps").Request("cpu", "1").Obj())
		r := decide(t, c)
		c.putPod(objtest.Pod("quick").Request("cpu", "1").Obj())
		c.assign("quick", "n1")
		<-time.NewTimer(time.Hour).C // virtual
		r.wantLoses(c)
		c.wantPlaces(map[string]string{"sleeps": "-", "quick": "n1"})
		r.start(r.run)
		settle()
		c.wantPlaces(map[string]string{"sleeps": "-", "quick": "n1"}) // it decides again, with what there is
	})
}

// Rules between pods span nodes: two schedulers that decide at once about different nodes do not both win.
func TestP8_SchedulerStampIsOfEveryAssignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.putNode(objtest.Node("n1"))
		c.putPod(objtest.Pod("a").Obj())
		r := decide(t, c)
		c.putNode(objtest.Node("n2"))
		c.putPod(objtest.Pod("b").Obj())
		c.assign("b", "n2") // nothing about n1 and a has moved
		r.wantLoses(c)
	})
}

// Whatever an assignment reads of a node moves the node's stamp, and the stamp dies with the node: an old plan loses (P9).
func TestP9_WhatADecisionReadsMovesTheStamp(t *testing.T) {
	tests := []struct {
		name string
		then func(*cluster)
	}{
		{name: "the node is cordoned", then: func(c *cluster) { c.putNode(objtest.Node("n1").Unschedulable()) }},
		{name: "the node is tainted", then: func(c *cluster) { c.putNode(objtest.Node("n1").Taint("gpu", "true", corev1.TaintEffectNoSchedule)) }},
		{name: "the node has shrunk", then: func(c *cluster) { c.putNode(objtest.Node("n1").Allocatable("cpu", "0")) }},
		{name: "the node is gone", then: func(c *cluster) { c.removeNode("n1") }},
		{name: "another node has taken the name", then: func(c *cluster) {
			c.removeNode("n1")
			c.putNode(objtest.Node("n1"))
			c.putNode(objtest.Node("n2"))
			c.removeNode("n2") // of another node nothing follows
		}},
		{name: "the node is gone, and so is its tombstone", then: func(c *cluster) {
			c.removeNode("n1")
			<-time.NewTimer(2 * state.TombstoneTTL).C // virtual
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.putNode(objtest.Node("n1"))
				c.putPod(objtest.Pod("a").Request("cpu", "1").Obj())
				r := decide(t, c)
				tt.then(c)
				r.wantLoses(c)
				c.wantPlaces(map[string]string{"a": "-"})
			})
		})
	}
}

// audit checks after every write what is promised of assignments: no node has more than it offers, and no pod that has a node
// gets another.
type audit struct {
	c      *cluster
	mu     sync.Mutex
	placed map[string]string // uid to node, for ever
	cpu    map[string]int64  // by node
}

func (a *audit) check([]events.Message, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	requested := map[string]int64{}
	for _, pod := range a.pods() {
		if had, ok := a.placed[string(pod.UID)]; ok && had != pod.Spec.NodeName {
			a.c.t.Errorf("%s was assigned to %s and then to %s", pod.Name, had, pod.Spec.NodeName)
		}
		a.placed[string(pod.UID)] = pod.Spec.NodeName
		if !podinfo.Finished(pod) {
			requested[pod.Spec.NodeName] += pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
		}
	}
	for node, sum := range requested {
		if sum > a.cpu[node] {
			a.c.t.Errorf("%s has %dm requested of %dm", node, sum, a.cpu[node])
		}
	}
}

// pods are those with a node, all at one moment: of two moments, a pod that had finished before another got its room would count.
func (a *audit) pods() []*corev1.Pod {
	for {
		var pods []*corev1.Pod
		before := a.c.last()
		for i := range racePods {
			if pod := a.c.pod(fmt.Sprint("p", i)); pod != nil && pod.Spec.NodeName != "" {
				pods = append(pods, pod)
			}
		}
		if a.c.last() == before {
			return pods
		}
	}
}

const racePods = 24

// Two schedulers at once, without a lease, over a store that loses answers and refuses writes, whose followers are held up again and
// again; schedulers that are killed and start anew; pods that come, run, finish and go. However it turns out, no node is ever
// overcommitted and no pod is assigned twice; and once it is quiet, no pod waits for which there is room.
func TestP8_RacingSchedulersNeverOvercommit(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { race(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func race(t *testing.T, random *rand.Rand) {
	c := newCluster(t)
	a := &audit{c: c, placed: map[string]string{}, cpu: map[string]int64{"n1": 1000, "n2": 1000, "n3": 2000}}
	for node, cpu := range a.cpu {
		c.putNode(objtest.Node(node).Allocatable("cpu", fmt.Sprint(cpu, "m")))
	}
	var mu sync.Mutex
	faulty := true
	c.SetFault(func(m []events.Message) memstore.Fault {
		mu.Lock()
		defer mu.Unlock()
		kind, _, isStamp := state.ParseStampKey(m[len(m)-1].Key)
		if !faulty || !isStamp || kind != state.StampScheduler || random.IntN(3) > 0 {
			return memstore.OK // the test's own writes are not disturbed
		}
		return []memstore.Fault{memstore.Conflict, memstore.LostAck, memstore.LostSend}[random.IntN(3)]
	})
	chance := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n) == 0
	}
	disturb := func([]events.Message) error {
		if chance(4) { // the others go first
			<-time.NewTimer(3 * time.Millisecond).C // virtual
		}
		return t.Context().Err()
	}
	stop := map[string]func(){}
	begin := func(name string) {
		p := newProcess(t, name, &interposed{Store: c, before: disturb, after: a.check})
		stop[name] = p.start(p.run)
	}
	begin("a")
	begin("b")
	release := func() {}
	for i := range racePods {
		c.putPod(objtest.Pod(fmt.Sprint("p", i)).Request("cpu", fmt.Sprint(100*(1+i%6), "m")).Obj())
		switch other := fmt.Sprint("p", i/2); {
		case c.place(other) == "gone":
		case chance(3):
			c.report(other, []corev1.PodPhase{corev1.PodRunning, corev1.PodSucceeded}[i%2])
		case chance(3):
			c.removePod(other)
		}
		release()
		if release = func() {}; chance(3) {
			release = c.Hold()
		}
		if name := []string{"a", "b"}[i%2]; chance(6) {
			release() // a scheduler starts from what there is
			release = func() {}
			stop[name]()
			begin(name)
		}
		<-time.NewTimer(2 * time.Millisecond).C // virtual
	}
	release()
	mu.Lock()
	faulty = false
	mu.Unlock()
	<-time.NewTimer(time.Minute).C // virtual
	synctest.Wait()
	a.check(nil, nil)
	a.nobodyWaitsForRoom()
}

// nobodyWaitsForRoom checks that every pod without a node would overcommit each.
func (a *audit) nobodyWaitsForRoom() {
	requested := map[string]int64{}
	var waiting []*corev1.Pod
	for i := range racePods {
		pod := a.c.pod(fmt.Sprint("p", i))
		switch {
		case pod == nil || podinfo.Finished(pod):
		case pod.Spec.NodeName == "":
			waiting = append(waiting, pod)
		default:
			requested[pod.Spec.NodeName] += pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
			if a.c.Body(state.OrderKey(pod.Spec.NodeName, "default", pod.Name)) == nil {
				a.c.t.Errorf("%s is on %s, which has no order for it", pod.Name, pod.Spec.NodeName)
			}
		}
	}
	for _, pod := range waiting {
		for node, cpu := range a.cpu {
			if want := pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue(); want <= cpu-requested[node] {
				a.c.t.Errorf("%s waits although %s has room for its %dm: %dm of %dm", pod.Name, node, want, requested[node], cpu)
			}
		}
	}
	if len(a.placed) < racePods/4 {
		a.c.t.Errorf("only %d pods were ever placed: the test tests nothing", len(a.placed))
	}
}
