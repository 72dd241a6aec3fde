package commit

import "runtime"

// AwaitQueued returns when n batches wait for a commit.
func AwaitQueued(w *Writer, n int) {
	for {
		w.mu.Lock()
		waiting := 0
		for _, line := range w.lines {
			waiting += len(line)
		}
		w.mu.Unlock()
		if waiting >= n {
			return
		}
		runtime.Gosched()
	}
}
