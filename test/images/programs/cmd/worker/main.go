// Command worker takes messages from a JetStream consumer, one at a time, and works on each for a while. While it does it
// is busy, which a file and an HTTP server show. Told to end, it finishes the message in hand.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	w := worker{out: os.Stdout}
	flag.StringVar(&w.url, "url", os.Getenv("NATS_URL"), "NATS server; default NATS_URL")
	flag.StringVar(&w.credentials, "creds", os.Getenv("NATS_CREDS"), "credentials file; default NATS_CREDS, empty: none")
	flag.StringVar(&w.stream, "stream", "WORK", "stream")
	flag.StringVar(&w.consumer, "consumer", "workers", "durable pull consumer, which must exist")
	flag.DurationVar(&w.work, "work", 100*time.Millisecond, "time that one message takes")
	flag.StringVar(&w.busyFile, "busy-file", "/tmp/busy", "file that exists while the worker is busy")
	addr := flag.String("http", ":8080", "address of the HTTP server: /busy and /done")
	flag.Parse()
	err := w.run(ctx, *addr)
	stop()
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "worker: %v\n", err)
		os.Exit(1)
	}
}
