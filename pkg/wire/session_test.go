package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/wire"
)

// Who sends more than the window ends the session, not the memory of the other side.
func TestSessionEndsWhenTheOtherSideFloods(t *testing.T) {
	client, kubelet := sessions(t, natstest.Run(t))
	if err := wire.Send(client, wire.Stdin, make([]byte, wire.SessionWindow)); err != nil {
		t.Fatal(err)
	}
	if err := wire.Send(client, wire.Stdout, []byte("x")); err != nil { // another channel has a window of its own
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(kubelet.Reader(wire.Stdout), b); err != nil {
		t.Fatalf("a full window ended the session: %v", err)
	}
	if err := wire.Send(client, wire.Stdin, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := kubelet.Wait(); !errors.Is(err, wire.ErrSessionBroken) || !strings.Contains(err.Error(), "more than it may") {
		t.Errorf("Wait = %v, want the session broken", err)
	}
}

func TestSessionDropsFramesOfNothing(t *testing.T) {
	client, kubelet := sessions(t, natstest.Run(t))
	for range 1000 {
		if err := wire.Send(client, wire.Stdin, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := wire.Send(client, wire.Stdin, []byte("x")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if n, err := kubelet.Reader(wire.Stdin).Read(b); n != 1 || err != nil {
		t.Errorf("Read = %d, %v; want the byte", n, err)
	}
	if n := wire.Queued(kubelet, wire.Stdin); n != 0 {
		t.Errorf("%d frames are held", n)
	}
}

func TestSessionDocuments(t *testing.T) {
	client, kubelet := sessions(t, natstest.Run(t))
	to := client.Writer(wire.Control)
	for _, text := range []string{`{"a":1}`, `{"b":2}`} {
		if _, err := to.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"a":1}`, `{"b":2}`} {
		if got, err := kubelet.Document(wire.Control); err != nil || string(got) != want {
			t.Errorf("Document = %q, %v; want %q", got, err, want)
		}
	}
	if got, err := kubelet.Document(wire.Control); !errors.Is(err, io.EOF) {
		t.Errorf("Document = %q, %v after the channel was closed", got, err)
	}
}

func TestSessionReadsWhatCameBeforeItsEnd(t *testing.T) {
	client, kubelet := sessions(t, natstest.Run(t))
	if _, err := kubelet.Writer(wire.Stdout).Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	kubelet.Close(nil)
	if err := client.Wait(); err != nil {
		t.Errorf("Wait = %v", err)
	}
	if got, err := io.ReadAll(client.Reader(wire.Stdout)); err != nil || string(got) != "last words" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := client.Writer(wire.Stdin).Write([]byte("x")); !errors.Is(err, wire.ErrSessionBroken) {
		t.Errorf("Write = %v after the end", err)
	}
}

func TestSessionEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	session, _, err := wire.NewSession(ctx, natstest.Run(t).Connect(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("the terminal was closed")
	cancel(why)
	if err := session.Wait(); !errors.Is(err, why) {
		t.Errorf("Wait = %v, want the cause", err)
	}
	if _, err := session.Reader(wire.Stdout).Read(make([]byte, 1)); !errors.Is(err, why) {
		t.Errorf("Read = %v, want the cause", err)
	}
}

func TestAcceptSessionRefusesBadOffers(t *testing.T) {
	nc := natstest.Run(t).Connect()
	good := wire.Offer{ID: strings.Repeat("ab", 16), Secret: strings.Repeat("cd", 16), Identity: "alice"}
	tests := []struct {
		name   string
		change func(*wire.Offer)
	}{
		{"no id", func(o *wire.Offer) { o.ID = "" }},
		{"an id that is a subject", func(o *wire.Offer) { o.ID = "*.up" }},
		{"no secret", func(o *wire.Offer) { o.Secret = "" }},
		{"a short secret", func(o *wire.Offer) { o.Secret = "00" }},
		{"a secret that is no hex", func(o *wire.Offer) { o.Secret = strings.Repeat("xy", 16) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			offer := good
			tt.change(&offer)
			if s, err := wire.AcceptSession(t.Context(), nc, "n1", offer); err == nil {
				s.Close(nil)
				t.Error("the offer was accepted")
			}
		})
	}
	s, err := wire.AcceptSession(t.Context(), nc, "n1", good)
	if err != nil {
		t.Fatal(err)
	}
	s.Close(nil)
}

func TestOfferDoesNotPrintItsSecret(t *testing.T) {
	offer := wire.Offer{ID: "1", Secret: "hush", Identity: "alice"}
	var to bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&to, nil), slog.NewTextHandler(&to, nil)} {
		slog.New(handler).Info("x", "offer", offer, "pointer", &offer)
	}
	fmt.Fprintf(&to, "%v %+v %#v %s", offer, offer, offer, &offer)
	if strings.Contains(to.String(), "hush") || !strings.Contains(to.String(), "session 1 of alice") {
		t.Errorf("printed:\n%s", to.String())
	}
}
