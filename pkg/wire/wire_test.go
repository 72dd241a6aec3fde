package wire_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
)

// serve answers on subject until the test ends.
func serve(t *testing.T, nc *nats.Conn, subject string, handle wire.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := wire.Serve(ctx, nc, wire.Service{Subject: subject, Queue: "q", Limit: 8, Handle: handle}); !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	listening(t, nc)
}

// listening waits until the one subscription of nc is known to the server.
func listening(t *testing.T, nc *nats.Conn) {
	t.Helper()
	for nc.NumSubscriptions() == 0 {
		runtime.Gosched()
	}
	flush(t, nc)
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsArriveAsTheSameSentinels(t *testing.T) {
	s := natstest.Run(t)
	pods := schema.GroupResource{Resource: "pods"}
	tests := []struct {
		send error
		is   func(error) bool
	}{
		{store.ErrNotFound, func(err error) bool { return errors.Is(err, store.ErrNotFound) && apierrors.IsNotFound(err) }},
		{fmt.Errorf("x: %w", &store.ConflictError{Actual: 3, Told: true}), func(err error) bool { return errors.Is(err, store.ErrConflict) && apierrors.IsConflict(err) }},
		{store.ErrExpired, func(err error) bool { return errors.Is(err, store.ErrExpired) && apierrors.IsResourceExpired(err) }},
		{store.ErrUnknown, func(err error) bool { return errors.Is(err, store.ErrUnknown) }},
		{store.ErrUnavailable, func(err error) bool { return errors.Is(err, store.ErrUnavailable) }},
		{store.ErrFull, func(err error) bool { return errors.Is(err, store.ErrFull) }},
		{store.ErrInvalid, func(err error) bool { return errors.Is(err, store.ErrInvalid) }},
		{apierrors.NewAlreadyExists(pods, "a"), func(err error) bool {
			return apierrors.IsAlreadyExists(err) && err.Error() == `pods "a" already exists`
		}},
		{errors.New("boom"), func(err error) bool { return apierrors.IsInternalError(err) && err.Error() == "boom" }},
	}
	for i, tt := range tests {
		subject := fmt.Sprint("fail.", i)
		serve(t, s.Connect(), subject, func(_ context.Context, in *wire.Incoming) error { return tt.send })
		if _, err := wire.Do(t.Context(), s.Connect(), wire.Call{Subject: subject}); !tt.is(err) {
			t.Errorf("%v arrived as %v", tt.send, err)
		}
	}
}

func TestDoRidesThroughARestart(t *testing.T) {
	s := natstest.Run(t)
	client := s.Connect()
	done := make(chan error, 1)
	go func() {
		answer, err := wire.Do(t.Context(), client, wire.Call{Subject: "late", Body: []byte("?")})
		if string(answer) != "?!" {
			err = errors.Join(err, fmt.Errorf("answer %q", answer))
		}
		done <- err
	}()
	server := s.Connect() // the service comes up only after the request was made
	serve(t, server, "late", func(_ context.Context, in *wire.Incoming) error { return in.Answer(append(in.Body, '!')) })
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDoKeepsItsIDWhenItTriesAgain(t *testing.T) {
	s := natstest.Run(t)
	var mu sync.Mutex
	var ids []string
	serve(t, s.Connect(), "flaky", func(_ context.Context, in *wire.Incoming) error {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, in.ID)
		if len(ids) == 1 {
			return nil // the first answer is lost
		}
		return in.Answer(nil)
	})
	if _, err := wire.Do(t.Context(), s.Connect(), wire.Call{Subject: "flaky", Try: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || ids[0] != ids[1] || ids[0] == "" {
		t.Errorf("ids %v, want the same twice", ids)
	}
}

func TestDoGivesUpWithItsContext(t *testing.T) {
	s := natstest.Run(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := wire.Do(ctx, s.Connect(), wire.Call{Subject: "nobody"})
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("Do = %v, want unavailable because there are no responders", err)
	}
}

func TestAnswersOfOthersAreIgnored(t *testing.T) {
	s := natstest.Run(t)
	attacker := s.Connect()
	serve(t, s.Connect(), "pieces", func(_ context.Context, in *wire.Incoming) error {
		return errors.Join(in.Piece([]byte("a"), false), in.Piece([]byte("b"), true))
	})
	client := s.Connect()
	spy, err := attacker.SubscribeSync("pieces")
	if err != nil {
		t.Fatal(err)
	}
	flush(t, attacker)
	var got []string
	var wg sync.WaitGroup
	wg.Go(func() {
		m, err := spy.NextMsg(5 * time.Second)
		if err != nil {
			t.Error(err)
			return
		}
		attacker.Publish(m.Reply, []byte("forged")) //nolint:errcheck // without the request's id
	})
	err = wire.Pieces(t.Context(), client, wire.Call{Subject: "pieces"}, func(b []byte) error {
		got = append(got, string(b))
		return nil
	})
	wg.Wait()
	if err != nil || strings.Join(got, "") != "ab" {
		t.Errorf("pieces %q, %v; want a, b", got, err)
	}
}

func TestPiecesNoticeALoss(t *testing.T) {
	s := natstest.Run(t)
	server := s.Connect()
	if _, err := server.Subscribe("lossy", func(m *nats.Msg) {
		dropped := 0
		in := wire.NewIncoming(m.Subject, m.Header, m.Data, func(h nats.Header, b []byte) error {
			if dropped++; dropped == 2 {
				return nil
			}
			return server.PublishMsg(&nats.Msg{Subject: m.Reply, Header: h, Data: b})
		})
		for i := range 3 {
			if err := in.Piece([]byte("x"), i == 2); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	flush(t, server)
	err := wire.Pieces(t.Context(), s.Connect(), wire.Call{Subject: "lossy"}, func([]byte) error { return nil })
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "piece 1 is missing") {
		t.Errorf("Pieces = %v, want piece 1 missing", err)
	}
}

func TestHandlerPanicBecomesAnError(t *testing.T) {
	s := natstest.Run(t)
	serve(t, s.Connect(), "panics", func(context.Context, *wire.Incoming) error { panic("oh") })
	_, err := wire.Do(t.Context(), s.Connect(), wire.Call{Subject: "panics"})
	if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "oh") {
		t.Errorf("Do = %v", err)
	}
}

func TestSubjectsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }
		want := wire.Target{From: wire.FromServices, Identity: text("identity"), Verb: text("verb"), Resource: text("resource"), Namespace: text("namespace")}
		subject := wire.API{Prefix: "c.", Identity: want.Identity}.Subject(want.Verb, want.Resource, want.Namespace)
		got, err := wire.ParseAPISubject(subject)
		if err != nil || got != want {
			t.Fatalf("ParseAPISubject(%q) = %+v, %v; want %+v", subject, got, err, want)
		}
		node := text("node")
		if _, got, err := wire.ParseNodeSubject("n." + wire.NodeSubject(wire.NodeReport, node, "pods")); err != nil || got != node {
			t.Fatalf("ParseNodeSubject gives %q, %v; want %q", got, err, node)
		}
	})
}

// streamer serves a stream of numbered pieces, and counts how far it came.
func streamer(t *testing.T, s *natstest.Server, count int, end error) *atomic.Int64 {
	t.Helper()
	streams := wire.NewStreams("api-1.example")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	acks := s.Connect()
	var wg sync.WaitGroup
	wg.Go(func() { streams.Serve(ctx, acks, "c") }) //nolint:errcheck // it ends with ctx
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	listening(t, acks)
	nc := s.Connect()
	sent := new(atomic.Int64)
	serve(t, nc, "c.api.me.watch.pods.d", func(ctx context.Context, in *wire.Incoming) error {
		ctx, stream := streams.Open(ctx, in, "me")
		for i := range count {
			if err := stream.Send(ctx, fmt.Append(nil, i)); err != nil {
				stream.Close(err)
				return nil
			}
			sent.Store(int64(i + 1))
		}
		stream.Close(end)
		return nil
	})
	return sent
}

var me = wire.API{Prefix: "c.", Identity: "me"}

func TestStreamDeliversEveryPieceInOrder(t *testing.T) {
	s := natstest.Run(t)
	const count = 5000
	streamer(t, s, count, nil)
	next := 0
	err := wire.Follow(t.Context(), s.Connect(), me, wire.Call{Subject: me.Subject("watch", "pods", "d")}, func(b []byte) error {
		if string(b) != fmt.Sprint(next) {
			return fmt.Errorf("piece %q, want %d", b, next)
		}
		next++
		return nil
	})
	if err != nil || next != count {
		t.Errorf("%d pieces, %v; want %d", next, err, count)
	}
}

func TestStreamEndsWithItsError(t *testing.T) {
	s := natstest.Run(t)
	streamer(t, s, 3, store.ErrExpired)
	err := wire.Follow(t.Context(), s.Connect(), me, wire.Call{Subject: me.Subject("watch", "pods", "d")}, func([]byte) error { return nil })
	if !errors.Is(err, store.ErrExpired) {
		t.Errorf("Follow = %v, want ErrExpired", err)
	}
}

func TestSlowReceiverHoldsTheSender(t *testing.T) {
	s := natstest.Run(t)
	sent := streamer(t, s, 10_000, nil)
	enough := errors.New("enough")
	taken := 0
	err := wire.Follow(t.Context(), s.Connect(), me, wire.Call{Subject: me.Subject("watch", "pods", "d")}, func([]byte) error {
		if taken++; taken == 200 {
			return enough
		}
		runtime.Gosched()
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if n := sent.Load(); n > 200+64 {
		t.Errorf("%d pieces were sent to a receiver that took 200; the window is 64", n)
	}
}

// sessions opens both sides of one session.
func sessions(t *testing.T, s *natstest.Server) (client, kubelet *wire.Session) {
	t.Helper()
	client, offer, err := wire.NewSession(t.Context(), s.Connect(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if kubelet, err = wire.AcceptSession(t.Context(), s.Connect(), "n1.example", offer); err != nil {
		t.Fatal(err)
	}
	if err := client.Start("n1.example", offer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(nil); kubelet.Close(nil) })
	return client, kubelet
}

func TestSessionCarriesBytesExactly(t *testing.T) {
	client, kubelet := sessions(t, natstest.Run(t))
	const size = 100 << 20
	source := rand.NewChaCha8([32]byte{1})
	sent, received := sha256.New(), sha256.New()
	var wg sync.WaitGroup
	wg.Go(func() {
		in := client.Writer(wire.Stdin)
		if _, err := io.Copy(in, io.TeeReader(io.LimitReader(source, size), sent)); err != nil {
			t.Error(err)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(received, kubelet.Reader(wire.Stdin))
	wg.Wait()
	runtime.ReadMemStats(&after)
	if err != nil || n != size || !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Errorf("received %d bytes, %v, sum equal: %v; want %d", n, err, bytes.Equal(sent.Sum(nil), received.Sum(nil)), size)
	}
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB while the stream passed", grown>>20)
	}
}

func TestSessionWriterWaitsForTheReader(t *testing.T) {
	client, kubelet := sessions(t, natstest.Run(t))
	wrote := make(chan int, 1)
	go func() {
		n, _ := kubelet.Writer(wire.Stdout).Write(make([]byte, 5<<20))
		wrote <- n
	}()
	if _, err := kubelet.Writer(wire.Stderr).Write([]byte("other channel")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := client.Reader(wire.Stderr).Read(b)
	if err != nil || string(b[:n]) != "other channel" {
		t.Errorf("stderr = %q, %v: a full channel holds up another", b[:n], err)
	}
	client.Close(nil)
	if n := <-wrote; n > 1<<20 {
		t.Errorf("%d bytes were written that nobody read; the window is 1 MiB", n)
	}
}

func TestSessionReasonArrives(t *testing.T) {
	client, kubelet := sessions(t, natstest.Run(t))
	kubelet.Close(errors.New("container is gone"))
	if err := client.Wait(); err == nil || err.Error() != "container is gone" {
		t.Errorf("Wait = %v", err)
	}
}

func TestSessionIgnoresFramesWithoutItsSecret(t *testing.T) {
	s := natstest.Run(t)
	client, offer, err := wire.NewSession(t.Context(), s.Connect(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(nil)
	forger := s.Connect()
	forger.Publish("session.n1.alice."+offer.ID+".down", make([]byte, 64)) //nolint:errcheck // all zero: no secret
	bad := offer
	bad.Secret = strings.Repeat("00", 16)
	forged, err := wire.AcceptSession(t.Context(), forger, "n1", bad)
	if err != nil {
		t.Fatal(err)
	}
	defer forged.Close(nil)
	if _, err := forged.Writer(wire.Stdout).Write([]byte("forged")); err != nil {
		t.Fatal(err)
	}
	true_, err := wire.AcceptSession(t.Context(), s.Connect(), "n1", offer)
	if err != nil {
		t.Fatal(err)
	}
	defer true_.Close(nil)
	if _, err := true_.Writer(wire.Stdout).Write([]byte("true")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	n, err := client.Reader(wire.Stdout).Read(b)
	if err != nil || string(b[:n]) != "true" {
		t.Errorf("read %q, %v; want what the bearer of the secret sent", b[:n], err)
	}
}

func TestSessionBreaksWhenAFrameIsLost(t *testing.T) {
	s := natstest.Run(t)
	client, kubelet := sessions(t, s)
	wire.SkipFrame(kubelet)
	if _, err := kubelet.Writer(wire.Stdout).Write([]byte("after the gap")); err != nil {
		t.Fatal(err)
	}
	if err := client.Wait(); !errors.Is(err, wire.ErrSessionBroken) {
		t.Errorf("Wait = %v, want ErrSessionBroken", err)
	}
}
