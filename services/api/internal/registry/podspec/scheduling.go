package podspec

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"millrace.dev/services/api/internal/registry/check"
)

func checkSchedulingGates(at check.At, gates []corev1.PodSchedulingGate) {
	seen := sets.New[string]()
	for i, gate := range gates {
		at.Index(i).QualifiedName(gate.Name)
		if seen.Has(gate.Name) {
			at.Index(i).Duplicate(gate.Name)
		}
		seen.Insert(gate.Name)
	}
}

func checkTolerations(at check.At, tolerations []corev1.Toleration) {
	for i := range tolerations {
		checkToleration(at.Index(i), &tolerations[i])
	}
}

func checkToleration(at check.At, t *corev1.Toleration) {
	operator := at.Child("operator")
	switch {
	case t.Key != "":
		at.Child("key").LabelKey(t.Key)
	case t.Operator != corev1.TolerationOpExists:
		operator.Invalid(t.Operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"")
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		at.Child("effect").Invalid(t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
	}
	switch t.Operator {
	case corev1.TolerationOpEqual, "":
		check.LabelValue(operator, t.Value)
	case corev1.TolerationOpExists:
		if t.Value != "" {
			operator.Invalid(t.Value, "value must be empty when `operator` is 'Exists'")
		}
	case corev1.TolerationOpLt, corev1.TolerationOpGt: // known, but off as shipped
		check.NotSupported(operator, t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists, corev1.TolerationOpLt, corev1.TolerationOpGt)
	default:
		check.NotSupported(operator, t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists)
	}
	if t.Effect != "" {
		check.TaintEffect(at.Child("effect"), t.Effect)
	}
}

func checkSpread(at check.At, constraints []corev1.TopologySpreadConstraint) {
	for i := range constraints {
		c, at := &constraints[i], at.Index(i)
		at.Child("maxSkew").Positive(int64(c.MaxSkew))
		if c.TopologyKey == "" {
			at.Child("topologyKey").Required("can not be empty")
		}
		check.OneOf(at.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)
		if slices.ContainsFunc(constraints[i+1:], func(other corev1.TopologySpreadConstraint) bool {
			return other.TopologyKey == c.TopologyKey && other.WhenUnsatisfiable == c.WhenUnsatisfiable
		}) {
			at.Child("{topologyKey, whenUnsatisfiable}").Duplicate(fmt.Sprintf("{%v, %v}", c.TopologyKey, c.WhenUnsatisfiable))
		}
		checkMinDomains(at.Child("minDomains"), c)
		checkInclusion(at.Child("nodeAffinityPolicy"), c.NodeAffinityPolicy)
		checkInclusion(at.Child("nodeTaintsPolicy"), c.NodeTaintsPolicy)
		checkLabelKeys(at, c.LabelSelector, c.MatchLabelKeys, nil)
		check.Selector(at.Child("labelSelector"), c.LabelSelector)
	}
}

func checkMinDomains(at check.At, c *corev1.TopologySpreadConstraint) {
	if c.MinDomains == nil {
		return
	}
	at.Positive(int64(*c.MinDomains))
	if c.WhenUnsatisfiable != corev1.DoNotSchedule {
		at.Invalid(*c.MinDomains, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, c.WhenUnsatisfiable))
	}
}

func checkInclusion(at check.At, p *corev1.NodeInclusionPolicy) {
	if p != nil {
		check.OneOf(at, *p, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
	}
}

// checkDeletionCost demands a number that ReplicaSets can compare.
func checkDeletionCost(at check.At, value string) {
	_, err := strconv.ParseInt(value, 10, 32)
	if err != nil || (len(value) > 1 && (value[0] == '+' || value[0] == '0')) {
		at.Invalid(value, "must be a 32bit integer")
	}
}
