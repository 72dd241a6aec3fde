package logger

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// HubMode is the first argument of a logger process that also serves attached clients.
const HubMode = "hub"

// The files in the directory of a hub. The first three are the FIFOs that the container's shim opens; a terminal has no
// stderr.
const (
	HubStdin  = "stdin"
	HubStdout = "stdout"
	HubStderr = "stderr"
	HubSocket = "hub"
)

const (
	paramDir      = "dir"
	paramTerminal = "terminal"
	paramDetached = "detached"
)

// hubQueue is how many reads an attached client may lag behind. A container is not held up by who watches it: a client
// that falls further behind is cut off.
const hubQueue = 64

// The frames between a hub and its clients: one byte of kind, four of length (big endian), then so many bytes. A hub sends
// the two outputs; a client sends input and its end.
const (
	FrameStdout byte = iota + 1
	FrameStderr
	FrameStdin
	FrameStdinEnd
)

// HubArgs are the arguments for a hub with the FIFOs in dir; a terminal has one output. The process ends as soon as its
// detached child, the hub itself, is ready.
func HubArgs(dir string, terminal bool, cfg Config) []string {
	args := []string{HubMode, paramDir, dir}
	if terminal {
		args = append(args, paramTerminal, "yes")
	}
	for name, value := range cfg.Params() {
		args = append(args, name, value)
	}
	return args
}

// RunHub is the process that [HubArgs] starts: it makes the FIFOs, leaves a detached copy of itself behind that does the
// work, and returns when that one listens.
func RunHub(args []string) error {
	params := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		params[args[i]] = args[i+1]
	}
	if params[paramDetached] != "" {
		signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTERM)
		h := &hub{dir: params[paramDir], terminal: params[paramTerminal] != ""}
		return h.run(Parse(args), func() { _ = os.NewFile(readyFD, "ready").Close() })
	}
	for _, name := range []string{HubStdin, HubStdout, HubStderr} {
		if err := syscall.Mkfifo(filepath.Join(params[paramDir], name), 0o600); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	ready, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	child := &exec.Cmd{ // it outlives its parent
		Path: "/proc/self/exe", Args: slices.Concat([]string{os.Args[0], HubMode}, args, []string{paramDetached, "yes"}),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		ExtraFiles:  []*os.File{nil, nil, ours}, // readyFD
	}
	if err := child.Start(); err != nil {
		return err
	}
	_ = ours.Close()
	if _, err = ready.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return errors.New("the hub did not start")
	}
	return nil
}

// hub copies the outputs of one container to its log and to whoever is attached, and their input to it.
type hub struct {
	dir      string
	terminal bool
	stdin    *os.File

	mu      sync.Mutex
	clients map[*hubClient]struct{}
}

type hubClient struct {
	conn  net.Conn
	queue chan []byte
}

// run works until the container's outputs end. ready is called when clients may come.
func (h *hub) run(cfg Config, ready func()) error {
	file, err := Open(cfg)
	if err != nil {
		return err
	}
	h.clients = map[*hubClient]struct{}{}
	// Opened for both ways, so that it neither waits for the shim nor ends when nobody writes.
	if h.stdin, err = os.OpenFile(filepath.Join(h.dir, HubStdin), os.O_RDWR, 0); err != nil {
		return err
	}
	socket := filepath.Join(h.dir, HubSocket)
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	ready()

	var outputs, clients sync.WaitGroup
	clients.Go(func() { h.accept(listener, &clients) })
	outputs.Go(func() { h.copy(file, HubStdout, FrameStdout) })
	if !h.terminal {
		outputs.Go(func() { h.copy(file, HubStderr, FrameStderr) })
	}
	outputs.Wait()
	_ = listener.Close()
	h.hangUp()
	clients.Wait()
	return file.Close()
}

// copy waits until the shim opens the FIFO and copies until it closes it.
func (h *hub) copy(file *File, name string, kind byte) {
	fifo, err := os.OpenFile(filepath.Join(h.dir, name), os.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer func() { _ = fifo.Close() }()
	_ = file.Copy(name, io.TeeReader(fifo, hubTee{hub: h, kind: kind})) // ends with the FIFO
}

type hubTee struct {
	hub  *hub
	kind byte
}

// Write hands one read to every client; one that lags too far behind is cut off.
func (t hubTee) Write(p []byte) (int, error) {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	if len(t.hub.clients) == 0 {
		return len(p), nil
	}
	frame := AppendFrame(nil, t.kind, p)
	for c := range t.hub.clients {
		select {
		case c.queue <- frame:
		default:
			t.hub.drop(c)
		}
	}
	return len(p), nil
}

// drop lets a client go after what is queued for it. The caller holds mu.
func (h *hub) drop(c *hubClient) {
	if _, ok := h.clients[c]; ok {
		delete(h.clients, c)
		close(c.queue)
	}
}

func (h *hub) hangUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		h.drop(c)
	}
	h.clients = nil
}

func (h *hub) accept(listener net.Listener, wg *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		c := &hubClient{conn: conn, queue: make(chan []byte, hubQueue)}
		h.mu.Lock()
		if h.clients == nil {
			h.mu.Unlock()
			_ = conn.Close()
			return
		}
		h.clients[c] = struct{}{}
		h.mu.Unlock()
		wg.Go(c.send)
		wg.Go(func() { h.receive(c) })
	}
}

// send writes what is queued, then hangs up.
func (c *hubClient) send() {
	for frame := range c.queue {
		_ = c.conn.SetWriteDeadline(time.Now().Add(afterTerm))
		if _, err := c.conn.Write(frame); err != nil {
			break
		}
	}
	_ = c.conn.Close()
}

// receive passes a client's input on until it hangs up.
func (h *hub) receive(c *hubClient) {
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(c)
	}()
	buf := make([]byte, FrameBytes)
	for {
		kind, p, err := ReadFrame(c.conn, buf)
		switch {
		case err != nil:
			return
		case kind == FrameStdinEnd:
			_ = h.stdin.Close()
		case kind == FrameStdin:
			if _, err := h.stdin.Write(p); err != nil {
				return
			}
		}
	}
}

// AppendFrame adds one frame to dst.
func AppendFrame(dst []byte, kind byte, p []byte) []byte {
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p)))
	return append(dst, p...)
}

// ReadFrame reads one frame; its bytes lie in buf and are good until the next call. It fails on a frame longer than buf,
// which neither side sends with a buffer of [FrameBytes].
func ReadFrame(r io.Reader, buf []byte) (kind byte, p []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if int64(n) > int64(len(buf)) {
		return 0, nil, errors.New("frame too long")
	}
	_, err = io.ReadFull(r, buf[:n])
	return head[0], buf[:n], err
}

// FrameBytes is the longest content of a frame.
const FrameBytes = 2 * chunkBytes
