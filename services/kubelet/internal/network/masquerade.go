package network

import (
	"errors"
	"net/netip"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// postrouting is the name of our only chain.
const postrouting = "postrouting"

// masquerade makes our table anew in one transaction: a packet of a pod that leaves the node, to an address that is no
// pod's, gets the node's address.
//
//	table ip <table> {
//	    chain postrouting {
//	        type nat hook postrouting priority srcnat;
//	        oifname "<bridge>" accept
//	        ip daddr <cluster range> accept
//	        ip daddr 224.0.0.0/4 accept
//	        ip saddr <pod range> masquerade fully-random
//	    }
//	}
func (n *Network) masquerade() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: n.cfg.Table}
	c.AddTable(table) // so that the deletion finds one
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: postrouting, Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	accept := &expr.Verdict{Kind: expr.VerdictAccept}
	rule := func(exprs ...expr.Any) { c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs}) }
	rule(append(toInterface(n.cfg.Bridge), accept)...)
	multicast := netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4)
	for _, near := range append([]netip.Prefix{multicast}, n.cfg.ClusterCIDRs...) {
		rule(append(inPrefix(destination, near), accept)...)
	}
	rule(append(inPrefix(source, n.cfg.PodCIDR), &expr.Masq{FullyRandom: true})...)
	return c.Flush()
}

func (n *Network) removeTable() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: n.cfg.Table})
	if err := c.Flush(); !errors.Is(err, syscall.ENOENT) {
		return err
	}
	return nil
}

// Offsets in the IPv4 header.
const (
	source      = 12
	destination = 16
)

func inPrefix(offset uint32, p netip.Prefix) []expr.Any {
	mask := ipNet(p.Addr(), p.Bits()).Mask
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func toInterface(name string) []expr.Any {
	padded := make([]byte, syscall.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: padded},
	}
}
