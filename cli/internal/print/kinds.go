package print

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
)

// kinds is what the table of each kind looks like, with Kubernetes' columns.
var kinds = map[string]view{
	scheme.ConfigMaps: of(configMapCells, narrow(columnName, "DATA", "AGE")),
	scheme.Events: of(eventCells, narrow("LAST SEEN", "TYPE", "REASON", "OBJECT"), wide("SUBOBJECT", "SOURCE"), narrow("MESSAGE"),
		wide("FIRST SEEN", "COUNT", columnName)),
	scheme.Namespaces: of(namespaceCells, narrow(columnName, "STATUS", "AGE")),
	scheme.Nodes: of(nodeCells, narrow(columnName, "STATUS", "ROLES", "AGE", "VERSION"),
		wide("INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME")),
	scheme.Pods: of(podCells, narrow(columnName, "READY", "STATUS", "RESTARTS", "AGE"),
		wide("IP", "NODE", "NOMINATED NODE", "READINESS GATES")),
	scheme.Secrets: of(secretCells, narrow(columnName, "TYPE", "DATA", "AGE")),
}

// none stands in a cell that has nothing to say.
const none = "<none>"

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}

func configMapCells(m *corev1.ConfigMap, now time.Time) []string {
	return []string{m.Name, fmt.Sprint(len(m.Data) + len(m.BinaryData)), Age(m.CreationTimestamp.Time, now)}
}

func namespaceCells(n *corev1.Namespace, now time.Time) []string {
	return []string{n.Name, string(n.Status.Phase), Age(n.CreationTimestamp.Time, now)}
}

func secretCells(s *corev1.Secret, now time.Time) []string {
	return []string{s.Name, string(s.Type), fmt.Sprint(len(s.Data)), Age(s.CreationTimestamp.Time, now)}
}

func podCells(p *corev1.Pod, now time.Time) []string {
	s := podinfo.Summarize(p)
	return []string{
		p.Name, fmt.Sprintf("%d/%d", s.Ready, s.Containers), s.Status, restarts(s.Restarts, s.LastRestart, now),
		Age(p.CreationTimestamp.Time, now), orNone(podIP(p)), orNone(p.Spec.NodeName), orNone(p.Status.NominatedNodeName), gates(p),
	}
}

func podIP(p *corev1.Pod) string {
	if len(p.Status.PodIPs) > 0 {
		return p.Status.PodIPs[0].IP
	}
	return p.Status.PodIP
}

// gates counts the readiness gates that are open.
func gates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return none
	}
	open := 0
	for _, gate := range p.Spec.ReadinessGates {
		if podinfo.ConditionTrue(p, gate.ConditionType) {
			open++
		}
	}
	return fmt.Sprintf("%d/%d", open, len(p.Spec.ReadinessGates))
}

func nodeCells(n *corev1.Node, now time.Time) []string {
	info := n.Status.NodeInfo
	unknown := func(text string) string {
		if text == "" {
			return "<unknown>"
		}
		return text
	}
	roles := orNone(strings.Join(NodeRoles(n), ","))
	return []string{
		n.Name, nodeStatus(n), roles, Age(n.CreationTimestamp.Time, now), info.KubeletVersion, nodeAddress(n, corev1.NodeInternalIP),
		nodeAddress(n, corev1.NodeExternalIP), unknown(info.OSImage), unknown(info.KernelVersion), unknown(info.ContainerRuntimeVersion),
	}
}

func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	if ready := podinfo.NodeCondition(n.Status.Conditions, corev1.NodeReady); ready != nil {
		status = "NotReady"
		if ready.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

// NodeRoles are the roles that the labels of a node give it.
func NodeRoles(n *corev1.Node) []string {
	var roles []string
	for label, value := range n.Labels {
		switch role, found := strings.CutPrefix(label, "node-role.kubernetes.io/"); {
		case found && role != "":
			roles = append(roles, role)
		case label == "kubernetes.io/role" && value != "":
			roles = append(roles, value)
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

func nodeAddress(n *corev1.Node, typ corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == typ {
			return a.Address
		}
	}
	return none
}

func eventCells(e *corev1.Event, now time.Time) []string {
	first := e.FirstTimestamp.Time
	if first.IsZero() {
		first = e.EventTime.Time
	}
	last, count := e.LastTimestamp.Time, max(e.Count, 1)
	if last.IsZero() {
		last = first
	}
	if e.Series != nil {
		last, count = e.Series.LastObservedTime.Time, e.Series.Count
	}
	object := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name != "" {
		object += "/" + e.InvolvedObject.Name
	}
	return []string{
		Age(last, now), e.Type, e.Reason, object, e.InvolvedObject.FieldPath, eventSource(e), strings.TrimSpace(e.Message), Age(first, now),
		fmt.Sprint(count), e.Name,
	}
}

// eventSource is who told of an event, and where.
func eventSource(e *corev1.Event) string {
	component, host := e.Source.Component, e.Source.Host
	if component == "" {
		component = e.ReportingController
	}
	if host == "" {
		host = e.ReportingInstance
	}
	if host == "" {
		return component
	}
	return component + ", " + host
}
