package logs

import (
	"errors"
	"os"
	"slices"

	"millrace.dev/services/kubelet/internal/logger"
)

// maxFiles bounds the search for rotated files, in which there may be a gap for a moment while they are renamed.
const maxFiles = 64

// openAll opens every file of a log, oldest first. A file that is rotated meanwhile is there once.
func openAll(path string) ([]*os.File, error) {
	var newestFirst []*os.File
	missing := 0
	for i := 0; i < maxFiles && missing < 2; i++ {
		f, err := os.Open(logger.RotatedPath(path, i))
		if errors.Is(err, os.ErrNotExist) {
			missing++
			continue
		}
		if err != nil {
			closeAll(newestFirst)
			return nil, err
		}
		missing = 0
		if n := len(newestFirst); n > 0 && sameFile(newestFirst[n-1], f) {
			_ = f.Close()
			continue
		}
		newestFirst = append(newestFirst, f)
	}
	if len(newestFirst) == 0 {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	slices.Reverse(newestFirst)
	return newestFirst, nil
}

// successor opens the file that was begun after cur was rotated away; nil if cur is the newest. If cur itself is no more
// there, it is the oldest one left.
func successor(path string, cur *os.File) (*os.File, error) {
	for {
		newer, err := newerThan(path, cur)
		if err != nil || newer == "" {
			return nil, err
		}
		f, err := os.Open(newer)
		if errors.Is(err, os.ErrNotExist) {
			continue // renamed in this moment
		}
		if err != nil {
			return nil, err
		}
		// Only if, asked again, the same file follows cur: between the two steps above it may have moved on.
		again, err := newerThan(path, cur)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if info, err := os.Stat(again); err == nil && again != "" {
			if mine, err := f.Stat(); err == nil && os.SameFile(mine, info) {
				return f, nil
			}
		}
		_ = f.Close()
	}
}

// newerThan names the file that follows cur; empty if there is none. Looking from the newest to the oldest, a file that is
// renamed meanwhile cannot be missed.
func newerThan(path string, cur *os.File) (string, error) {
	mine, err := cur.Stat()
	if err != nil {
		return "", err
	}
	last, missing := "", 0
	for i := 0; i < maxFiles && missing < 2; i++ {
		name := logger.RotatedPath(path, i)
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			missing++
			continue
		case err != nil:
			return "", err
		case os.SameFile(info, mine):
			return last, nil
		}
		missing = 0
		last = name
	}
	return last, nil
}

func sameFile(a, b *os.File) bool {
	ia, errA := a.Stat()
	ib, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
