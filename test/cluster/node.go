//go:build linux

package cluster

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ctr calls containerd's own tool on the node's containerd, below Millrace.
func (c *Cluster) ctr(args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	socket := filepath.Join(c.run, "node", "containerd", "containerd.sock")
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"--address", socket, "--namespace", "millrace"}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("ctr %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// Containers are the ids of the containers that the node has of a pod, as its containerd says; name "" means of all pods.
func (c *Cluster) Containers(namespace, name string) []string {
	c.t.Helper()
	args := []string{"containers", "list", "--quiet"}
	if name != "" {
		args = append(args, `labels."millrace.dev/pod"==`+namespace+"/"+name)
	}
	return strings.Fields(c.ctr(args...))
}

// Tasks maps the ids of the containers that run on the node to the process ids of their first processes.
func (c *Cluster) Tasks() map[string]string {
	c.t.Helper()
	tasks := map[string]string{}
	for line := range strings.Lines(c.ctr("tasks", "list")) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "RUNNING" {
			tasks[f[0]] = f[1]
		}
	}
	return tasks
}
