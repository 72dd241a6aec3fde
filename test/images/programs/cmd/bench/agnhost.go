package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// healthyFor is how long the liveness server stays healthy, as the image it stands in for does.
const healthyFor = 10 * time.Second

// agnhost runs the subcommand that its first argument names; without one it waits.
func agnhost(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		args = []string{"pause"}
	}
	switch name, args := args[0], args[1:]; name {
	case "guestbook":
		return guestbook(ctx, out, args)
	case "liveness":
		return serve(ctx, ":8080", liveness(time.Now))
	case "mounttest":
		return mountTest(out, args)
	case "netexec":
		return netExec(ctx, args)
	case "pause":
		_, _ = fmt.Fprintln(out, "Paused")
		<-ctx.Done()
		return nil
	case "serve-hostname":
		return serveHostname(ctx, out, args)
	default:
		return fmt.Errorf("unknown command %q", name)
	}
}

// liveness is a server whose health ends after a while.
func liveness(now func() time.Time) http.Handler {
	started := now()
	mux := http.NewServeMux()
	mux.HandleFunc("/started", text(func(*http.Request) string { return now().Sub(started).String() }))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if age := now().Sub(started); age > healthyFor {
			http.Error(w, fmt.Sprintf("error: %v", age.Seconds()), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte("ok"))
	})
	return mux
}

// mountTest prints the content or the mode of a file, as the tests of mounted volumes look for it.
func mountTest(out io.Writer, args []string) error {
	flags := flag.NewFlagSet("mounttest", flag.ContinueOnError)
	content := flags.String("file_content", "", "file whose content is printed")
	mode := flags.String("file_mode", "", "file whose mode is printed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *mode != "" {
		info, err := os.Lstat(*mode)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "mode of file %q: %v\n", *mode, info.Mode())
	}
	if *content != "" {
		body, err := os.ReadFile(*content)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "content of file %q: %s\n", *content, body)
	}
	return nil
}

// netExec answers questions about the network over HTTP and UDP, and runs commands for whoever asks.
func netExec(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("netexec", flag.ContinueOnError)
	httpPort := flags.Int("http-port", 8080, "port of the HTTP server")
	udpPort := flags.Int("udp-port", 8081, "port of the UDP server; -1: none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, fmt.Sprintf(":%d", *httpPort), netExecHandler()) })
	if *udpPort >= 0 {
		g.Go(func() error { return serveUDP(ctx, fmt.Sprintf(":%d", *udpPort), netExecDatagram) })
	}
	return g.Wait()
}

func netExecHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", text(func(*http.Request) string { return "NOW: " + time.Now().String() }))
	mux.HandleFunc("/clientip", text(func(r *http.Request) string { return r.RemoteAddr }))
	mux.HandleFunc("/echo", text(func(r *http.Request) string { return r.FormValue("msg") }))
	mux.HandleFunc("/healthz", text(func(*http.Request) string { return "" }))
	mux.HandleFunc("/hostname", text(func(*http.Request) string { return hostname() }))
	mux.HandleFunc("/hostName", text(func(*http.Request) string { return hostname() }))
	mux.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.FormValue("code"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		os.Exit(code)
	})
	mux.HandleFunc("/shell", shell)
	return mux
}

// shell runs the command of the request and answers with what it has printed.
func shell(w http.ResponseWriter, r *http.Request) {
	command := cmp.Or(r.FormValue("shellCommand"), r.FormValue("cmd")) // both names are in use
	body, err := exec.CommandContext(r.Context(), "/bin/sh", "-c", command).CombinedOutput()
	result := map[string]string{"output": string(body)}
	if err != nil {
		result["error"] = err.Error()
	}
	answer(w, result)
}

// netExecDatagram answers "hostname", "clientip" and "echo <text>"; nil: no answer.
func netExecDatagram(from net.Addr, datagram []byte) []byte {
	command, rest, _ := strings.Cut(strings.TrimSpace(string(datagram)), " ")
	switch strings.ToLower(command) {
	case "hostname":
		return []byte(hostname())
	case "clientip":
		return []byte(from.String())
	case "echo":
		return []byte(rest)
	}
	return nil
}

// serveUDP answers every datagram that comes to addr with what say returns, if it returns anything, until ctx ends.
func serveUDP(ctx context.Context, addr string, say func(from net.Addr, datagram []byte) []byte) error {
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if body := say(from, buf[:n]); body != nil {
			_, _ = conn.WriteTo(body, from) // who has gone needs no answer
		}
	}
}
