// Package kubelet runs the pods of one node: it makes containerd match the node's orders and reports what it finds. It writes
// no state itself, and only dials out.
package kubelet

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/daemon"
	"millrace.dev/pkg/feed"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/kubelet/internal/checkpoint"
	"millrace.dev/services/kubelet/internal/image"
	"millrace.dev/services/kubelet/internal/machine"
	"millrace.dev/services/kubelet/internal/network"
	"millrace.dev/services/kubelet/internal/podworker"
	"millrace.dev/services/kubelet/internal/report"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/containerd"
	ctrdaemon "millrace.dev/services/kubelet/internal/runtime/containerd/daemon"
	"millrace.dev/services/kubelet/internal/session"
	"millrace.dev/services/kubelet/internal/volume"
)

// Run keeps the node's pods until ctx ends or a member fails. What runs then goes on running.
func Run(ctx context.Context, cfg *Config, d *daemon.Deps) error {
	k, err := newKubelet(cfg, d)
	if err != nil {
		return err
	}
	defer func() {
		if err := k.conn.Close(); err != nil {
			slog.WarnContext(ctx, "the connection to containerd was not closed", "err", err)
		}
	}()
	return daemon.All(ctx, k.daemon, k.runtime.Run, k.run)
}

// kubelet is the node's side of everything.
type kubelet struct {
	cfg     *Config
	deps    *daemon.Deps
	machine *machine.Machine
	name    string
	door    *door
	points  *checkpoint.Store
	conn    *containerd.Conn
	daemon  daemon.Member
	runtime *containerd.Runtime
	images  *image.Store
	volumes *volume.Volumes
	refuse  context.CancelCauseFunc // ends the kubelet
}

func newKubelet(cfg *Config, d *daemon.Deps) (*kubelet, error) {
	for _, dir := range []string{cfg.Dir, cfg.RunDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil { // containers of other users reach their mounts through it
			return nil, err
		}
	}
	k := &kubelet{cfg: cfg, deps: d, volumes: volume.New(filepath.Join(cfg.Dir, "pods"), cfg.Network.ResolvConf)}
	var err error
	if k.machine, err = machine.Read(cfg.Dir); err != nil {
		return nil, err
	}
	k.name = cmp.Or(cfg.NodeName, k.machine.Hostname)
	k.door = &door{nc: d.NATS, node: k.name}
	if k.points, err = checkpoint.Open(filepath.Join(cfg.Dir, "checkpoint")); err != nil {
		return nil, err
	}
	if k.conn, k.daemon, err = cfg.containerd().Open(slog.Default()); err != nil {
		return nil, err
	}
	if k.daemon == nil { // somebody else keeps it
		k.daemon = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	}
	if k.runtime, err = containerd.New(cfg.runtime(), k.conn, slog.Default()); err != nil {
		return nil, err
	}
	k.images, err = image.New(image.Config{Snapshotter: cfg.Containerd.Snapshotter, Mirrors: cfg.Images.Mirrors, MaxPulls: cfg.Images.MaxPulls}, k.conn)
	return k, err
}

func (c *Config) containerd() containerd.DaemonConfig {
	if c.Containerd.Address != "" {
		return containerd.DaemonConfig{Address: c.Containerd.Address}
	}
	return containerd.DaemonConfig{Managed: &ctrdaemon.Config{
		Root: filepath.Join(c.Dir, "containerd"), State: filepath.Join(c.RunDir, "containerd"), Binary: c.Containerd.Binary,
	}}
}

// run joins, sets the node up, and then keeps its pods. The list at its end is the whole kubelet.
func (k *kubelet) run(ctx context.Context) error {
	ctx, k.refuse = context.WithCancelCause(ctx)
	defer k.refuse(nil)
	runtimeVersion, err := k.conn.Version(ctx)
	if err != nil {
		return err
	}
	own, allocatable := k.cfg.report(k.machine, k.name, "containerd://"+runtimeVersion)
	id, err := join(ctx, k.door.Register, k.points, own)
	if err != nil {
		return fmt.Errorf("node %s: %w", k.name, err)
	}
	net, err := k.setUpNetwork(ctx, id)
	if err != nil {
		return err
	}
	reporter := report.New(id.start, k.door.Pods)
	reporter.Node(id.UID)
	manager := podworker.NewManager(podworker.Deps{
		Runtime: k.runtime, Images: k.images, Network: net, Volumes: k.volumes, Contents: k.door, Reporter: reporter,
		Notes: k.door.notes(), Node: k.node(allocatable),
	})
	orders := feed.New(k.deps.NATS, feed.Config{
		Subject: "edge.order." + state.EncodeToken(k.name) + ".>", Prefix: state.OrderPrefix(k.name), Snapshot: k.door.Snapshot,
		Beat: k.beat(id), Handle: k.apply(manager), Meters: k.deps.Meters,
	})
	sessions := &session.Server{NATS: k.deps.NATS, Node: k.name, Runtime: k.runtime}
	if err := k.resume(id, manager); err != nil {
		return err
	}
	return daemon.All(ctx, manager.Run, reporter.Run, orders.Run,
		func(ctx context.Context) error { return k.watchExits(ctx, manager) },
		func(ctx context.Context) error { return k.settle(ctx, orders, manager, net) },
		func(ctx context.Context) error {
			defer sessions.Wait()
			return wire.Serve(ctx, k.deps.NATS, wire.Service{Subject: wire.KubeletSubject(k.name, "session"), Limit: 64, Handle: sessions.Handle})
		})
}

func (k *kubelet) setUpNetwork(ctx context.Context, id *identity) (*network.Network, error) {
	cidr, err := id.podCIDR()
	if err != nil {
		return nil, err
	}
	c := k.cfg.Network
	n, err := network.New(network.Config{
		Bridge: c.Bridge, Table: c.Table, PodCIDR: cidr, ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix(c.ClusterCIDR)}, MTU: c.MTU,
	}, slog.Default())
	if err != nil {
		return nil, err
	}
	return n, n.Setup(ctx)
}

func (k *kubelet) node(allocatable corev1.ResourceList) podworker.Node {
	return podworker.Node{
		Name: k.name, HostIP: k.cfg.address(k.machine), Allocatable: allocatable, MemoryBytes: k.machine.MemoryBytes, PodPIDs: k.cfg.PodPIDs,
		LogDir: filepath.Join(k.cfg.Dir, "logs"), LogMaxBytes: k.cfg.Logs.MaxBytes, LogMaxFiles: k.cfg.Logs.MaxFiles, Now: time.Now,
	}
}

// apply adopts an order: on disk first, so that a kubelet which is killed in between finds it.
func (k *kubelet) apply(manager *podworker.Manager) func(state.FeedEntry) {
	return func(e state.FeedEntry) {
		if err := k.points.Save(e); err != nil {
			slog.Error("order is not checkpointed", "key", string(e.Key), "err", err)
		}
		if err := manager.Apply(e); err != nil {
			slog.Error("order cannot be read", "err", err)
		}
	}
}

// resume works from the orders of before, in the same boot of the machine. After a reboot nothing is started before the control
// plane has answered (P19).
func (k *kubelet) resume(id *identity, manager *podworker.Manager) error {
	if !id.sameBoot {
		return nil
	}
	orders, err := k.points.Orders()
	if err != nil {
		return err
	}
	for _, e := range orders {
		if err := manager.Apply(e); err != nil {
			slog.Warn("checkpointed order cannot be read", "err", err)
		}
	}
	slog.Info("resumed", "orders", len(orders))
	return nil
}

// beat is the node's sign of life.
func (k *kubelet) beat(id *identity) func(context.Context) (*state.Beat, error) {
	return func(ctx context.Context) (*state.Beat, error) {
		h := state.Heartbeat{UID: id.UID, Start: id.start, Ready: true}
		if err := k.healthy(ctx); err != nil {
			h.Ready, h.Message = false, err.Error()
		}
		b, err := k.door.Beat(ctx, h)
		if err == nil && b.Refused != "" {
			slog.ErrorContext(ctx, "heartbeat refused", "reason", b.Refused)
			k.refuse(fmt.Errorf("%w: %s", errRefused, b.Refused))
		}
		return b, err
	}
}

// healthy says why pods cannot be run just now.
func (k *kubelet) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := k.conn.Ready(ctx); err != nil {
		return fmt.Errorf("container runtime is down: %w", err)
	}
	return nil
}

// watchExits has the worker of a pod look when one of its containers has ended.
func (k *kubelet) watchExits(ctx context.Context, manager *podworker.Manager) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-k.runtime.Events():
			manager.Ended(e.Container.PodUID)
		}
	}
}

// settle removes, once the feed has shown all that there is, what nobody ordered: pods whose order went while this kubelet was
// away, and what they left on the machine.
func (k *kubelet) settle(ctx context.Context, orders *feed.Feed, manager *podworker.Manager, net *network.Network) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-orders.Synced():
	}
	keys := map[state.Key]bool{}
	for _, e := range orders.Held() {
		keys[e.Key] = true
	}
	manager.Retain(keys)
	k.deps.Ready()
	if err := k.removeOrphans(ctx, manager.UIDs, net); err != nil {
		slog.WarnContext(ctx, "leftovers are not removed", "err", err)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// removeOrphans removes whatever on this machine belongs to no pod that has a worker.
func (k *kubelet) removeOrphans(ctx context.Context, live func() []string, net *network.Network) error {
	if err := net.Repair(ctx, live); err != nil {
		return err
	}
	gone, err := orphans(ctx, k.runtime, k.volumes, live)
	if err != nil {
		return err
	}
	for _, uid := range gone {
		slog.InfoContext(ctx, "removing leftovers of a pod", "uid", uid)
		if err := k.runtime.RemovePod(ctx, uid); err != nil {
			return err
		}
		if err := k.volumes.CleanUp(uid); err != nil {
			return err
		}
	}
	return nil
}

// orphans are the pods of which something is there, sorted, but for those that are live. Who is live is asked last: a pod that
// comes meanwhile has a worker before it has anything else.
func orphans(ctx context.Context, sandboxes runtime.Pods, volumes *volume.Volumes, live func() []string) ([]string, error) {
	pods, err := sandboxes.ListPods(ctx)
	if err != nil {
		return nil, err
	}
	uids, err := volumes.List()
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		uids = append(uids, p.UID)
	}
	slices.Sort(uids)
	alive := live()
	return slices.DeleteFunc(slices.Compact(uids), func(uid string) bool { return slices.Contains(alive, uid) }), nil
}
