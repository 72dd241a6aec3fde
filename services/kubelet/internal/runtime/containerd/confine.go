package containerd

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/runtime"
)

// capabilityNames are those of Linux by their number.
var capabilityNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// defaultCapabilities are what a container has that says nothing, as with every runtime of Kubernetes.
var defaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// maxOpenFiles is the limit of open files of a container where the machine allows it, the usual one of nodes.
const maxOpenFiles = 1 << 20

// confines are what this process may hand on. In a confined one (a node in a container) it is less than everything, and a
// container that asks for more would not start at all.
type confines struct {
	capabilities []string // the bounding set
	openFiles    uint64   // hard limit
	minOOMScore  int
}

func readConfines() (confines, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return confines{}, fmt.Errorf("read own capabilities: %w", err)
	}
	var bounding uint64
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			if bounding, err = strconv.ParseUint(strings.TrimSpace(text), 16, 64); err != nil {
				return confines{}, fmt.Errorf("read own capabilities: %w", err)
			}
		}
	}
	c := confines{minOOMScore: -1000}
	for bit, name := range capabilityNames {
		if bounding&(1<<bit) != 0 {
			c.capabilities = append(c.capabilities, name)
		}
	}
	if !slices.Contains(c.capabilities, "CAP_SYS_RESOURCE") {
		c.minOOMScore = ownOOMScore() // nothing may be set below one's own
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return confines{}, fmt.Errorf("read own limit of open files: %w", err)
	}
	c.openFiles = min(limit.Max, maxOpenFiles)
	return c, nil
}

func ownOOMScore() int {
	body, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0
	}
	return n
}

// capabilitiesFor are those of a container: the default ones, with what is added and without what is dropped, as far as
// this process has them. ALL comes before the single ones.
func (c confines) capabilitiesFor(s *runtime.Security) ([]string, error) {
	if s.Privileged {
		return c.capabilities, nil
	}
	has := map[string]bool{}
	for _, name := range defaultCapabilities {
		has[name] = true
	}
	add, err := capabilitySet(s.AddCapabilities)
	if err != nil {
		return nil, err
	}
	drop, err := capabilitySet(s.DropCapabilities)
	if err != nil {
		return nil, err
	}
	if add[all] {
		setAll(has, true)
	}
	if drop[all] {
		setAll(has, false)
	}
	for name := range add {
		has[name] = true
	}
	for name := range drop {
		has[name] = false
	}
	var granted []string
	for _, name := range c.capabilities {
		if has[name] {
			granted = append(granted, name)
		}
	}
	return granted, nil
}

const all = "ALL"

func setAll(has map[string]bool, value bool) {
	for _, name := range capabilityNames {
		has[name] = value
	}
}

func capabilitySet(list []string) (map[string]bool, error) {
	set := map[string]bool{}
	for _, name := range list {
		full := strings.ToUpper(name)
		if full != all && !strings.HasPrefix(full, "CAP_") {
			full = "CAP_" + full
		}
		if full != all && !slices.Contains(capabilityNames, full) {
			return nil, fmt.Errorf("%w: unknown capability %q", runtime.ErrInvalid, name)
		}
		set[full] = true
	}
	return set, nil
}

// signalNumber reads "SIGTERM", "TERM", "15" or "SIGRTMIN+3".
func signalNumber(name string) (unix.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return unix.Signal(n), nil
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	if n := unix.SignalNum(full); n != 0 {
		return n, nil
	}
	const firstRealTime, lastRealTime = 34, 64 // as the C library counts them
	if text, ok := strings.CutPrefix(full, "SIGRTMIN"); ok {
		if n, err := strconv.Atoi("0" + strings.TrimPrefix(text, "+")); err == nil && firstRealTime+n <= lastRealTime {
			return unix.Signal(firstRealTime + n), nil
		}
	}
	if text, ok := strings.CutPrefix(full, "SIGRTMAX"); ok {
		if n, err := strconv.Atoi("0" + strings.TrimPrefix(text, "-")); err == nil && lastRealTime-n >= firstRealTime {
			return unix.Signal(lastRealTime - n), nil
		}
	}
	return 0, fmt.Errorf("%w: unknown signal %q", runtime.ErrInvalid, name)
}
