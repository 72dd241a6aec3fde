package podspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/services/api/internal/registry/check"
)

func TestCheckPodUpdate(t *testing.T) {
	const (
		two   = "containers: [{name: a, image: x}, {name: b, image: x}]"
		gated = "schedulingGates: [{name: g}, {name: h}]"
		terms = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [%]}}}"
		a     = "{matchExpressions: [{key: a, operator: In, values: [b]}]}"
		ab    = "{matchExpressions: [{key: a, operator: In, values: [b]}, {key: c, operator: Exists}]}"
		c     = "{matchExpressions: [{key: c, operator: Exists}]}"
	)
	inTerms := func(s string) string { return strings.Replace(terms, "%", s, 1) }
	tests := []struct {
		name             string
		oldMeta, newMeta string
		old, new         string
		want             []string // the diff at the end of a text is left out
	}{
		{name: "nothing", old: two, new: two},
		{name: "image", old: two, new: "containers: [{name: a, image: z}, {name: b, image: x}]"},
		{
			name: "image of an init container",
			old:  "initContainers: [{name: i, image: x}]", new: "initContainers: [{name: i, image: z}]",
		},
		{name: "command", old: two, new: "containers: [{name: a, image: x, command: [ls]}, {name: b, image: x}]", want: []string{
			"spec: Forbidden: " + changeable,
		}},
		{name: "one container less", old: two, new: "containers: [{name: a, image: x}]", want: []string{
			"spec.containers: Forbidden: pod updates may not add or remove containers",
		}},
		{name: "one init container more", new: "initContainers: [{name: i, image: z}]", want: []string{
			"spec.initContainers: Forbidden: pod updates may not add or remove containers",
		}},
		{name: "deadline appears", new: "activeDeadlineSeconds: 10"},
		{name: "deadline comes closer", old: "activeDeadlineSeconds: 10", new: "activeDeadlineSeconds: 5"},
		{name: "deadline is put off", old: "activeDeadlineSeconds: 10", new: "activeDeadlineSeconds: 15", want: []string{
			"spec.activeDeadlineSeconds: Invalid value: 15: must be less than or equal to previous value",
		}},
		{name: "deadline is not a time", new: "activeDeadlineSeconds: -1", want: []string{
			"spec.activeDeadlineSeconds: Invalid value: -1: must be between 0 and 2147483647, inclusive",
		}},
		{name: "deadline goes", old: "activeDeadlineSeconds: 10", want: []string{
			"spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
		}},
		{name: "toleration appears", new: "tolerations: [{key: a, operator: Exists}]"},
		{name: "toleration lasts longer", old: "tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 1}]", new: "tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 2}]"},
		{name: "toleration goes", old: "tolerations: [{key: a, operator: Exists}]", want: []string{
			"spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
		}},
		{name: "grace of long ago", old: "terminationGracePeriodSeconds: -5", new: "terminationGracePeriodSeconds: 1"},
		{name: "grace", old: "terminationGracePeriodSeconds: 5", new: "terminationGracePeriodSeconds: 1", want: []string{
			"spec: Forbidden: " + changeable,
		}},
		{name: "gate goes", old: gated, new: "schedulingGates: [{name: h}]"},
		{name: "gate appears", old: gated, new: gated[:len(gated)-1] + ", {name: i}]", want: []string{
			"spec.schedulingGates[2].name: Forbidden: only deletion is allowed, but found new scheduling gate 'i'",
		}},
		{name: "node selector of a gated pod narrows", old: gated + ", nodeSelector: {a: b}", new: gated + ", nodeSelector: {a: b, c: d}"},
		{name: "node selector of a gated pod changes", old: gated + ", nodeSelector: {a: b}", new: gated + ", nodeSelector: {a: c}", want: []string{
			`spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)`,
		}},
		{name: "node selector of a pod that is not gated", new: "nodeSelector: {a: b}", want: []string{"spec: Forbidden: " + changeable}},
		{name: "node affinity of a gated pod appears", old: gated, new: gated + ", " + inTerms(a)},
		{name: "node affinity of a gated pod narrows", old: gated + ", " + inTerms(a), new: gated + ", " + inTerms(ab)},
		{name: "node affinity of a gated pod widens", old: gated + ", " + inTerms(ab), new: gated + ", " + inTerms(a), want: []string{
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid value: {"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}: only additions are allowed (no mutations or deletions)`,
		}},
		{name: "node affinity of a gated pod gets another way", old: gated + ", " + inTerms(a), new: gated + ", " + inTerms(a+", "+c), want: []string{
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid value: [{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]},{"matchExpressions":[{"key":"c","operator":"Exists"}]}]: no additions/deletions to non-empty NodeSelectorTerms list are allowed`,
		}},
		{name: "node affinity of a gated pod goes", old: gated + ", " + inTerms(a), new: gated, want: []string{
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid value: null: no additions/deletions to non-empty NodeSelectorTerms list are allowed`,
		}},
		{name: "an empty term of a gated pod matches nothing", old: gated + ", " + inTerms("{}"), new: gated + ", " + inTerms(a), want: []string{
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid value: {"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}: only additions are allowed (no mutations or deletions)`,
		}},
		{name: "pod affinity of a gated pod", old: gated, new: gated + ", affinity: {podAffinity: {}}", want: []string{"spec: Forbidden: " + changeable}},
		{
			name:    "annotations of the pod's birth",
			oldMeta: "annotations: {container.apparmor.security.beta.kubernetes.io/main: unconfined, kubernetes.io/config.mirror: a, other: a}",
			newMeta: "annotations: {container.apparmor.security.beta.kubernetes.io/x: unconfined, other: b}",
			want: []string{
				"metadata.annotations[container.apparmor.security.beta.kubernetes.io/main]: Forbidden: may not remove or update AppArmor annotations",
				"metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update mirror pod annotation",
				"metadata.annotations[container.apparmor.security.beta.kubernetes.io/x]: Forbidden: may not add AppArmor annotations",
			},
		},
		{name: "a mirror appears", newMeta: "annotations: {kubernetes.io/config.mirror: a}", want: []string{
			"metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod, old := decodePod(t, tt.newMeta, joinSpec("", "", tt.new)), decodePod(t, tt.oldMeta, joinSpec("", "", tt.old))
			before := []*corev1.Pod{pod.DeepCopy(), old.DeepCopy()}
			at := check.Start()
			CheckPodUpdate(at, pod, old)
			got := texts(at)
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], "\n")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, []*corev1.Pod{pod, old}); diff != "" {
				t.Errorf("the check changed a pod (-before +after):\n%s", diff)
			}
		})
	}
}

func TestUpdateShowsWhatChanged(t *testing.T) {
	pod, old := decodePod(t, "", joinSpec("command: [b]", "", "")), decodePod(t, "", joinSpec("command: [a]", "", ""))
	at := check.Start()
	CheckPodUpdate(at, pod, old)
	for _, line := range []string{"\n-    \"a\"\n", "\n+    \"b\"\n"} {
		if text := at.Faults()[0].Detail; !strings.Contains(text, line) {
			t.Errorf("text of the fault lacks the line %q:\n%s", line, text)
		}
	}
}

func TestKeepFromUpdate(t *testing.T) {
	const full = "priorityClassName: mine, priority: 5, preemptionPolicy: Never, resources: {limits: {cpu: 1}}"
	tests := []struct{ name, new, want string }{
		{"who does not know them keeps them", "priorityClassName: mine", full},
		{"who names them changes them", "priorityClassName: mine, priority: 6, preemptionPolicy: PreemptLowerPriority, resources: {}", "priorityClassName: mine, priority: 6, preemptionPolicy: PreemptLowerPriority, resources: {}"},
	}
	for _, tt := range tests {
		pod := decodePod(t, "", joinSpec("", "", tt.new))
		KeepFromUpdate(pod, decodePod(t, "", joinSpec("", "", full)))
		if diff := cmp.Diff(decodePod(t, "", joinSpec("", "", tt.want)).Spec, pod.Spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
