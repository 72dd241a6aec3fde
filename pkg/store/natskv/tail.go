package natskv

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/store"
)

// Tail delivers what a stream beside the state holds and then what is added to it, in order, until ctx ends. What was
// overwritten meanwhile is skipped; an interrupted connection is resumed within.
func Tail(ctx context.Context, nc *nats.Conn, stream string, deliver func(subject string, sequence uint64, at time.Time, body []byte)) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("tail %s: %w", stream, err)
	}
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return fmt.Errorf("tail %s: %w: %w", stream, store.ErrUnavailable, err)
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if meta, err := m.Metadata(); err == nil {
			deliver(m.Subject(), meta.Sequence.Stream, meta.Timestamp, m.Data())
		}
	}, jetstream.PullMaxMessages(pullBatch))
	if err != nil {
		return fmt.Errorf("tail %s: %w: %w", stream, store.ErrUnavailable, err)
	}
	defer consuming.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-consuming.Closed():
		return fmt.Errorf("tail %s: %w: the consumer ended", stream, store.ErrUnavailable)
	}
}
