package scheduler

import (
	"fmt"
	"slices"

	"millrace.dev/services/scheduler/internal/framework"
)

// scratch is memory that each pod of a cycle uses again.
type scratch struct {
	nodes        []*framework.Node
	sums, scores []int64
}

// place is the best of the nodes that a pod fits on; nil and the reasons if it fits on none.
func (s *scheduler) place(cluster *framework.Cluster, pod *framework.Pod) (*framework.Node, *framework.Diagnosis) {
	fitting, why := s.fitting(cluster, pod)
	if len(fitting) == 0 {
		return nil, why
	}
	return s.best(cluster, pod, fitting), nil
}

// fitting are the nodes that a pod fits on, until the next pod is asked about, and why it does not on the others.
func (s *scheduler) fitting(cluster *framework.Cluster, pod *framework.Pod) ([]*framework.Node, *framework.Diagnosis) {
	why := framework.NewDiagnosis(len(cluster.Nodes))
	p, ok := s.prepare(cluster, pod, why)
	if !ok {
		return nil, why
	}
	nodes := s.scratch.nodes[:0]
	for _, node := range cluster.Nodes {
		if p.fits(pod, node, why) {
			nodes = append(nodes, node)
		}
	}
	s.scratch.nodes = nodes
	return nodes, why
}

// prepared is the filters for one pod.
type prepared struct {
	filters []framework.Filter
	only    []only
}

// only is a filter that lets a pod on these nodes alone.
type only struct {
	filter string
	nodes  map[string]bool
}

// prepare asks each filter what it knows of a pod; false if that is that the pod fits nowhere.
func (s *scheduler) prepare(cluster *framework.Cluster, pod *framework.Pod, why *framework.Diagnosis) (p prepared, ok bool) {
	for _, filter := range s.filters {
		preparer, prepares := filter.(framework.Preparer)
		if !prepares {
			p.filters = append(p.filters, filter)
			continue
		}
		known := preparer.Prepare(pod, cluster)
		if known.Never != "" {
			why.Never(filter.Name(), known.Never)
			return prepared{}, false
		}
		if known.Only != nil {
			p.only = append(p.only, only{filter.Name(), known.Only})
		}
		if known.Filter != nil {
			p.filters = append(p.filters, known.Filter)
		}
	}
	return p, true
}

func (p *prepared) fits(pod *framework.Pod, node *framework.Node, why *framework.Diagnosis) bool {
	for _, o := range p.only {
		if !o.nodes[node.Name] {
			why.Add(o.filter, framework.RejectFinally(fmt.Sprintf("node(s) didn't satisfy plugin(s) [%s]", o.filter)))
			return false
		}
	}
	for _, filter := range p.filters {
		if v := filter.Filter(pod, node); !v.Fits() {
			why.Add(filter.Name(), v)
			return false
		}
	}
	return true
}

// best is the node with the highest weighted sum of scores; of several, the first by name.
func (s *scheduler) best(cluster *framework.Cluster, pod *framework.Pod, fitting []*framework.Node) *framework.Node {
	sums, scores := s.scratch.numbers(len(fitting))
	for _, weighted := range s.scorers {
		scorer := weighted.Scorer
		if preparer, ok := scorer.(framework.ScorePreparer); ok {
			if scorer = preparer.Prepare(pod, cluster, fitting); scorer == nil {
				continue
			}
		}
		for i, node := range fitting {
			scores[i] = scorer.Score(pod, node)
		}
		if normalizer, ok := scorer.(framework.Normalizer); ok {
			normalizer.Normalize(scores)
		}
		for i := range scores {
			sums[i] += scores[i] * weighted.Weight
		}
	}
	best := 0
	for i, node := range fitting {
		if sums[i] > sums[best] || sums[i] == sums[best] && node.Name < fitting[best].Name {
			best = i
		}
	}
	return fitting[best]
}

// numbers are the sums, all zero, and the scores for so many nodes.
func (s *scratch) numbers(nodes int) (sums, scores []int64) {
	s.sums = slices.Grow(s.sums[:0], nodes)[:nodes]
	s.scores = slices.Grow(s.scores[:0], nodes)[:nodes]
	clear(s.sums)
	return s.sums, s.scores
}
