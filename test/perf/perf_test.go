//go:build linux

// Package perf measures what the design promises. Nothing in it fails because of a time: it prints figures, and docs/performance.md
// says what they were. make bench runs it.
package perf

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/test/cluster"
)

const (
	starts  = 30              // of a pod, and as many of a raw container
	loaded  = 5 * time.Second // how long clients write
	resting = 30 * time.Second
)

// BenchmarkCreateToRunning takes in turn a raw container with a network of its own, made over containerd's client and netlink and
// nothing else, and a pod: from the request to create it until a watch shows that it runs.
func BenchmarkCreateToRunning(b *testing.B) {
	c := cluster.Processes(b)
	raw := newFloor(b, c)
	w := watchPods(b, c)
	runPod(b, c, w, "warm")
	raw.run("warm")
	for b.Loop() {
		var floors, pods []time.Duration
		for i := range starts {
			floors = append(floors, raw.run(fmt.Sprint("raw-", i)))
			pods = append(pods, runPod(b, c, w, fmt.Sprint("pod-", i)))
		}
		b.ReportMetric(milliseconds(median(floors)), "raw-p50-ms")
		b.ReportMetric(milliseconds(median(pods)), "pod-p50-ms")
		b.ReportMetric(milliseconds(slices.Max(pods)), "pod-max-ms")
		b.ReportMetric(milliseconds(median(pods)-median(floors)), "added-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// watch tells when a pod runs for the first time.
type watch struct {
	mu      sync.Mutex
	running map[string]chan time.Time
}

func watchPods(b *testing.B, c *cluster.Cluster) *watch {
	b.Helper()
	w := &watch{running: map[string]chan time.Time{}}
	ctx, cancel := context.WithCancel(b.Context())
	var done sync.WaitGroup
	done.Go(func() {
		err := c.Watch(ctx, scheme.Pods, "default", metav1.ListOptions{}, func(e client.WatchEvent) error {
			now := time.Now()
			var pod corev1.Pod
			if err := json.Unmarshal(e.Object, &pod); err != nil {
				return err
			}
			if pod.Status.Phase == corev1.PodRunning && podinfo.Ready(&pod) {
				w.tell(pod.Name, now)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			b.Errorf("watch: %v", err)
		}
	})
	b.Cleanup(func() { cancel(); done.Wait() })
	return w
}

func (w *watch) tell(name string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if told := w.running[name]; told != nil {
		told <- at
		delete(w.running, name)
	}
}

func (w *watch) expect(name string) <-chan time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := make(chan time.Time, 1)
	w.running[name] = told
	return told
}

func runPod(b *testing.B, c *cluster.Cluster, w *watch, name string) time.Duration {
	b.Helper()
	told := w.expect(name)
	began := time.Now()
	c.Create("apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: default}\n" +
		"spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '3600']}]}")
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	select {
	case at := <-told:
		c.Delete("pods", "default", name)
		c.AwaitPod("default", name, cluster.Gone, time.Minute)
		return at.Sub(began)
	case <-timeout.C:
		b.Fatalf("pod %s did not run\n%s", name, c.Story("default", name))
		return 0
	}
}

// BenchmarkAPI has clients create, replace and read ConfigMaps for a while, each over a connection of its own.
func BenchmarkAPI(b *testing.B) {
	c := cluster.Processes(b, cluster.NoNode())
	for _, n := range []int{1, 32} {
		conns := make([]*client.Client, n)
		for i := range conns {
			conns[i] = c.Connect()
		}
		// name is one object of a client; each client has written its first 16 before others read or replace them.
		name := func(hand, i int) string { return fmt.Sprintf("clients-%d-%d-%d", n, hand, i) }
		for _, verb := range []struct {
			name string
			do   func(ctx context.Context, conn *client.Client, hand, i int) error
		}{
			{"create", func(ctx context.Context, conn *client.Client, hand, i int) error {
				_, err := conn.Create(ctx, scheme.ConfigMaps, "default", client.Request{Objects: []json.RawMessage{configMap(name(hand, i), i)}}, metav1.CreateOptions{})
				return err
			}},
			{"update", func(ctx context.Context, conn *client.Client, hand, i int) error {
				_, err := conn.Update(ctx, scheme.ConfigMaps, "default", client.Request{Objects: []json.RawMessage{configMap(name(hand, i%16), i)}}, metav1.UpdateOptions{})
				return err
			}},
			{"get", func(ctx context.Context, conn *client.Client, hand, i int) error {
				var got corev1.ConfigMap
				return conn.GetInto(ctx, state.ObjectRef{Resource: scheme.ConfigMaps, Namespace: "default", Name: name(hand, i%16)}, &got)
			}},
		} {
			b.Run(fmt.Sprintf("%s/clients=%d", verb.name, n), func(b *testing.B) {
				for b.Loop() {
					rate, p50 := load(b, conns, verb.do)
					b.ReportMetric(rate, verb.name+"s/s")
					b.ReportMetric(milliseconds(p50), "p50-ms")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func configMap(name string, i int) json.RawMessage {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"default"},"data":{"value":"%d"}}`, name, i)
}

// load has every client ask one request after the other and gives how many were answered a second, and how long half of them took.
func load(b *testing.B, conns []*client.Client, do func(ctx context.Context, conn *client.Client, hand, i int) error) (rate float64, p50 time.Duration) {
	b.Helper()
	var answered atomic.Int64
	took := make([][]time.Duration, len(conns))
	began := time.Now()
	var wg sync.WaitGroup
	for hand, conn := range conns {
		wg.Go(func() {
			for i := 0; time.Since(began) < loaded; i++ {
				asked := time.Now()
				if err := do(b.Context(), conn, hand, i); err != nil {
					b.Errorf("request %d: %v", i, err)
					return
				}
				took[hand] = append(took[hand], time.Since(asked))
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(answered.Load()) / time.Since(began).Seconds(), median(slices.Concat(took...))
}

// BenchmarkIdle measures every process of a cluster with one node and one pod while nothing is asked of it.
func BenchmarkIdle(b *testing.B) {
	c := cluster.Processes(b)
	c.Create("apiVersion: v1\nkind: Pod\nmetadata: {name: rests, namespace: default}\n" +
		"spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: busybox, command: [sleep, '3600']}]}")
	c.AwaitPod("default", "rests", cluster.Running, time.Minute)
	parts := []string{"nats", "api", "scheduler", "controller", "kubelet", "proxy"}
	for b.Loop() {
		before := map[string]time.Duration{}
		c.Rest(10 * time.Second) // what the start has left to do
		began := time.Now()
		for _, name := range parts {
			before[name] = cluster.CPU(b, c.PID(name))
		}
		c.Rest(resting)
		for _, name := range parts {
			pid := c.PID(name)
			percent := 100 * (cluster.CPU(b, pid) - before[name]).Seconds() / time.Since(began).Seconds()
			b.ReportMetric(percent, name+"-cpu-%")
			b.ReportMetric(float64(cluster.Memory(b, pid))/(1<<20), name+"-MiB")
		}
	}
	b.ReportMetric(0, "ns/op")
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
