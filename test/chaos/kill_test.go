//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/test/cluster"
)

var rounds = flag.Int("kill.rounds", 20, "how many times each process is killed")

const containerd = "containerd"

// steady are pods that must not notice anything.
const steady = `
apiVersion: v1
kind: Pod
metadata: {name: steady-1, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - {name: a, image: busybox, command: [sh, -c, "while true; do date > /v/now; sleep 1; done"], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: b, image: busybox, command: [sleep, "36000"], volumeMounts: [{name: v, mountPath: /v}]}
---
apiVersion: v1
kind: Pod
metadata: {name: steady-2, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: nginx}]
`

// TestEveryProcessIsKilled kills every process in turn, 20 rounds long, while clients write and pods come and go. The containers
// of pods that stay are not touched, what is wanted is reached in every round, nothing that was acknowledged is lost, and at the
// end nothing more is on the machine than at the beginning.
func TestEveryProcessIsKilled(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(steady)
	for _, name := range []string{"steady-1", "steady-2"} {
		c.AwaitPod("default", name, cluster.Running, 30*time.Second)
	}
	tasks, inventory := c.Tasks(), c.Inventory()

	ctx, cancel := context.WithCancel(t.Context())
	clients := newClients(t, c)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for hand := range clients.acknowledged {
		wg.Go(func() { clients.write(ctx, hand) })
	}
	kills := 0
	for round := range *rounds {
		name := fmt.Sprintf("round-%d", round)
		c.Create(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default}\n"+
			"spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: busybox, command: [sleep, '36000']}]}", name))
		victims := []string{"nats", "api", "scheduler", "controller", "kubelet", "proxy", containerd}
		for i := range victims { // every round begins with another one
			kill(t, c, victims[(round+i)%len(victims)])
			kills++
			if i == len(victims)/2 {
				c.AwaitPod("default", name, cluster.Running, 60*time.Second)
				c.Delete("pods", "default", name)
			}
		}
		c.AwaitPod("default", name, cluster.Gone, 60*time.Second)
		if now := c.Tasks(); !contains(now, tasks) {
			t.Fatalf("round %d: processes of the pods that stay: %v, were %v", round, now, tasks)
		}
	}
	cancel()
	wg.Wait()
	clients.check()
	t.Logf("%d kills; %d writes acknowledged meanwhile", kills, clients.total())

	for _, name := range []string{"steady-1", "steady-2"} {
		pod := c.AwaitPod("default", name, cluster.Running, 30*time.Second)
		for _, s := range pod.Status.ContainerStatuses {
			if s.RestartCount != 0 {
				t.Errorf("%s/%s was restarted %d times", name, s.Name, s.RestartCount)
			}
		}
	}
	var now []string
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until) && !slices.Equal(inventory, now); pause(t.Context(), time.Second) {
		now = c.Inventory()
	}
	if diff := cmp.Diff(inventory, now); diff != "" {
		t.Errorf("on the machine (-before +after):\n%s", diff)
	}
}

// contains reports whether all still has every entry of part.
func contains(all, part map[string]string) bool {
	for id, pid := range part {
		if all[id] != pid {
			return false
		}
	}
	return true
}

// kill kills a process, or the node's containerd, and waits until it works again.
func kill(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	if name != containerd {
		c.Kill(name)
		return
	}
	before := c.Containerd()
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Until(30*time.Second, "containerd to be started again", func() bool { now := c.Containerd(); return now != 0 && now != before })
}

// clients write ConfigMaps and remember what was acknowledged.
type clients struct {
	t            *testing.T
	c            *cluster.Cluster
	acknowledged []map[string]string // by writer: name to value, "" of what was deleted
	writes       []int
}

func newClients(t *testing.T, c *cluster.Cluster) *clients {
	t.Helper()
	l := &clients{t: t, c: c, acknowledged: make([]map[string]string, 4), writes: make([]int, 4)}
	for i := range l.acknowledged {
		l.acknowledged[i] = map[string]string{}
	}
	return l
}

// write creates, replaces and deletes until ctx ends. No request may fail: whoever is killed, the client asks again.
func (l *clients) write(ctx context.Context, hand int) {
	mine := l.acknowledged[hand]
	for i := 0; ctx.Err() == nil; i++ {
		name, value := fmt.Sprintf("c%d-%d", hand, i%20), fmt.Sprint(i)
		var err error
		switch _, there := mine[name]; {
		case !there:
			_, err = l.c.TryCreate(context.WithoutCancel(ctx), configMap(name, value))
			mine[name] = value
		case i%3 == 0:
			ref := state.ObjectRef{Resource: scheme.ConfigMaps, Namespace: "default", Name: name}
			_, err = l.c.Client.Delete(context.WithoutCancel(ctx), ref, metav1.DeleteOptions{})
			delete(mine, name)
		default:
			err = l.c.TryUpdate(context.WithoutCancel(ctx), scheme.ConfigMaps, &corev1.ConfigMap{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"kill": "yes"}},
				Data:       map[string]string{"value": value},
			})
			mine[name] = value
		}
		if err != nil {
			l.t.Errorf("write %d of %s: %v", i, name, err)
			return
		}
		l.writes[hand]++
		pause(ctx, 20*time.Millisecond)
	}
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: default, labels: {kill: 'yes'}}\ndata: {value: '%s'}", name, value)
}

func (l *clients) total() (n int) {
	for _, w := range l.writes {
		n += w
	}
	return n
}

// check compares what is there with what was acknowledged.
func (l *clients) check() {
	l.t.Helper()
	want := map[string]string{}
	for _, mine := range l.acknowledged {
		maps.Copy(want, mine)
	}
	got := map[string]string{}
	list, err := l.c.All(l.t.Context(), scheme.ConfigMaps, "default", metav1.ListOptions{LabelSelector: "kill=yes"})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, raw := range list.Items {
		var item corev1.ConfigMap
		if err := json.Unmarshal(raw, &item); err != nil {
			l.t.Fatal(err)
		}
		got[item.Name] = item.Data["value"]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("ConfigMaps (-acknowledged +there):\n%s", diff)
	}
	if l.total() < 100 {
		l.t.Errorf("%d writes: too few to mean anything", l.total())
	}
}
