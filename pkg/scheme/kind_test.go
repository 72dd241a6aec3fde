package scheme_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/scheme"
)

func TestKindsFindEachOther(t *testing.T) {
	all := scheme.All()
	if !slices.IsSortedFunc(all, func(a, b *scheme.Kind) int {
		if a.Resource() < b.Resource() {
			return -1
		}
		return 1
	}) {
		t.Error("All is not ordered by resource")
	}
	for _, kind := range all {
		if found, ok := scheme.ByResource(kind.Resource()); !ok || found != kind {
			t.Errorf("ByResource(%s) = %v", kind.Resource(), found)
		}
		if found, ok := scheme.ByGVK(kind.GVK()); !ok || found != kind {
			t.Errorf("ByGVK(%v) = %v", kind.GVK(), found)
		}
		if found, ok := scheme.Of(kind.New()); !ok || found != kind {
			t.Errorf("Of(%T) = %v", kind.New(), found)
		}
		if kind.New() == kind.New() {
			t.Errorf("%s: New gives the same object twice", kind.Name)
		}
	}
}

func TestKindNames(t *testing.T) {
	pods, _ := scheme.ByResource(scheme.Pods)
	if got := []string{pods.Resource(), pods.Singular, pods.APIVersion()}; !slices.Equal(got, []string{"pods", "pod", "v1"}) {
		t.Errorf("names of pods = %v", got)
	}
	deployments := &scheme.Kind{Group: "apps", Version: "v1", Name: "Deployment", Plural: "deployments"}
	if got := []string{deployments.Resource(), deployments.APIVersion()}; !slices.Equal(got, []string{"deployments.apps", "apps/v1"}) {
		t.Errorf("names of deployments = %v", got)
	}
}

func TestUnknownKinds(t *testing.T) {
	if k, ok := scheme.ByResource("prods"); ok {
		t.Errorf("ByResource = %v", k)
	}
	if k, ok := scheme.ByGVK(schema.GroupVersionKind{Version: "v2", Kind: "Pod"}); ok {
		t.Errorf("ByGVK = %v", k)
	}
	type mine struct{ corev1.Pod }
	if k, ok := scheme.Of(&mine{}); ok {
		t.Errorf("Of a foreign type = %v", k)
	}
}

func TestLookup(t *testing.T) {
	tests := []struct {
		word string
		want []string
	}{
		{"pods", []string{"Pod"}},
		{"pod", []string{"Pod"}},
		{"po", []string{"Pod"}},
		{"Pod", []string{"Pod"}},
		{"PODS", []string{"Pod"}},
		{"pods.v1", []string{"Pod"}},
		{"po.v1", []string{"Pod"}},
		{"pods.", []string{"Pod"}}, // the group that has no name
		{"pods.apps", nil},
		{"cm", []string{"ConfigMap"}},
		{"configmaps", []string{"ConfigMap"}},
		{"ns", []string{"Namespace"}},
		{"no", []string{"Node"}},
		{"ev", []string{"Event"}},
		{"secret", []string{"Secret"}},
		{"all.v1", nil}, // a category has no group
		{"prods", nil},
		{"", nil},
	}
	for _, tt := range tests {
		var got []string
		for _, k := range scheme.Lookup(tt.word) {
			got = append(got, k.Name)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("Lookup(%q) = %v, want %v", tt.word, got, tt.want)
		}
	}
	all := scheme.Lookup("all")
	if !slices.ContainsFunc(all, func(k *scheme.Kind) bool { return k.Name == "Pod" }) || slices.ContainsFunc(all, func(k *scheme.Kind) bool { return k.Name == "Secret" }) {
		t.Errorf("Lookup(all) has pods, not secrets; got %d kinds", len(all))
	}
}
