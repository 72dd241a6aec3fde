package fakeapi

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/root"
)

// Result is how a command ended.
type Result struct {
	Out, Err string
	Code     int
}

// Run runs a verb to its end, with args behind the name of the program.
func (a *API) Run(verb func(*factory.Factory) *cobra.Command, input string, args ...string) Result {
	a.t.Helper()
	f, stdout, stderr := a.Factory()
	f.In = strings.NewReader(input)
	code := root.Main(a.t.Context(), f, []root.Section{{Title: "Commands", Verbs: []*cobra.Command{verb(f)}}}, args)
	return Result{Out: stdout.String(), Err: stderr.String(), Code: code}
}

// Running is a command that is running.
type Running struct {
	Out, Err *Buffer
	cancel   context.CancelFunc
	code     chan int
}

// Begin runs a verb in the background; it is stopped, and waited for, with the test.
func (a *API) Begin(verb func(*factory.Factory) *cobra.Command, input io.Reader, args ...string) *Running {
	a.t.Helper()
	f, stdout, stderr := a.Factory()
	f.In = input
	ctx, cancel := context.WithCancel(a.t.Context())
	r := &Running{Out: stdout, Err: stderr, cancel: cancel, code: make(chan int, 1)}
	a.wg.Go(func() {
		r.code <- root.Main(ctx, f, []root.Section{{Title: "Commands", Verbs: []*cobra.Command{verb(f)}}}, args)
	})
	a.t.Cleanup(cancel)
	return r
}

// Stop ends the command and returns its exit code.
func (r *Running) Stop() int {
	r.cancel()
	return r.Wait()
}

// Wait returns the exit code of the command when it has ended.
func (r *Running) Wait() int { return <-r.code }
