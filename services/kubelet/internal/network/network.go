// Package network connects pods with their node: a bridge with the gateway address of the node's pod range, and for each
// pod a pair of virtual interfaces, one end on the bridge, the other as eth0 in the pod with an address and a default
// route. What leaves the node from a pod is masqueraded in an nftables table of our own. Routes between nodes, Services and
// policies are not here.
//
// Everything happens in the network namespace of the process, which may be a node of its own inside a machine. Nothing is
// kept in files: which address belongs to which pod stands in the alias of the pod's interface, so that a kubelet that
// starts again reads it from the kernel, and what a crash left half done shows itself.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
)

// ErrExhausted is returned by [Network.Attach] when every address of the node is taken. The text is what Kubernetes' users
// know from its address manager.
var ErrExhausted = errors.New("no IP addresses available in range set")

// Config says how the pods of this node are connected. Names of interfaces have at most 15 bytes.
type Config struct {
	// Bridge is the name of the bridge. Default "mr0".
	Bridge string `json:"bridge"`
	// Table is the name of our nftables table (family ip). Default "millrace-kubelet".
	Table string `json:"table"`
	// PodCIDR is the range of this node's pods, an IPv4 prefix of at most /30. Its first address is the gateway. Required.
	PodCIDR netip.Prefix `json:"podCIDR"`
	// ClusterCIDRs are the ranges that pods reach with their own address: those of all pods. Default: PodCIDR alone.
	ClusterCIDRs []netip.Prefix `json:"clusterCIDRs,omitempty"`
	// MTU of the pods' interfaces in bytes. 0: that of the interface with the default route, or 1500.
	MTU int `json:"mtu,omitempty"`
}

// Defaults of [Config].
const (
	DefaultBridge = "mr0"
	DefaultTable  = "millrace-kubelet"
)

// Network is the network of one node. All methods are safe for concurrent use; pods are attached at the same time.
type Network struct {
	cfg Config
	log *slog.Logger

	mu     sync.Mutex
	bridge *netlink.Bridge // nil before Setup
	pool   *pool
	pods   map[string]netip.Addr // by uid, attached or being attached
}

// New checks cfg and returns a network that is not set up yet.
func New(cfg Config, log *slog.Logger) (*Network, error) {
	if cfg.Bridge == "" {
		cfg.Bridge = DefaultBridge
	}
	if cfg.Table == "" {
		cfg.Table = DefaultTable
	}
	cfg.PodCIDR = cfg.PodCIDR.Masked()
	switch {
	case !cfg.PodCIDR.IsValid() || !cfg.PodCIDR.Addr().Is4() || cfg.PodCIDR.Bits() > 30:
		return nil, fmt.Errorf("podCIDR %s: want an IPv4 prefix of at most /30", cfg.PodCIDR)
	case len(cfg.Bridge) >= syscall.IFNAMSIZ:
		return nil, fmt.Errorf("bridge %s: longer than 15 bytes", cfg.Bridge)
	}
	if len(cfg.ClusterCIDRs) == 0 {
		cfg.ClusterCIDRs = []netip.Prefix{cfg.PodCIDR}
	}
	return &Network{cfg: cfg, log: log, pool: newPool(cfg.PodCIDR), pods: map[string]netip.Addr{}}, nil
}

// Gateway is the node's address on the bridge: the one from which probes come, and the pods' default route.
func (n *Network) Gateway() netip.Addr { return n.cfg.PodCIDR.Addr().Next() }

// Setup makes the bridge, the masquerading and the kernel settings, and learns from the kernel which pods are attached.
// It may be called again, and is to be called before anything else.
func (n *Network) Setup(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("set up network: %w", err)
	}
	defer h.Close()
	if n.cfg.MTU == 0 {
		n.cfg.MTU = uplinkMTU(h)
	}
	if err := n.setupBridge(h); err != nil {
		return fmt.Errorf("set up bridge %s: %w", n.cfg.Bridge, err)
	}
	if err := n.writeSettings(ctx); err != nil {
		return fmt.Errorf("set up network: %w", err)
	}
	if err := n.masquerade(); err != nil {
		return fmt.Errorf("set up nftables table %s: %w", n.cfg.Table, err)
	}
	return n.learn(h)
}

func (n *Network) setupBridge(h *netlink.Handle) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.cfg.Bridge
	attrs.MTU = n.cfg.MTU
	attrs.HardwareAddr = hardwareAddr(n.Gateway())
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	link, err := h.LinkByName(n.cfg.Bridge)
	if err != nil {
		return err
	}
	bridge, ok := link.(*netlink.Bridge)
	if !ok {
		return fmt.Errorf("it is a %s", link.Type())
	}
	addr := &netlink.Addr{IPNet: ipNet(n.Gateway(), n.cfg.PodCIDR.Bits())}
	if err := n.replaceAddress(h, bridge, addr); err != nil {
		return err
	}
	n.bridge = bridge
	return h.LinkSetUp(bridge)
}

// replaceAddress leaves the bridge with this one address: the range of a node may have changed.
func (n *Network) replaceAddress(h *netlink.Handle, bridge *netlink.Bridge, want *netlink.Addr) error {
	had, err := h.AddrList(bridge, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for i := range had {
		if had[i].IPNet.String() == want.IPNet.String() {
			return nil
		}
		if err := h.AddrDel(bridge, &had[i]); err != nil {
			return err
		}
	}
	return h.AddrReplace(bridge, want)
}

// settings are the kernel parameters of the node's network: to pass packets on, and to show nftables also those that stay
// on the bridge (Services and policies between pods of one node depend on it).
var settings = []struct {
	path, value string
	optional    bool
}{
	{path: "/proc/sys/net/ipv4/ip_forward", value: "1"},
	{path: "/proc/sys/net/bridge/bridge-nf-call-iptables", value: "1", optional: true},
}

func (n *Network) writeSettings(ctx context.Context) error {
	for _, s := range settings {
		err := os.WriteFile(s.path, []byte(s.value), 0)
		switch {
		case err == nil:
		case s.optional && errors.Is(err, os.ErrNotExist):
			n.log.WarnContext(ctx, "kernel has no br_netfilter: services and policies do not work between pods of one node")
		default:
			return err
		}
	}
	return nil
}

// uplinkMTU is the MTU of the interface with the default route.
func uplinkMTU(h *netlink.Handle) int {
	const standard = 1500
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil {
		return standard
	}
	for _, r := range routes {
		if link, err := h.LinkByIndex(r.LinkIndex); err == nil && link.Attrs().MTU > 0 {
			return link.Attrs().MTU
		}
	}
	return standard
}

// Teardown removes the table, every pod's interface and the bridge. What is gone already is no error.
func (n *Network) Teardown(_ context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("tear down network: %w", err)
	}
	defer h.Close()
	var errs []error
	if err := n.removeTable(); err != nil {
		errs = append(errs, fmt.Errorf("remove nftables table %s: %w", n.cfg.Table, err))
	}
	if link, err := h.LinkByName(n.cfg.Bridge); err == nil {
		ports, err := n.ports(h, link.Attrs().Index)
		errs = append(errs, err)
		for _, p := range ports {
			errs = append(errs, ignoreGone(h.LinkDel(p.link)))
		}
		errs = append(errs, ignoreGone(h.LinkDel(link)))
	}
	n.bridge = nil
	n.pods, n.pool = map[string]netip.Addr{}, newPool(n.cfg.PodCIDR)
	return errors.Join(errs...)
}

// hardwareAddr is one of our own: otherwise the bridge would change its address with the pods that come and go, and every
// pod would lose its gateway for a while.
func hardwareAddr(addr netip.Addr) net.HardwareAddr {
	ip := addr.As4()
	return net.HardwareAddr{0x02, 0x4d, ip[0], ip[1], ip[2], ip[3]}
}

func ipNet(addr netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
}

// ignoreGone drops the error that says that a link is not there.
func ignoreGone(err error) error {
	var notFound netlink.LinkNotFoundError
	if errors.Is(err, syscall.ENODEV) || errors.As(err, &notFound) {
		return nil
	}
	return err
}
