// Package endpoint registers the api with NATS as a micro service, so that the plain NATS tools can find it, and hands every
// request to the verbs.
package endpoint

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"millrace.dev/pkg/version"
	"millrace.dev/pkg/wire"
)

// limit is how many requests one replica answers at once; what comes meanwhile waits.
const limit = 512

// flushPatience is how long the server may take to answer a ping.
const flushPatience = 10 * time.Second

// queue is shared by all replicas: each request goes to one of them.
const queue = "api"

// Endpoint is one set of subjects that the api answers.
type Endpoint struct {
	Name    string
	Subject string
	Handle  wire.Handler
}

// Serve answers requests until ctx ends, then takes no more and returns after the last answer. It calls ready when the first
// request would be answered.
func Serve(ctx context.Context, nc *nats.Conn, ready func(), endpoints ...Endpoint) error {
	service, err := micro.AddService(nc, micro.Config{
		Name: "millrace-api", Version: strings.TrimPrefix(version.Get().Version, "v"), Description: "the front end of the control plane", QueueGroup: queue,
	})
	if err != nil {
		return fmt.Errorf("register the api: %w", err)
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, limit)
	for _, e := range endpoints {
		handler := micro.HandlerFunc(func(r micro.Request) {
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				in := wire.NewIncoming(r.Subject(), nats.Header(r.Headers()), r.Data(), respond(r))
				wire.Handle(ctx, in, e.Handle)
			})
		})
		if err := service.AddEndpoint(e.Name, handler, micro.WithEndpointSubject(e.Subject)); err != nil {
			return fmt.Errorf("register %s: %w", e.Subject, err)
		}
	}
	if err := flush(ctx, nc); err != nil && ctx.Err() == nil {
		return fmt.Errorf("register the api: %w", err)
	}
	ready()
	<-ctx.Done()
	if err := service.Stop(); err != nil {
		return fmt.Errorf("deregister the api: %w", err)
	}
	for range limit { // every handler that runs holds a place
		room <- struct{}{}
	}
	wg.Wait()
	return context.Cause(ctx)
}

// flush returns when the server knows the subscriptions.
func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

func respond(r micro.Request) func(nats.Header, []byte) error {
	return func(h nats.Header, body []byte) error {
		if r.Reply() == "" {
			return nil // nobody waits for an answer
		}
		return r.Respond(body, micro.WithHeaders(micro.Headers(h)))
	}
}
