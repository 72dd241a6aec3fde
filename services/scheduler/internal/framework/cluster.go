package framework

import "slices"

// Cluster is all nodes as one cycle sees them. It is the cycle's own, for one goroutine.
type Cluster struct {
	Nodes []*Node

	counts map[string]*count
}

// count is how many pods of one kind are on each node, by its place in Nodes.
type count struct {
	counts func(*Pod) bool
	on     []int
}

// Count is how many pods for which counts is true are on each node, by its place in Nodes; it is right until a pod is assumed and
// must not be changed. The key stands for counts: of one key they are counted once in a cycle. O(pods) then, O(1) later.
func (c *Cluster) Count(key string, counts func(*Pod) bool) []int {
	if known := c.counts[key]; known != nil {
		return known.on
	}
	n := &count{counts: counts, on: make([]int, len(c.Nodes))}
	for i, node := range c.Nodes {
		for _, pod := range node.Pods {
			if counts(pod) {
				n.on[i]++
			}
		}
	}
	if c.counts == nil {
		c.counts = map[string]*count{}
	}
	c.counts[key] = n
	return n.on
}

// Assume puts a pod that the cycle has chosen node for onto it, so that those after it see it there. O(nodes).
func (c *Cluster) Assume(pod *Pod, node *Node) {
	node.Add(pod)
	at := slices.Index(c.Nodes, node)
	for _, n := range c.counts {
		if n.counts(pod) {
			n.on[at]++
		}
	}
}
