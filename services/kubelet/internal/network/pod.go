package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// The interface of a pod as it sees it, and how ours begin that lie on the bridge.
const (
	podInterface = "eth0"
	portPrefix   = "mrv"
	aliasPrefix  = "millrace pod "
)

// port is the node's end of a pod's pair.
type port struct {
	link netlink.Link
	uid  string
	addr netip.Addr // invalid: the alias is not ours or half written
}

// Attach connects the network namespace in the file netNS, in which loopback is up, and returns the pod's address. A pod
// that is attached keeps its address. After an error nothing is left of the attempt. One call at a time for one pod.
// Errors: [ErrExhausted].
func (n *Network) Attach(_ context.Context, netNS, uid string) (netip.Addr, error) {
	bridge, p, err := n.reserve(uid)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", uid, err)
	}
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		n.release(uid)
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", uid, err)
	}
	defer h.Close()
	if p.known && connected(h, netNS, p) {
		return p.addr, nil
	}
	if err := n.connect(h, bridge, netNS, p); err != nil {
		err = errors.Join(err, removePort(h, uid))
		n.release(uid)
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", uid, err)
	}
	return p.addr, nil
}

type pod struct {
	uid   string
	addr  netip.Addr
	known bool // it had this address before
}

// reserve finds the address of a pod, or takes one for it.
func (n *Network) reserve(uid string) (*netlink.Bridge, pod, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bridge == nil {
		return nil, pod{}, errors.New("network is not set up")
	}
	if addr, ok := n.pods[uid]; ok {
		return n.bridge, pod{uid: uid, addr: addr, known: true}, nil
	}
	addr, ok := n.pool.take()
	if !ok {
		return nil, pod{}, fmt.Errorf("%w: %s", ErrExhausted, n.cfg.PodCIDR)
	}
	n.pods[uid] = addr
	return n.bridge, pod{uid: uid, addr: addr}, nil
}

func (n *Network) release(uid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr, ok := n.pods[uid]; ok {
		delete(n.pods, uid)
		n.pool.give(addr)
	}
}

// connected says whether both ends of a pod's pair are where they should be.
func connected(h *netlink.Handle, netNS string, p pod) bool {
	if link, err := h.LinkByName(portName(p.uid)); err != nil || link.Attrs().Alias != alias(p.uid, p.addr) {
		return false
	}
	inside, closeInside, err := handleIn(netNS)
	if err != nil {
		return false
	}
	defer closeInside()
	eth, err := inside.LinkByName(podInterface)
	if err != nil {
		return false
	}
	addrs, err := inside.AddrList(eth, netlink.FAMILY_V4)
	return err == nil && slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.String() == p.addr.String() })
}

// connect makes the pair of a pod and configures both ends. The node's end is marked with pod and address; the kernel does
// not take the mark as it makes the pair, so a crash may leave one without, which learn removes.
func (n *Network) connect(h *netlink.Handle, bridge *netlink.Bridge, netNS string, p pod) error {
	if err := removePort(h, p.uid); err != nil { // of an earlier sandbox of this pod
		return err
	}
	ns, err := netns.GetFromPath(netNS)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer func() { _ = ns.Close() }()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = portName(p.uid)
	attrs.MTU = n.cfg.MTU
	attrs.MasterIndex = bridge.Index
	veth := netlink.NewVeth(attrs)
	veth.PeerName = podInterface
	veth.PeerMTU = uint32(n.cfg.MTU)
	veth.PeerNamespace = netlink.NsFd(ns)
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("add interfaces: %w", err)
	}
	link, err := h.LinkByName(attrs.Name)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	if err := h.LinkSetAlias(link, alias(p.uid, p.addr)); err != nil {
		return fmt.Errorf("set alias: %w", err)
	}
	if err := h.LinkSetHairpin(link, true); err != nil {
		return fmt.Errorf("set hairpin: %w", err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set interface up: %w", err)
	}
	return n.configure(ns, p.addr)
}

// configure gives the pod's end its address and route.
func (n *Network) configure(ns netns.NsHandle, addr netip.Addr) error {
	h, err := netlink.NewHandleAt(ns, syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer h.Close()
	eth, err := h.LinkByName(podInterface)
	if err != nil {
		return fmt.Errorf("find %s: %w", podInterface, err)
	}
	if err := h.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(addr, n.cfg.PodCIDR.Bits())}); err != nil {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	if err := h.LinkSetUp(eth); err != nil {
		return fmt.Errorf("set %s up: %w", podInterface, err)
	}
	if err := h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: n.Gateway().AsSlice()}); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	return nil
}

func handleIn(netNS string) (h *netlink.Handle, closeBoth func(), err error) {
	ns, err := netns.GetFromPath(netNS)
	if err != nil {
		return nil, nil, err
	}
	h, err = netlink.NewHandleAt(ns, syscall.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, nil, err
	}
	return h, func() {
		h.Close()
		_ = ns.Close()
	}, nil
}

// Address is the address of an attached pod; false if it has none.
func (n *Network) Address(uid string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, ok := n.pods[uid]
	return addr, ok
}

// Detach removes the interfaces of a pod and frees its address. A pod that is not attached is no error.
func (n *Network) Detach(_ context.Context, uid string) error {
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("detach pod %s: %w", uid, err)
	}
	defer h.Close()
	if err := removePort(h, uid); err != nil {
		return fmt.Errorf("detach pod %s: %w", uid, err)
	}
	n.release(uid)
	return nil
}

// Repair detaches every pod that is not among live: those of which a crash left interfaces behind, and those whose network
// namespace has gone. live is asked once it is known which pods are attached, so that one that comes meanwhile is safe.
func (n *Network) Repair(ctx context.Context, live func() []string) error {
	n.mu.Lock()
	attached := slices.Collect(maps.Keys(n.pods))
	n.mu.Unlock()
	alive := live()
	var errs []error
	for _, uid := range attached {
		if !slices.Contains(alive, uid) {
			errs = append(errs, n.Detach(ctx, uid))
		}
	}
	return errors.Join(errs...)
}

// learn reads from the kernel which pods are attached, and removes ports of which that cannot be said. The caller holds mu.
func (n *Network) learn(h *netlink.Handle) error {
	ports, err := n.ports(h, n.bridge.Index)
	if err != nil {
		return fmt.Errorf("list pods on bridge %s: %w", n.cfg.Bridge, err)
	}
	for _, p := range ports {
		if !p.addr.IsValid() || !n.cfg.PodCIDR.Contains(p.addr) {
			if err := ignoreGone(h.LinkDel(p.link)); err != nil {
				return fmt.Errorf("remove interface %s: %w", p.link.Attrs().Name, err)
			}
			continue
		}
		if _, known := n.pods[p.uid]; !known {
			n.pods[p.uid] = p.addr
			n.pool.occupy(p.addr)
		}
	}
	return nil
}

// ports lists the pods' interfaces on the bridge.
func (n *Network) ports(h *netlink.Handle, bridge int) ([]port, error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	var ports []port
	for _, l := range links {
		if l.Attrs().MasterIndex != bridge || !strings.HasPrefix(l.Attrs().Name, portPrefix) {
			continue
		}
		p := port{link: l}
		p.uid, p.addr = parseAlias(l.Attrs().Alias)
		ports = append(ports, p)
	}
	return ports, nil
}

func removePort(h *netlink.Handle, uid string) error {
	link, err := h.LinkByName(portName(uid))
	if err != nil {
		return ignoreGone(err)
	}
	return ignoreGone(h.LinkDel(link))
}

// portName fits the 15 bytes of an interface name.
func portName(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return portPrefix + hex.EncodeToString(sum[:6])
}

func alias(uid string, addr netip.Addr) string { return aliasPrefix + uid + " " + addr.String() }

func parseAlias(s string) (uid string, addr netip.Addr) {
	uid, text, ok := strings.Cut(strings.TrimPrefix(s, aliasPrefix), " ")
	if !ok || !strings.HasPrefix(s, aliasPrefix) {
		return "", netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return "", netip.Addr{}
	}
	return uid, addr
}
