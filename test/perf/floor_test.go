//go:build linux

package perf

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"millrace.dev/test/cluster"
)

// floor starts raw containers on the node's containerd, beside those of Millrace: what no orchestrator can undercut.
type floor struct {
	b     *testing.B
	c     *cluster.Cluster
	ctx   context.Context //nolint:containedctx // it carries the containerd namespace of the whole run
	conn  *containerd.Client
	image containerd.Image
}

func newFloor(b *testing.B, c *cluster.Cluster) *floor {
	b.Helper()
	const namespace, image = "floor", "docker.io/library/busybox:latest"
	c.Create("apiVersion: v1\nkind: Pod\nmetadata: {name: pulls, namespace: default}\n" +
		"spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: ['true']}]}")
	c.AwaitPod("default", "pulls", cluster.Phase("Succeeded"), time.Minute)
	archive := filepath.Join(b.TempDir(), "image.tar")
	c.CTR("millrace", "images", "export", archive, image)
	c.CTR(namespace, "images", "import", archive)
	conn, err := containerd.New(c.ContainerdSocket())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
	})
	f := &floor{b: b, c: c, conn: conn, ctx: namespaces.WithNamespace(b.Context(), namespace)}
	if f.image, err = conn.GetImage(f.ctx, image); err != nil {
		b.Fatal(err)
	}
	return f
}

// run starts a container with a network of its own, removes it, and gives how long the start took.
func (f *floor) run(id string) time.Duration {
	f.b.Helper()
	began := time.Now()
	network := f.network(id)
	made, err := f.conn.NewContainer(f.ctx, id, containerd.WithNewSnapshot(id, f.image), containerd.WithNewSpec(
		oci.WithImageConfig(f.image), oci.WithProcessArgs("sleep", "3600"), oci.WithCgroup(filepath.Join("/", f.c.Name(), "floor", id)),
		oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: network}),
	))
	f.check("make container", err)
	task, err := made.NewTask(f.ctx, cio.NullIO)
	f.check("make task", err)
	f.check("start", task.Start(f.ctx))
	took := time.Since(began)

	exited, err := task.Wait(f.ctx)
	f.check("wait", err)
	f.check("kill", task.Kill(f.ctx, syscall.SIGKILL))
	<-exited
	_, err = task.Delete(f.ctx)
	f.check("delete task", err)
	f.check("delete container", made.Delete(f.ctx, containerd.WithSnapshotCleanup))
	f.check("unmount network", unix.Unmount(network, unix.MNT_DETACH))
	f.check("remove network", os.Remove(network))
	return took
}

func (f *floor) check(what string, err error) {
	f.b.Helper()
	if err != nil {
		f.b.Fatalf("%s: %v", what, err)
	}
}

// network makes a network namespace with one end of a veth pair in it, up and with an address, and gives the file that holds it.
// The other end stays in the namespace of the cluster.
func (f *floor) network(id string) string {
	f.b.Helper()
	file := filepath.Join(f.b.TempDir(), id)
	f.check("make network", os.WriteFile(file, nil, 0o600))
	f.check("make network", f.c.Inside(func() error {
		runtime.LockOSThread() // the thread ends with what runs on it
		outside, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer outside.Close() //nolint:errcheck // it was only read
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := unix.Mount("/proc/thread-self/ns/net", file, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := pair(id, int(outside.Fd())); err != nil {
			return err
		}
		if err := unix.Setns(int(outside.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		peer, err := netlink.LinkByName(peerName(id))
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(peer)
	}))
	return file
}

func peerName(id string) string { return "f" + strings.ReplaceAll(id, "-", "") }

// pair makes the veth pair from inside.
func pair(id string, outside int) error {
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: peerName(id), PeerNamespace: netlink.NsFd(outside)}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	address, err := netlink.ParseAddr("192.0.2.2/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}
