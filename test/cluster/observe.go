//go:build linux

package cluster

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Rest lets time pass in which nothing is asked of the cluster: what it does by itself is what is looked at.
func (c *Cluster) Rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.t.Context().Done():
	}
}

// Dir holds what lasts of the cluster.
func (c *Cluster) Dir() string { return c.dir }

// CPU is the time that a process has computed so far, in user mode and in the kernel.
func CPU(t testing.TB, pid int) time.Duration {
	t.Helper()
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(body), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatalf("stat of %d: %v", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Memory is what a process has in memory, in bytes.
func Memory(t testing.TB, pid int) int64 {
	t.Helper()
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatalf("status of %d: %v", pid, err)
			}
			return n << 10
		}
	}
	t.Fatalf("process %d has no VmRSS", pid)
	return 0
}

// LoopbackBytes are those that have passed the loopback interface of the namespace: all that the parts say to each other.
func (c *Cluster) LoopbackBytes() int64 {
	c.t.Helper()
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", c.PID("nats")))
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "lo:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return n
		}
	}
	c.t.Fatal("no loopback interface")
	return 0
}

// Peers are the addresses to which a process has TCP connections that it opened, without those that it accepted.
func (c *Cluster) Peers(pid int) []string {
	c.t.Helper()
	own := map[string]bool{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		if target, err := os.Readlink(f); err == nil {
			own[target] = true
		}
	}
	var peers []string
	for _, table := range []string{"tcp", "tcp6"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			c.t.Fatal(err)
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			const established = "01"
			if len(f) > 9 && f[3] == established && own["socket:["+f[9]+"]"] {
				peers = append(peers, address(c.t, f[2]))
			}
		}
		if err := errors.Join(lines.Err(), file.Close()); err != nil {
			c.t.Fatal(err)
		}
	}
	slices.Sort(peers)
	return slices.Compact(peers)
}

// address reads an IPv4 address and port as the kernel prints them: the address in the order of the machine's bytes.
func address(t testing.TB, text string) string {
	t.Helper()
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw) != 4 {
		return text
	}
	slices.Reverse(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw)), uint16(n)).String()
}

// SystemCalls counts for a while the system calls of processes, by name; the answer is how many a second each made.
func (c *Cluster) SystemCalls(d time.Duration, pids map[string]int) map[string]float64 {
	c.t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	rates := map[string]float64{}
	for name, pid := range pids {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(c.t.Context(), d+30*time.Second)
			defer cancel()
			file := filepath.Join(c.dir, name+".strace")
			cmd := exec.CommandContext(ctx, "timeout", "--signal=INT", fmt.Sprint(d.Seconds()), "strace", "-f", "-c", "-o", file, "-p", strconv.Itoa(pid))
			out, _ := cmd.CombinedOutput() // timeout ends it; the file tells
			calls, err := total(file)
			if err != nil {
				c.t.Errorf("strace of %s: %v\n%s", name, err, out)
			}
			mu.Lock()
			defer mu.Unlock()
			rates[name] = float64(calls) / d.Seconds()
		})
	}
	wg.Wait()
	return rates
}

// total reads the last line of strace's summary.
func total(file string) (int, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 4 && f[len(f)-1] == "total" {
			return strconv.Atoi(f[3])
		}
	}
	if strings.TrimSpace(string(body)) == "" {
		return 0, nil // not a single call
	}
	return 0, fmt.Errorf("no total in %q", body)
}

// Inventory names everything that the cluster has on the machine but data, without what changes when a process starts anew: what
// is more after some work than before it was leaked. Processes count as often as they are there.
func (c *Cluster) Inventory() []string {
	c.t.Helper()
	var all []string
	for _, id := range c.Containers("", "") {
		all = append(all, "container "+id)
	}
	all = append(all, c.processes()...)
	all = append(all, c.mounts()...)
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + c.net.name)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, root := range groups {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, "cgroup "+path)
			}
			if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
				return nil
			}
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	for line := range strings.Lines(c.net.must(c.t, "ip", "-o", "link")) {
		_, rest, _ := strings.Cut(line, ": ") // behind the number
		name, _, _ := strings.Cut(rest, ":")
		all = append(all, "link "+name)
	}
	for line := range strings.Lines(c.net.must(c.t, "nft", "list", "ruleset")) {
		all = append(all, "nft "+strings.TrimSpace(line))
	}
	slices.Sort(all)
	return all
}

// mounts names the mounts in the cluster's directories.
func (c *Cluster) mounts() []string {
	var found []string
	body, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 4 && (strings.HasPrefix(f[4], c.run+"/") || strings.HasPrefix(f[4], c.dir+"/")) {
			found = append(found, "mount "+f[4])
		}
	}
	return found
}
