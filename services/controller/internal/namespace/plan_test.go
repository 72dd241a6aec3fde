package namespace

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

func ref(resource, name string) state.ObjectRef {
	return state.ObjectRef{Resource: resource, Namespace: "shop", Name: name}
}

// namespace is one that is to be deleted, unless it is active.
func namespace(active bool, finalizers ...corev1.FinalizerName) *corev1.Namespace {
	ns := &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "uid-shop"},
		Spec: corev1.NamespaceSpec{Finalizers: finalizers}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
	}
	if !active {
		ns.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		ns.Status.Phase = corev1.NamespaceTerminating
	}
	return ns
}

func TestMakePlan(t *testing.T) {
	const kubernetes = corev1.FinalizerKubernetes
	pod, config, secret := ref(scheme.Pods, "web"), ref(scheme.ConfigMaps, "c"), ref(scheme.Secrets, "s")
	tests := []struct {
		name    string
		ns      *corev1.Namespace
		content []object
		want    plan
	}{
		{name: "active", ns: namespace(true, kubernetes), content: []object{{ref: pod}}},
		{name: "active and empty", ns: namespace(true, kubernetes)},
		{name: "pods go first", ns: namespace(false, kubernetes), content: []object{{ref: config}, {ref: pod}, {ref: secret}}, want: plan{remove: []state.ObjectRef{pod}}},
		{name: "what a pod uses waits for its end", ns: namespace(false, kubernetes), content: []object{{ref: config}, {ref: pod, deleting: true}}},
		{
			name: "one pod ends, another is not asked to yet", ns: namespace(false, kubernetes), content: []object{{ref: pod, deleting: true}, {ref: ref(scheme.Pods, "api")}},
			want: plan{remove: []state.ObjectRef{ref(scheme.Pods, "api")}},
		},
		{name: "then everything else", ns: namespace(false, kubernetes), content: []object{{ref: config}, {ref: secret}}, want: plan{remove: []state.ObjectRef{config, secret}}},
		{name: "what is on its way is not asked again", ns: namespace(false, kubernetes), content: []object{{ref: config, deleting: true}, {ref: secret}}, want: plan{remove: []state.ObjectRef{secret}}},
		{name: "empty", ns: namespace(false, kubernetes), want: plan{finalize: true}},
		{name: "empty and let go", ns: namespace(false)},
		{name: "empty, and held by somebody else too", ns: namespace(false, "example.com/hold", kubernetes), want: plan{finalize: true}},
		{name: "empty, and held by somebody else alone", ns: namespace(false, "example.com/hold")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := makePlan(tt.ns, tt.content)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(plan{})); diff != "" {
				t.Errorf("makePlan (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever there is: nothing but pods is removed while there is one, nothing is removed twice, a namespace is let go only when it is
// empty, and as long as something is left that nobody has asked to go there is something to do.
func TestMakePlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var content []object
		for i := range rapid.IntRange(0, 6).Draw(t, "objects") {
			resource := rapid.SampledFrom([]string{scheme.Pods, scheme.ConfigMaps, scheme.Secrets}).Draw(t, "resource")
			content = append(content, object{ref: ref(resource, fmt.Sprint(i)), deleting: rapid.Bool().Draw(t, "deleting")})
		}
		ns := namespace(false, corev1.FinalizerKubernetes)
		for rounds := 0; ; rounds++ {
			pods, waits := 0, false
			for _, o := range content {
				if o.ref.Resource == scheme.Pods {
					pods++
				}
			}
			for _, o := range content {
				waits = waits || o.deleting && (pods == 0 || o.ref.Resource == scheme.Pods)
			}
			p := makePlan(ns, content)
			if p.finalize != (len(content) == 0) {
				t.Fatalf("makePlan lets a namespace with %d objects go: %v", len(content), p.finalize)
			}
			if p.finalize {
				return
			}
			if len(p.remove) == 0 && !waits {
				t.Fatalf("makePlan has nothing to do with %v", content)
			}
			asked := map[state.ObjectRef]bool{}
			for _, r := range p.remove {
				asked[r] = true
				if pods > 0 && r.Resource != scheme.Pods {
					t.Fatalf("makePlan removes %v beside %d pods", r, pods)
				}
			}
			content = after(content, asked, rapid.Bool().Draw(t, "at once"))
			if rounds > 20 {
				t.Fatalf("makePlan comes to no end: %v is left", content)
			}
		}
	})
}

// after is what is left when what was asked to go is on its way, and what was on its way, or all of it, is gone.
func after(content []object, asked map[state.ObjectRef]bool, atOnce bool) []object {
	var left []object
	pods := false
	for _, o := range content {
		pods = pods || o.ref.Resource == scheme.Pods
	}
	for _, o := range content {
		switch {
		case o.deleting && (!pods || o.ref.Resource == scheme.Pods), asked[o.ref] && atOnce:
		case asked[o.ref]:
			left = append(left, object{ref: o.ref, deleting: true})
		default:
			left = append(left, o)
		}
	}
	return left
}
