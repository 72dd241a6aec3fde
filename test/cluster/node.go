//go:build linux

package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/natskv"
	"millrace.dev/pkg/wire"
)

// millrace is the containerd namespace of the node's containers.
const millrace = "millrace"

// CTR calls containerd's own tool on the node's containerd, below Millrace, in a containerd namespace.
func (c *Cluster) CTR(namespace string, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"--address", c.ContainerdSocket(), "--namespace", namespace}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("ctr %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// ContainerdSocket is where the node's containerd listens.
func (c *Cluster) ContainerdSocket() string {
	return filepath.Join(c.run, "node", "containerd", "containerd.sock")
}

// Containerd is the process id of the node's containerd; 0 if there is none that answers.
func (c *Cluster) Containerd() int {
	body, err := os.ReadFile(filepath.Join(c.run, "node", "containerd", "containerd.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(body))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(c.t.Context(), "unix", c.ContainerdSocket())
	if err != nil {
		return 0
	}
	_ = conn.Close() // nothing was sent
	return pid
}

// Containers are the ids of the containers that the node has of a pod, as its containerd says; name "" means of all pods.
func (c *Cluster) Containers(namespace, name string) []string {
	c.t.Helper()
	args := []string{"containers", "list", "--quiet"}
	if name != "" {
		args = append(args, `labels."millrace.dev/pod"==`+namespace+"/"+name)
	}
	return strings.Fields(c.CTR(millrace, args...))
}

// Tasks maps the ids of the containers that run on the node to the process ids of their first processes.
func (c *Cluster) Tasks() map[string]string {
	c.t.Helper()
	tasks := map[string]string{}
	for line := range strings.Lines(c.CTR(millrace, "tasks", "list")) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "RUNNING" {
			tasks[f[0]] = f[1]
		}
	}
	return tasks
}

// Order is what the store tells a node about a pod; nil if it tells nothing.
func (c *Cluster) Order(node, namespace, name string) *state.Order {
	c.t.Helper()
	entry, err := c.Store().Read(c.t.Context(), state.OrderKey(node, namespace, name))
	if errors.Is(err, store.ErrNotFound) || err == nil && entry.Removed {
		return nil
	}
	if err != nil {
		c.t.Fatalf("read order: %v", err)
	}
	order, err := state.DecodeOrder(entry.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return order
}

// Store opens the store with a credential of the api's, below everything that guards it.
func (c *Cluster) Store() *natskv.Store {
	c.t.Helper()
	const name = "test"
	credential, err := c.Authority().Mint(auth.RoleAPI, name, time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := natskv.Open(c.t.Context(), c.Dial(credential, wire.Inbox(name)))
	if err != nil {
		c.t.Fatalf("open store: %v", err)
	}
	return s
}
