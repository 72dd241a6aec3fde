package logger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hubFixture is a hub that runs, and the container's ends of its pipes.
type hubFixture struct {
	*testing.T
	dir, log       string
	stdout, stderr *os.File
	stdin          *os.File
	ended          chan error
}

func startHub(t *testing.T) *hubFixture {
	t.Helper()
	dir := t.TempDir()
	f := &hubFixture{T: t, dir: dir, log: filepath.Join(dir, "0.log"), ended: make(chan error, 1)}
	for _, name := range []string{HubStdin, HubStdout, HubStderr} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ready := make(chan struct{})
	go func() {
		f.ended <- (&hub{dir: dir}).run(Config{Path: f.log}, func() { close(ready) })
	}()
	<-ready
	f.stdout, f.stderr = f.open(HubStdout, os.O_WRONLY), f.open(HubStderr, os.O_WRONLY)
	f.stdin = f.open(HubStdin, os.O_RDONLY)
	return f
}

func (f *hubFixture) open(name string, flag int) *os.File {
	f.Helper()
	file, err := os.OpenFile(filepath.Join(f.dir, name), flag, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = file.Close() })
	return file
}

func (f *hubFixture) attach() net.Conn {
	f.Helper()
	// The path of a socket has few bytes, that of a test's directory many.
	f.Chdir(f.dir)
	c, err := net.Dial("unix", HubSocket)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	return c
}

func (f *hubFixture) end() {
	f.Helper()
	if err := errors.Join(f.stdout.Close(), f.stderr.Close(), <-f.ended); err != nil {
		f.Error(err)
	}
}

// read collects what a client gets until the hub hangs up.
func read(t *testing.T, c net.Conn) string {
	t.Helper()
	var all strings.Builder
	buf := make([]byte, FrameBytes)
	for {
		kind, p, err := ReadFrame(c, buf)
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(&all, "%d:%s", kind, p)
	}
}

func TestHub(t *testing.T) {
	f := startHub(t)
	first, second := f.attach(), f.attach()
	// Input shows that the hub knows its clients.
	for _, c := range []net.Conn{first, second} {
		if _, err := c.Write(AppendFrame(nil, FrameStdin, []byte("in\n"))); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(f.stdin, got); err != nil || string(got) != "in\n" {
			t.Fatalf("the container reads %q, %v", got, err)
		}
	}
	if _, err := f.stdout.WriteString("out\n"); err != nil {
		t.Fatal(err)
	}
	if got := make([]byte, 9); true {
		if _, err := io.ReadFull(first, got); err != nil || !bytes.Equal(got, AppendFrame(nil, FrameStdout, []byte("out\n"))) {
			t.Errorf("the first client gets %q, %v", got, err)
		}
	}
	if _, err := f.stderr.WriteString("err\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write(AppendFrame(nil, FrameStdinEnd, nil)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(f.stdin); err != nil || len(rest) != 0 {
		t.Errorf("the container reads %q, %v", rest, err)
	}
	f.end()
	if got := read(t, first); got != "2:err\n" {
		t.Errorf("the first client gets %q", got)
	}
	if got := read(t, second); got != "1:out\n2:err\n" {
		t.Errorf("the second client gets %q", got)
	}
	if diff := cmp.Diff([]string{"stdout F out", "stderr F err"}, records(t, f.log)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestHubCutsOffWhoDoesNotRead has a client that reads nothing: the container is not held up.
func TestHubCutsOffWhoDoesNotRead(t *testing.T) {
	f := startHub(t)
	lazy := f.attach()
	if _, err := lazy.Write(AppendFrame(nil, FrameStdin, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f.stdin, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1023) + "\n"
	for range 8 << 10 { // 8 MiB
		if _, err := f.stdout.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := lazy.Close(); err != nil {
		t.Error(err)
	}
	f.end()
	if got := len(records(t, f.log)); got != 8<<10 {
		t.Errorf("the log has %d lines", got)
	}
}

func TestReadFrame(t *testing.T) {
	frame := AppendFrame(nil, FrameStdin, []byte("hello"))
	if kind, p, err := ReadFrame(bytes.NewReader(frame), make([]byte, 5)); kind != FrameStdin || string(p) != "hello" || err != nil {
		t.Errorf("got %d, %q, %v", kind, p, err)
	}
	if _, _, err := ReadFrame(bytes.NewReader(frame), make([]byte, 4)); err == nil {
		t.Error("a frame longer than the buffer was read")
	}
	if _, _, err := ReadFrame(bytes.NewReader(frame[:7]), make([]byte, 5)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a frame: %v", err)
	}
}
