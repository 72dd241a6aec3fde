// Package logs reads the logs that package logger writes: over rotated files, from the end or from a moment on, and
// following what is still to come. It neither loses nor doubles a record when the log is rotated while it is read, and it
// never polls: following waits for the kernel's word that the directory has changed.
package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"
)

// ErrFormat is returned for a log with a line that is no record.
var ErrFormat = errors.New("not a container log record")

// Path is where the log of one container lies: below the directory of its pod ([PodDir]) one a container, below it one file an
// attempt.
func Path(podDir, container string, attempt int) string {
	return filepath.Join(podDir, container, strconv.Itoa(attempt)+".log")
}

// PodDir is the directory with all logs of one pod, as Kubernetes names it.
func PodDir(root, namespace, pod, uid string) string {
	return filepath.Join(root, namespace+"_"+pod+"_"+uid)
}

// Options say what of a log is read. The zero value means nothing; [All] is where to start from.
type Options struct {
	// Tail is how many of the last lines are read; below 0: all. Lines are counted before Since leaves some out.
	Tail int64
	// Since leaves out what is older. Zero: nothing is left out.
	Since time.Time
	// Stream is the one stream that is read ("stdout", "stderr"); empty: both.
	Stream string
	// Follow waits for what is still to come, until Done is closed or the context ends.
	Follow bool
	// Done says that nothing more will be written. Needed only with Follow; what was written before it closed is read.
	Done <-chan struct{}
	// Timestamps heads each line with its time. Only for [Copy].
	Timestamps bool
	// LimitBytes ends the reading after so many bytes of output; 0: no limit. Only for [Copy].
	LimitBytes int64
}

// All reads a whole log as it is now.
func All() Options { return Options{Tail: -1} }

// Record is one record: a line, or a piece of a long one.
type Record struct {
	Time   time.Time
	Stream string
	// Text has no line end, and is good only until the function that was given it returns.
	Text []byte
	// Partial says that the line goes on in the next record of the same stream.
	Partial bool
}

// Each calls f with every record that o chooses, in the order in which they were written. It returns nil at the end of the
// log, the error of f if it has one, the cause of ctx, an error that is [os.ErrNotExist] if there is no such log, or
// [ErrFormat].
func Each(ctx context.Context, path string, o Options, f func(Record) error) error {
	r, err := openReader(path, o)
	if err != nil {
		return err
	}
	defer r.close()
	return r.each(ctx, func(line []byte) error {
		rec, err := Parse(line)
		if err != nil {
			return fmt.Errorf("read log %s: %w", path, err)
		}
		if rec.Time.Before(o.Since) || (o.Stream != "" && o.Stream != rec.Stream) {
			return nil
		}
		return f(rec)
	})
}

// errLimit ends the reading at LimitBytes.
var errLimit = errors.New("limit reached")

// Copy writes the text of the records that o chooses, each to the writer of its stream (which may be the same). Pieces of
// long lines are joined. Errors as [Each], and those of the writers.
func Copy(ctx context.Context, path string, o Options, stdout, stderr io.Writer) error {
	c := copier{Options: o, left: o.LimitBytes}
	err := Each(ctx, path, o, func(rec Record) error {
		w := stdout
		if rec.Stream != "stdout" {
			w = stderr
		}
		return c.write(w, rec)
	})
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

type copier struct {
	Options
	left int64
	mid  [2]bool // the last piece of stdout, of stderr was a partial one
	buf  []byte
}

func (c *copier) write(w io.Writer, rec Record) error {
	mid := &c.mid[0]
	if rec.Stream != "stdout" {
		mid = &c.mid[1]
	}
	c.buf = c.buf[:0]
	if c.Timestamps && !*mid {
		c.buf = append(rec.Time.AppendFormat(c.buf, time.RFC3339Nano), ' ')
	}
	c.buf = append(c.buf, rec.Text...)
	if !rec.Partial {
		c.buf = append(c.buf, '\n')
	}
	*mid = rec.Partial
	if c.LimitBytes > 0 && int64(len(c.buf)) >= c.left {
		if _, err := w.Write(c.buf[:c.left]); err != nil {
			return err
		}
		return errLimit
	}
	c.left -= int64(len(c.buf))
	_, err := w.Write(c.buf)
	return err
}

// Parse reads one record from a line without its end. Text points into line.
func Parse(line []byte) (Record, error) {
	stamp, rest, ok1 := bytes.Cut(line, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tag, text, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || !ok3 || len(tag) == 0 {
		return Record{}, fmt.Errorf("%w: %.60q", ErrFormat, line)
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Record{}, fmt.Errorf("%w: %.60q", ErrFormat, line)
	}
	name := "stderr"
	if string(stream) == "stdout" {
		name = "stdout"
	}
	return Record{Time: at, Stream: name, Text: text, Partial: tag[0] == 'P'}, nil
}

// full says whether the record that begins here ends a line. head needs no more than the first 64 bytes of it.
func full(head []byte) bool {
	for range 2 {
		i := bytes.IndexByte(head, ' ')
		if i < 0 {
			return true
		}
		head = head[i+1:]
	}
	return len(head) == 0 || head[0] != 'P'
}
