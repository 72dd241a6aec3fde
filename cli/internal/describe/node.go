package describe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/fields"

	"millrace.dev/cli/internal/print"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/wire"
)

func describeNode(ctx context.Context, d *describer, w *writer, n *corev1.Node) error {
	w.field(0, "Name", n.Name)
	w.field(0, "Roles", orNone(strings.Join(print.NodeRoles(n), ",")))
	w.pairs(0, "Labels", n.Labels)
	w.annotations(n.Annotations)
	w.field(0, "CreationTimestamp", date(n.CreationTimestamp.Time))
	w.list(0, "Taints", taints(n.Spec.Taints))
	w.field(0, "Unschedulable", n.Spec.Unschedulable)
	if len(n.Status.Conditions) > 0 {
		w.line(0, "Conditions:")
		w.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
		w.line(1, "----\t------\t-----------------\t------------------\t------\t-------")
		for _, c := range n.Status.Conditions {
			w.line(1, "%v \t%v \t%s \t%s \t%v \t%v", c.Type, c.Status, date(c.LastHeartbeatTime.Time), date(c.LastTransitionTime.Time), c.Reason, c.Message)
		}
	}
	w.line(0, "Addresses:")
	for _, a := range n.Status.Addresses {
		w.field(1, string(a.Type), a.Address)
	}
	tellRoom(w, "Capacity", n.Status.Capacity)
	tellRoom(w, "Allocatable", n.Status.Allocatable)
	tellMachine(w, n)
	pods, err := list[corev1.Pod](ctx, d, scheme.Pods, wire.Any, livePodsOn(n.Name))
	if err != nil {
		return err
	}
	tellNodePods(w, n, pods)
	return d.tellEvents(ctx, w, n)
}

// livePodsOn selects the pods of a node that have not ended for good.
func livePodsOn(node string) string {
	return fields.AndSelectors(
		fields.OneTermEqualSelector("spec.nodeName", node),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	).String()
}

// taints are those of a node, a line each, by effect and key.
func taints(all []corev1.Taint) []string {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b corev1.Taint) int {
		return cmp.Or(cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Key, b.Key))
	})
	var lines []string
	for i := range all {
		lines = append(lines, all[i].ToString())
	}
	return lines
}

func tellRoom(w *writer, title string, list corev1.ResourceList) {
	if len(list) > 0 {
		w.line(0, "%s:", title)
		tellQuantities(w, 1, list)
	}
}

func tellMachine(w *writer, n *corev1.Node) {
	info := n.Status.NodeInfo
	w.line(0, "System Info:")
	for _, f := range []struct{ name, value string }{
		{"Machine ID", info.MachineID},
		{"System UUID", info.SystemUUID},
		{"Boot ID", info.BootID},
		{"Kernel Version", info.KernelVersion},
		{"OS Image", info.OSImage},
		{"Operating System", info.OperatingSystem},
		{"Architecture", info.Architecture},
		{"Container Runtime Version", info.ContainerRuntimeVersion},
		{"Kubelet Version", info.KubeletVersion},
	} {
		w.field(1, f.name, f.value)
	}
	w.fieldUnlessEmpty(0, "PodCIDR", n.Spec.PodCIDR)
	w.fieldUnlessEmpty(0, "PodCIDRs", strings.Join(n.Spec.PodCIDRs, ","))
	w.fieldUnlessEmpty(0, "ProviderID", n.Spec.ProviderID)
}

// tellNodePods writes the pods of a node, and how much of it they take.
func tellNodePods(w *writer, n *corev1.Node, pods []corev1.Pod) {
	room := n.Status.Allocatable
	if len(room) == 0 {
		room = n.Status.Capacity
	}
	w.line(0, "Non-terminated Pods:\t(%d in total)", len(pods))
	w.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge")
	w.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---")
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	for i := range pods {
		p := &pods[i]
		r, l := podinfo.Requests(p), podinfo.Limits(p)
		w.line(1, "%s\t%s\t\t%s\t%s\t%s\t%s\t%s", p.Namespace, p.Name, share(r, room, corev1.ResourceCPU), share(l, room, corev1.ResourceCPU),
			share(r, room, corev1.ResourceMemory), share(l, room, corev1.ResourceMemory), w.age(p.CreationTimestamp.Time))
		add(requests, r)
		add(limits, l)
	}
	w.line(0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)")
	w.line(1, "Resource\tRequests\tLimits")
	w.line(1, "--------\t--------\t------")
	for _, name := range shared(room) {
		w.line(1, "%s\t%s\t%s", name, share(requests, room, name), share(limits, room, name))
	}
	for _, name := range extended(room) {
		r, l := requests[name], limits[name]
		w.line(1, "%s\t%s\t%s", name, r.String(), l.String())
	}
}

func add(sum, more corev1.ResourceList) {
	for name, amount := range more {
		total := sum[name]
		total.Add(amount)
		sum[name] = total
	}
}

// share is an amount of a resource, and how much of all the room that is.
func share(amounts, room corev1.ResourceList, name corev1.ResourceName) string {
	amount, all := amounts[name], room[name]
	percent := int64(0)
	if measure(all, name) > 0 {
		percent = int64(float64(measure(amount, name)) / float64(measure(all, name)) * 100)
	}
	return fmt.Sprintf("%s (%d%%)", amount.String(), percent)
}

func measure(amount resource.Quantity, name corev1.ResourceName) int64 {
	if name == corev1.ResourceCPU {
		return amount.MilliValue()
	}
	return amount.Value()
}

// shared are the resources that pods take shares of: those of every node, and its huge pages.
func shared(room corev1.ResourceList) []corev1.ResourceName {
	return append([]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}, chosen(room, isHugePages)...)
}

// extended are the resources that only some nodes have.
func extended(room corev1.ResourceList) []corev1.ResourceName {
	return chosen(room, func(name corev1.ResourceName) bool {
		return !isHugePages(name) && strings.Contains(string(name), "/")
	})
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

func chosen(room corev1.ResourceList, choose func(corev1.ResourceName) bool) []corev1.ResourceName {
	var names []corev1.ResourceName
	for name := range room {
		if choose(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
