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
	return h.Sum64()
}
