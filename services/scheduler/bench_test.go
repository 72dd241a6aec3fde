package scheduler

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/services/scheduler/internal/cache"
	"millrace.dev/services/scheduler/internal/framework"
	"millrace.dev/services/scheduler/internal/queue"
)

// crowded is a cache of 1,000 nodes with ten pods each.
func crowded(b *testing.B) *cache.Cache {
	b.Helper()
	const nodes, each = 1000, 10
	c := cache.New(corev1.DefaultSchedulerName, queue.New(filters()))
	for i := range nodes {
		node := objtest.Node(fmt.Sprintf("n%04d", i)).Obj()
		ref := state.RefOf(node)
		record := &view.Record{Key: state.ObjectKey(ref), Ref: ref, Revision: 1}
		var err error
		if record.Body, err = state.Encode(node); err != nil {
			b.Fatal(err)
		}
		c.Changed(nil, record)
		c.Changed(nil, &view.Record{Key: state.StampKey(state.StampNode, node.Name), Revision: 2, Body: []byte("{}")})
		for j := range each {
			pod := objtest.Pod(fmt.Sprintf("p%d-%d", i, j)).Node(node.Name).Request("cpu", "100m").Request("memory", "64Mi").Obj()
			ref := state.RefOf(pod)
			record := &view.Record{Key: state.ObjectKey(ref), Ref: ref, Revision: 3}
			if record.Body, err = state.Encode(pod); err != nil {
				b.Fatal(err)
			}
			c.Changed(nil, record)
		}
	}
	return c
}

// BenchmarkCycle is what one cycle decides, without its commit: a snapshot of 1,000 nodes with 10,000 pods, and a node for each of so
// many pods as one batch takes.
func BenchmarkCycle(b *testing.B) {
	s := &scheduler{filters: filters(), scorers: scorers(), cache: crowded(b)}
	for _, count := range []int{1, mostPods} {
		var pods []*framework.Pod
		for i := range count {
			pods = append(pods, framework.NewPod(objtest.Pod(fmt.Sprint("new", i)).Request("cpu", "100m").Request("memory", "64Mi").Obj()))
		}
		b.Run(fmt.Sprint("pods=", count), func(b *testing.B) {
			for b.Loop() {
				if chosen, _ := s.choose(s.cache.Snapshot(), pods); len(chosen) != count {
					b.Fatalf("%d of %d pods were placed", len(chosen), count)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*count), "µs/pod")
		})
	}
}
