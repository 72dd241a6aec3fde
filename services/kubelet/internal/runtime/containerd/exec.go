package containerd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/runtime"
)

const (
	// afterExit is how long the output of a command may rest, once it has ended, before we stop waiting for its end: a
	// process that it left behind may hold its pipes for ever.
	afterExit = 2 * time.Second
	// cleanUpTime bounds what must be done although the caller's context has ended.
	cleanUpTime = 10 * time.Second
)

// Exec runs a command in a container.
func (r *Runtime) Exec(ctx context.Context, id string, x runtime.ExecConfig) (int, error) {
	e, err := r.find(ctx, id)
	if err != nil {
		return 0, err
	}
	if e.status().State != runtime.StateRunning {
		return 0, fmt.Errorf("exec in container %s: %w", e.meta.Name, runtime.ErrNotRunning)
	}
	spec, err := r.execSpec(ctx, e, x)
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", e.meta.Name, err)
	}
	cmd := &execution{r: r, container: id, id: "x" + strings.ToLower(rand.Text()[:15]), config: x}
	code, err := cmd.run(ctx, spec)
	if errors.Is(err, runtime.ErrNotFound) { // it ended just now
		err = runtime.ErrNotRunning
	}
	if err != nil {
		return code, fmt.Errorf("exec in container %s: %w", e.meta.Name, err)
	}
	return code, nil
}

// execSpec is how the command begins: as the container's first process did. That is read once.
func (r *Runtime) execSpec(ctx context.Context, e *entry, x runtime.ExecConfig) (*processSpec, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.execSpec == nil {
		stored, err := r.containers.Get(ctx, e.id)
		if err != nil {
			return nil, Translate(ctx, err)
		}
		var spec struct {
			Process *processSpec `json:"process"`
		}
		if err := json.Unmarshal(stored.Spec.GetValue(), &spec); err != nil || spec.Process == nil {
			return nil, fmt.Errorf("decode specification: %w", err)
		}
		e.execSpec = spec.Process
	}
	p := *e.execSpec
	p.Args, p.Terminal = x.Args, x.TTY
	if x.TTY && !e.meta.TTY {
		p.Env = append(slices.Clip(p.Env), "TERM=xterm")
	}
	return &p, nil
}

// execution is one run of one command.
type execution struct {
	r         *Runtime
	container string
	id        string
	config    runtime.ExecConfig

	progress atomic.Int64  // bytes of output
	input    chan struct{} // closed when the input has ended
}

func (c *execution) run(ctx context.Context, spec *processSpec) (code int, err error) {
	encoded, err := typeurl.MarshalAnyToProto(spec)
	if err != nil {
		return 0, fmt.Errorf("encode command: %w", err)
	}
	// The pipes outlive ctx until the command is cleaned up.
	lasting, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	pipes, err := c.open()
	if err != nil {
		return 0, fmt.Errorf("open pipes: %w", err)
	}
	defer func() {
		pipes.Cancel()
		err = errors.Join(err, pipes.Close())
	}()
	streams := pipes.Config()
	// What the caller breaks off half-way would be started unseen and stay: it is started fully first, then killed.
	starting, cancel := context.WithTimeout(lasting, cleanUpTime)
	defer cancel()
	if _, err := c.r.tasks.Exec(starting, &tasks.ExecProcessRequest{
		ContainerID: c.container, ExecID: c.id, Terminal: streams.Terminal,
		Stdin: streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr, Spec: encoded,
	}); err != nil {
		return 0, startError(starting, "", err)
	}
	defer func() { err = errors.Join(err, c.delete(lasting)) }()

	exited := make(chan exit, 1)
	go func() { // ends with the command, or with done
		for {
			got, err := c.r.tasks.Wait(lasting, &tasks.WaitRequest{ContainerID: c.container, ExecID: c.id}, waitForReady)
			if err = Translate(lasting, err); !errors.Is(err, runtime.ErrUnavailable) {
				exited <- exit{code: int(got.GetExitStatus()), err: err}
				return
			}
		}
	}()
	if _, err := c.r.tasks.Start(starting, &tasks.StartRequest{ContainerID: c.container, ExecID: c.id}); err != nil {
		c.kill(lasting)
		return 0, startError(starting, "", err)
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer done()
	helpers.Go(func() { c.closeInput(lasting) })
	helpers.Go(func() { c.resize(lasting) })

	select {
	case got := <-exited:
		c.drain(lasting, pipes)
		return got.code, got.err
	case <-ctx.Done():
		c.kill(lasting)
		<-exited
		return 0, context.Cause(ctx)
	}
}

type exit struct {
	code int
	err  error
}

// open makes the pipes between the streams and the shim.
func (c *execution) open() (cio.IO, error) {
	c.input = make(chan struct{})
	var in io.Reader
	if c.config.Stdin != nil {
		in = &endReader{Reader: c.config.Stdin, end: sync.OnceFunc(func() { close(c.input) })}
	}
	count := func(w io.Writer) io.Writer {
		if w == nil {
			w = io.Discard
		}
		return &countWriter{Writer: w, n: &c.progress}
	}
	opts := []cio.Opt{
		cio.WithStreams(in, count(c.config.Stdout), count(c.config.Stderr)),
		cio.WithFIFODir(filepath.Join(c.r.cfg.RunDir, ioDir)),
	}
	if c.config.TTY {
		opts = append(opts, cio.WithTerminal)
	}
	return cio.NewCreator(opts...)(c.id)
}

// closeInput tells the shim when the input has ended, which only then shows the command its end.
func (c *execution) closeInput(ctx context.Context) {
	select {
	case <-c.input:
		_, _ = c.r.tasks.CloseIO(ctx, &tasks.CloseIORequest{ContainerID: c.container, ExecID: c.id, Stdin: true}) // it may have ended
	case <-ctx.Done():
	}
}

func (c *execution) resize(ctx context.Context) {
	for {
		select {
		case size, ok := <-c.config.Resize:
			if !ok {
				return
			}
			_, _ = c.r.tasks.ResizePty(ctx, &tasks.ResizePtyRequest{
				ContainerID: c.container, ExecID: c.id, Width: uint32(size.Width), Height: uint32(size.Height),
			}) // it may have ended
		case <-ctx.Done():
			return
		}
	}
}

// drain waits until all output has been written, as long as there is any.
func (c *execution) drain(ctx context.Context, pipes cio.IO) {
	empty := make(chan struct{})
	go func() { // ends when the pipes do, at the latest when they are cancelled
		pipes.Wait()
		close(empty)
	}()
	for seen := int64(-1); seen != c.progress.Load(); {
		seen = c.progress.Load()
		rest := time.NewTimer(afterExit)
		select {
		case <-empty:
			rest.Stop()
			return
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return
		}
	}
}

func (c *execution) kill(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTime)
	defer cancel()
	_, _ = c.r.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: c.container, ExecID: c.id, Signal: uint32(unix.SIGKILL)}) // it may have ended
}

func (c *execution) delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	_, err := c.r.tasks.DeleteProcess(ctx, &tasks.DeleteProcessRequest{ContainerID: c.container, ExecID: c.id})
	err = Translate(ctx, err)
	if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrUnavailable) {
		return nil // gone with its container, or with the daemon, which forgets it
	}
	return err
}

// endReader says when its reader has ended.
type endReader struct {
	io.Reader
	end func()
}

func (r *endReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		r.end()
	}
	return n, err
}

// countWriter counts what passes.
type countWriter struct {
	io.Writer
	n *atomic.Int64
}

func (w *countWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n.Add(int64(n))
	return n, err
}
