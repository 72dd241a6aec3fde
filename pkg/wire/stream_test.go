package wire_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/wire"
)

// sender is a stream whose pieces go to a test instead of a connection.
type sender struct {
	streams *wire.Streams
	stream  *wire.Stream
	ctx     func() context.Context
	pieces  chan piece
}

type piece struct {
	header nats.Header
	body   string
}

func (p piece) id() string {
	_, id, _ := strings.Cut(p.header.Get("Millrace-Stream"), " ")
	return id
}

func send(t *testing.T) *sender {
	t.Helper()
	s := &sender{streams: wire.NewStreams("api-1"), pieces: make(chan piece, 1000)}
	request := nats.Header{"Millrace-Id": {events.NewID()}}
	in := wire.NewIncoming("c.api.me.watch.pods.d", request, nil, func(h nats.Header, body []byte) error {
		s.pieces <- piece{h, string(body)}
		return nil
	})
	ctx, stream := s.streams.Open(t.Context(), in, "me")
	s.ctx, s.stream = func() context.Context { return ctx }, stream
	t.Cleanup(func() { stream.Close(nil) })
	return s
}

// ack says as identity how far it has received.
func (s *sender) ack(t *testing.T, identity, id, text string) {
	t.Helper()
	in := wire.NewIncoming(wire.API{Prefix: "c.", Identity: identity}.Subject("flow", "api-1", id), nil, []byte(text), nil)
	if err := wire.Acknowledge(t.Context(), s.streams, in); err != nil {
		t.Errorf("Acknowledge = %v", err)
	}
}

// fill sends as many pieces as the window holds and then one more in the background; it returns the id of the stream.
func (s *sender) fill(t *testing.T) (id string, further <-chan error) {
	t.Helper()
	for i := range wire.Window {
		if err := s.stream.Send(s.ctx(), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		id = (<-s.pieces).id()
	}
	sent := make(chan error, 1)
	go func() { sent <- s.stream.Send(s.ctx(), []byte("further")) }()
	return id, sent
}

func blocked(t *testing.T, sent <-chan error, why string) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-sent:
		t.Errorf("a piece beyond the window was sent (%v): %s", err, why)
	default:
	}
}

// A receiver whose acknowledgements were lost is asked again how far it is.
func TestStreamSurvivesLostAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := send(t)
		id, sent := s.fill(t)
		blocked(t, sent, "nothing was acknowledged")
		beat := <-s.pieces // comes after 10 s, or never
		if beat.body != "" || beat.header.Get("Millrace-Piece") != strconv.Itoa(wire.Window) {
			t.Fatalf("piece %v, want a beat", beat)
		}
		s.ack(t, "me", id, strconv.Itoa(wire.Window+1))
		if err := <-sent; err != nil {
			t.Errorf("Send = %v", err)
		}
		if got := (<-s.pieces).body; got != "further" {
			t.Errorf("piece %q, want the one that waited", got)
		}
	})
}

func TestStreamHeedsOnlyItsReceiver(t *testing.T) {
	tests := []struct{ name, identity, text string }{
		{name: "another identity", identity: "you", text: "64"},
		{name: "another identity stops it", identity: "you", text: "stop"},
		{name: "no number", identity: "me", text: "many"},
		{name: "less than nothing", identity: "me", text: "-5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := send(t)
				id, sent := s.fill(t)
				s.ack(t, tt.identity, id, tt.text)
				blocked(t, sent, tt.name)
				if err := s.ctx().Err(); err != nil {
					t.Errorf("the stream has ended: %v", context.Cause(s.ctx()))
				}
				s.ack(t, "me", id, "1")
				if err := <-sent; err != nil {
					t.Errorf("Send = %v", err)
				}
			})
		})
	}
}

// Whoever acknowledges what was never sent gains nothing: the window stays what it is.
func TestStreamBoundsWhatIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := send(t)
		id, sent := s.fill(t)
		s.ack(t, "me", id, "1000000")
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		<-s.pieces
		for range wire.Window - 1 {
			if err := s.stream.Send(s.ctx(), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		further := make(chan error, 1)
		go func() { further <- s.stream.Send(s.ctx(), []byte("x")) }()
		blocked(t, further, "the receiver boasted")
		s.ack(t, "me", id, "stop")
		if err := <-further; err == nil {
			t.Error("Send has no error after the receiver is gone")
		}
	})
}

func TestStreamEndsWhenItsReceiverIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := send(t)
		began := time.Now()
		if err := s.stream.Send(s.ctx(), []byte("a")); err != nil {
			t.Fatal(err)
		}
		s.ack(t, "me", (<-s.pieces).id(), "1")
		<-s.ctx().Done()
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the stream ended after %v, want 30s", took)
		}
		if err := s.stream.Send(s.ctx(), []byte("b")); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("Send = %v, want why it ended", err)
		}
	})
}

func TestStreamLastsWhileItsReceiverAnswersBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := send(t)
		for i := range 100 { // beats, for a thousand seconds
			beat := <-s.pieces
			s.ack(t, "me", beat.id(), strconv.Itoa(i+1))
		}
		if err := s.ctx().Err(); err != nil {
			t.Errorf("the stream has ended: %v", context.Cause(s.ctx()))
		}
	})
}
