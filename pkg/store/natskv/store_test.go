package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"millrace.dev/pkg/natsd"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return natstest.Run(t).Open() })
}

func TestConformanceDurable(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return natstest.Start(t, natsd.Config{Name: "durable", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 4 << 30}).Open()
	})
}

// Between the death of a server and the moment that the follower notices, nothing may be taken from its successor: its sequences
// mean something else.
func TestP15_NothingIsTakenFromAnotherServer(t *testing.T) {
	s := natstest.Run(t)
	st := s.Open()
	connected, stop := st.Reconnected()
	defer stop()
	if _, err := st.Write(t.Context(), storetest.Messages(t, storetest.Change("a", 0, "1"))); err != nil {
		t.Fatal(err)
	}
	follow := func() {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := st.Follow(ctx, 0, func(store.Entry) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Fatalf("Follow = %v", err)
		}
	}
	follow()
	s.Restart()
	<-connected
	if at, err := st.Last(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Last = %v, %v; want ErrUnavailable", at, err)
	}
	if _, err := st.Write(t.Context(), storetest.Messages(t, storetest.Change("b", 0, "1"))); !errors.Is(err, store.ErrReset) {
		t.Errorf("Write = %v, want ErrReset", err)
	}
	follow()
	if at, err := st.Last(t.Context()); err != nil || at.Sequence != 1 {
		t.Errorf("Last = %v, %v; want 1", at, err)
	}
}

func TestFull(t *testing.T) {
	s := natstest.Start(t, natsd.Config{Name: "small", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 330 << 20, Volatile: true}).Open()
	body := string(make([]byte, 3<<19))
	var err error
	for i := 0; err == nil && i < 300; i++ {
		_, err = s.Write(t.Context(), storetest.Messages(t, storetest.Change(fmt.Sprint(i), 0, body)))
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("a full store answers %v, want ErrFull", err)
	}
}
