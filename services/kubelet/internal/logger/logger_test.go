package logger

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, cfg Config) *File {
	t.Helper()
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

var record = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)$`)

// records reads a log, oldest file first, as "stream tag text".
func records(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	for i := 100; i >= 0; i-- {
		body, err := os.ReadFile(RotatedPath(path, i))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(body)) {
			m := record.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				t.Fatalf("file %d has a line that is no record: %.80q", i, line)
			}
			all = append(all, m[1]+" "+m[2]+" "+m[3])
		}
	}
	return all
}

func TestCopy(t *testing.T) {
	long := strings.Repeat("x", chunkBytes)
	tests := []struct {
		name, in string
		want     []string
	}{
		{name: "nothing", in: "", want: nil},
		{name: "lines", in: "a\nb\n", want: []string{"stdout F a", "stdout F b"}},
		{name: "an empty line", in: "a\n\nb\n", want: []string{"stdout F a", "stdout F ", "stdout F b"}},
		{name: "a last line without its end", in: "a\nb", want: []string{"stdout F a", "stdout F b"}},
		{name: "a line of exactly one chunk", in: long + "\n", want: []string{"stdout F " + long}},
		{name: "one byte more", in: long + "y\n", want: []string{"stdout P " + long, "stdout F y"}},
		{name: "three chunks", in: long + long + "z", want: []string{"stdout P " + long, "stdout P " + long, "stdout F z"}},
		{name: "a long line, then a short one", in: long + "y\nb\n", want: []string{"stdout P " + long, "stdout F y", "stdout F b"}},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		"half": iotest.HalfReader, "end with data": iotest.DataErrReader,
	}
	for _, tt := range tests {
		for how, reader := range readers {
			t.Run(tt.name+" "+how, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "0.log")
				if err := open(t, Config{Path: path}).Copy(Stdout, reader(strings.NewReader(tt.in))); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, records(t, path)); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestRotationLosesNoLine(t *testing.T) {
	const lines = 3000
	path := filepath.Join(t.TempDir(), "0.log")
	f := open(t, Config{Path: path, MaxBytes: 64 << 10, MaxFiles: 8})
	var wg sync.WaitGroup
	for _, stream := range []string{Stdout, Stderr} {
		wg.Go(func() {
			r, w := io.Pipe()
			wg.Go(func() {
				for i := range lines {
					_, _ = fmt.Fprintf(w, "line %d of %s\n", i, stream)
				}
				_ = w.Close()
			})
			if err := f.Copy(stream, r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	next := map[string]int{}
	for _, r := range records(t, path) {
		stream, text, _ := strings.Cut(r, " F ")
		if want := fmt.Sprintf("line %d of %s", next[stream], stream); text != want {
			t.Fatalf("%s: got %q, want %q", stream, text, want)
		}
		next[stream]++
	}
	if next[Stdout] != lines || next[Stderr] != lines {
		t.Errorf("got %v lines, want %d each", next, lines)
	}
	if _, err := os.Stat(RotatedPath(path, 3)); err != nil {
		t.Errorf("the log was not rotated: %v", err)
	}
	for i := range 8 {
		if info, err := os.Stat(RotatedPath(path, i)); err == nil && info.Size() > 64<<10 {
			t.Errorf("file %d has %d bytes", i, info.Size())
		}
	}
}

func TestRotationKeepsSoManyFiles(t *testing.T) {
	for _, files := range []int{1, 2, 3} {
		path := filepath.Join(t.TempDir(), "0.log")
		f := open(t, Config{Path: path, MaxBytes: 200, MaxFiles: files})
		if err := f.Copy(Stdout, iotest.OneByteReader(strings.NewReader(strings.Repeat("0123456789\n", 100)))); err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(path + "*")
		if err != nil || len(names) != files {
			t.Errorf("MaxFiles %d left %v, %v", files, names, err)
		}
	}
}

func TestAppendsToWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	for _, line := range []string{"one\n", "two\n"} {
		f := open(t, Config{Path: path})
		if err := f.Copy(Stderr, strings.NewReader(line)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"stderr F one", "stderr F two"}, records(t, path)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestCopyAllocatesNothing(t *testing.T) {
	f := open(t, Config{Path: filepath.Join(t.TempDir(), "0.log")})
	s := splitter{file: f, stream: Stdout, buf: make([]byte, 0, 2*chunkBytes)}
	line := []byte("a line of some length, as programs write them\n")
	if got := testing.AllocsPerRun(100, func() { s.take(copy(s.free(), line), time.Now(), false) }); got > 0 {
		t.Errorf("a record costs %v allocations", got)
	}
}

func BenchmarkCopy(b *testing.B) {
	f, err := Open(Config{Path: filepath.Join(b.TempDir(), "0.log")})
	if err != nil {
		b.Fatal(err)
	}
	lines := bytes.Repeat([]byte("a line of some length, as programs write them, about a hundred bytes of text with a number 1234567\n"), 160)
	b.SetBytes(int64(len(lines)))
	for b.Loop() {
		if err := f.Copy(Stdout, bytes.NewReader(lines)); err != nil {
			b.Fatal(err)
		}
	}
}
