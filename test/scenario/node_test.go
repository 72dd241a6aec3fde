//go:build linux

package scenario

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/need"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/test/cluster"
)

// rejected is a pod that its node refuses.
func rejected(reason, message string) cluster.PodCondition {
	return func(pod *corev1.Pod) string {
		if pod == nil || pod.Status.Phase != corev1.PodFailed || pod.Status.Reason != reason || pod.Status.Message != message {
			return fmt.Sprintf("its status is not %s: %s", reason, message)
		}
		return ""
	}
}

// The kubelet tells of its node, runs what pods need, and looks itself at what somebody else assigned.
func TestS8_6_Kubelet(t *testing.T) {
	c := cluster.Processes(t, cluster.Set("kubelet", "capacity", map[string]any{"cpu": "2"}))
	var node corev1.Node
	if err := c.GetInto(t.Context(), state.ObjectRef{Resource: scheme.Nodes, Name: "n1"}, &node); err != nil {
		t.Fatal(err)
	}
	if ready := podinfo.NodeCondition(node.Status.Conditions, corev1.NodeReady); ready == nil || ready.Status != corev1.ConditionTrue || ready.Reason != "KubeletReady" {
		t.Errorf("condition Ready: %+v", ready)
	}
	if node.Status.Capacity.Cpu().Value() != 2 || node.Status.Allocatable.Memory().IsZero() || node.Status.NodeInfo.KubeletVersion == "" ||
		!strings.HasPrefix(node.Status.NodeInfo.ContainerRuntimeVersion, "containerd://") || node.Spec.PodCIDR == "" {
		t.Errorf("node: %+v", node)
	}

	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: disk, emptyDir: {}}, {name: ram, emptyDir: {medium: Memory, sizeLimit: 8Mi}}]
  containers:
  - {name: writer, image: busybox, command: [sh, -c, "echo shared > /data/file; echo started; exec sleep 3600"], volumeMounts: [{name: disk, mountPath: /data}, {name: ram, mountPath: /ram}]}
  - {name: reader, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: disk, mountPath: /in, readOnly: true}]}
`)
	pod := c.AwaitPod("default", "two", cluster.Running, 30*time.Second)
	c.Until(10*time.Second, "the reader to see the file", func() bool {
		out, _, code := c.Run("exec", "two", "-c", "reader", "--", "cat", "/in/file")
		return code == 0 && out == "shared\n"
	})
	if got := c.Must("exec", "two", "-c", "writer", "--", "sh", "-c", "mount | grep ' /ram '"); !strings.Contains(got, "tmpfs") || !strings.Contains(got, "size=8192k") {
		t.Errorf("volume in memory: %s", got)
	}
	if _, errs, code := c.Run("exec", "two", "-c", "reader", "--", "touch", "/in/other"); code == 0 || !strings.Contains(errs, "Read-only file system") {
		t.Errorf("write to a read-only mount: exit %d, %s", code, errs)
	}
	c.Must("exec", "two", "-c", "writer", "--", "sh", "-c", "kill -9 -1 || true") // not PID 1: the volume must outlive a restart
	c.Must("delete", "pod", "two", "--now")
	c.Until(10*time.Second, "the volumes to be removed", func() bool {
		left, err := filepath.Glob(filepath.Join(c.Dir(), "node", "pods", string(pod.UID)))
		return err == nil && len(left) == 0
	})
	admission(t, c)
}

// admission assigns pods by hand to a node that cannot have them.
func admission(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	by := func(name, rest string) {
		c.Create(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default}\nspec: {nodeName: n1, terminationGracePeriodSeconds: 0, containers: [{name: c, image: 'registry.k8s.io/pause:3.10.1', %s}]}", name, rest))
	}
	by("holder", "resources: {requests: {cpu: 1500m}}, ports: [{containerPort: 80, hostPort: 8080}]")
	c.AwaitPod("default", "holder", cluster.Running, 30*time.Second)
	by("toomuch", "resources: {requests: {cpu: 600m}}")
	message := "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"
	c.AwaitPod("default", "toomuch", rejected("OutOfcpu", "Pod was rejected: "+message), 10*time.Second)
	c.AwaitEvent("default", "toomuch", corev1.EventTypeWarning, "OutOfcpu", message)
	by("sameport", "ports: [{containerPort: 81, hostPort: 8080}]")
	message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
	c.AwaitPod("default", "sameport", rejected("NodePorts", "Pod was rejected: "+message), 10*time.Second)
	if got := strings.Fields(c.Must("get", "pod", "sameport", "--no-headers")); got[1] != "0/1" || got[2] != "NodePorts" {
		t.Errorf("get pod sameport: %v, want 0/1 NodePorts", got)
	}
	c.Delete("pods", "default", "holder")
	c.AwaitPod("default", "holder", cluster.Gone, 20*time.Second)
	by("fits", "resources: {requests: {cpu: 600m}}, ports: [{containerPort: 81, hostPort: 8080}]")
	c.AwaitPod("default", "fits", cluster.Running, 20*time.Second)
}

// Containers run on containerd, beside those of others, in one sandbox a pod, and live on when containerd dies.
func TestS8_8_ContainerRuntime(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: pair, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: a, image: busybox, command: [sleep, "3600"]}
  - {name: b, image: busybox, command: [sleep, "3600"]}
`)
	c.AwaitPod("default", "pair", cluster.Running, 30*time.Second)
	if ids := c.Containers("default", "pair"); len(ids) != 2 {
		t.Errorf("containers of the pod: %v, want its two and no other", ids)
	}

	// Somebody else's container in the same containerd.
	const image = "docker.io/library/busybox:latest"
	archive := filepath.Join(t.TempDir(), "busybox.tar")
	c.CTR("millrace", "images", "export", archive, image)
	c.CTR("other", "images", "import", archive)
	c.CTR("other", "run", "--detach", "--net-host", image, "theirs", "sleep", "3600")
	t.Cleanup(func() {
		c.CTR("other", "tasks", "kill", "--signal", "SIGKILL", "theirs")
		c.CTR("other", "containers", "delete", "theirs")
	})

	before := c.Tasks()
	daemon := c.Containerd()
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Until(20*time.Second, "containerd to be started again", func() bool { now := c.Containerd(); return now != 0 && now != daemon })
	c.Until(20*time.Second, "the kubelet to reach it", func() bool {
		out, _, code := c.Run("exec", "pair", "-c", "a", "--", "echo", "alive")
		return code == 0 && out == "alive\n"
	})
	if after := c.Tasks(); !maps.Equal(before, after) {
		t.Errorf("processes after the death of containerd: %v, before: %v", after, before)
	}
	pod := c.AwaitPod("default", "pair", cluster.Running, 20*time.Second)
	for _, s := range pod.Status.ContainerStatuses {
		if s.RestartCount != 0 {
			t.Errorf("container %s was restarted %d times", s.Name, s.RestartCount)
		}
	}

	c.Kill("kubelet") // it looks for leftovers of its own
	c.Delete("pods", "default", "pair")
	c.AwaitPod("default", "pair", cluster.Gone, 20*time.Second)
	c.Until(20*time.Second, "the pod's containers to be removed", func() bool { return len(c.Containers("", "")) == 0 })
	if got := c.CTR("other", "tasks", "list"); !strings.Contains(got, "theirs") || !strings.Contains(got, "RUNNING") {
		t.Errorf("somebody else's container: %s", got)
	}
}

// The parts are processes that share NATS and nothing else, and at rest they do nothing.
func TestS8_9_SeparateProcesses(t *testing.T) {
	need.Strace(t)
	c := cluster.Processes(t)
	for i := range 100 { // a state that would show if it were listed
		c.Create(configMap(fmt.Sprintf("big-%d", i), strings.Repeat("x", 20<<10)))
	}
	c.Create(asking("resting", "10m"))
	c.AwaitPod("default", "resting", cluster.Running, 30*time.Second)
	parts := []string{"nats", "api", "scheduler", "controller", "kubelet", "proxy"}
	pids := map[string]int{}
	for _, name := range parts {
		pids[name] = c.PID(name)
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pids[name]))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-10s pid %d %s", name, pids[name], filepath.Base(program))
		if name == "nats" {
			continue
		}
		for _, peer := range c.Peers(pids[name]) {
			if peer == cluster.RegistryAddress && name == "kubelet" {
				continue // images come from a registry
			}
			if peer != cluster.NATSAddress {
				t.Errorf("%s has a connection to %s, want NATS alone", name, peer)
			}
		}
	}
	if distinct := slices.Compact(slices.Sorted(maps.Values(pids))); len(distinct) != len(parts) {
		t.Errorf("processes %v, want one for each part", pids)
	}
	idle(t, c, pids)
}

// windows is how often a cluster at rest is looked at: what others do on the machine makes the same work take longer, so the
// quietest window counts. What a part did by itself would show in each.
const windows = 3

// idle looks at a cluster at rest. Whatever the parts say to each other passes the loopback interface of its namespace.
func idle(t *testing.T, c *cluster.Cluster, pids map[string]int) {
	t.Helper()
	const window = 15 * time.Second
	c.Rest(10 * time.Second) // what was begun comes to its end
	control, node := []string{"nats", "api", "scheduler", "controller"}, []string{"kubelet", "proxy"}
	best := map[string]float64{"control plane": math.Inf(1), "node": math.Inf(1)}
	for range windows {
		bytes, before := c.LoopbackBytes(), used(t, pids)
		c.Rest(window)
		after := used(t, pids)
		for part, names := range map[string][]string{"control plane": control, "node": node} {
			percent := 0.0
			for _, name := range names {
				percent += 100 * float64(after[name]-before[name]) / float64(window)
			}
			best[part] = min(best[part], percent)
		}
		// 100 ConfigMaps of 20 KiB are 2 MB: one list of them would show.
		if sent := c.LoopbackBytes() - bytes; sent > 200_000 {
			t.Errorf("%d bytes on the wire in %v of rest, want nothing that is like a list of 2 MB", sent, window)
		}
	}
	for _, part := range []struct {
		name    string
		names   []string
		percent float64
		memory  int64
	}{{"control plane", control, 1, 150}, {"node", node, 0.5, 70}} {
		var memory int64
		for _, name := range part.names {
			memory += cluster.Memory(t, pids[name]) >> 20
		}
		t.Logf("%s at rest: %.2f %% of a core, %d MiB", part.name, best[part.name], memory)
		if best[part.name] > part.percent || memory > part.memory {
			t.Errorf("%s at rest: %.2f %% of a core and %d MiB, want at most %.1f %% and %d MiB", part.name, best[part.name], memory, part.percent, part.memory)
		}
	}
	calls := c.SystemCalls(5*time.Second, pids)
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		t.Logf("%s makes %.1f system calls a second", name, calls[name])
		if name != "nats" && calls[name] > 100 { // timers of Go's runtime and of NATS connections make some 10 to 30
			t.Errorf("%s makes %.0f system calls a second at rest: it polls", name, calls[name])
		}
	}
}

func used(t *testing.T, pids map[string]int) map[string]time.Duration {
	t.Helper()
	cpu := map[string]time.Duration{}
	for name, pid := range pids {
		cpu[name] = cluster.CPU(t, pid)
	}
	return cpu
}
