package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/services/kubelet/internal/logger"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// write makes a log of several files, oldest first; in a record "o" means stdout and "e" stderr. The time of a record is
// its number in seconds after epoch.
func write(t *testing.T, files ...[]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	n := 0
	for i, records := range files {
		var body strings.Builder
		for _, r := range records {
			r = map[byte]string{'o': "stdout", 'e': "stderr"}[r[0]] + r[1:]
			_, _ = fmt.Fprintf(&body, "%s %s\n", epoch.Add(time.Duration(n)*time.Second).Format(time.RFC3339Nano), r)
			n++
		}
		if err := os.WriteFile(logger.RotatedPath(path, len(files)-1-i), []byte(body.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestCopy(t *testing.T) {
	log := [][]string{{"o F a", "e F b"}, {"o P c1", "e F d", "o F c2"}, {"o F e", "o F f"}}
	tests := []struct {
		name     string
		files    [][]string
		o        Options
		out, err string
	}{
		{name: "all", files: log, o: All(), out: "a\nc1c2\ne\nf\n", err: "b\nd\n"},
		{name: "one stream", files: log, o: Options{Tail: -1, Stream: "stderr"}, err: "b\nd\n"},
		{name: "no line", files: log, o: Options{}},
		{name: "one line", files: log, o: Options{Tail: 1}, out: "f\n"},
		{name: "as many as the newest file has", files: log, o: Options{Tail: 2}, out: "e\nf\n"},
		{name: "from the middle of an older file", files: log, o: Options{Tail: 4}, out: "c1c2\ne\nf\n", err: "d\n"},
		{name: "more than there are", files: log, o: Options{Tail: 100}, out: "a\nc1c2\ne\nf\n", err: "b\nd\n"},
		{name: "since", files: log, o: Options{Tail: -1, Since: epoch.Add(5 * time.Second)}, out: "e\nf\n"},
		{name: "tail, then since", files: log, o: Options{Tail: 3, Since: epoch.Add(6 * time.Second)}, out: "f\n"},
		{
			name: "times", files: [][]string{{"o P a", "o F b", "e F c"}}, o: Options{Tail: -1, Timestamps: true},
			out: "2026-01-02T03:04:05Z ab\n", err: "2026-01-02T03:04:07Z c\n",
		},
		{name: "so many bytes", files: log, o: Options{Tail: -1, LimitBytes: 6}, out: "a\nc1", err: "b\n"},
		{name: "a line that goes on", files: [][]string{{"o F a", "o P b"}}, o: Options{Tail: 1}, out: "b"},
		{name: "an empty line", files: [][]string{{"o F ", "o F a"}}, o: All(), out: "\na\n"},
		{name: "empty", files: [][]string{{}}, o: Options{Tail: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, err bytes.Buffer
			if e := Copy(t.Context(), write(t, tt.files...), tt.o, &out, &err); e != nil {
				t.Fatal(e)
			}
			if diff := cmp.Diff([]string{tt.out, tt.err}, []string{out.String(), err.String()}); diff != "" {
				t.Errorf("stdout, stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTailOverManyBlocks(t *testing.T) {
	var lines []string
	for i := range 5000 {
		lines = append(lines, fmt.Sprintf("o F line %d %s", i, strings.Repeat("x", i%97)))
	}
	path := write(t, lines[:3000], lines[3000:])
	for _, n := range []int{1, 2, 1000, 1999, 2000, 2001, 4999, 5000} {
		var out bytes.Buffer
		if err := Copy(t.Context(), path, Options{Tail: int64(n)}, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(strings.Join(lines[5000-n:], "\n"), "o F ", "") + "\n"
		if out.String() != want {
			t.Errorf("tail %d: got %d bytes, want %d", n, out.Len(), len(want))
		}
	}
}

func TestErrors(t *testing.T) {
	if err := Copy(t.Context(), filepath.Join(t.TempDir(), "none"), All(), io.Discard, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte("what is this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), path, All(), io.Discard, io.Discard); !errors.Is(err, ErrFormat) {
		t.Errorf("no record: %v", err)
	}
	broken := errors.New("broken")
	if err := Each(t.Context(), write(t, []string{"o F a"}), All(), func(Record) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("failing reader: %v", err)
	}
}

// TestFollowThroughRotations writes while it reads, so fast that several rotations fall between two looks.
func TestFollowThroughRotations(t *testing.T) {
	const lines = 20000
	path := filepath.Join(t.TempDir(), "0.log")
	f, err := logger.Open(logger.Config{Path: path, MaxBytes: 64 << 10, MaxFiles: 40})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		for i := range lines {
			_, _ = fmt.Fprintf(w, "line %d\n", i)
		}
		_ = w.Close()
	}()
	go func() {
		_ = f.Copy(logger.Stdout, r)
		_ = f.Close()
		close(done)
	}()
	next := 0
	o := Options{Tail: -1, Follow: true, Done: done}
	err = Each(t.Context(), path, o, func(rec Record) error {
		if want := fmt.Sprintf("line %d", next); string(rec.Text) != want {
			return fmt.Errorf("got %q, want %q", rec.Text, want)
		}
		next++
		return nil
	})
	if err != nil || next != lines {
		t.Errorf("read %d lines, want %d: %v", next, lines, err)
	}
}

func TestFollowWaitsAndEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	f, err := logger.Open(logger.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	got := make(chan string)
	ended := make(chan error, 1)
	go func() {
		ended <- Each(ctx, path, Options{Follow: true}, func(rec Record) error {
			got <- string(rec.Text)
			return nil
		})
	}()
	for i := range 20 {
		line := fmt.Sprintf("line %d", i)
		// The first line may be written before the reader is there, which skips what it finds.
		for seen := false; !seen; {
			if err := f.Copy(logger.Stdout, strings.NewReader(line+"\n")); err != nil {
				t.Fatal(err)
			}
			late := time.NewTimer(time.Second)
			select {
			case text := <-got:
				seen = text == line
			case <-late.C:
				if i > 0 {
					t.Fatalf("line %d was not seen", i)
				}
			}
			late.Stop()
		}
	}
	stop := errors.New("stop")
	cancel(stop)
	if err := <-ended; !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
}

func TestPath(t *testing.T) {
	if got, want := Path(PodDir("/l", "ns", "web-0", "u1"), "app", 3), "/l/ns_web-0_u1/app/3.log"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
