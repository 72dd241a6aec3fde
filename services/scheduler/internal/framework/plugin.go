package framework

// Event is what happened to the cluster, as far as it may let a pod fit that did not.
type Event int

// The events.
const (
	PodGone     Event = 1 << iota // a pod was deleted or has finished
	NodeAdded                     // a node joined
	NodeChanged                   // labels, taints, allocatable or schedulability of a node changed
	PodChanged                    // a pod that waits was changed itself
)

// Filter says where a pod fits. Implementations are pure: they read pod and node and change nothing.
type Filter interface {
	Name() string
	// Filter judges pod on node.
	Filter(pod *Pod, node *Node) Verdict
	// Frees says whether an event may let a pod fit that Filter rejected.
	Frees(e Event) bool
}

// Preparer is a filter that looks at the cluster once for each pod, before it is asked about nodes.
type Preparer interface {
	Filter
	// Prepare reads pod and cluster. What it gives is for this pod, and good until another is assumed.
	Prepare(pod *Pod, cluster *Cluster) Prepared
}

// Prepared is what a filter knows of one pod. The zero value is that it fits everywhere.
type Prepared struct {
	Filter Filter          // to be asked about nodes; nil: it rejects none
	Only   map[string]bool // the names of the nodes that come into question at all; nil: any
	Never  string          // why no node whatsoever does, in Kubernetes' words; "": some may
}

// Scorer says where a pod fits best.
type Scorer interface {
	Name() string
	// Score is from 0 to 100, 100 for the best node; of any scale if the scorer is a [Normalizer].
	Score(pod *Pod, node *Node) int64
}

// ScorePreparer is a scorer that looks at the cluster once for each pod, before it is asked about the nodes that the pod fits on.
type ScorePreparer interface {
	Scorer
	// Prepare gives the scorer to be asked about this pod; nil: it finds all nodes alike.
	Prepare(pod *Pod, cluster *Cluster, fitting []*Node) Scorer
}

// Normalizer is a scorer whose scores say something only beside each other.
type Normalizer interface {
	Scorer
	// Normalize brings the scores of all nodes that a pod fits on to 0 to 100.
	Normalize(scores []int64)
}

// Weighted is a scorer and what its score counts for.
type Weighted struct {
	Scorer
	Weight int64
}
