// Command bench is every small server and tool of the test images in one static binary, so that all those images share one
// layer. The name it is called by says which program it is, or else its first argument; SIGTERM and SIGINT end each of
// them, at once or after what is in flight. The environment says who answers: POD_NAME, NODE_NAME, VERSION.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// program runs until ctx ends or its work is done. It writes what it has to say to out.
type program func(ctx context.Context, out io.Writer, args []string) error

// programs lists all programs by the names their images call them by.
func programs() map[string]program {
	return map[string]program{
		"agnhost":        agnhost,
		"burn":           burn,
		"crash":          crash,
		"echo":           echo,
		"hello-app":      helloApp,
		"http-echo":      httpEcho,
		"node-hello":     nodeHello,
		"probe-client":   probeClient,
		"serve_hostname": serveHostname,
		"writer":         writer,
	}
}

// exitError ends the process with a status of the program's own choice and without a word.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	run, ok := programs()[name]
	if !ok && len(args) > 0 {
		name, args = args[0], args[1:]
		run, ok = programs()[name]
	}
	if !ok {
		_, _ = fmt.Fprintf(os.Stderr, "%s is none of %s\n", name, strings.Join(slices.Sorted(maps.Keys(programs())), ", "))
		os.Exit(2)
	}
	err := run(ctx, os.Stdout, args)
	stop()
	if status, ok := errors.AsType[exitError](err); ok {
		os.Exit(int(status))
	}
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
