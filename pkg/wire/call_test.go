package wire_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"pgregory.net/rapid"

	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
)

// answering hands every request on subject to answer, which makes of it what it likes.
func answering(t *testing.T, s *natstest.Server, subject string, answer func(nc *nats.Conn, m *nats.Msg)) {
	t.Helper()
	nc := s.Connect()
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) { answer(nc, m) }); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
}

// respond sends an answer with any header.
func respond(t *testing.T, nc *nats.Conn, m *nats.Msg, h nats.Header, body string) {
	t.Helper()
	if err := nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: h, Data: []byte(body)}); err != nil {
		t.Error(err)
	}
}

// Whatever comes in place of the answer, it is not taken for one, and the request is not made for ever.
func TestAnswersThatAreNone(t *testing.T) {
	s := natstest.Run(t)
	id := func(m *nats.Msg) string { return m.Header.Get("Millrace-Id") }
	tests := []struct {
		name   string
		header func(m *nats.Msg) nats.Header
		is     func(error) bool
	}{
		{"without an id", func(*nats.Msg) nats.Header { return nil }, func(err error) bool { return strings.Contains(err.Error(), "another request") }},
		{"of another request", func(*nats.Msg) nats.Header { return nats.Header{"Millrace-Answer": {"x"}} }, func(err error) bool { return strings.Contains(err.Error(), "another request") }},
		{
			"an error that cannot be read",
			func(m *nats.Msg) nats.Header {
				return nats.Header{"Millrace-Answer": {id(m)}, "Millrace-Failed": {"1"}}
			},
			apierrors.IsInternalError,
		},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			subject := fmt.Sprint("odd.", i)
			answering(t, s, subject, func(nc *nats.Conn, m *nats.Msg) { respond(t, nc, m, tt.header(m), "forged") })
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			body, err := wire.Do(ctx, s.Connect(), wire.Call{Subject: subject})
			if err == nil || !tt.is(err) || ctx.Err() != nil {
				t.Errorf("Do = %q, %v", body, err)
			}
		})
	}
}

func TestOversizedRequests(t *testing.T) {
	s := natstest.Run(t)
	serve(t, s.Connect(), "big", func(_ context.Context, in *wire.Incoming) error { return in.Answer(nil) })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	nc := s.Connect()
	call := wire.Call{Subject: "big", Body: make([]byte, nc.MaxPayload()+1)}
	if _, err := wire.Do(ctx, nc, call); !errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Do = %v, want that it is too large", err)
	}
	if err := wire.Pieces(ctx, nc, call, func([]byte) error { return nil }); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("Pieces = %v, want that it is too large", err)
	}
	call.Body = call.Body[:nc.MaxPayload()-200] // room for the header
	if _, err := wire.Do(ctx, nc, call); err != nil {
		t.Errorf("Do of the largest request = %v", err)
	}
}

func TestOversizedAnswerArrivesAsAnError(t *testing.T) {
	s := natstest.Run(t)
	serve(t, s.Connect(), "big", func(_ context.Context, in *wire.Incoming) error { return in.Answer(make([]byte, 9<<20)) })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := wire.Do(ctx, s.Connect(), wire.Call{Subject: "big"}); !apierrors.IsInternalError(err) {
		t.Errorf("Do = %v, want an internal error", err)
	}
}

func TestPiecesEnd(t *testing.T) {
	s := natstest.Run(t)
	enough := errors.New("enough")
	serve(t, s.Connect(), "ends", func(_ context.Context, in *wire.Incoming) error {
		for range 3 {
			if err := in.Piece([]byte("x"), false); err != nil {
				return err
			}
		}
		return store.ErrExpired
	})
	got := 0
	if err := wire.Pieces(t.Context(), s.Connect(), wire.Call{Subject: "ends"}, func([]byte) error { got++; return nil }); !errors.Is(err, store.ErrExpired) || got != 3 {
		t.Errorf("Pieces = %v after %d, want the error after 3", err, got)
	}
	got = 0
	if err := wire.Pieces(t.Context(), s.Connect(), wire.Call{Subject: "ends"}, func([]byte) error { got++; return enough }); !errors.Is(err, enough) || got != 1 {
		t.Errorf("Pieces = %v after %d, want what take returned after 1", err, got)
	}
	if err := wire.Pieces(t.Context(), s.Connect(), wire.Call{Subject: "nobody"}, func([]byte) error { return nil }); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Pieces where nobody answers = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	answering(t, s, "mute", func(*nats.Conn, *nats.Msg) {})
	if err := wire.Pieces(ctx, s.Connect(), wire.Call{Subject: "mute"}, func([]byte) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Pieces of a mute service = %v", err)
	}
}

// Whatever becomes of the pieces on their way, what is taken is a beginning of what was sent, and it is all of it if there is
// no error.
func TestPiecesProperties(t *testing.T) {
	s := natstest.Run(t)
	client := s.Connect()
	service := s.Connect()
	requests, err := service.SubscribeSync("pieces.>")
	if err != nil {
		t.Fatal(err)
	}
	flush(t, service)
	run, ctx := 0, t.Context()
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 6).Draw(t, "pieces")
		var sent []*nats.Msg
		fates := rapid.SliceOfN(rapid.SampledFrom([]string{"sent", "sent", "sent", "lost", "doubled", "forged before"}), count, count).Draw(t, "fates")
		run++
		answered := make(chan error, 1)
		go func() {
			m, err := requests.NextMsg(5 * time.Second)
			if err != nil {
				answered <- err
				return
			}
			in := wire.NewIncoming(m.Subject, m.Header, m.Data, func(h nats.Header, b []byte) error {
				out := &nats.Msg{Subject: m.Reply, Header: h, Data: b}
				switch fates[len(sent)] {
				case "sent":
					err = client.PublishMsg(out)
				case "doubled":
					err = errors.Join(client.PublishMsg(out), client.PublishMsg(out))
				case "forged before":
					err = errors.Join(client.Publish(m.Reply, []byte("forged")), client.PublishMsg(out))
				}
				sent = append(sent, out)
				return err
			})
			for i := range count {
				if err = in.Piece(fmt.Append(nil, i), i == count-1); err != nil {
					break
				}
			}
			err = errors.Join(err, client.PublishMsg(&nats.Msg{ // so that nothing waits for what was lost
				Subject: m.Reply, Header: nats.Header{"Millrace-Answer": {in.ID}, "Millrace-Piece": {"99"}}, Data: []byte("never"),
			}))
			answered <- err
		}()
		var got []string
		err := wire.Pieces(ctx, client, wire.Call{Subject: fmt.Sprint("pieces.", run)}, func(b []byte) error {
			got = append(got, string(b))
			return nil
		})
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		var whole []string
		for i := range count {
			whole = append(whole, fmt.Sprint(i))
		}
		if len(got) > len(whole) || !slices.Equal(whole[:len(got)], got) {
			t.Fatalf("took %q of %q", got, whole)
		}
		if err == nil && len(got) != count || err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("Pieces = %v after %q of %q", err, got, whole)
		}
	})
}

// At most so many requests are answered at once, and Serve ends after the last answer.
func TestServeLimitsAndEnds(t *testing.T) {
	s := natstest.Run(t)
	const limit, requests = 3, 10
	nc := s.Connect()
	ctx, cancel := context.WithCancelCause(t.Context())
	began, let := make(chan struct{}, requests), make(chan struct{})
	var mu sync.Mutex
	busy, most := 0, 0
	served := make(chan error, 1)
	go func() {
		err := wire.Serve(ctx, nc, wire.Service{Subject: "slow", Limit: limit, Handle: func(_ context.Context, in *wire.Incoming) error {
			mu.Lock()
			busy++
			most = max(most, busy)
			mu.Unlock()
			began <- struct{}{}
			<-let
			mu.Lock()
			busy--
			mu.Unlock()
			return in.Answer(nil)
		}})
		mu.Lock()
		defer mu.Unlock()
		if busy > 0 {
			t.Errorf("Serve has ended before %d handlers", busy)
		}
		served <- err
	}()
	listening(t, nc)
	client := s.Connect()
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if _, err := wire.Do(t.Context(), client, wire.Call{Subject: "slow"}); err != nil {
				t.Error(err)
			}
		})
	}
	for nc.Stats().InMsgs < requests { // they wait in the subscription
		runtime.Gosched()
	}
	for range limit {
		<-began
	}
	for range requests - limit {
		let <- struct{}{}
		<-began
	}
	why := errors.New("told to stop")
	cancel(why)
	for nc.NumSubscriptions() > 0 { // no further request is taken
		runtime.Gosched()
	}
	for range limit {
		let <- struct{}{}
	}
	if err := <-served; !errors.Is(err, why) {
		t.Errorf("Serve = %v, want why it was ended", err)
	}
	wg.Wait()
	if most != limit {
		t.Errorf("%d were answered at once, want %d", most, limit)
	}
}

func TestForeignRequestsAreKnown(t *testing.T) {
	for header, want := range map[string]bool{"Nats-Request-Info": true, "nats-request-info": false, "X": false} {
		in := wire.NewIncoming("s", nats.Header{header: {"{}"}}, nil, nil)
		if in.Foreign != want {
			t.Errorf("a request with the header %s is foreign: %v, want %v", header, in.Foreign, want)
		}
	}
}

func TestSubjectsThatAreNoRequests(t *testing.T) {
	for _, subject := range []string{"", "u.api", "u.api.a.get.pods", "u.api.a.get.pods.d.x", "u.apis.a.get.pods.d", "u.api..get.pods.d", "u.api.a=b.get.pods.d"} {
		if got, err := wire.ParseAPISubject(subject); err == nil {
			t.Errorf("ParseAPISubject(%q) = %+v", subject, got)
		}
	}
	for _, subject := range []string{"", "n.hb", "u.hb.n1", "hb.n1", "n.hb.", "n.hb.=ZZ"} {
		if what, node, err := wire.ParseNodeSubject(subject); err == nil {
			t.Errorf("ParseNodeSubject(%q) = %s, %s", subject, what, node)
		}
	}
}
