// Package machine reads what the machine under a node is: its size, its system, its address.
package machine

import (
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Machine is what a node can tell of its machine.
type Machine struct {
	CPUs          int
	MemoryBytes   int64
	StorageBytes  int64 // of the file system that holds the node's data
	Kernel        string
	OSImage       string
	MachineID     string
	SystemUUID    string
	BootID        string
	Hostname      string
	Address       string // by which it reaches others; empty: none
	Architecture  string
	OperatingName string
}

// Read reads the machine; data is a directory on the file system that holds the node's data.
func Read(data string) (*Machine, error) {
	m := &Machine{CPUs: runtime.NumCPU(), Architecture: runtime.GOARCH, OperatingName: runtime.GOOS}
	var err error
	if m.MemoryBytes, err = memory(); err != nil {
		return nil, err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(data, &disk); err != nil {
		return nil, fmt.Errorf("size of %s: %w", data, err)
	}
	m.StorageBytes = int64(disk.Blocks) * disk.Bsize
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(u.Release[:])
	m.Hostname = unix.ByteSliceToString(u.Nodename[:])
	m.OSImage = osImage()
	m.MachineID = line("/etc/machine-id")
	m.SystemUUID = line("/sys/class/dmi/id/product_uuid")
	m.BootID = line("/proc/sys/kernel/random/boot_id")
	m.Address = address()
	return m, nil
}

func memory() (int64, error) {
	body, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("size of memory: %w", err)
	}
	for l := range strings.Lines(string(body)) {
		if fields := strings.Fields(l); len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("size of memory: /proc/meminfo does not say")
}

// line is the first line of a file, or nothing.
func line(file string) string {
	body, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(body), "\n")
	return strings.TrimSpace(first)
}

func osImage() string {
	body, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for l := range strings.Lines(string(body)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(l), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"`)
		}
	}
	return runtime.GOOS
}

// address is the one from which the machine would reach others: that of its default route, or the first that is not its own
// alone. Nothing is sent.
func address() string {
	if c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9}); err == nil {
		defer func() { _ = c.Close() }()
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok && !a.IP.IsLoopback() {
			return a.IP.String()
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// Capacity is what the machine has, in Kubernetes' resources. override replaces single ones.
func (m *Machine) Capacity(pods int64, override corev1.ResourceList) corev1.ResourceList {
	list := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(m.CPUs), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(m.MemoryBytes, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(m.StorageBytes, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(pods, resource.DecimalSI),
	}
	maps.Copy(list, override)
	return list
}
