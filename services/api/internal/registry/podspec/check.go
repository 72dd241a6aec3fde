package podspec

import (
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"

	"millrace.dev/services/api/internal/registry/check"
)

// subject is one pod spec under check, and what its parts need to know of each other.
type subject struct {
	*corev1.PodSpec

	podName   string                    // empty: a template
	volumes   map[string]*corev1.Volume // those that have no fault
	claims    sets.Set[string]          // names of resource claims
	isPod     bool                      // false: a template
	hostUsers bool                      // its users are the node's
}

// CheckPod checks the annotations and the spec of a pod; metadata itself is the caller's. at is the root of the object.
func CheckPod(at check.At, pod *corev1.Pod) {
	checkAnnotations(at.Child("metadata", "annotations"), pod.Annotations, &pod.Spec)
	at = at.Child("spec")
	s := &subject{PodSpec: &pod.Spec, podName: pod.Name, isPod: true}
	s.check(at)
	s.checkPodOnly(at)
}

// CheckNewPod checks what only matters when a pod is created.
func CheckNewPod(at check.At, pod *corev1.Pod) {
	spec := at.Child("spec")
	if len(pod.Spec.EphemeralContainers) > 0 {
		spec.Child("ephemeralContainers").Forbidden("cannot be set on create")
	}
	if pod.Spec.NodeName != "" && len(pod.Spec.SchedulingGates) > 0 {
		spec.Child("nodeName").Forbidden("cannot be set until all schedulingGates have been cleared")
	}
	checkAnnotationsMatchFields(spec, pod.Annotations, &pod.Spec)
}

// CheckTemplate checks the pod template of a workload. The places of its labels and annotations leave out "metadata", as in
// Kubernetes.
func CheckTemplate(at check.At, t *corev1.PodTemplateSpec) {
	annotations := at.Child("annotations")
	check.Labels(at.Child("labels"), t.Labels)
	annotations.Add(apivalidation.ValidateAnnotations(t.Annotations, annotations.Path())...)
	CheckMillraceAnnotations(at.Child("metadata", "annotations"), t.Annotations)
	checkAnnotations(annotations, t.Annotations, &t.Spec)
	spec := at.Child("spec")
	s := &subject{PodSpec: &t.Spec}
	s.check(spec)
	checkAnnotationsMatchFields(spec, t.Annotations, &t.Spec)
	if len(t.Spec.EphemeralContainers) > 0 {
		spec.Child("ephemeralContainers").Forbidden("ephemeral containers not allowed in pod template")
	}
}

// check is the list of everything that pods and templates have in common, in Kubernetes' order.
func (s *subject) check(at check.At) {
	s.hostUsers = s.HostUsers == nil || *s.HostUsers
	if s.TerminationGracePeriodSeconds == nil {
		at.Child("terminationGracePeriodSeconds").Required("")
	}
	s.checkVolumes(at.Child("volumes"))
	s.checkClaims(at.Child("resourceClaims"))
	s.checkContainers(at.Child("containers"))
	s.checkInitContainers(at.Child("initContainers"))
	s.checkEphemeralContainers(at.Child("ephemeralContainers"))
	s.checkPodResources(at.Child("resources"))
	s.checkHostPorts(at.Child("containers"))
	check.RequiredOneOf(at.Child("restartPolicy"), s.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	check.RequiredOneOf(at.Child("dnsPolicy"), s.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	check.Labels(at.Child("nodeSelector"), s.NodeSelector)
	s.checkSecurity(at.Child("securityContext"))
	if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace && s.HostPID {
		at.Child("shareProcessNamespace").Invalid(true, "ShareProcessNamespace and HostPID cannot both be enabled")
	}
	checkAffinity(at.Child("affinity"), s.Affinity)
	s.checkDNS(at.Child("dnsConfig"))
	for i, gate := range s.ReadinessGates {
		at.Child("readinessGates").Index(i).Child("conditionType").QualifiedName(string(gate.ConditionType))
	}
	checkSchedulingGates(at.Child("schedulingGates"), s.SchedulingGates)
	checkSpread(at.Child("topologySpreadConstraints"), s.TopologySpreadConstraints)
	s.checkHostProcess(at)
	s.checkUserNamespace(at)
	s.checkHostnameOverride(at.Child("hostnameOverride"))
	s.checkNames(at)
	s.checkOS(at)
	s.checkEnvFiles(at)
}

// checkNames checks the short fields at the end of the spec.
func (s *subject) checkNames(at check.At) {
	at.Child("serviceAccountName").SubdomainOrEmpty(s.ServiceAccountName)
	if s.DeprecatedServiceAccount != s.ServiceAccountName {
		at.Child("deprecatedServiceAccount").Invalid(s.DeprecatedServiceAccount, fmt.Sprintf("must be the same as serviceAccountName: %q", s.ServiceAccountName))
	}
	at.Child("nodeName").SubdomainOrEmpty(s.NodeName)
	if s.ActiveDeadlineSeconds != nil {
		at.Child("activeDeadlineSeconds").Between(*s.ActiveDeadlineSeconds, 1, math.MaxInt32)
	}
	at.Child("hostname").DNSLabelOrEmpty(s.Hostname)
	at.Child("subdomain").DNSLabelOrEmpty(s.Subdomain)
	checkTolerations(at.Child("tolerations"), s.Tolerations)
	checkHostAliases(at.Child("hostAliases"), s.HostAliases)
	at.Child("priorityClassName").SubdomainOrEmpty(s.PriorityClassName)
	if s.RuntimeClassName != nil {
		at.Child("runtimeClassName").Subdomain(*s.RuntimeClassName)
	}
	if s.PreemptionPolicy != nil {
		check.RequiredOneOf(at.Child("preemptionPolicy"), *s.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)
	}
	if s.Overhead != nil {
		checkRequirements(at.Child("overhead"), &corev1.ResourceRequirements{Limits: s.Overhead}, check.ContainerResource)
	}
}

// checkPodOnly is what a template may have but a pod may not.
func (s *subject) checkPodOnly(at check.At) {
	if s.ServiceAccountName == "" {
		s.forbidTokens(at.Child("volumes"))
	}
	if s.TerminationGracePeriodSeconds != nil {
		at.Child("terminationGracePeriodSeconds").NotNegative(*s.TerminationGracePeriodSeconds)
	}
	for i := range s.Containers {
		checkImageTrimmed(at.Child("containers").Index(i), &s.Containers[i])
	}
	for i := range s.InitContainers {
		checkImageTrimmed(at.Child("initContainers").Index(i), &s.InitContainers[i])
	}
	s.checkPriority(at)
}

// checkPriority refuses a priority of the user's own where the class says what it is; Kubernetes' admission says this.
func (s *subject) checkPriority(at check.At) {
	priority, known := systemPriority(s.PriorityClassName)
	if known && s.Priority != nil && *s.Priority != priority {
		at.Child("priority").Forbidden(fmt.Sprintf("the integer value of priority (%d) must not be provided in pod spec; "+
			"priority admission controller computed %d from the given PriorityClass name", *s.Priority, priority))
	}
}

// checkClaims checks the resource claims of the pod and notes their names.
func (s *subject) checkClaims(at check.At) {
	s.claims = sets.New[string]()
	seen := sets.New[string]()
	for i := range s.ResourceClaims {
		c := &s.ResourceClaims[i]
		if c.Name != "" {
			s.claims.Insert(c.Name)
		}
		checkClaim(at.Index(i), c, seen)
	}
}

func checkClaim(at check.At, c *corev1.PodResourceClaim, seen sets.Set[string]) {
	switch name := at.Child("name"); {
	case !name.NotEmpty(c.Name):
	case seen.Has(c.Name):
		name.Duplicate(c.Name)
	default:
		name.DNSLabel(c.Name)
		seen.Insert(c.Name)
	}
	switch claim, template := c.ResourceClaimName, c.ResourceClaimTemplateName; {
	case claim != nil && template != nil:
		at.Invalid(c, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
	case claim == nil && template == nil:
		at.Invalid(c, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
	}
	if c.ResourceClaimName != nil {
		at.Child("resourceClaimName").Subdomain(*c.ResourceClaimName)
	}
	if c.ResourceClaimTemplateName != nil {
		at.Child("resourceClaimTemplateName").Subdomain(*c.ResourceClaimTemplateName)
	}
}
