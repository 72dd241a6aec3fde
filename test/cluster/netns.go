//go:build linux

package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// netns is a network namespace of the test's own: what runs in it disturbs nobody, and goes with it.
type netns struct {
	name string
	file string
}

// newNetns makes a namespace with a working loopback that is gone when the test ends.
func newNetns(t testing.TB, name string) *netns {
	t.Helper()
	n := &netns{name: name, file: "/run/netns/" + name}
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("make network namespace: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "ip", "netns", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("remove network namespace: %v: %s", err, out)
		}
	})
	n.must(t, "ip", "link", "set", "lo", "up")
	return n
}

// command runs a program inside. ip netns exec would mount /sys anew, which hides the control groups.
func (n *netns) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.file, "--", program}, args...)...)
}

func (n *netns) must(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := n.command(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v in namespace %s: %v: %s", program, args, n.name, err, out)
	}
	return string(out)
}

// inside runs f on a thread that is in the namespace. Sockets that f opens stay there.
func (n *netns) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		file, err := os.Open(n.file)
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = file.Close() }()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter %s: %w", n.name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Dial implements nats.CustomDialer: connections of the test process that begin inside.
func (n *netns) Dial(network, address string) (c net.Conn, err error) {
	err = n.inside(func() error {
		c, err = net.Dial(network, address) //nolint:noctx // the interface has none
		return err
	})
	return c, err
}

// listen opens a listener inside.
func (n *netns) listen(address string) (l net.Listener, err error) {
	err = n.inside(func() error {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// sweepStale removes what tests have left that were killed: their clusters and their namespaces.
func sweepStale(t testing.TB, bin string) {
	t.Helper()
	runs, err := filepath.Glob("/run/" + prefix + "[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		name := filepath.Base(run)
		if pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-"); exists("/proc/" + pid) {
			continue
		}
		n := &netns{name: name, file: "/run/netns/" + name}
		if data, err := os.ReadFile(filepath.Join(run, "data")); err == nil && exists(n.file) {
			down := n.command(t.Context(), filepath.Join(bin, "millrace"), "down", "--file", filepath.Join(string(data), "up.yaml"), "--purge")
			down.Env = append(os.Environ(), "MILLRACE_CONFIG="+filepath.Join(run, "context"))
			if out, err := down.CombinedOutput(); err != nil {
				t.Logf("clean up after a test that was killed: %v\n%s", err, out)
				continue // the next test tries again
			}
		}
		if exists(n.file) {
			if out, err := exec.CommandContext(t.Context(), "ip", "netns", "delete", name).CombinedOutput(); err != nil {
				t.Logf("remove the network namespace of a test that was killed: %v: %s", err, out)
			}
		}
		if err := os.RemoveAll(run); err != nil {
			t.Log(err)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
