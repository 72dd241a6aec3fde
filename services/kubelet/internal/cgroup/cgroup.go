// Package cgroup makes, limits, reads and removes the control groups of pods. Those of containers are made by the low-level
// runtime below them. It knows both kinds of machine: one hierarchy a controller (version 1), and the unified one (version
// 2). Paths are those that a container's spec has: absolute, relative to the mount of each hierarchy.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits bound a group with everything below it. Zero means no limit.
type Limits struct {
	// CPUShares is the weight in the scale of version 1, where 1024 is one CPU.
	CPUShares uint64
	// CPUQuota is the time in µs that may be used in each CPUPeriod (µs, 100,000 if zero).
	CPUQuota  int64
	CPUPeriod uint64
	// MemoryBytes is the limit of memory; swap does not come on top.
	MemoryBytes int64
	// PIDs is how many processes and threads there may be.
	PIDs int64
}

// Hierarchy is where the groups of this machine are. It holds no state: safe for concurrent use.
type Hierarchy struct {
	unified string            // mount point of version 2, or empty
	mounts  map[string]string // controller to mount point of version 1
}

// Find reads which kind of control groups this machine has. A version 2 mount beside those of version 1 does not count.
func Find() (*Hierarchy, error) {
	body, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	h := parseMounts(string(body))
	if h.unified == "" && h.mounts["memory"] == "" {
		return nil, errors.New("find control groups: no hierarchy with memory is mounted")
	}
	return h, nil
}

// parseMounts reads mountinfo: fields, a hyphen, then file system, source and options.
func parseMounts(mountinfo string) *Hierarchy {
	h := &Hierarchy{mounts: map[string]string{}}
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 6 || len(kind) < 3 {
			continue
		}
		where := fields[4]
		switch {
		case kind[0] == "cgroup2" && where == "/sys/fs/cgroup":
			h.unified = where
		case kind[0] == "cgroup2":
			h.mounts["unified"] = where // beside version 1: without controllers, but the low-level runtime uses it
		case kind[0] == "cgroup" && !slices.Contains(strings.Split(fields[5], ","), "ro"):
			for option := range strings.SplitSeq(kind[2], ",") {
				if option != "rw" {
					h.mounts[option] = where // a controller, or name=systemd
				}
			}
		}
	}
	return h
}

// Unified says that this machine has version 2.
func (h *Hierarchy) Unified() bool { return h.unified != "" }

// dirs are the directories of one group, each once.
func (h *Hierarchy) dirs(path string) []string {
	if h.Unified() {
		return []string{filepath.Join(h.unified, path)}
	}
	var dirs []string
	for _, mount := range h.mounts {
		dirs = append(dirs, filepath.Join(mount, path))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// Create makes a group in every hierarchy, if need be with those above it, and sets its limits. A group that is there gets
// these limits.
func (h *Hierarchy) Create(path string, l Limits) error {
	for _, dir := range h.dirs(path) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create control group: %w", err)
		}
	}
	if h.Unified() {
		h.delegate(path)
	} else if err := h.inheritCPUSet(path); err != nil {
		return fmt.Errorf("create control group %s: %w", path, err)
	}
	for _, s := range h.settings(l) {
		file := filepath.Join(h.dir(s.controller, path), s.file)
		err := os.WriteFile(file, []byte(s.value), 0)
		if err != nil && (!s.optional || !errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("limit control group: %w", err)
		}
	}
	return nil
}

func (h *Hierarchy) dir(controller, path string) string {
	if h.Unified() {
		return filepath.Join(h.unified, path)
	}
	return filepath.Join(h.mounts[controller], path)
}

// delegate lets every group on the way hand its controllers on. A controller that the kernel lacks is not there below.
func (h *Hierarchy) delegate(path string) {
	dir := h.unified
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
		dir = filepath.Join(dir, part)
	}
}

// inheritCPUSet fills in the processors and memory nodes of a group, which version 1 leaves empty: nothing can run there.
func (h *Hierarchy) inheritCPUSet(path string) error {
	dir, ok := h.mounts["cpuset"]
	if !ok {
		return nil
	}
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		above := dir
		dir = filepath.Join(dir, part)
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			had, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				return err
			}
			if strings.TrimSpace(string(had)) != "" {
				continue
			}
			value, err := os.ReadFile(filepath.Join(above, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

type setting struct {
	controller, file, value string
	optional                bool
}

func (h *Hierarchy) settings(l Limits) []setting {
	period := l.CPUPeriod
	if period == 0 {
		period = 100000
	}
	if h.Unified() {
		return unifiedSettings(l, period)
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	limit := func(n int64) string {
		if n <= 0 {
			return "-1"
		}
		return number(n)
	}
	list := []setting{
		{controller: "cpu", file: "cpu.cfs_period_us", value: number(int64(period))},
		{controller: "cpu", file: "cpu.cfs_quota_us", value: limit(l.CPUQuota)},
		{controller: "memory", file: "memory.limit_in_bytes", value: limit(l.MemoryBytes)},
		{controller: "pids", file: "pids.max", value: "max"},
	}
	if l.PIDs > 0 {
		list[3].value = number(l.PIDs)
	}
	if l.CPUShares > 0 {
		list = append(list, setting{controller: "cpu", file: "cpu.shares", value: strconv.FormatUint(l.CPUShares, 10)})
	}
	return list
}

func unifiedSettings(l Limits, period uint64) []setting {
	limit := func(n int64) string {
		if n <= 0 {
			return "max"
		}
		return strconv.FormatInt(n, 10)
	}
	list := []setting{
		{file: "cpu.max", value: limit(l.CPUQuota) + " " + strconv.FormatUint(period, 10)},
		{file: "memory.max", value: limit(l.MemoryBytes)},
		{file: "memory.swap.max", value: limit(0), optional: true},
		{file: "pids.max", value: limit(l.PIDs)},
	}
	if l.MemoryBytes > 0 {
		list[2].value = "0"
	}
	if l.CPUShares > 0 {
		list = append(list, setting{file: "cpu.weight", value: strconv.FormatUint(weight(l.CPUShares), 10)})
	}
	return list
}

// weight maps shares (2 to 262144) to the scale of version 2 (1 to 10000) as the low-level runtimes do.
func weight(shares uint64) uint64 {
	shares = min(max(shares, 2), 262144)
	return 1 + (shares-2)*9999/262142
}

// OOMKills is how many processes of the group itself the kernel has killed for want of memory. It is readable until the
// group is removed.
func (h *Hierarchy) OOMKills(path string) (int, error) {
	file := "memory.oom_control"
	if h.Unified() {
		file = "memory.events"
	}
	body, err := os.ReadFile(filepath.Join(h.dir("memory", path), file))
	if err != nil {
		return 0, fmt.Errorf("read out-of-memory kills: %w", err)
	}
	for line := range strings.Lines(string(body)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return strconv.Atoi(text)
		}
	}
	return 0, nil
}

// Enter moves a process into a group, in every hierarchy.
func (h *Hierarchy) Enter(path string, pid int) error {
	for _, dir := range h.dirs(path) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}

// Processes are those of a group itself; none if it is not there.
func (h *Hierarchy) Processes(path string) []int {
	body, err := os.ReadFile(filepath.Join(h.dir("memory", path), "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for text := range strings.FieldsSeq(string(body)) {
		if pid, err := strconv.Atoi(text); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Exists says whether a group is there in any hierarchy.
func (h *Hierarchy) Exists(path string) bool {
	return slices.ContainsFunc(h.dirs(path), func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	})
}

// rounds bounds how often Remove kills what was forked while it killed.
const rounds = 20

// Remove kills whatever runs in a group or below, waits for its end and removes them. What is gone already is no error.
func (h *Hierarchy) Remove(path string) error {
	if clean := filepath.Clean("/" + path); clean == "/" {
		return errors.New("remove control group: the root is not ours")
	}
	var errs []error
	for _, dir := range h.dirs(path) {
		if err := removeTree(dir); err != nil {
			errs = append(errs, fmt.Errorf("remove control group: %w", err))
		}
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for range rounds {
		err = unix.Rmdir(dir)
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		if err := killAll(filepath.Join(dir, "cgroup.procs")); err != nil {
			return err
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// killAll kills the processes that a file lists and waits until they have ended.
func killAll(procs string) error {
	body, err := os.ReadFile(procs)
	if err != nil {
		return err
	}
	var waits []unix.PollFd
	defer func() {
		for _, w := range waits {
			_ = unix.Close(int(w.Fd))
		}
	}()
	for text := range strings.FieldsSeq(string(body)) {
		pid, err := strconv.Atoi(text)
		if err != nil || pid == os.Getpid() {
			return fmt.Errorf("kill processes in %s: not process %s", procs, text)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // gone
		}
		waits = append(waits, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	const patience = 2000 // ms: a process in the kernel ends when that lets it
	for i := range waits {
		if _, err := unix.Poll(waits[i:i+1], patience); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return nil
}
