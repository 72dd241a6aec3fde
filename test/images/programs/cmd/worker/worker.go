package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// ackTimeout is how long the server may take to note that a message is done.
const ackTimeout = 5 * time.Second

// worker works through the messages of one consumer.
type worker struct {
	url, credentials string
	stream, consumer string
	work             time.Duration
	busyFile         string
	out              io.Writer

	busy atomic.Bool
	done atomic.Int64 // messages acknowledged
}

// run works until ctx ends, and then finishes the message in hand.
func (w *worker) run(ctx context.Context, addr string) error {
	options := []nats.Option{nats.Name("worker"), nats.MaxReconnects(-1)}
	if w.credentials != "" {
		options = append(options, nats.UserCredentials(w.credentials))
	}
	nc, err := nats.Connect(w.url, options...)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", w.url, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, w.stream, w.consumer)
	if err != nil {
		return fmt.Errorf("consumer %s of %s: %w", w.consumer, w.stream, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.serve(ctx, addr) })
	g.Go(func() error {
		w.take(ctx, consumer)
		return nil
	})
	return g.Wait()
}

// take pulls one message after the other until ctx ends; a worker that asks for none holds none back from the others. What
// goes wrong is printed, and tried again a second later.
func (w *worker) take(ctx context.Context, consumer jetstream.Consumer) {
	for ctx.Err() == nil {
		if err := w.takeOne(ctx, consumer); err != nil && ctx.Err() == nil {
			_, _ = fmt.Fprintf(w.out, "take: %v\n", err)
			again := time.NewTimer(time.Second)
			select {
			case <-again.C:
			case <-ctx.Done():
				again.Stop()
			}
		}
	}
}

// takeOne waits for a message, as long as a request for one lives, and works on it.
func (w *worker) takeOne(ctx context.Context, consumer jetstream.Consumer) error {
	messages, err := consumer.Fetch(1, jetstream.FetchContext(ctx))
	if err != nil {
		return err
	}
	for m := range messages.Messages() {
		if err := w.do(context.WithoutCancel(ctx), m); err != nil {
			return err
		}
	}
	return messages.Error()
}

// do works on one message, with a sign of life every half second, and acknowledges it: it is done when the server knows.
func (w *worker) do(ctx context.Context, m jetstream.Msg) error {
	if err := os.WriteFile(w.busyFile, nil, 0o644); err != nil {
		return err
	}
	w.busy.Store(true)
	defer func() {
		w.busy.Store(false)
		_ = os.Remove(w.busyFile)
	}()
	alive := time.NewTicker(500 * time.Millisecond)
	defer alive.Stop()
	end := time.NewTimer(w.work)
	defer end.Stop()
	for {
		select {
		case <-alive.C:
			if err := m.InProgress(); err != nil {
				return err
			}
		case <-end.C:
			ctx, cancel := context.WithTimeout(ctx, ackTimeout)
			defer cancel()
			if err := m.DoubleAck(ctx); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(w.out, "%s %s\n", m.Subject(), m.Data())
			w.done.Add(1)
			return nil
		}
	}
}

// serve answers /busy and /done until ctx ends.
func (w *worker) serve(ctx context.Context, addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/busy", func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(rw, w.busy.Load()) })
	mux.HandleFunc("/done", func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(rw, w.done.Load()) })
	s := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
