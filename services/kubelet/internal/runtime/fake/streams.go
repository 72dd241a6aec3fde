package fake

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"millrace.dev/services/kubelet/internal/runtime"
)

func makeDir(log string) error { return os.MkdirAll(filepath.Dir(log), 0o755) }

// Exec runs a command in a container: a program beside its own.
func (r *Runtime) Exec(ctx context.Context, id string, e runtime.ExecConfig) (int, error) {
	c, err := r.running(ctx, OpExec, id)
	if err != nil {
		return 0, err
	}
	choose := r.m.cfg.Exec
	if choose == nil {
		choose = func(_ runtime.Container, e runtime.ExecConfig) (Program, error) { return Shell(e.Args) }
	}
	program, err := choose(r.m.status(c), e)
	if err != nil {
		return 0, err
	}
	seen := &Process{Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, Signals: make(chan string)}
	if seen.Stdin == nil {
		seen.Stdin = eof{}
	}
	if seen.Stdout == nil {
		seen.Stdout = io.Discard
	}
	if seen.Stderr == nil || e.TTY {
		seen.Stderr = seen.Stdout
		if e.Stderr == nil && !e.TTY {
			seen.Stderr = io.Discard
		}
	}
	running, kill := context.WithCancel(ctx)
	defer kill()
	code := make(chan int, 1)
	go func() { // ends when it is killed, unless the test's own program does not heed that
		code <- program(running, seen)
	}()
	select {
	case n := <-code:
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return n, nil
	case <-c.proc.done:
		kill()
		<-code
		return exitKilled, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Attach connects with the streams of a container.
func (r *Runtime) Attach(ctx context.Context, id string, a runtime.AttachConfig) error {
	c, err := r.running(ctx, OpAttach, id)
	if err != nil {
		return err
	}
	reader := c.proc.output.attach(a.Stdout, a.Stderr)
	if reader == nil {
		return nil // it ends in this moment
	}
	defer c.proc.output.detach(reader)
	if a.Stdin != nil && c.proc.input != nil {
		go func() { // ends with the input, or with the container
			_, err := io.Copy(c.proc.input, a.Stdin)
			if !errors.Is(err, io.ErrClosedPipe) && c.config.StdinOnce {
				c.proc.closeInput()
			}
		}()
	}
	select {
	case <-reader.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
