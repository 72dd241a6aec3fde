package podinfo

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Restarts says that a container which ended with exitCode is started again: its own rules decide first, then its own
// policy, then the pod's. c may be an init container.
func Restarts(spec *corev1.PodSpec, c *corev1.Container, exitCode int32) bool {
	for i := range c.RestartPolicyRules {
		if rule := &c.RestartPolicyRules[i]; rule.ExitCodes != nil && ruleMatches(rule.ExitCodes, exitCode) {
			return true // every action that there is restarts
		}
	}
	policy := corev1.ContainerRestartPolicy(spec.RestartPolicy)
	if c.RestartPolicy != nil {
		policy = *c.RestartPolicy
	}
	switch policy {
	case corev1.ContainerRestartPolicyNever:
		return false
	case corev1.ContainerRestartPolicyOnFailure:
		return exitCode != 0
	default:
		return true
	}
}

func ruleMatches(codes *corev1.ContainerRestartRuleOnExitCodes, exitCode int32) bool {
	named := slices.Contains(codes.Values, exitCode)
	if codes.Operator == corev1.ContainerRestartRuleOnExitCodesOpNotIn {
		return !named
	}
	return named
}

// RestartsTogether says that the end of some container may start all containers of the pod again.
func RestartsTogether(spec *corev1.PodSpec) bool {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			for _, rule := range containers[i].RestartPolicyRules {
				if rule.Action == corev1.ContainerRestartRuleActionRestartAllContainers {
					return true
				}
			}
		}
	}
	return false
}
