package machine

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestRead(t *testing.T) {
	m, err := Read(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if m.CPUs != runtime.NumCPU() || m.Hostname != hostname || m.BootID != strings.TrimSpace(string(boot)) || m.Kernel != strings.TrimSpace(string(kernel)) ||
		m.Architecture != runtime.GOARCH || m.OperatingName != "linux" {
		t.Errorf("machine is %+v", m)
	}
	if m.MemoryBytes < 64<<20 || m.StorageBytes < 1<<20 || m.OSImage == "" {
		t.Errorf("memory %d, storage %d, image %q", m.MemoryBytes, m.StorageBytes, m.OSImage)
	}
	if a, err := netip.ParseAddr(m.Address); err != nil || !a.Is4() {
		t.Errorf("address is %q, want an IPv4 address", m.Address)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("Read with a directory that is not there gives no error")
	}
}

func TestLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for body, want := range map[string]string{"": "", "id\n": "id", " id \nmore\n": "id", "id": "id"} {
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := line(file); got != want {
			t.Errorf("line of %q = %q, want %q", body, got, want)
		}
	}
	if got := line(file + "none"); got != "" {
		t.Errorf("line of a file that is not there = %q", got)
	}
}

func TestCapacity(t *testing.T) {
	m := &Machine{CPUs: 4, MemoryBytes: 8 << 30, StorageBytes: 100 << 30}
	got := m.Capacity(110, corev1.ResourceList{"cpu": resource.MustParse("1500m"), "example.com/gpu": resource.MustParse("2")})
	texts := map[corev1.ResourceName]string{}
	for name, quantity := range got {
		texts[name] = quantity.String()
	}
	want := map[corev1.ResourceName]string{"cpu": "1500m", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110", "example.com/gpu": "2"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("capacity (-want +got):\n%s", diff)
	}
}
