package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/need"
)

func TestParseMounts(t *testing.T) {
	const v1 = `24 1 0:20 / /proc rw - proc proc rw
30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 29 0:28 / /sys/fs/cgroup/freezer ro - cgroup cgroup rw,freezer
33 29 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 29 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	h := parseMounts(v1)
	want := map[string]string{
		"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
		"memory": "/sys/fs/cgroup/memory", "name=systemd": "/sys/fs/cgroup/systemd", "unified": "/sys/fs/cgroup/unified",
	}
	if diff := cmp.Diff(want, h.mounts); diff != "" || h.Unified() {
		t.Errorf("version 1, unified %v (-want +got):\n%s", h.Unified(), diff)
	}
	if diff := cmp.Diff([]string{"/sys/fs/cgroup/cpu,cpuacct/a", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/systemd/a", "/sys/fs/cgroup/unified/a"}, h.dirs("/a")); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
	h = parseMounts("30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n")
	if !h.Unified() {
		t.Error("version 2 was not found")
	}
}

func TestSettings(t *testing.T) {
	l := Limits{CPUShares: 512, CPUQuota: 20000, MemoryBytes: 64 << 20, PIDs: 50}
	show := func(list []setting) (all []string) {
		for _, s := range list {
			all = append(all, s.file+"="+s.value)
		}
		return all
	}
	v1, v2 := &Hierarchy{}, &Hierarchy{unified: "/x"}
	tests := []struct {
		name string
		h    *Hierarchy
		l    Limits
		want []string
	}{
		{name: "v1", h: v1, l: l, want: []string{"cpu.cfs_period_us=100000", "cpu.cfs_quota_us=20000", "memory.limit_in_bytes=67108864", "pids.max=50", "cpu.shares=512"}},
		{name: "v1 without limits", h: v1, want: []string{"cpu.cfs_period_us=100000", "cpu.cfs_quota_us=-1", "memory.limit_in_bytes=-1", "pids.max=max"}},
		{name: "v2", h: v2, l: l, want: []string{"cpu.max=20000 100000", "memory.max=67108864", "memory.swap.max=0", "pids.max=50", "cpu.weight=20"}},
		{name: "v2 without limits", h: v2, want: []string{"cpu.max=max 100000", "memory.max=max", "memory.swap.max=max", "pids.max=max"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, show(tt.h.settings(tt.l))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 1024: 39, 262144: 10000, 1 << 40: 10000} {
		if got := weight(shares); got != want {
			t.Errorf("weight(%d) = %d, want %d", shares, got, want)
		}
	}
}

func TestCreateLimitRemove(t *testing.T) {
	need.CgroupV1(t)
	h, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	parent := fmt.Sprintf("/mrtest-%d", os.Getpid())
	pod := parent + "/pod1"
	t.Cleanup(func() {
		if err := h.Remove(parent); err != nil {
			t.Error(err)
		}
	})
	read := func(controller, file string) string {
		body, err := os.ReadFile(filepath.Join(h.mounts[controller], pod, file))
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(body))
	}
	for _, quota := range []int64{20000, 0, 30000} { // made, then changed
		if err := h.Create(pod, Limits{CPUQuota: quota, CPUShares: 512, MemoryBytes: 64 << 20, PIDs: 50}); err != nil {
			t.Fatal(err)
		}
		want := map[int64]string{20000: "20000", 0: "-1", 30000: "30000"}[quota]
		if got := read("cpu", "cpu.cfs_quota_us"); got != want {
			t.Errorf("quota is %s, want %s", got, want)
		}
	}
	if got := read("memory", "memory.limit_in_bytes") + " " + read("pids", "pids.max"); got != "67108864 50" {
		t.Errorf("limits are %s", got)
	}
	if got := read("cpuset", "cpuset.cpus"); got == "" {
		t.Error("the group may use no processor")
	}
	if n, err := h.OOMKills(pod); n != 0 || err != nil {
		t.Errorf("OOMKills = %d, %v", n, err)
	}

	// A process that is still there, below the pod.
	if err := h.Create(pod+"/c", Limits{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.Enter(pod+"/c", cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if got := h.Processes(pod + "/c"); len(got) != 1 || got[0] != cmd.Process.Pid {
		t.Errorf("processes are %v, want %d", got, cmd.Process.Pid)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for range 2 {
		if err := h.Remove(parent); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err == nil || err.Error() != "signal: killed" {
		t.Errorf("the process ended with %v", err)
	}
	if h.Exists(parent) {
		t.Error("the group is still there")
	}
	for _, path := range []string{"", "/", "/a/.."} {
		if err := h.Remove(path); err == nil {
			t.Errorf("removed %q", path)
		}
	}
}
