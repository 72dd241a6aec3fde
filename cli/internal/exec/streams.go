package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/cli/internal/terminal"
	"millrace.dev/pkg/wire"
)

// streams are the ends of a session on the person's side.
type streams struct {
	*wire.Session
	in       io.Reader
	out, err io.Writer
}

// pass passes the streams until the command has ended, and returns how it ended.
func (s *streams) pass(ctx context.Context, o corev1.PodExecOptions) error {
	if o.Stdin {
		// Nobody waits for the input: a read from a terminal cannot be called off, and ends with the process.
		go s.passInput()
	}
	var sizes sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer sizes.Wait()
	defer stop()
	if o.TTY {
		sizes.Go(func() { s.passSize(ctx) })
	}
	var wg sync.WaitGroup
	var written [2]error
	for i, to := range []io.Writer{s.out, s.err} {
		from := []wire.Channel{wire.Stdout, wire.Stderr}[i]
		wg.Go(func() {
			if _, err := io.Copy(to, s.Reader(from)); err != nil {
				written[i] = err
				s.Close(err) // the reader of the output is gone: the command need not go on
			}
		})
	}
	document, err := s.Document(wire.Control)
	wg.Wait() // what the command wrote before it ended comes before its exit code
	if err == nil {
		return result(document)
	}
	if failed := errors.Join(written[:]...); failed != nil {
		return failed
	}
	if errors.Is(err, io.EOF) {
		return errNoResult
	}
	return fmt.Errorf("%w: %w", errNoResult, err)
}

func (s *streams) passInput() {
	input := s.Writer(wire.Stdin)
	if _, err := io.Copy(input, s.in); err == nil {
		_ = input.Close() // fails only when the session is over
	}
}

// passSize tells the size of the terminal whenever it changes.
func (s *streams) passSize(ctx context.Context) {
	to := s.Writer(wire.Control)
	_ = terminal.Follow(ctx, s.in, func(size terminal.Size) error { // fails only when the session is over
		document, err := json.Marshal(control{Resize: &size})
		if err != nil {
			return err
		}
		_, err = to.Write(document)
		return err
	})
}
