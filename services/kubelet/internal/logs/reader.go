package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// blockBytes is how much is read at once.
const blockBytes = 32 << 10

// reader walks over the files of a log, oldest first.
type reader struct {
	path    string
	follow  bool
	done    <-chan struct{}
	watcher *fsnotify.Watcher
	files   []*os.File // the first one is being read
	buf     []byte     // what was read and is no whole line yet
}

func openReader(path string, o Options) (*reader, error) {
	r := &reader{path: path, follow: o.Follow, done: o.Done}
	if o.Follow { // before the first look, so that no change falls between
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return nil, fmt.Errorf("watch log %s: %w", path, err)
		}
		r.watcher = w
		if err := w.Add(filepath.Dir(path)); err != nil {
			r.close()
			return nil, fmt.Errorf("watch log %s: %w", path, err)
		}
	}
	var err error
	if r.files, err = openAll(path); err != nil {
		r.close()
		return nil, err
	}
	r.skipOlder(o.Since)
	if o.Tail >= 0 {
		if err := r.seekTail(o.Tail); err != nil {
			r.close()
			return nil, fmt.Errorf("read log %s: %w", path, err)
		}
	}
	return r, nil
}

func (r *reader) close() {
	closeAll(r.files)
	if r.watcher != nil {
		_ = r.watcher.Close()
	}
}

// skipOlder leaves out rotated files to which nothing was written since a moment.
func (r *reader) skipOlder(since time.Time) {
	for len(r.files) > 1 {
		info, err := r.files[0].Stat()
		if err != nil || !info.ModTime().Before(since) {
			return
		}
		r.drop()
	}
}

func (r *reader) drop() {
	_ = r.files[0].Close()
	r.files = r.files[1:]
}

// seekTail leaves the reader before the last n lines.
func (r *reader) seekTail(n int64) error {
	for i, f := range slices.Backward(r.files) {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		offset, found, err := tailOffset(f, info.Size(), n)
		if err != nil {
			return err
		}
		if found < n && i > 0 {
			n -= found
			continue
		}
		for range i {
			r.drop()
		}
		_, err = f.Seek(offset, io.SeekStart)
		return err
	}
	return nil
}

// tailOffset is where the last n lines of a file begin, and how many lines were found from there (fewer only if the file
// has fewer). Pieces of long lines of another stream may come before them.
func tailOffset(f io.ReaderAt, size, n int64) (offset, found int64, err error) {
	const overlap = 64 // enough of a record to see its tag
	buf := make([]byte, blockBytes+overlap)
	t := tail{size: size, wanted: n, start: size}
	for end := size; end > 0; {
		begin := max(0, end-blockBytes)
		m, err := f.ReadAt(buf[:min(end-begin+overlap, size-begin)], begin)
		if err != nil && (!errors.Is(err, io.EOF) || int64(m) < end-begin) {
			return 0, 0, err
		}
		for i := bytes.LastIndexByte(buf[:end-begin], '\n'); i >= 0; i = bytes.LastIndexByte(buf[:i], '\n') {
			if t.complete(begin+int64(i)+1, buf[i+1:m]) {
				return t.start, t.found, nil
			}
		}
		if begin == 0 && t.complete(0, buf[:m]) {
			return t.start, t.found, nil
		}
		end = begin
	}
	return 0, t.found, nil
}

// tail counts lines from the end of a file.
type tail struct {
	size, wanted, found int64
	start               int64 // of the record seen last
}

// complete takes the record before the one seen last, and says that it no longer belongs to what is wanted. A last record
// counts as a line even if its line goes on.
func (t *tail) complete(offset int64, head []byte) bool {
	if offset >= t.size {
		return false // after the end of the last record
	}
	if full(head) || t.start == t.size {
		if t.found == t.wanted {
			return true
		}
		t.found++
	}
	t.start = offset
	return false
}

// each calls f with every line from where the reader stands, without its end.
func (r *reader) each(ctx context.Context, f func(line []byte) error) error {
	ending := false // nothing more will be written: this is the last round
	for {
		if err := r.readFile(ctx, f); err != nil {
			return err
		}
		moved, err := r.advance(ctx, f)
		switch {
		case err != nil:
			return err
		case moved:
			continue
		case !r.follow || ending:
			return nil
		}
		if ending, err = r.wait(ctx); err != nil {
			return err
		}
	}
}

// advance goes to the next file, if there is one.
func (r *reader) advance(ctx context.Context, f func([]byte) error) (bool, error) {
	if len(r.files) == 1 {
		next, err := successor(r.path, r.files[0])
		if err != nil || next == nil {
			return false, err
		}
		r.files = append(r.files, next)
	}
	// What was written between the end that was just met and the rotation.
	if err := r.readFile(ctx, f); err != nil {
		return false, err
	}
	r.drop()
	r.buf = r.buf[:0]
	return true, nil
}

// readFile reads the first file to its present end.
func (r *reader) readFile(ctx context.Context, f func([]byte) error) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if cap(r.buf)-len(r.buf) < blockBytes/2 {
			r.buf = append(make([]byte, 0, len(r.buf)+blockBytes), r.buf...)
		}
		n, err := r.files[0].Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if err := r.lines(f); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read log %s: %w", r.path, err)
		}
	}
}

// lines hands over the whole lines of buf and keeps the rest.
func (r *reader) lines(f func([]byte) error) error {
	rest := r.buf
	for {
		line, after, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok {
			break
		}
		if err := f(line); err != nil {
			return err
		}
		rest = after
	}
	r.buf = r.buf[:copy(r.buf, rest)]
	return nil
}

// wait returns when something may have been written, and whether that was the last of it.
func (r *reader) wait(ctx context.Context) (ending bool, err error) {
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-r.done:
		return true, nil
	case err := <-r.watcher.Errors:
		return errors.Is(err, fsnotify.ErrClosed), nil // an overflow means: look again
	case event := <-r.watcher.Events:
		return event.Has(fsnotify.Remove) && event.Name == filepath.Dir(r.path), nil
	}
}
