package check

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

const requestsPrefix = "requests."

// countedResources are objects that a quota counts.
var countedResources = []corev1.ResourceName{
	corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers,
	corev1.ResourceSecrets, corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims,
	corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
}

// measuredResources are the other names without a domain that the cluster knows.
var measuredResources = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourceStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage, corev1.ResourceRequestsStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
}

var containerResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}

// HugePages says that name is one of the resources "hugepages-<size>".
func HugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// native says that name belongs to Kubernetes: it has no domain, or one of Kubernetes'.
func native(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// Overcommittable says that containers may be limited to more of the resource than they request.
func Overcommittable(name corev1.ResourceName) bool { return native(name) && !HugePages(name) }

// PodLevel says that a pod may request or limit the resource for its containers together.
func PodLevel(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || HugePages(name)
}

func extended(name corev1.ResourceName) bool {
	if native(name) || strings.HasPrefix(string(name), requestsPrefix) {
		return false
	}
	return len(validation.IsQualifiedName(requestsPrefix+string(name))) == 0 // a quota names it like this
}

func standard(name corev1.ResourceName) bool {
	return slices.Contains(measuredResources, name) || slices.Contains(countedResources, name) ||
		HugePages(name) || strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

// ResourceName demands a resource that the cluster knows or one with a domain, and says whether it is.
func ResourceName(at At, name corev1.ResourceName) bool {
	if complaints := validation.IsQualifiedName(string(name)); len(complaints) > 0 {
		at.None(complaints, name)
		return false
	}
	if !strings.Contains(string(name), "/") && !standard(name) {
		at.Invalid(name, "must be a standard resource type or fully qualified")
		return false
	}
	return true
}

// ContainerResource demands a resource that a container can have.
func ContainerResource(at At, name corev1.ResourceName) {
	ResourceName(at, name)
	switch plain := !strings.Contains(string(name), "/"); {
	case plain && !slices.Contains(containerResources, name) && !HugePages(name):
		at.Invalid(name, "must be a standard resource for containers")
	case !plain && !native(name) && !extended(name):
		at.Invalid(name, "doesn't follow extended resource name standard")
	}
}

// PodResource demands a resource that a pod can have for its containers together.
func PodResource(at At, name corev1.ResourceName) {
	if ResourceName(at, name) && !PodLevel(name) {
		OneOf(at, name, corev1.ResourceCPU, corev1.ResourceHugePagesPrefix, corev1.ResourceMemory)
	}
}

// Quantity demands an amount that the resource can have: not negative, and whole where only whole ones exist.
func Quantity(at At, name corev1.ResourceName, amount resource.Quantity) {
	if amount.Sign() < 0 {
		at.Invalid(amount.String(), notNegative)
	}
	if (slices.Contains(countedResources, name) || extended(name)) && amount.MilliValue()%1000 != 0 {
		at.Invalid(amount, "must be an integer")
	}
}

// WholePages demands an amount of huge pages that is a multiple of their size; other resources pass.
func WholePages(at At, name corev1.ResourceName, amount resource.Quantity) {
	if !HugePages(name) {
		return
	}
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 || size.MilliValue()%1000 != 0 || amount.Value()%size.Value() != 0 {
		at.Invalid(amount.String(), fmt.Sprintf("%s is not positive integer multiple of %s", amount.String(), name))
	}
}
