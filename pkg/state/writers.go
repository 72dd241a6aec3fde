package state

import "strings"

// Service is one of the five kinds of process. Kubelet and proxy write nothing.
type Service string

// The services that write state.
const (
	API        Service = "api"
	Scheduler  Service = "scheduler"
	Controller Service = "controller"
)

// WriterRule is one row of [Writers].
type WriterRule struct {
	Keys    string // a NATS subject filter below the bucket's prefix
	Fields  string // what of the body; empty: all
	Service Service
}

// Writers is the table of who writes what. Several replicas of one service are safe because every write
// compares-and-sets; two services on one field are not, so a field has one writing service. A commit.Writer refuses what its
// service is not granted here, and the service's NATS credential is made from the same rows.
var Writers = []WriterRule{
	{"object.>", "metadata, spec; status of pods and nodes as their node reported it", API},
	{"object.pods.>", "spec.nodeName, status.conditions[PodScheduled], status.nominatedNodeName", Scheduler},
	{"object.nodes.>", "status.conditions[Ready]", Controller},
	{"object.namespaces.>", "status", Controller},
	{"sealed.>", "", API},
	{"edge.order.>", "in the batch of the pod's change", API},
	{"edge.order.>", "in the batch of the assignment", Scheduler},
	{"edge.order.>", "released, config revisions", Controller},
	{"edge.route.>", "", Controller},
	{"stamp.>", "", API},
	{"stamp.node.>", "", Scheduler},
	{"stamp.scheduler.>", "", Scheduler},
	{"stamp.>", "", Controller},
	{"claim.>", "", API},
	{"done.>", "", API},
	{"beat.>", "the process's own", API},
	{"beat.>", "the process's own", Scheduler},
	{"beat.>", "the process's own", Controller},
	{"epoch", "", API},
}

// MayWrite says that the table grants service the key.
func (service Service) MayWrite(k Key) bool {
	for _, rule := range Writers {
		if rule.Service == service && rule.covers(k) {
			return true
		}
	}
	return false
}

func (r WriterRule) covers(k Key) bool {
	prefix, open := strings.CutSuffix(r.Keys, ">")
	if open {
		return strings.HasPrefix(string(k), prefix)
	}
	return string(k) == r.Keys
}
