// Package need says what a test requires of the machine. A test that lacks something is skipped with the reason, and fails
// instead if MILLRACE_REQUIRE lists that need (names separated by commas, or "all"): where everything is promised to be
// there, as in CI, nothing is skipped in silence.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// variable lists the needs that must be met.
const variable = "MILLRACE_REQUIRE"

// Linux requires a Linux kernel. Its name is "linux".
func Linux(t testing.TB) {
	t.Helper()
	check(t, "linux", linux())
}

// Root requires uid 0 on Linux: mounts, namespaces, cgroups. Its name is "root".
func Root(t testing.TB) {
	t.Helper()
	check(t, "root", root())
}

// Containerd requires root and the programs containerd, its runc shim and runc. It starts nothing. Its name is
// "containerd".
func Containerd(t testing.TB) {
	t.Helper()
	check(t, "containerd", firstOf(root, program("containerd"), program("containerd-shim-runc-v2"), program("runc")))
}

// Nftables requires root and the program nft, with which tests look at what was programmed. Its name is "nftables".
func Nftables(t testing.TB) {
	t.Helper()
	check(t, "nftables", firstOf(root, program("nft")))
}

// Strace requires root and the program strace, with which tests count what processes ask of the kernel. Its name is "strace".
func Strace(t testing.TB) {
	t.Helper()
	check(t, "strace", firstOf(root, program("strace")))
}

// Network requires root and a kernel in which bridges and virtual ethernet pairs can be made. Its name is "network".
func Network(t testing.TB) {
	t.Helper()
	check(t, "network", firstOf(root, file("/proc/sys/net/bridge/bridge-nf-call-iptables")))
}

// CgroupV1 requires root and cgroup v1 hierarchies. Its name is "cgroup-v1".
func CgroupV1(t testing.TB) {
	t.Helper()
	check(t, "cgroup-v1", firstOf(root, file("/sys/fs/cgroup/memory/memory.limit_in_bytes")))
}

// CgroupV2 requires root and the unified hierarchy with its controllers. Its name is "cgroup-v2".
func CgroupV2(t testing.TB) {
	t.Helper()
	check(t, "cgroup-v2", firstOf(root, file("/sys/fs/cgroup/cgroup.controllers")))
}

// Busybox requires a statically linked busybox and returns its path. Its name is "busybox".
func Busybox(t testing.TB) string {
	t.Helper()
	path, lack := busybox()
	check(t, "busybox", lack)
	return path
}

func check(t testing.TB, name, lack string) {
	t.Helper()
	switch {
	case lack == "":
	case required(os.Getenv(variable), name):
		t.Fatalf("need %s: %s, and %s demands it", name, lack, variable)
	default:
		t.Skipf("need %s: %s", name, lack)
	}
}

// required says whether list, the value of MILLRACE_REQUIRE, names the need. The two kinds of cgroup exclude each other
// on one machine, so that "all" means whichever is there: only its own name demands one of them.
func required(list, name string) bool {
	names := strings.Split(list, ",")
	return slices.Contains(names, name) || (slices.Contains(names, "all") && !strings.HasPrefix(name, "cgroup-"))
}

func firstOf(checks ...func() string) string {
	for _, lacking := range checks {
		if lack := lacking(); lack != "" {
			return lack
		}
	}
	return ""
}

func linux() string {
	if runtime.GOOS != "linux" {
		return "this is " + runtime.GOOS
	}
	return ""
}

func root() string {
	if lack := linux(); lack != "" {
		return lack
	}
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Sprintf("uid is %d, not 0", uid)
	}
	return ""
}

func program(name string) func() string {
	return func() string {
		if _, err := exec.LookPath(name); err != nil {
			return "no program " + name
		}
		return ""
	}
}

func file(path string) func() string {
	return func() string {
		if _, err := os.Stat(path); err != nil {
			return "no file " + path
		}
		return ""
	}
}

func busybox() (path, lack string) {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin"} {
		path = filepath.Join(dir, "busybox")
		if _, err := os.Stat(path); err == nil {
			return path, ""
		}
	}
	return "", "no busybox (Debian: busybox-static)"
}
