package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/nats-io/nats.go"
)

// Handler answers one request. It may run many times at once. The error it returns is answered.
type Handler func(context.Context, *Incoming) error

// Serve answers requests on subject until ctx ends, at most limit at once; what comes meanwhile waits in the subscription. With
// a queue, each request goes to one of those that serve under it. When ctx ends no new request is taken, and Serve returns
// after the last handler.
func Serve(ctx context.Context, nc *nats.Conn, s Service) error {
	sub, err := s.subscribe(nc)
	if err != nil {
		return fmt.Errorf("serve %s: %w", s.Subject, err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer sub.Unsubscribe()
	room := make(chan struct{}, s.Limit)
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, nats.ErrSlowConsumer):
			slog.WarnContext(ctx, "requests were dropped", "component", "wire", "subject", s.Subject)
			continue
		case err != nil:
			return fmt.Errorf("serve %s: %w", s.Subject, err)
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			Handle(ctx, NewIncoming(m.Subject, m.Header, m.Data, responder(nc, m.Reply)), s.Handle)
		})
	}
}

// Service is a set of requests that a process answers.
type Service struct {
	Subject string
	Queue   string // shared with the other replicas; empty: every replica hears every request
	Limit   int    // how many are answered at once; 1 keeps their order
	Handle  Handler
}

func (s *Service) subscribe(nc *nats.Conn) (*nats.Subscription, error) {
	if s.Queue == "" {
		return nc.SubscribeSync(s.Subject)
	}
	return nc.QueueSubscribeSync(s.Subject, s.Queue)
}

func responder(nc *nats.Conn, reply string) func(nats.Header, []byte) error {
	return func(h nats.Header, body []byte) error {
		if reply == "" {
			return nil // nobody waits for an answer
		}
		return nc.PublishMsg(&nats.Msg{Subject: reply, Header: h, Data: body})
	}
}

// Handle runs a handler and answers with its error. Its panic becomes an error to who asked, and no more.
func Handle(ctx context.Context, in *Incoming, handle Handler) {
	defer func() {
		if p := recover(); p != nil {
			slog.ErrorContext(ctx, "handler panicked", "component", "wire", "subject", in.Subject, "panic", p, "stack", string(debug.Stack()))
			in.fail(ctx, fmt.Errorf("internal error: %v", p))
		}
	}()
	if err := handle(ctx, in); err != nil {
		in.fail(ctx, err)
	}
}

// unheard logs that something could not be sent for which nobody here waits: the connection is down, and the other side notices
// the silence.
func unheard(err error) {
	if err != nil {
		slog.Debug("not sent; the other side notices the silence", "component", "wire", "err", err)
	}
}

func (in *Incoming) fail(ctx context.Context, failure error) {
	if err := in.Fail(failure); err != nil {
		slog.DebugContext(ctx, "error was not answered", "component", "wire", "subject", in.Subject, "err", err)
	}
}
