package network

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestPool(t *testing.T) {
	p := newPool(netip.MustParsePrefix("10.0.0.0/29"))
	take := func(want string) {
		t.Helper()
		got, ok := p.take()
		if (want == "") == ok || (ok && got.String() != want) {
			t.Errorf("take() = %s, %v, want %q", got, ok, want)
		}
	}
	take("10.0.0.2")
	take("10.0.0.3")
	p.give(netip.MustParseAddr("10.0.0.2"))
	take("10.0.0.4") // not the one that was just freed
	take("10.0.0.5")
	take("10.0.0.6")
	take("10.0.0.2")
	take("") // .7 is the broadcast address
}

// TestPoolProperties gives and takes at random: no address is ever given to two, and one is refused only if none is free.
func TestPoolProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(24, 30).Draw(t, "bits")
		prefix := netip.PrefixFrom(netip.MustParseAddr("10.1.2.0"), bits)
		room := 1<<(32-bits) - 3
		p, held := newPool(prefix), map[netip.Addr]bool{}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "give") {
				for addr := range held {
					p.give(addr)
					delete(held, addr)
					break
				}
				continue
			}
			addr, ok := p.take()
			if ok != (len(held) < room) {
				t.Fatalf("take() = %v with %d of %d held", ok, len(held), room)
			}
			if !ok {
				continue
			}
			if held[addr] || !prefix.Contains(addr) || addr == prefix.Addr() || addr == prefix.Addr().Next() || !prefix.Contains(addr.Next()) {
				t.Fatalf("took %s, held %v", addr, held)
			}
			held[addr] = true
		}
	})
}
