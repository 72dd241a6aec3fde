package state

import "encoding/json"

// StampKind is a kind of set whose decisions are guarded by a stamp.
type StampKind string

// The kinds of stamps. [Stamps] says what each guards.
const (
	StampNode      StampKind = "node"
	StampOwner     StampKind = "owner"
	StampQuota     StampKind = "quota"
	StampBudget    StampKind = "budget"
	StampNamespace StampKind = "namespace"
	StampScheduler StampKind = "scheduler"
)

// TheScheduler is the id of the one stamp of kind [StampScheduler].
const TheScheduler = "all"

// Stamp is the last decision about one set, as the decider saw it. A batch that carries it rewrites the stamp and
// fails if the stamp has moved since (P8).
type Stamp struct {
	Kind StampKind
	ID   string
	// Revision is the stamp's revision in an exact view, or one's own acknowledged batch; 0 gives birth to the stamp,
	// which only the batch that creates the set's owner may do (P9).
	Revision uint64
	// End removes the stamp together with its owner.
	End bool
	// Data is what the set must remember beyond its members, such as the last scheduled time of a CronJob (P25). Optional.
	Data json.RawMessage
}

// Key is where the stamp lies.
func (s Stamp) Key() Key { return StampKey(s.Kind, s.ID) }

// StampBody is the stored form of a stamp.
type StampBody struct {
	By    string          `json:"by"`    // the process that decided
	Batch string          `json:"batch"` // the id of the batch that bears it: how an unknown outcome is read back (P13)
	Data  json.RawMessage `json:"data,omitempty"`
}

// StampRule is one row of [Stamps].
type StampRule struct {
	Kind    StampKind
	ID      string   // what the id is
	Guards  string   // the set
	Decides []string // the decisions that must rewrite it
}

// Stamps is the table of sets: what one key cannot protect. test/arch checks that every decision about a set names a kind
// from here and that each kind has a race test with a late riser.
var Stamps = []StampRule{
	{StampNode, "node name", "the pods on a node against its allocatable", []string{"assignment, binding, creation with nodeName, resize up", "change of allocatable, labels, taints, unschedulable"}},
	{StampOwner, "owner uid", "the children of an owner", []string{"creation, adoption, release, deletion of a child by a controller", "change of replicas, selector, deletionTimestamp"}},
	{StampQuota, "namespace", "what a namespace may use", []string{"every charge", "change of the quota"}},
	{StampBudget, "budget uid", "how many pods may be disrupted", []string{"eviction", "change of the budget"}},
	{StampNamespace, "namespace", "whether a namespace takes new objects", []string{"beginning of termination (creators only check it)"}},
	{StampScheduler, TheScheduler, "rules between pods that span nodes", []string{"every assignment batch"}},
}

// ClaimKind is a kind of value that may be taken only once.
type ClaimKind string

// The kinds of claims.
const (
	ClaimPodCIDR ClaimKind = "podcidr" // of a node; waits out its tombstone after removal (P2)
)
