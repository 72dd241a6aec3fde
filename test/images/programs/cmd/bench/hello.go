package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
)

// helloApp says hello, its version and its host name on PORT.
func helloApp(ctx context.Context, _ io.Writer, _ []string) error {
	return serve(ctx, ":"+cmp.Or(os.Getenv("PORT"), "8080"), text(func(*http.Request) string {
		return fmt.Sprintf("Hello, world!\nVersion: %s\nHostname: %s\n", whoAmI().Version, hostname())
	}))
}

// nodeHello says hello on port 8080.
func nodeHello(ctx context.Context, _ io.Writer, _ []string) error {
	return serve(ctx, ":8080", text(func(*http.Request) string { return "Hello Kubernetes!" }))
}

// serveHostname answers with its host name.
func serveHostname(ctx context.Context, _ io.Writer, args []string) error {
	flags := flag.NewFlagSet("serve_hostname", flag.ContinueOnError)
	port := flags.Int("port", 9376, "port to answer on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return serve(ctx, fmt.Sprintf(":%d", *port), text(func(*http.Request) string { return hostname() }))
}

// httpEcho answers every request with one text; an empty one is refused.
func httpEcho(ctx context.Context, _ io.Writer, args []string) error {
	flags := flag.NewFlagSet("http-echo", flag.ContinueOnError)
	say := flags.String("text", os.Getenv("ECHO_TEXT"), "text to answer")
	addr := flags.String("listen", ":5678", "address to answer on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *say == "" {
		return fmt.Errorf("missing -text option or ECHO_TEXT env var")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", text(func(*http.Request) string { return *say + "\n" }))
	mux.HandleFunc("/health", text(func(*http.Request) string { return `{"status":"ok"}` + "\n" }))
	return serve(ctx, *addr, mux)
}
