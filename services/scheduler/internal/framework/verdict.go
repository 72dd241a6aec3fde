package framework

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what a filter says about a pod on a node. The zero value is that it fits.
type Verdict struct {
	Reasons []string // why not, in Kubernetes' words
	// Final says that removing pods from the node would not help.
	Final bool
}

// Fit is the verdict that the pod fits.
var Fit = Verdict{}

// Fits says that there is no reason against it.
func (v Verdict) Fits() bool { return len(v.Reasons) == 0 }

// Reject says why a pod does not fit; it might if other pods went.
func Reject(reasons ...string) Verdict { return Verdict{Reasons: reasons} }

// RejectFinally says why a pod does not fit, whatever runs on the node.
func RejectFinally(reasons ...string) Verdict { return Verdict{Reasons: reasons, Final: true} }

// Diagnosis collects why a pod fits nowhere.
type Diagnosis struct {
	nodes   int
	never   string
	reasons map[string]int
	final   int
	Plugins map[string]bool // the filters that rejected it somewhere
}

// NewDiagnosis begins a diagnosis over a number of nodes.
func NewDiagnosis(nodes int) *Diagnosis {
	return &Diagnosis{nodes: nodes, reasons: map[string]int{}, Plugins: map[string]bool{}}
}

// Add counts the verdict of one node.
func (d *Diagnosis) Add(plugin string, v Verdict) {
	for _, r := range v.Reasons {
		d.reasons[r]++
	}
	if v.Final {
		d.final++
	}
	d.Plugins[plugin] = true
}

// Never says that the pod fits on no node whatsoever, so that no verdict about nodes matters.
func (d *Diagnosis) Never(plugin, reason string) {
	d.never, d.final = reason, d.nodes
	d.Plugins[plugin] = true
}

// Message is Kubernetes' sentence about why a pod was not placed. No pod of ours has a higher priority than another, so
// removing others never helps; the sentence says for how many nodes it might have.
func (d *Diagnosis) Message() string {
	if d.nodes == 0 {
		return "no nodes available to schedule pods"
	}
	why := d.never
	if why == "" {
		why = histogram(d.reasons)
	}
	preemption := map[string]int{"Preemption is not helpful for scheduling": d.final, "No preemption victims found for incoming pod": d.nodes - d.final}
	return fmt.Sprintf("0/%d nodes are available: %s. no new claims to deallocate, preemption: 0/%d nodes are available: %s.",
		d.nodes, why, d.nodes, histogram(preemption))
}

// histogram prints counted reasons as Kubernetes does: sorted as text, with their counts in front.
func histogram(reasons map[string]int) string {
	var lines []string
	for reason, count := range reasons {
		if count > 0 {
			lines = append(lines, fmt.Sprintf("%d %s", count, reason))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}
