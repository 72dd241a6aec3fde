package registry

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

var nodes = rulesOf[*corev1.Node]{
	resource:    scheme.Nodes,
	keepStatus:  true, // a machine joins with what it is
	defaults:    defaultNode,
	create:      func(n *corev1.Node) { n.Spec.PodPreemptionPolicy = nil }, // ignored by Kubernetes as shipped
	update:      func(n, _ *corev1.Node) { n.Spec.PodPreemptionPolicy = nil },
	check:       checkNode,
	checkUpdate: checkNodeUpdate,
	checkStatus: checkNodeUpdate,
}

// defaultNode makes all of a machine allocatable if nobody says what is, and keeps the two fields of its pods' range in step.
func defaultNode(n *corev1.Node) {
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
	for _, list := range []corev1.ResourceList{n.Status.Capacity, n.Status.Allocatable} {
		for name, amount := range list {
			amount.RoundUp(resource.Milli)
			list[name] = amount
		}
	}
	switch one, all := n.Spec.PodCIDR, n.Spec.PodCIDRs; {
	case one == "" && len(all) > 0:
		n.Spec.PodCIDR = all[0]
	case one != "" && (len(all) == 0 || all[0] != one):
		n.Spec.PodCIDRs = []string{one}
	}
}

// checkNode checks a node. Taints stand below metadata, as Kubernetes has it.
func checkNode(at check.At, n *corev1.Node) {
	checkTaints(at.Child("metadata", "taints"), n.Spec.Taints)
	checkCapacity(at.Child("status"), &n.Status)
	if swap := n.Status.NodeInfo.Swap; swap != nil && swap.Capacity != nil {
		at.Child("metadata", "nodeSwapStatus", "capacity").Positive(*swap.Capacity)
	}
	checkFeatures(at.Child("status", "declaredFeatures"), n.Status.DeclaredFeatures)
	checkPodRanges(at.Child("spec", "podCIDRs"), n.Spec.PodCIDRs)
}

func checkTaints(at check.At, taints []corev1.Taint) {
	type place struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := map[place]bool{}
	for i, t := range taints {
		at := at.Index(i)
		at.Child("key").LabelKey(t.Key)
		check.LabelValue(at.Child("value"), t.Value)
		if at.Child("effect").NotEmpty(string(t.Effect)) {
			check.TaintEffect(at.Child("effect"), t.Effect)
		}
		if seen[place{t.Key, t.Effect}] {
			twice := field.Duplicate(at.Path(), t)
			twice.Detail = "taints must be unique by key and effect pair"
			at.Add(twice)
		}
		seen[place{t.Key, t.Effect}] = true
	}
}

func checkCapacity(at check.At, s *corev1.NodeStatus) {
	for name, amount := range check.Sorted(s.Capacity) {
		check.Quantity(at.Child("capacity", string(name)), name, amount)
	}
	for name, amount := range check.Sorted(s.Allocatable) {
		check.Quantity(at.Child("allocatable", string(name)), name, amount)
	}
}

var featureName = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*(\/[a-zA-Z][a-zA-Z0-9]*)*$`)

func checkFeatures(at check.At, features []string) {
	for i, name := range features {
		at := at.Index(i)
		switch {
		case len(name) > validation.DNS1123SubdomainMaxLength:
			at.Invalid(name, fmt.Sprintf("invalid feature name %q: must be no more than %d characters", name, validation.DNS1123SubdomainMaxLength))
		case !featureName.MatchString(name):
			at.Invalid(name, fmt.Sprintf("invalid feature name %q: must start with an UpperCamelCase segment, with subsequent segments separated by '/' "+
				"(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", name))
		}
		switch {
		case i > 0 && features[i-1] == name:
			at.Duplicate(name)
		case i > 0 && features[i-1] > name:
			at.Invalid(name, "list must be sorted alphabetically")
		}
	}
}

func checkPodRanges(at check.At, ranges []string) {
	for i, r := range ranges {
		at.Index(i).CIDR(r)
	}
	isIPv6 := func(r string) bool {
		p, err := netip.ParsePrefix(r)
		return err == nil && p.Addr().Is6()
	}
	if len(ranges) > 2 || (len(ranges) == 2 && isIPv6(ranges[0]) == isIPv6(ranges[1])) {
		at.Invalid(ranges, "may specify no more than one CIDR for each IP family")
	}
}

func checkNodeUpdate(at check.At, n, old *corev1.Node) {
	checkCapacity(at.Child("status"), &n.Status)
	checkFeatures(at.Child("status", "declaredFeatures"), n.Status.DeclaredFeatures)
	seen := sets.New[corev1.NodeAddress]()
	for i, a := range n.Status.Addresses {
		if seen.Has(a) {
			at.Child("status", "addresses").Index(i).Duplicate(a)
		}
		seen.Insert(a)
	}
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		at.Child("spec", "podCIDRs").Forbidden("node updates may not change podCIDR except from \"\" to valid")
	}
	switch provider := at.Child("spec", "providerID"); {
	case old.Spec.ProviderID == "" || old.Spec.ProviderID == n.Spec.ProviderID:
	case n.Spec.ProviderID == "":
		provider.Invalid(nil, "field cannot be cleared once set")
	default:
		provider.Invalid(nil, "field cannot be modified once set")
	}
	checkTaints(at.Child("metadata", "taints"), n.Spec.Taints)
	if n.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		at.Child("spec", "externalID").Forbidden("may not be updated")
	}
}
