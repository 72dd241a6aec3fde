//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/test/cluster"
)

const (
	rivalNodes = 4
	rivalPods  = 500
	nodeCPU    = 10_000 // thousandths
	podCPU     = 100
	longFreeze = 60 * time.Second
	churnHands = 6
)

// TestTwoSchedulersWithoutLease has two schedulers decide at the same time while each is stopped at random for up to a minute and
// wakes with what it knew then. More pods are wanted than there is room for. The stream of revisions must never show a node with
// more than it has, nor a pod that is assigned twice (P5, P8, P9).
func TestTwoSchedulersWithoutLease(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode(), cluster.Replicas("scheduler", 2), cluster.Set("scheduler", "lease", false))
	for i := range rivalNodes {
		c.Create(fmt.Sprintf("apiVersion: v1\nkind: Node\nmetadata: {name: rival-%d}\nstatus: {capacity: {cpu: %dm, memory: 64Gi, pods: 1k}, allocatable: {cpu: %dm, memory: 64Gi, pods: 1k}}", i, nodeCPU, nodeCPU))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	ledger := newLedger(t)
	st := c.Store()
	watching.Go(func() {
		if err := st.Follow(ctx, 0, ledger.take); err != nil && ctx.Err() == nil {
			t.Errorf("follow: %v", err)
		}
	})

	breaking, stopBreaking := context.WithCancel(ctx)
	var breakers sync.WaitGroup
	freezes := make([]int, 2)
	breakers.Go(func() { // one sleeps for a minute in the middle of its work, then joins the restlessness
		pause(breaking, 3*time.Second)
		freeze(breaking, t, c.PID("scheduler"), longFreeze)
		freezes[0] = 1 + restless(breaking, t, c.PID("scheduler"), 1)
	})
	breakers.Go(func() { freezes[1] = restless(breaking, t, c.PID("scheduler-2"), 2) })
	churn(ctx, t, c, longFreeze+15*time.Second)
	stopBreaking()
	breakers.Wait()

	full := rivalNodes * nodeCPU / podCPU
	c.Until(60*time.Second, fmt.Sprintf("%d pods to be assigned", full), func() bool { return ledger.assigned() == full })
	t.Logf("%d assignments, %d and %d freezes, conflicts: %s and %s", ledger.total(), freezes[0], freezes[1], conflicts(c, "scheduler"), conflicts(c, "scheduler-2"))
	if ledger.total() < rivalPods {
		t.Errorf("%d assignments: too little happened for this to mean anything", ledger.total())
	}
	list, err := c.All(t.Context(), scheme.Pods, "default", metav1.ListOptions{})
	if err != nil || len(list.Items) != rivalPods {
		t.Errorf("%d pods at the end, %v; want %d", len(list.Items), err, rivalPods)
	}
}

// churn makes rivalPods pods, and replaces them one after the other for as long as it is told to.
func churn(ctx context.Context, t *testing.T, c *cluster.Cluster, least time.Duration) {
	t.Helper()
	until := time.Now().Add(least)
	var wg sync.WaitGroup
	for hand := range churnHands {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(hand), 11))
			var mine []string
			for i := hand; i < rivalPods; i += churnHands {
				mine = append(mine, fmt.Sprintf("pod-%d", i))
				create(ctx, t, c, mine[len(mine)-1])
			}
			for time.Now().Before(until) && ctx.Err() == nil {
				name := mine[random.IntN(len(mine))]
				_, err := c.Client.Delete(ctx, podRef(name), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
				if err != nil && !apierrors.IsNotFound(err) {
					t.Errorf("delete %s: %v", name, err)
					return
				}
				create(ctx, t, c, name)
				pause(ctx, time.Duration(random.IntN(100))*time.Millisecond)
			}
		})
	}
	wg.Wait()
}

func create(ctx context.Context, t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	_, err := c.TryCreate(ctx, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default}\n"+
		"spec: {tolerations: [{operator: Exists}], containers: [{name: c, image: x, resources: {requests: {cpu: %dm}}}]}", name, podCPU))
	if err != nil {
		t.Errorf("create %s: %v", name, err)
	}
}

func podRef(name string) state.ObjectRef {
	return state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: name}
}

// restless freezes a process again and again, for short and shorter times, and returns how often.
func restless(ctx context.Context, t *testing.T, pid int, seed uint64) (times int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 13))
	for ctx.Err() == nil {
		pause(ctx, time.Duration(random.ExpFloat64()*float64(150*time.Millisecond)))
		freeze(ctx, t, pid, time.Duration(min(random.ExpFloat64()*300, 5000))*time.Millisecond)
		times++
	}
	return times
}

func freeze(ctx context.Context, t *testing.T, pid int, d time.Duration) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Errorf("freeze %d: %v", pid, err)
	}
	pause(ctx, d)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Errorf("thaw %d: %v", pid, err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// conflicts is how many commits of a process lost against another one.
func conflicts(c *cluster.Cluster, name string) string {
	for line := range strings.Lines(c.Metrics(name)) {
		if rest, ok := strings.CutPrefix(line, `millrace_commit_duration_seconds_count{result="conflict"} `); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "0"
}

// ledger keeps the account of every node, from the revisions alone.
type ledger struct {
	t *testing.T

	mu     sync.Mutex
	node   map[types.UID]string // where a pod was ever assigned to
	holds  map[state.Key]held   // what each pod object holds now
	used   map[string]int64     // thousandths of a CPU, by node
	number int                  // of assignments
}

type held struct {
	node string
	cpu  int64
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, node: map[types.UID]string{}, holds: map[state.Key]held{}, used: map[string]int64{}}
}

func (l *ledger) take(e store.Entry) {
	ref, ok := state.ParseObjectKey(e.Key)
	if !ok || ref.Resource != scheme.Pods {
		return
	}
	var pod corev1.Pod
	if err := json.Unmarshal(e.Body, &pod); err != nil {
		l.t.Errorf("%s: %v", e.Key, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	had := l.holds[e.Key]
	l.used[had.node] -= had.cpu
	delete(l.holds, e.Key)
	if e.Removed || pod.Spec.NodeName == "" || podinfo.Finished(&pod) {
		return
	}
	switch before, known := l.node[pod.UID]; {
	case !known:
		l.node[pod.UID] = pod.Spec.NodeName
		l.number++
	case before != pod.Spec.NodeName:
		l.t.Errorf("revision %d: pod %s (%s) is assigned to %s and was assigned to %s", e.Revision, pod.Name, pod.UID, pod.Spec.NodeName, before)
	}
	requests := podinfo.Requests(&pod)
	now := held{node: pod.Spec.NodeName, cpu: requests.Cpu().MilliValue()}
	l.holds[e.Key] = now
	l.used[now.node] += now.cpu
	if l.used[now.node] > nodeCPU {
		l.t.Errorf("revision %d: node %s has %dm of its %dm CPU given away", e.Revision, now.node, l.used[now.node], nodeCPU)
	}
}

func (l *ledger) assigned() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.holds)
}

func (l *ledger) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number
}
