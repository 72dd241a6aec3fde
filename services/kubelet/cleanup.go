package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"millrace.dev/services/kubelet/internal/network"
	"millrace.dev/services/kubelet/internal/runtime/containerd"
	"millrace.dev/services/kubelet/internal/volume"
)

// cleanUpGrace is what containers get when their node is taken down.
const cleanUpGrace = 2 * time.Second

// CleanUp ends every container of the node and removes what it left on the machine: containerd, shims, mounts, control groups,
// namespaces, the bridge, nftables. No kubelet may run. It may be called again; an error tells what is left.
func CleanUp(ctx context.Context, cfg *Config) error {
	var errs []error
	if managed := cfg.containerd().Managed; managed != nil {
		errs = append(errs, containerd.Shutdown(ctx, containerd.ShutdownConfig{
			Runtime: cfg.runtime(), Daemon: *managed, Grace: cleanUpGrace, RemoveRoot: cfg.Purge,
		}, slog.Default()))
	}
	// Any range will do: what is torn down is found by its name.
	n, err := network.New(network.Config{
		Bridge: cfg.Network.Bridge, Table: cfg.Network.Table, PodCIDR: netip.MustParsePrefix(cfg.Network.ClusterCIDR),
	}, slog.Default())
	if err == nil {
		err = n.Teardown(ctx)
	}
	errs = append(errs, err)
	volumes := volume.New(filepath.Join(cfg.Dir, "pods"), cfg.Network.ResolvConf)
	uids, err := volumes.List()
	errs = append(errs, err)
	for _, uid := range uids {
		errs = append(errs, volumes.CleanUp(uid))
	}
	errs = append(errs, os.RemoveAll(cfg.RunDir))
	if cfg.Purge {
		errs = append(errs, os.RemoveAll(cfg.Dir))
	}
	return errors.Join(errs...)
}
