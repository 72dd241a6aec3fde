package scheduler

import (
	"testing"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/cache"
	"millrace.dev/services/scheduler/internal/framework"
)

// picky lets a pod on nodes of these names alone, if it asks for that.
type picky struct{ prepared framework.Prepared }

func (picky) Name() string                                                    { return "Picky" }
func (picky) Filter(*framework.Pod, *framework.Node) framework.Verdict        { return framework.Fit }
func (picky) Frees(framework.Event) bool                                      { return false }
func (p picky) Prepare(*framework.Pod, *framework.Cluster) framework.Prepared { return p.prepared }

// likes scores nodes by their names.
type likes map[string]int64

func (likes) Name() string                                         { return "Likes" }
func (l likes) Score(_ *framework.Pod, node *framework.Node) int64 { return l[node.Name] }

// halved is likes with scores that are halved.
type halved struct{ likes }

func (halved) Normalize(scores []int64) {
	for i := range scores {
		scores[i] /= 2
	}
}

// unless is likes for pods of another name.
type unless struct {
	likes
	pod string
}

func (u unless) Prepare(pod *framework.Pod, _ *framework.Cluster, _ []*framework.Node) framework.Scorer {
	if pod.Name == u.pod {
		return nil
	}
	return u.likes
}

// clusterOf is a cluster of nodes without pods.
func clusterOf(nodes ...*objtest.NodeBuilder) *cache.Snapshot {
	s := &cache.Snapshot{}
	for _, b := range nodes {
		node := b.Obj()
		s.Nodes = append(s.Nodes, &framework.Node{Node: node, Allocatable: framework.FromList(node.Status.Allocatable)})
	}
	return s
}

// What a filter has prepared is asked before any other filter, as Kubernetes does.
func TestFitting(t *testing.T) {
	const notHelpful = "no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
	tests := []struct {
		name     string
		prepared framework.Prepared
		want     []string
		message  string
	}{
		{name: "every node", want: []string{"n1"}},
		{name: "one that fits", prepared: framework.Prepared{Only: map[string]bool{"n1": true}}, want: []string{"n1"}},
		{
			name: "one that does not", prepared: framework.Prepared{Only: map[string]bool{"n2": true}},
			message: "0/2 nodes are available: 1 node(s) didn't satisfy plugin(s) [Picky], 1 node(s) were unschedulable. " + notHelpful,
		},
		{
			name: "one that does not exist", prepared: framework.Prepared{Only: map[string]bool{"n3": true}},
			message: "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [Picky]. " + notHelpful,
		},
		{name: "none", prepared: framework.Prepared{Never: "it is picky"}, message: "0/2 nodes are available: it is picky. " + notHelpful},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &scheduler{filters: append(filters(), picky{tt.prepared})}
			snapshot := clusterOf(objtest.Node("n1"), objtest.Node("n2").Unschedulable())
			nodes, why := s.fitting(&snapshot.Cluster, framework.NewPod(objtest.Pod("a").Obj()))
			wantNodes(t, nodes, tt.want)
			if len(nodes) == 0 && why.Message() != tt.message {
				t.Errorf("message %q, want %q", why.Message(), tt.message)
			}
		})
	}
}

func wantNodes(t *testing.T, nodes []*framework.Node, want []string) {
	t.Helper()
	if len(nodes) != len(want) {
		t.Fatalf("it fits on %d nodes, want %v", len(nodes), want)
	}
	for i, node := range nodes {
		if node.Name != want[i] {
			t.Errorf("it fits on %s, want %v", node.Name, want)
		}
	}
}

func TestBest(t *testing.T) {
	first, second := likes{"n1": 60, "n2": 50}, likes{"n1": 10, "n2": 30}
	tests := []struct {
		name    string
		scorers []framework.Weighted
		want    string
	}{
		{name: "no scorer: the first by name", want: "n1"},
		{name: "all alike: the first by name", scorers: []framework.Weighted{{Scorer: likes{"n1": 5, "n2": 5}, Weight: 1}}, want: "n1"},
		{name: "the higher score", scorers: []framework.Weighted{{Scorer: second, Weight: 1}}, want: "n2"},
		{name: "the higher sum", scorers: []framework.Weighted{{Scorer: first, Weight: 1}, {Scorer: second, Weight: 1}}, want: "n2"},
		{name: "weights count", scorers: []framework.Weighted{{Scorer: first, Weight: 3}, {Scorer: second, Weight: 1}}, want: "n1"},
		{name: "scores are normalized", scorers: []framework.Weighted{{Scorer: first, Weight: 2}, {Scorer: halved{second}, Weight: 3}}, want: "n2"},
		{name: "before they are weighed", scorers: []framework.Weighted{{Scorer: first, Weight: 2}, {Scorer: halved{second}, Weight: 1}}, want: "n1"},
		{name: "who finds all alike is not asked", scorers: []framework.Weighted{{Scorer: unless{second, "a"}, Weight: 1}}, want: "n1"},
		{name: "who has prepared is asked", scorers: []framework.Weighted{{Scorer: unless{second, "b"}, Weight: 1}}, want: "n2"},
	}
	for _, tt := range tests {
		snapshot := clusterOf(objtest.Node("n2"), objtest.Node("n1"))
		s := &scheduler{scorers: tt.scorers}
		if got, _ := s.place(&snapshot.Cluster, framework.NewPod(objtest.Pod("a").Obj())); got.Name != tt.want {
			t.Errorf("%s: the best is %s, want %s", tt.name, got.Name, tt.want)
		}
	}
}
