package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/wire"
)

// Call is one request as it comes off the wire.
type Call struct {
	Subject string
	Body    any    // sent as JSON; []byte is sent as it is
	ID      string // of the command; empty: it has none
	Foreign bool   // it came through an import of another account
}

// Answer is what a handler answered.
type Answer struct {
	Pieces [][]byte
	Err    error
}

// Do has a handler answer a request.
func Do(ctx context.Context, handle wire.Handler, c Call) Answer {
	var mu sync.Mutex
	var a Answer
	in := incoming(wire.NewIncoming, c, func(m Message) {
		mu.Lock()
		defer mu.Unlock()
		a.Pieces = append(a.Pieces, m.Body)
	})
	err := handle(ctx, in)
	mu.Lock()
	defer mu.Unlock()
	a.Err = err
	return a
}

// Message is one message of an answer that comes as a stream.
type Message struct {
	Body   []byte
	Failed bool // Body is a metav1.Status
	Last   bool
}

// Stream has a handler answer a request whose answer has no foreseeable end. Messages come as they are sent; the channel is
// closed when the handler returns. What it returns is sent as a failed message, as on the wire.
func Stream(ctx context.Context, t testing.TB, handle wire.Handler, c Call) <-chan Message {
	t.Helper()
	messages := make(chan Message, 1024)
	in := incoming(wire.NewIncoming, c, func(m Message) { messages <- m })
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(messages)
		wire.Handle(ctx, in, handle)
	})
	t.Cleanup(wg.Wait)
	return messages
}

// incoming makes the request. H is the type of a message's headers, which only package wire may name.
func incoming[H ~map[string][]string](
	build func(subject string, header H, body []byte, respond func(H, []byte) error) *wire.Incoming, c Call, take func(Message),
) *wire.Incoming {
	in := build(c.Subject, nil, c.body(), func(h H, body []byte) error {
		take(Message{Body: bytes.Clone(body), Failed: len(h["Millrace-Failed"]) > 0, Last: len(h["Millrace-End"]) > 0})
		return nil
	})
	in.ID, in.Foreign = c.ID, c.Foreign
	return in
}

func (c Call) body() []byte {
	if raw, ok := c.Body.([]byte); ok || c.Body == nil {
		return raw
	}
	body, err := json.Marshal(c.Body)
	if err != nil {
		panic(err) // a test's own document
	}
	return body
}

// JSON decodes an answer that came whole.
func JSON[T any](t testing.TB, a Answer) T {
	t.Helper()
	if a.Err != nil {
		t.Fatalf("answered with the error %v", a.Err)
	}
	var v T
	if err := json.Unmarshal(bytes.Join(a.Pieces, nil), &v); err != nil {
		t.Fatalf("the answer %s cannot be read: %v", bytes.Join(a.Pieces, nil), err)
	}
	return v
}

// WantStatus demands that an error arrives as a Status with this reason and message.
func WantStatus(t testing.TB, err error, reason metav1.StatusReason, message string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %s: %s", reason, message)
		return
	}
	got := wire.StatusOf(err)
	if diff := cmp.Diff(fmt.Sprintf("%s: %s", reason, message), fmt.Sprintf("%s: %s", got.Reason, got.Message)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}
