package network

import "net/netip"

// pool hands out the addresses of a range in turn, so that one that was freed rests as long as possible: what still knows
// its last owner must not reach the next. Not for concurrent use.
type pool struct {
	prefix netip.Prefix
	taken  map[netip.Addr]bool
	last   netip.Addr // handed out most recently
}

func newPool(prefix netip.Prefix) *pool {
	return &pool{prefix: prefix, taken: map[netip.Addr]bool{}, last: prefix.Addr().Next()}
}

// take hands out the next free address after the last one; false if there is none. The network, the gateway and the
// broadcast address are never handed out. Costs one step for each address taken in between.
func (p *pool) take() (netip.Addr, bool) {
	gateway := p.prefix.Addr().Next()
	size := 1 << (p.prefix.Addr().BitLen() - p.prefix.Bits())
	addr := p.last
	for range size {
		addr = addr.Next()
		if !p.prefix.Contains(addr) || !p.prefix.Contains(addr.Next()) { // beyond the end, or broadcast
			addr = gateway
			continue
		}
		if !p.taken[addr] {
			p.occupy(addr)
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// occupy takes an address that is in use. The next one to be handed out comes after it.
func (p *pool) occupy(addr netip.Addr) {
	p.taken[addr] = true
	p.last = addr
}

func (p *pool) give(addr netip.Addr) { delete(p.taken, addr) }
