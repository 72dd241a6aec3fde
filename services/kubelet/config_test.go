package kubelet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/services/kubelet/internal/checkpoint"
	"millrace.dev/services/kubelet/internal/machine"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateTellsEveryProblem(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *Config)
		want   []string
	}{
		{name: "relative dir", change: func(c *Config) { c.Dir = "node" }, want: []string{`dir "node" and runDir "/run/millrace/node": want absolute paths`}},
		{name: "no runDir", change: func(c *Config) { c.RunDir = "" }, want: []string{`runDir ""`}},
		{name: "range", change: func(c *Config) { c.Network.ClusterCIDR = "10.244.0.0" }, want: []string{"network.clusterCIDR: "}},
		{name: "capacity", change: func(c *Config) { c.Capacity = map[string]string{"cpu": "two"} }, want: []string{`capacity: cpu: "two": `}},
		{name: "reserved", change: func(c *Config) { c.Reserved = map[string]string{"memory": "1Q"} }, want: []string{`reserved: memory: "1Q": `}},
		{name: "no pods", change: func(c *Config) { c.MaxPods = 0 }, want: []string{"maxPods: 0 is below 1"}},
		{
			name: "address", change: func(c *Config) { c.Address = "node.example" },
			want: []string{`address: "node.example" is not an IP address`},
		},
		{
			name: "all at once", change: func(c *Config) {
				c.Dir, c.MaxPods, c.Capacity, c.Reserved = "x", -1, map[string]string{"cpu": ""}, map[string]string{"cpu": ""}
			},
			want: []string{"want absolute paths", "maxPods: -1", "capacity: cpu", "reserved: cpu"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			tt.change(c)
			err := c.Validate()
			if err == nil {
				t.Fatal("Validate = nil")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Validate = %v, want %q in it", err, want)
				}
			}
		})
	}
}

func testMachine() *machine.Machine {
	return &machine.Machine{
		CPUs: 4, MemoryBytes: 8 << 30, StorageBytes: 100 << 30, Kernel: "6.1", OSImage: "Debian", MachineID: "m", SystemUUID: "s", BootID: "b", Hostname: "host",
		Address: "192.168.0.1", Architecture: "amd64", OperatingName: "linux",
	}
}

func texts(list corev1.ResourceList) map[corev1.ResourceName]string {
	all := map[corev1.ResourceName]string{}
	for name, quantity := range list {
		all[name] = quantity.String()
	}
	return all
}

func TestNodeReport(t *testing.T) {
	c := DefaultConfig()
	c.Capacity, c.Reserved = map[string]string{"cpu": "3"}, map[string]string{"cpu": "500m", "memory": "1Gi"}
	c.Labels = map[string]string{"disk": "ssd", corev1.LabelArchStable: "mine"}
	got, allocatable := c.report(testMachine(), "n1", "containerd://2.4.2")
	wantLabels := map[string]string{corev1.LabelHostname: "n1", corev1.LabelOSStable: "linux", corev1.LabelArchStable: "mine", "disk": "ssd"}
	if diff := cmp.Diff(wantLabels, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	wantCapacity := map[corev1.ResourceName]string{"cpu": "3", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110"}
	if diff := cmp.Diff(wantCapacity, texts(got.Status.Capacity)); diff != "" {
		t.Errorf("capacity (-want +got):\n%s", diff)
	}
	wantAllocatable := map[corev1.ResourceName]string{"cpu": "2500m", "memory": "7Gi", "ephemeral-storage": "100Gi", "pods": "110"}
	for name, list := range map[string]corev1.ResourceList{"reported": got.Status.Allocatable, "used": allocatable} {
		if diff := cmp.Diff(wantAllocatable, texts(list)); diff != "" {
			t.Errorf("allocatable as %s (-want +got):\n%s", name, diff)
		}
	}
	wantStatus := corev1.NodeStatus{
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.168.0.1"}, {Type: corev1.NodeHostName, Address: "n1"}},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: "m", SystemUUID: "s", BootID: "b", KernelVersion: "6.1", OSImage: "Debian", ContainerRuntimeVersion: "containerd://2.4.2",
			OperatingSystem: "linux", Architecture: "amd64",
		},
		Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
			{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
			{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		},
	}
	if got.Status.NodeInfo.KubeletVersion == "" {
		t.Error("no version")
	}
	ignore := cmp.Options{
		cmpopts.IgnoreFields(corev1.NodeStatus{}, "Capacity", "Allocatable"), cmpopts.IgnoreFields(corev1.NodeSystemInfo{}, "KubeletVersion"),
		cmpopts.IgnoreFields(corev1.NodeCondition{}, "LastHeartbeatTime", "LastTransitionTime"),
	}
	if diff := cmp.Diff(wantStatus, got.Status, ignore); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	c.Address = "10.0.0.1"
	if got, _ := c.report(testMachine(), "n1", ""); got.Status.Addresses[0].Address != "10.0.0.1" {
		t.Errorf("address is %s, want the one that is configured", got.Status.Addresses[0].Address)
	}
}

// More may be reserved than there is: a node has then nothing to give, and never less.
func TestNothingIsLeft(t *testing.T) {
	c := DefaultConfig()
	c.Reserved = map[string]string{"cpu": "8"}
	_, allocatable := c.report(testMachine(), "n1", "")
	if got := allocatable.Cpu(); got.Sign() != 0 {
		t.Errorf("allocatable CPU is %v, want 0", got)
	}
}

// P19: what was checkpointed counts only for the Node for which it was written.
func TestP19_AnotherNodeDoesNotResume(t *testing.T) {
	points, err := checkpoint.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{}
	node.UID, node.Spec.PodCIDR = "new", "10.244.1.0/24"
	for had, want := range map[types.UID]bool{"old": false, "new": true} {
		id := &identity{Node: checkpoint.Node{UID: had}, sameBoot: true}
		if err := id.adopt(points, node, "boot"); err != nil {
			t.Fatal(err)
		}
		if id.sameBoot != want {
			t.Errorf("adopt after %q: resumes %v, want %v", had, id.sameBoot, want)
		}
		kept, ok, err := points.Node()
		if want := (checkpoint.Node{UID: "new", PodCIDR: "10.244.1.0/24", Boot: "boot"}); kept != want || id.Node != want || !ok || err != nil {
			t.Errorf("kept %+v, %v, %v; want %+v", kept, ok, err, want)
		}
	}
}

func TestPodCIDR(t *testing.T) {
	if got, err := (&identity{Node: checkpoint.Node{PodCIDR: "10.244.1.0/24"}}).podCIDR(); err != nil || got.String() != "10.244.1.0/24" {
		t.Errorf("podCIDR = %v, %v", got, err)
	}
	if got, err := (&identity{}).podCIDR(); err == nil {
		t.Errorf("podCIDR of a node without one = %v", got)
	}
}
