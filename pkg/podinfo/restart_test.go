package podinfo

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestRestarts(t *testing.T) {
	rule := func(operator corev1.ContainerRestartRuleOnExitCodesOperator, action corev1.ContainerRestartRuleAction, codes ...int32) []corev1.ContainerRestartRule {
		return []corev1.ContainerRestartRule{{Action: action, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: operator, Values: codes}}}
	}
	in, notIn := corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn
	tests := []struct {
		name string
		pod  corev1.RestartPolicy
		own  *corev1.ContainerRestartPolicy
		list []corev1.ContainerRestartRule
		code int32
		want bool
	}{
		{name: "always", pod: corev1.RestartPolicyAlways, want: true},
		{name: "nobody says", want: true},
		{name: "never", pod: corev1.RestartPolicyNever, code: 1},
		{name: "on failure, which it was", pod: corev1.RestartPolicyOnFailure, code: 1, want: true},
		{name: "on failure, which it was not", pod: corev1.RestartPolicyOnFailure},
		{name: "its own policy wins", pod: corev1.RestartPolicyAlways, own: new(corev1.ContainerRestartPolicyNever), code: 1},
		{name: "a sidecar", pod: corev1.RestartPolicyNever, own: new(corev1.ContainerRestartPolicyAlways), want: true},
		{name: "its own rule wins", own: new(corev1.ContainerRestartPolicyNever), list: rule(in, corev1.ContainerRestartRuleActionRestart, 1, 2), code: 2, want: true},
		{name: "no rule matches", own: new(corev1.ContainerRestartPolicyNever), list: rule(in, corev1.ContainerRestartRuleActionRestart, 1, 2), code: 3},
		{name: "a rule for all other codes", own: new(corev1.ContainerRestartPolicyNever), list: rule(notIn, corev1.ContainerRestartRuleActionRestart, 1, 2), code: 3, want: true},
		{name: "a rule for all other codes, not this", own: new(corev1.ContainerRestartPolicyNever), list: rule(notIn, corev1.ContainerRestartRuleActionRestart, 1, 2), code: 1},
		{name: "a rule that restarts all", own: new(corev1.ContainerRestartPolicyNever), list: rule(in, corev1.ContainerRestartRuleActionRestartAllContainers, 1), code: 1, want: true},
	}
	for _, tt := range tests {
		c := corev1.Container{RestartPolicy: tt.own, RestartPolicyRules: tt.list}
		spec := &corev1.PodSpec{RestartPolicy: tt.pod, Containers: []corev1.Container{c}}
		if got := Restarts(spec, &c, tt.code); got != tt.want {
			t.Errorf("%s: Restarts(%d) = %v, want %v", tt.name, tt.code, got, tt.want)
		}
		together := len(tt.list) > 0 && tt.list[0].Action == corev1.ContainerRestartRuleActionRestartAllContainers
		if got := RestartsTogether(spec); got != together {
			t.Errorf("%s: RestartsTogether = %v, want %v", tt.name, got, together)
		}
	}
}
