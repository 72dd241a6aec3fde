package fake

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"millrace.dev/services/kubelet/internal/logger"
	"millrace.dev/services/kubelet/internal/runtime"
)

// OutOfMemory is what a program returns in the place of an exit code to end as if for want of memory.
const OutOfMemory = -1

const exitKilled = 137

// Program is what runs in a container or as a command. It returns its exit code. When ctx ends it has been killed, and
// what it returns does not matter.
type Program func(ctx context.Context, p *Process) (exitCode int)

// Process is what a program sees.
type Process struct {
	Stdin          io.Reader // never nil
	Stdout, Stderr io.Writer
	// Signals are those it gets, by name ("TERM"), except KILL.
	Signals <-chan string
}

// outcome is how a process ended.
type outcome struct {
	code       int
	oom, lost  bool
	startError string
	at         time.Time
}

// process is a program that runs in a container.
type process struct {
	signals chan string
	output  *output
	input   *io.PipeWriter // nil: none
	cancel  context.CancelFunc
	done    chan struct{} // closed when how is there

	mu  sync.Mutex
	how *outcome
}

// end notes the first outcome and reports whether it was that.
func (p *process) end(o outcome) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.how != nil {
		return false
	}
	p.how = &o
	p.cancel()
	p.closeInput()
	p.output.close()
	close(p.done)
	return true
}

func (p *process) closeInput() {
	if p.input != nil {
		_ = p.input.Close()
	}
}

// result is how it ended; only once done is closed.
func (p *process) result() outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.how
}

func (p *process) signal(name string) {
	if name == "KILL" {
		p.end(outcome{code: exitKilled, at: time.Now()})
		return
	}
	select {
	case p.signals <- name:
	default: // many have come that it did not look at
	}
}

// start makes a container run.
func (m *Machine) start(caller context.Context, c *container) error {
	choose := m.cfg.Program
	if choose == nil {
		choose = func(c runtime.ContainerConfig) (Program, error) {
			return Shell(slices.Concat(c.Command, c.Args))
		}
	}
	program, err := choose(c.config)
	if err != nil {
		return err
	}
	out, err := newOutput(c.config.Log)
	if err != nil {
		return fmt.Errorf("create log: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(caller))
	proc := &process{signals: make(chan string, 8), output: out, cancel: cancel, done: make(chan struct{})}
	seen := &Process{Stdin: eof{}, Stdout: out.stream(logger.Stdout), Stderr: out.stream(logger.Stderr), Signals: proc.signals}
	if c.config.Stdin {
		seen.Stdin, proc.input = io.Pipe()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nextPID++
	c.proc = proc
	c.now.State, c.now.PID, c.now.StartedAt = runtime.StateRunning, m.nextPID, time.Now()
	m.runs.Go(func() {
		select {
		case <-m.off:
			proc.end(outcome{code: exitKilled, lost: true, at: time.Now()})
		case <-proc.done:
		}
	})
	m.runs.Go(func() {
		code := program(ctx, seen)
		if code == OutOfMemory {
			proc.end(outcome{code: exitKilled, oom: true, at: time.Now()})
			return
		}
		proc.end(outcome{code: code, at: time.Now()})
	})
	return nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// output is where the streams of a container go: its log, and those who are attached.
type output struct {
	mu      sync.Mutex
	log     *logger.File // nil: none
	pipes   map[string]*io.PipeWriter
	copies  sync.WaitGroup
	readers map[*reader]struct{}
	closed  bool
}

// reader is somebody who is attached.
type reader struct {
	stdout, stderr io.Writer
	gone           chan struct{} // closed when there is no more
}

func newOutput(l runtime.Log) (*output, error) {
	o := &output{readers: map[*reader]struct{}{}, pipes: map[string]*io.PipeWriter{}}
	if l.Path == "" {
		return o, nil
	}
	if err := makeDir(l.Path); err != nil {
		return nil, err
	}
	file, err := logger.Open(logger.Config{Path: l.Path, MaxBytes: l.MaxBytes, MaxFiles: l.MaxFiles})
	if err != nil {
		return nil, err
	}
	o.log = file
	return o, nil
}

type stream struct {
	*output
	name string
}

func (o *output) stream(name string) io.Writer { return stream{output: o, name: name} }

// Write passes on what a program writes. What it writes after its end is lost.
func (s stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	for r := range s.readers {
		w := r.stdout
		if s.name == logger.Stderr {
			w = r.stderr
		}
		if w == nil {
			continue
		}
		if _, err := w.Write(p); err != nil {
			delete(s.readers, r)
			close(r.gone)
		}
	}
	if s.log == nil {
		return len(p), nil
	}
	return s.pipe(s.name).Write(p)
}

// pipe is what the log reads a stream from. The caller holds mu.
func (o *output) pipe(name string) *io.PipeWriter {
	w, ok := o.pipes[name]
	if !ok {
		var r *io.PipeReader
		r, w = io.Pipe()
		o.pipes[name] = w
		o.copies.Go(func() { _ = o.log.Copy(name, r) }) // ends when close closes the pipe
	}
	return w
}

// close completes the log and lets those who are attached go.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	for _, w := range o.pipes {
		_ = w.Close()
	}
	o.copies.Wait()
	if o.log != nil {
		_ = o.log.Close()
	}
	for r := range o.readers {
		close(r.gone)
	}
	o.readers = nil
}

// attach adds a reader; nil if the output has ended.
func (o *output) attach(stdout, stderr io.Writer) *reader {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	r := &reader{stdout: stdout, stderr: stderr, gone: make(chan struct{})}
	o.readers[r] = struct{}{}
	return r
}

func (o *output) detach(r *reader) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.readers, r)
}
