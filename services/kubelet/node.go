package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/version"
	"millrace.dev/services/kubelet/internal/checkpoint"
	"millrace.dev/services/kubelet/internal/machine"
)

const (
	// knownPatience is how long a kubelet that knows its Node waits for the api before it goes on without (P19).
	knownPatience = 2 * time.Second
	joinRetry     = 500 * time.Millisecond
)

// identity is who this kubelet is.
type identity struct {
	checkpoint.Node
	start uint64
	// sameBoot says that what was checkpointed may be worked from before anyone has answered (P19).
	sameBoot bool
}

// report is what this node says about itself.
func (c *Config) report(m *machine.Machine, name, runtimeVersion string) (state.NodeReport, corev1.ResourceList) {
	override, _ := resources(c.Capacity) // validated
	reserved, _ := resources(c.Reserved) // validated
	capacity := m.Capacity(c.MaxPods, override)
	allocatable := corev1.ResourceList{}
	for resource, quantity := range capacity {
		left := quantity.DeepCopy()
		if r, ok := reserved[resource]; ok {
			left.Sub(r)
		}
		if left.Sign() < 0 {
			left.Set(0)
		}
		allocatable[resource] = left
	}
	labels := map[string]string{
		corev1.LabelHostname: m.Hostname, corev1.LabelOSStable: m.OperatingName, corev1.LabelArchStable: m.Architecture,
	}
	labels[corev1.LabelHostname] = name
	maps.Copy(labels, c.Labels)
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	status := corev1.NodeStatus{
		Capacity: capacity, Allocatable: allocatable,
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: c.address(m)}, {Type: corev1.NodeHostName, Address: name}},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: m.MachineID, SystemUUID: m.SystemUUID, BootID: m.BootID, KernelVersion: m.Kernel, OSImage: m.OSImage,
			ContainerRuntimeVersion: runtimeVersion, KubeletVersion: version.Get().Version, OperatingSystem: m.OperatingName,
			Architecture: m.Architecture,
		},
	}
	for _, p := range []struct {
		typ             corev1.NodeConditionType
		reason, message string
	}{
		{corev1.NodeMemoryPressure, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
		{corev1.NodeDiskPressure, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
		{corev1.NodePIDPressure, "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
	} {
		status.Conditions = append(status.Conditions, corev1.NodeCondition{
			Type: p.typ, Status: corev1.ConditionFalse, Reason: p.reason, Message: p.message, LastHeartbeatTime: now, LastTransitionTime: now,
		})
	}
	return state.NodeReport{Labels: labels, Status: status}, allocatable
}

func (c *Config) address(m *machine.Machine) string {
	if c.Address != "" {
		return c.Address
	}
	return m.Address
}

// registration tells the api what a node is; it returns the Node that the api keeps for it.
type registration func(ctx context.Context, r state.NodeReport) (*corev1.Node, error)

// join finds out who this kubelet is: it tells the api what the node is and learns its Node. A kubelet that knows its Node goes on
// without an answer after a while; one that does not waits.
func join(ctx context.Context, register registration, points *checkpoint.Store, report state.NodeReport) (*identity, error) {
	boot, err := checkpoint.Boot()
	if err != nil {
		return nil, err
	}
	start, err := points.NextStart()
	if err != nil {
		return nil, err
	}
	known, joined, err := points.Node()
	if err != nil {
		return nil, err
	}
	id := &identity{Node: known, start: start, sameBoot: joined && known.Boot == boot}
	report.Report = state.Report{Start: start, Counter: 1}
	patience := time.Now().Add(knownPatience)
	for {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if joined { // there is a way to go on without an answer
			attempt, cancel = context.WithTimeout(ctx, knownPatience)
		}
		node, err := register(attempt, report)
		cancel()
		if err == nil {
			return id, id.adopt(points, node, boot)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if refused(err) {
			return nil, fmt.Errorf("join: %w", err)
		}
		if joined && !time.Now().Before(patience) {
			slog.WarnContext(ctx, "the api does not answer; going on as the node that this was", "err", err)
			return id, nil
		}
		slog.InfoContext(ctx, "waiting for the api", "err", err)
		if !clock.Pause(ctx, joinRetry) {
			return nil, context.Cause(ctx)
		}
	}
}

// adopt makes the Node that the api named this kubelet's own. If it is another than before, the old one's pods are nobody's: what
// was checkpointed for it is not worked from.
func (id *identity) adopt(points *checkpoint.Store, node *corev1.Node, boot string) error {
	if id.UID != node.UID {
		id.sameBoot = false
	}
	id.Node = checkpoint.Node{UID: node.UID, PodCIDR: node.Spec.PodCIDR, Boot: boot}
	return points.SaveNode(id.Node)
}

// podCIDR is the range of this node's pods.
func (id *identity) podCIDR() (netip.Prefix, error) {
	p, err := netip.ParsePrefix(id.PodCIDR)
	if err != nil {
		return p, fmt.Errorf("range of the node's pods: %w", err)
	}
	return p, nil
}

// errRefused ends a kubelet that may not go on under its name.
var errRefused = errors.New("the control plane refuses this kubelet")
