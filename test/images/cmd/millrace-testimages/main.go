// Command millrace-testimages makes the images that tests run and serves them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/test/images"
)

const usage = `usage:
  millrace-testimages build [--dir DIR] [STAND-IN...]   make what is missing or out of date, of all or of these
  millrace-testimages serve [--dir DIR] [--listen ADDR] serve the images as a mirror of their registries
  millrace-testimages list                              print the stand-ins and the names they are served by
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "millrace-testimages: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return flag.ErrHelp
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main says what is wrong
	switch args[0] {
	case "build":
		dir := flags.String("dir", images.DefaultDir(), "")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return build(ctx, out, images.Config{Dir: *dir, Only: flags.Args()})
	case "serve":
		dir := flags.String("dir", images.DefaultDir(), "")
		addr := flags.String("listen", "127.0.0.1:5000", "")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return serve(ctx, out, *dir, *addr)
	case "list":
		return list(out)
	}
	return flag.ErrHelp
}

func build(ctx context.Context, out io.Writer, c images.Config) error {
	start := time.Now()
	result, err := images.Build(ctx, c)
	if err != nil {
		return err
	}
	store, err := images.Open(c.Dir)
	if err != nil {
		return err
	}
	size, err := store.Size()
	if err != nil {
		return err
	}
	for _, name := range result.Built {
		_, _ = fmt.Fprintln(out, name)
	}
	_, err = fmt.Fprintf(out, "%d built, %d kept, %.1f MB in %s, %v\n",
		len(result.Built), len(result.Kept), float64(size)/1e6, c.Dir, time.Since(start).Round(time.Millisecond))
	return err
}

// serve answers until ctx ends.
func serve(ctx context.Context, out io.Writer, dir, addr string) error {
	store, err := images.Open(dir)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: images.NewRegistry(store), ReadHeaderTimeout: 10 * time.Second}
	_, _ = fmt.Fprintf(out, "serving %s on %s\n", dir, l.Addr())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return g.Wait()
}

func list(out io.Writer) error {
	for _, s := range images.StandIns() {
		if _, err := fmt.Fprintf(out, "%-14s %s\n", s.Name, strings.Join(s.Names, "\n               ")); err != nil {
			return err
		}
	}
	return nil
}
