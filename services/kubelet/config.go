package kubelet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"millrace.dev/pkg/daemon"
	"millrace.dev/services/kubelet/internal/image"
	"millrace.dev/services/kubelet/internal/runtime/containerd"
)

// Config is the configuration of a kubelet.
type Config struct {
	daemon.Common
	// NodeName is the name of its Node. Default: the host's.
	NodeName string `json:"nodeName"`
	// Dir holds what lasts: checkpoints, volumes, logs, images. Default: /var/lib/millrace/node.
	Dir string `json:"dir"`
	// RunDir holds what does not outlive the machine's boot; short, because sockets lie below it. Default: /run/millrace/node.
	RunDir string `json:"runDir"`
	// Address of the node, by which others reach it. Default: that of its default route.
	Address string `json:"address"`
	// Labels are put on the Node when it joins, beside those of the machine.
	Labels map[string]string `json:"labels"`
	// Capacity replaces what the machine has, by resource: "2", "4Gi". Default: what the machine has, and 110 pods.
	Capacity map[string]string `json:"capacity"`
	// Reserved is what pods do not get of the capacity. Default: nothing.
	Reserved map[string]string `json:"reserved"`
	// MaxPods is how many pods the node runs. Default: 110, as Kubernetes.
	MaxPods int64 `json:"maxPods"`
	// PodPIDs is how many processes a container may have; 0: no limit. Default: 0.
	PodPIDs int64 `json:"podPIDs"`
	// Purge has "cleanup" remove images, logs and checkpoints too. Default: false.
	Purge bool `json:"purge"`

	Containerd ContainerdConfig `json:"containerd"`
	Images     ImagesConfig     `json:"images"`
	Network    NetworkConfig    `json:"network"`
	Logs       LogsConfig       `json:"logs"`
}

// ContainerdConfig says which containerd runs the containers.
type ContainerdConfig struct {
	// Address is the socket of one that somebody else runs. Default: none; the kubelet runs its own below its directories.
	Address string `json:"address"`
	// Binary is the program containerd. Default: the one in PATH.
	Binary string `json:"binary"`
	// Runc is the low-level runtime. Default: the runc in PATH.
	Runc string `json:"runc"`
	// Snapshotter of containerd. Default: overlayfs.
	Snapshotter string `json:"snapshotter"`
	// CgroupParent is the group above those of all pods. Default: /millrace.
	CgroupParent string `json:"cgroupParent"`
	// Logger is the program millrace-logger. Default: the one beside this program.
	Logger string `json:"logger"`
}

// ImagesConfig says where images come from.
type ImagesConfig struct {
	// Mirrors are asked before the registry that a name says.
	Mirrors []image.Mirror `json:"mirrors"`
	// MaxPulls is how many images are pulled at once. Default: 4.
	MaxPulls int `json:"maxPulls"`
}

// NetworkConfig says how pods are connected.
type NetworkConfig struct {
	// Bridge is the name of the bridge. Default: mr0.
	Bridge string `json:"bridge"`
	// Table is the name of the nftables table. Default: millrace-kubelet.
	Table string `json:"table"`
	// ClusterCIDR is the range of all pods. Default: 10.244.0.0/16.
	ClusterCIDR string `json:"clusterCIDR"`
	// MTU of the pods' interfaces. Default: that of the interface with the default route.
	MTU int `json:"mtu"`
	// ResolvConf is the file with the node's own resolver configuration. Default: /etc/resolv.conf.
	ResolvConf string `json:"resolvConf"`
}

// LogsConfig bounds the logs of containers.
type LogsConfig struct {
	// MaxBytes is the size of one file. Default: 10 MiB, as Kubernetes.
	MaxBytes int64 `json:"maxBytes"`
	// MaxFiles is how many files a container has. Default: 5, as Kubernetes.
	MaxFiles int `json:"maxFiles"`
}

// DefaultConfig is what a kubelet starts from.
func DefaultConfig() *Config {
	return &Config{
		Common: daemon.DefaultCommon(), Dir: "/var/lib/millrace/node", RunDir: "/run/millrace/node", MaxPods: 110,
		Containerd: ContainerdConfig{Snapshotter: containerd.DefaultSnapshotter, CgroupParent: containerd.DefaultCgroupParent},
		Images:     ImagesConfig{MaxPulls: 4},
		Network:    NetworkConfig{Bridge: "mr0", Table: "millrace-kubelet", ClusterCIDR: "10.244.0.0/16", ResolvConf: "/etc/resolv.conf"},
		Logs:       LogsConfig{MaxBytes: 10 << 20, MaxFiles: 5},
	}
}

// Base implements [daemon.Config].
func (c *Config) Base() *daemon.Common { return &c.Common }

// Validate says everything that is wrong.
func (c *Config) Validate() error {
	errs := []error{c.Common.Validate()}
	if !filepath.IsAbs(c.Dir) || !filepath.IsAbs(c.RunDir) {
		errs = append(errs, fmt.Errorf("dir %q and runDir %q: want absolute paths", c.Dir, c.RunDir))
	}
	if _, err := netip.ParsePrefix(c.Network.ClusterCIDR); err != nil {
		errs = append(errs, fmt.Errorf("network.clusterCIDR: %w", err))
	}
	if _, err := netip.ParseAddr(c.Address); c.Address != "" && err != nil {
		errs = append(errs, fmt.Errorf("address: %q is not an IP address", c.Address))
	}
	for field, list := range map[string]map[string]string{"capacity": c.Capacity, "reserved": c.Reserved} {
		if _, err := resources(list); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	if c.MaxPods < 1 {
		errs = append(errs, fmt.Errorf("maxPods: %d is below 1", c.MaxPods))
	}
	return errors.Join(errs...)
}

// resources reads quantities by resource.
func resources(texts map[string]string) (corev1.ResourceList, error) {
	list := corev1.ResourceList{}
	for name, text := range texts {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, text, err)
		}
		list[corev1.ResourceName(name)] = quantity
	}
	return list, nil
}

func (c *Config) runtime() containerd.Config {
	if c.Containerd.Logger == "" {
		if self, err := os.Executable(); err == nil {
			c.Containerd.Logger = filepath.Join(filepath.Dir(self), "millrace-logger")
		}
	}
	return containerd.Config{
		RunDir: filepath.Join(c.RunDir, "pods"), CgroupParent: c.Containerd.CgroupParent, Snapshotter: c.Containerd.Snapshotter,
		Runc: c.Containerd.Runc, Logger: c.Containerd.Logger,
	}
}
