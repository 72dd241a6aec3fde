package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/api/internal/registry/check"
)

const (
	maxRestartRules = 20
	maxExitCodes    = 255
)

func (s *subject) checkContainers(at check.At) {
	if len(s.Containers) == 0 {
		at.Required("")
		return
	}
	names := sets.New[string]()
	for i := range s.Containers {
		c, at := &s.Containers[i], at.Index(i)
		s.checkContainer(at, c)
		uniqueName(at, c.Name, names)
		s.checkLifeAndProbes(at, c)
		checkRestartPolicy(at, c)
		checkRestartRules(at.Child("restartPolicyRules"), c.RestartPolicyRules)
	}
	checkUniqueHostPorts(at, s.Containers)
}

// uniqueName demands a name that no earlier container has and notes it.
func uniqueName(at check.At, name string, names sets.Set[string]) {
	if names.Has(name) {
		at.Child("name").Duplicate(name)
	}
	names.Insert(name)
}

func (s *subject) checkInitContainers(at check.At) {
	names := sets.New[string]()
	for i := range s.Containers {
		names.Insert(s.Containers[i].Name)
	}
	for i := range s.InitContainers {
		c, place := &s.InitContainers[i], at.Index(i)
		s.checkContainer(place, c)
		checkRestartPolicy(place, c)
		if c.RestartPolicy != nil {
			checkRestartRules(place.Child("restartPolicyRules"), c.RestartPolicyRules)
		}
		if c.Name != "" || names.Has("") {
			uniqueName(place, c.Name, names)
		}
		checkUniqueHostPorts(at, s.InitContainers[i:i+1])
		if podinfo.IsSidecar(c) {
			s.checkLifeAndProbes(place, c)
		} else {
			checkRunsOnce(place, c)
		}
	}
}

// checkRunsOnce refuses what makes no sense for an init container that ends before the others start.
func checkRunsOnce(at check.At, c *corev1.Container) {
	const only = "may not be set for init containers without restartPolicy=Always"
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"lifecycle", c.Lifecycle != nil},
		{"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
	} {
		if f.set {
			at.Child(f.field).Forbidden(only)
		}
	}
	for i, p := range c.ResizePolicy {
		if p.RestartPolicy == corev1.RestartContainer {
			at.Child("resizePolicy").Index(i).Child("restartPolicy").Invalid(p.RestartPolicy, "must not be set to 'RestartContainer' for non-sidecar initContainers")
		}
	}
}

func (s *subject) checkEphemeralContainers(at check.At) {
	names := sets.New[string]()
	for _, list := range [][]corev1.Container{s.Containers, s.InitContainers} {
		for i := range list {
			names.Insert(list[i].Name)
		}
	}
	targets := names.Clone()
	for i := range s.EphemeralContainers {
		e, at := &s.EphemeralContainers[i], at.Index(i)
		c := ephemeral(e)
		s.checkContainer(at, c)
		checkImageTrimmed(at, c)
		uniqueName(at, c.Name, names)
		if target := e.TargetContainerName; target != "" && !targets.Has(target) {
			at.Child("targetContainerName").NotFound(target)
		}
		checkEphemeralFields(at, c)
	}
}

// checkEphemeralFields refuses the fields that a container added to a running pod cannot have.
func checkEphemeralFields(at check.At, c *corev1.Container) {
	const never = "cannot be set for an Ephemeral Container"
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"ports", c.Ports != nil},
		{"resources", c.Resources.Limits != nil || c.Resources.Requests != nil || c.Resources.Claims != nil},
		{"resizePolicy", c.ResizePolicy != nil},
		{"restartPolicy", c.RestartPolicy != nil},
		{"restartPolicyRules", c.RestartPolicyRules != nil},
		{"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
		{"lifecycle", c.Lifecycle != nil},
	} {
		if f.set {
			at.Child(f.field).Forbidden(never)
		}
	}
	for i, m := range c.VolumeMounts {
		if m.SubPath != "" {
			at.Child("volumeMounts").Index(i).Child("subPath").Forbidden(never)
		}
		if m.SubPathExpr != "" {
			at.Child("volumeMounts").Index(i).Child("subPathExpr").Forbidden(never)
		}
	}
}

// checkContainer is what containers of every sort have in common.
func (s *subject) checkContainer(at check.At, c *corev1.Container) {
	if name := at.Child("name"); name.NotEmpty(c.Name) {
		name.DNSLabel(c.Name)
	}
	at.Child("image").NotEmpty(c.Image)
	check.RequiredOneOf(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)
	checkPorts(at.Child("ports"), c.Ports)
	checkEnv(at.Child("env"), c.Env)
	checkEnvFrom(at.Child("envFrom"), c.EnvFrom)
	s.checkMounts(at.Child("volumeMounts"), c)
	s.checkDevices(at.Child("volumeDevices"), c)
	checkPullPolicy(at.Child("imagePullPolicy"), c.ImagePullPolicy)
	checkRequirements(at.Child("resources"), &c.Resources, check.ContainerResource)
	s.checkClaimsOf(at.Child("resources", "claims"), c.Resources.Claims)
	s.checkResizePolicy(at.Child("resizePolicy"), c.ResizePolicy)
	s.checkContainerSecurity(at.Child("securityContext"), c.SecurityContext)
}

func checkPullPolicy(at check.At, p corev1.PullPolicy) {
	check.RequiredOneOf(at, p, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

func checkImageTrimmed(at check.At, c *corev1.Container) {
	if c.Image != strings.TrimSpace(c.Image) {
		at.Child("image").Invalid(c.Image, "must not have leading or trailing whitespace")
	}
}

func checkPorts(at check.At, ports []corev1.ContainerPort) {
	names := sets.New[string]()
	for i := range ports {
		p, at := &ports[i], at.Index(i)
		if p.Name != "" {
			checkPortName(at.Child("name"), p.Name, names)
		}
		if p.ContainerPort == 0 {
			at.Child("containerPort").Required("")
		} else {
			checkPortNumber(at.Child("containerPort"), p.ContainerPort)
		}
		if p.HostPort != 0 {
			checkPortNumber(at.Child("hostPort"), p.HostPort)
		}
		check.RequiredOneOf(at.Child("protocol"), p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
	}
}

// checkUniqueHostPorts demands that no two containers of one list publish the same port of the node.
func checkUniqueHostPorts(at check.At, list []corev1.Container) {
	taken := sets.New[string]()
	for i := range list {
		for j, p := range list[i].Ports {
			if p.HostPort == 0 {
				continue
			}
			endpoint := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
			if taken.Has(endpoint) {
				at.Index(i).Child("ports").Index(j).Child("hostPort").Duplicate(endpoint)
			}
			taken.Insert(endpoint)
		}
	}
}

// checkHostPorts demands that a pod in the node's network publishes its ports as they are.
func (s *subject) checkHostPorts(at check.At) {
	if !s.HostNetwork {
		return
	}
	for i := range s.Containers {
		for j, p := range s.Containers[i].Ports {
			if (s.isPod || p.HostPort != 0) && p.HostPort != p.ContainerPort {
				at.Index(i).Child("ports").Index(j).Child("hostPort").Invalid(p.HostPort, "must match `containerPort` when `hostNetwork` is true")
			}
		}
	}
}

func checkRestartPolicy(at check.At, c *corev1.Container) {
	policy := at.Child("restartPolicy")
	if c.RestartPolicy != nil {
		check.OneOf(policy, *c.RestartPolicy,
			corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
	} else if len(c.RestartPolicyRules) > 0 {
		policy.Required("must specify restartPolicy when restart rules are used")
	}
}

func checkRestartRules(at check.At, rules []corev1.ContainerRestartRule) {
	at.AtMost(len(rules), maxRestartRules)
	for i := range rules {
		rule, at := &rules[i], at.Index(i)
		check.OneOf(at.Child("action"), rule.Action,
			corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)
		codes := at.Child("exitCodes")
		if rule.ExitCodes == nil {
			codes.Required("must be specified")
			continue
		}
		check.OneOf(codes.Child("operator"), rule.ExitCodes.Operator,
			corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)
		codes.Child("values").AtMost(len(rule.ExitCodes.Values), maxExitCodes)
	}
}
