package describe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/podinfo"
)

func describePod(ctx context.Context, d *describer, w *writer, p *corev1.Pod) error {
	tellPodHead(w, p)
	if p.Spec.Resources != nil {
		w.line(0, "Resources:")
		tellResources(w, 1, p.Spec.Resources)
	}
	if len(p.Spec.InitContainers) > 0 {
		tellContainers(w, "Init Containers", p, p.Spec.InitContainers, p.Status.InitContainerStatuses)
	}
	tellContainers(w, "Containers", p, p.Spec.Containers, p.Status.ContainerStatuses)
	if len(p.Spec.EphemeralContainers) > 0 {
		var containers []corev1.Container
		for i := range p.Spec.EphemeralContainers {
			containers = append(containers, corev1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon))
		}
		tellContainers(w, "Ephemeral Containers", p, containers, p.Status.EphemeralContainerStatuses)
	}
	tellConditions(w, p)
	tellVolumes(w, p.Spec.Volumes)
	w.field(0, "QoS Class", podinfo.QoSClass(p))
	w.pairs(0, "Node-Selectors", p.Spec.NodeSelector)
	w.list(0, "Tolerations", tolerations(p.Spec.Tolerations))
	if spread := spreadConstraints(p.Spec.TopologySpreadConstraints); len(spread) > 0 {
		w.list(0, "Topology Spread Constraints", spread)
	}
	return d.tellEvents(ctx, w, p)
}

// tellPodHead writes everything before the containers.
func tellPodHead(w *writer, p *corev1.Pod) {
	w.field(0, "Name", p.Name)
	w.field(0, "Namespace", p.Namespace)
	if p.Spec.Priority != nil {
		w.field(0, "Priority", *p.Spec.Priority)
	}
	w.fieldUnlessEmpty(0, "Priority Class Name", p.Spec.PriorityClassName)
	if p.Spec.RuntimeClassName != nil {
		w.fieldUnlessEmpty(0, "Runtime Class Name", *p.Spec.RuntimeClassName)
	}
	w.fieldUnlessEmpty(0, "Service Account", p.Spec.ServiceAccountName)
	if p.Spec.NodeName == "" {
		w.field(0, "Node", none)
	} else {
		w.field(0, "Node", p.Spec.NodeName+"/"+p.Status.HostIP)
	}
	if p.Status.StartTime != nil {
		w.field(0, "Start Time", date(p.Status.StartTime.Time))
	}
	w.pairs(0, "Labels", p.Labels)
	w.annotations(p.Annotations)
	tellPodStatus(w, p)
	w.field(0, "IP", p.Status.PodIP)
	if len(p.Status.PodIPs) == 0 {
		w.field(0, "IPs", none)
	} else {
		w.line(0, "IPs:")
		for _, ip := range p.Status.PodIPs {
			w.field(1, "IP", ip.IP)
		}
	}
	if owner := metav1.GetControllerOf(p); owner != nil {
		w.field(0, "Controlled By", owner.Kind+"/"+owner.Name)
	}
	w.fieldUnlessEmpty(0, "NominatedNodeName", p.Status.NominatedNodeName)
}

func tellPodStatus(w *writer, p *corev1.Pod) {
	if p.DeletionTimestamp != nil && !podinfo.Finished(p) {
		w.line(0, "Status:\tTerminating (lasts %s)", w.age(p.DeletionTimestamp.Time))
		w.line(0, "Termination Grace Period:\t%ds", int64(podinfo.GracePeriod(p).Seconds()))
	} else {
		w.field(0, "Status", p.Status.Phase)
	}
	w.fieldUnlessEmpty(0, "Reason", p.Status.Reason)
	w.fieldUnlessEmpty(0, "Message", p.Status.Message)
	if c := p.Spec.SecurityContext; c != nil {
		tellSeccomp(w, 0, 0, c.SeccompProfile)
	}
}

// tellSeccomp writes a profile, and the file that it may name, each at its level.
func tellSeccomp(w *writer, level, fileLevel int, profile *corev1.SeccompProfile) {
	if profile == nil {
		return
	}
	w.field(level, "SeccompProfile", profile.Type)
	if profile.Type == corev1.SeccompProfileTypeLocalhost && profile.LocalhostProfile != nil {
		w.field(fileLevel, "LocalhostProfile", *profile.LocalhostProfile)
	}
}

func tellConditions(w *writer, p *corev1.Pod) {
	if len(p.Spec.ReadinessGates) > 0 {
		w.line(0, "Readiness Gates:\n  Type\tStatus")
		for _, gate := range p.Spec.ReadinessGates {
			status := none
			if c := podinfo.Condition(p.Status.Conditions, gate.ConditionType); c != nil {
				status = string(c.Status)
			}
			w.line(1, "%v \t%v ", gate.ConditionType, status)
		}
	}
	if len(p.Status.Conditions) > 0 {
		w.line(0, "Conditions:\n  Type\tStatus")
		for _, c := range p.Status.Conditions {
			w.line(1, "%v \t%v ", c.Type, c.Status)
		}
	}
}

// tolerations are those of a pod, a line each, by their keys.
func tolerations(all []corev1.Toleration) []string {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b corev1.Toleration) int { return cmp.Compare(a.Key, b.Key) })
	var lines []string
	for _, t := range all {
		line := t.Key
		if t.Value != "" {
			line += "=" + t.Value
		}
		if t.Effect != "" {
			line += ":" + string(t.Effect)
		}
		if t.Operator == corev1.TolerationOpExists && t.Value == "" {
			line = strings.TrimSpace(line + " op=Exists")
		}
		if t.TolerationSeconds != nil {
			line += fmt.Sprintf(" for %ds", *t.TolerationSeconds)
		}
		lines = append(lines, line)
	}
	return lines
}

func spreadConstraints(all []corev1.TopologySpreadConstraint) []string {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b corev1.TopologySpreadConstraint) int { return cmp.Compare(a.TopologyKey, b.TopologyKey) })
	var lines []string
	for _, c := range all {
		line := fmt.Sprintf("%s:%v when max skew %d is exceeded", c.TopologyKey, c.WhenUnsatisfiable, c.MaxSkew)
		if c.LabelSelector != nil {
			line += " for selector " + metav1.FormatLabelSelector(c.LabelSelector)
		}
		lines = append(lines, line)
	}
	return lines
}
