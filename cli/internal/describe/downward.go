package describe

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// podField is the value of a field of a pod that its containers may ask for; empty: it has none.
func podField(p *corev1.Pod, path string) string {
	if key, found := subscript(path, "metadata.labels"); found {
		return p.Labels[key]
	}
	if key, found := subscript(path, "metadata.annotations"); found {
		return p.Annotations[key]
	}
	switch path {
	case "metadata.name":
		return p.Name
	case "metadata.namespace":
		return p.Namespace
	case "metadata.uid":
		return string(p.UID)
	case "spec.nodeName":
		return p.Spec.NodeName
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName
	case "status.hostIP":
		return p.Status.HostIP
	case "status.hostIPs":
		var ips []string
		for _, ip := range p.Status.HostIPs {
			ips = append(ips, ip.IP)
		}
		return strings.Join(ips, ",")
	case "status.podIP":
		return p.Status.PodIP
	case "status.podIPs":
		var ips []string
		for _, ip := range p.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
		return strings.Join(ips, ",")
	default:
		return ""
	}
}

// subscript reads "field['key']".
func subscript(path, field string) (key string, found bool) {
	rest, found := strings.CutPrefix(path, field+"['")
	if !found {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// containerField is a limit or request of a container, in whole divisors, as the container itself sees it.
func containerField(c *corev1.Container, ref *corev1.ResourceFieldSelector) string {
	half, name, _ := strings.Cut(ref.Resource, ".")
	list := c.Resources.Limits
	if half == "requests" {
		list = c.Resources.Requests
	}
	amount, given := list[corev1.ResourceName(name)]
	if !given && half == "limits" && (name == "cpu" || name == "memory") {
		return "node allocatable"
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == "cpu" {
		return ceiling(amount.MilliValue(), divisor.MilliValue())
	}
	return ceiling(amount.Value(), divisor.Value())
}

func ceiling(amount, divisor int64) string {
	return resource.NewQuantity((amount+divisor-1)/divisor, resource.DecimalSI).String()
}
