package view

// maxHoles bounds how many skipped sequences are followed one by one; beyond, only a barrier helps.
const maxHoles = 1024

// holes are the sequences that were skipped and whose keys may therefore be shown at an old revision. At history 1 a
// consumer that lags skips what was overwritten meanwhile; the newer revision comes later and names, as the one it
// replaced, the sequence that was skipped.
//
// A hole is closed in two ways (P5): the revision that replaced it arrives, or the view passes a last-sequence that was asked
// for after the hole was noticed: whatever overwrote it was stored by then.
type holes struct {
	noticed  int            // how many times something was skipped; the initial load counts as the first
	open     map[uint64]int // each skipped sequence, and when it was noticed
	unlisted int            // when a gap too wide to list was last noticed; 0: none is open
}

func newHoles() holes { return holes{noticed: 1, unlisted: 1, open: map[uint64]int{}} }

// skip notes that the sequences from first to last were not delivered.
func (h *holes) skip(first, last uint64) {
	h.noticed++
	if h.unlisted > 0 || last-first >= maxHoles || len(h.open) >= maxHoles {
		h.unlisted = h.noticed
		return
	}
	for seq := first; seq <= last; seq++ {
		h.open[seq] = h.noticed
	}
}

// replaced closes the hole of a revision whose successor has arrived.
func (h *holes) replaced(seq uint64) { delete(h.open, seq) }

// passed closes every hole that had been noticed by then.
func (h *holes) passed(noticed int) {
	if h.unlisted <= noticed {
		h.unlisted = 0
	}
	for seq, at := range h.open {
		if at <= noticed {
			delete(h.open, seq)
		}
	}
}

// none says that what the view shows is the bucket as it was at one sequence.
func (h *holes) none() bool { return h.unlisted == 0 && len(h.open) == 0 }
