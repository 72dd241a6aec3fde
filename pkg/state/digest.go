package state

import (
	"encoding/binary"
	"hash/fnv"
)

// Digest sums up a set of (key, revision): equal sets have equal digests, in whatever order they were built. It finds what
// was lost by accident, not what was forged.
type Digest struct {
	Count int    `json:"count"`
	Hash  uint64 `json:"hash"`
}

// Add puts a key at a revision into the set.
func (d *Digest) Add(k Key, revision uint64) {
	d.Count++
	d.Hash += hash(k, revision)
}

// Remove takes a key at a revision out of the set.
func (d *Digest) Remove(k Key, revision uint64) {
	d.Count--
	d.Hash -= hash(k, revision)
}

func hash(k Key, revision uint64) uint64 {
	h := fnv.New64a()
	h.Write([]byte(k))
	h.Write(binary.BigEndian.AppendUint64(nil, revision))
	return mix(h.Sum64())
}

// mix spreads every bit of h over all 64 (the finalizer of MurmurHash3). Without it, FNV values of two revisions of a key differ
// by little more than the revisions do, and in a sum two keys that are behind cancel each other out.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
