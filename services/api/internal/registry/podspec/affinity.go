package podspec

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/services/api/internal/registry/check"
)

const (
	required  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferred = "preferredDuringSchedulingIgnoredDuringExecution"
)

func checkAffinity(at check.At, a *corev1.Affinity) {
	if a == nil {
		return
	}
	if n := a.NodeAffinity; n != nil {
		checkNodeAffinity(at.Child("nodeAffinity"), n)
	}
	if p := a.PodAffinity; p != nil {
		checkPodTerms(at.Child("podAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		checkPodTerms(at.Child("podAntiAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func checkNodeAffinity(at check.At, n *corev1.NodeAffinity) {
	if s := n.RequiredDuringSchedulingIgnoredDuringExecution; s != nil {
		CheckNodeSelector(at.Child(required), s)
	}
	for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
		t, at := &n.PreferredDuringSchedulingIgnoredDuringExecution[i], at.Child(preferred).Index(i)
		checkWeight(at, t.Weight)
		checkNodeTerm(at.Child("preference"), &t.Preference, anyValue)
	}
}

func checkWeight(at check.At, weight int32) {
	if weight <= 0 || weight > 100 {
		at.Child("weight").Invalid(weight, "must be in the range 1-100")
	}
}

// CheckNodeSelector checks what selects nodes by terms, of which one must match.
func CheckNodeSelector(at check.At, s *corev1.NodeSelector) {
	terms := at.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		terms.Required("must have at least one node selector term")
	}
	for i := range s.NodeSelectorTerms {
		checkNodeTerm(terms.Index(i), &s.NodeSelectorTerms[i], labelValue)
	}
}

// Values in a required term must be such as labels can have; in a preferred term they may be anything.
func anyValue(check.At, string) {}

func labelValue(at check.At, value string) { at.None(validation.IsValidLabelValue(value), value) }

func checkNodeTerm(at check.At, t *corev1.NodeSelectorTerm, value func(check.At, string)) {
	for i := range t.MatchExpressions {
		r, at := &t.MatchExpressions[i], at.Child("matchExpressions").Index(i)
		checkNodeRequirement(at, r)
		at.Child("key").LabelKey(r.Key)
		for j, v := range r.Values {
			value(at.Child("values").Index(j), v)
		}
	}
	for i := range t.MatchFields {
		checkNodeField(at.Child("matchFields").Index(i), &t.MatchFields[i])
	}
}

func checkNodeRequirement(at check.At, r *corev1.NodeSelectorRequirement) {
	values := at.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			values.Required("must be specified when `operator` is 'In' or 'NotIn'")
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			values.Forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			values.Required("must be specified single value when `operator` is 'Lt' or 'Gt'")
		}
	default:
		at.Child("operator").Invalid(r.Operator, "not a valid selector operator")
	}
}

func checkNodeField(at check.At, r *corev1.NodeSelectorRequirement) {
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			at.Child("values").Required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
		}
	default:
		at.Child("operator").Invalid(r.Operator, "not a valid selector operator")
	}
	if r.Key != metav1.ObjectNameField {
		at.Child("key").Invalid(r.Key, "not a valid field selector key")
		return
	}
	for i, name := range r.Values {
		at.Child("values").Index(i).Subdomain(name)
	}
}

func checkPodTerms(at check.At, must []corev1.PodAffinityTerm, should []corev1.WeightedPodAffinityTerm) {
	for i := range must {
		checkPodTerm(at.Child(required).Index(i), &must[i])
	}
	for i := range should {
		at := at.Child(preferred).Index(i)
		checkWeight(at, should[i].Weight)
		checkPodTerm(at.Child("podAffinityTerm"), &should[i].PodAffinityTerm)
	}
}

func checkPodTerm(at check.At, t *corev1.PodAffinityTerm) {
	check.Selector(at.Child("labelSelector"), t.LabelSelector)
	check.Selector(at.Child("namespaceSelector"), t.NamespaceSelector)
	for _, name := range t.Namespaces {
		at.Child("namespace").DNSLabel(name)
	}
	checkLabelKeys(at, t.LabelSelector, t.MatchLabelKeys, t.MismatchLabelKeys)
	key := at.Child("topologyKey")
	if t.TopologyKey == "" {
		key.Required("can not be empty")
	}
	key.LabelKey(t.TopologyKey)
}

// checkLabelKeys checks keys whose values the pod itself gives. When a pod is created they have been merged into the
// selector, so that a key which a user wrote into both stands there twice.
func checkLabelKeys(at check.At, s *metav1.LabelSelector, match, mismatch []string) {
	for _, list := range []struct {
		field string
		keys  []string
	}{{"matchLabelKeys", match}, {"mismatchLabelKeys", mismatch}} {
		if len(list.keys) > 0 && s == nil {
			at.Child(list.field).Forbidden("must not be specified when labelSelector is not set")
			continue
		}
		for i, key := range list.keys {
			at.Child(list.field).Index(i).LabelKey(key)
		}
	}
	if s != nil {
		checkKeysOnce(at, s, match)
	}
	unwanted := sets.New(mismatch...)
	for i, key := range match {
		if unwanted.Has(key) {
			at.Child("matchLabelKeys").Index(i).Invalid(key, "exists in both matchLabelKeys and mismatchLabelKeys")
		}
	}
}

func checkKeysOnce(at check.At, s *metav1.LabelSelector, match []string) {
	index := map[string]int{}
	for i, key := range match {
		index[key] = i
	}
	seen := sets.KeySet(s.MatchLabels)
	for _, e := range s.MatchExpressions {
		if i, ok := index[e.Key]; ok && seen.Has(e.Key) {
			at.Index(i).Invalid(e.Key, "exists in both matchLabelKeys and labelSelector")
		}
		seen.Insert(e.Key)
	}
}
