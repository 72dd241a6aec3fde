package memstore_test

import (
	"errors"
	"testing"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memstore.New(nil) })
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name        string
		fault       memstore.Fault
		wantErr     error
		wantWritten bool
	}{
		{"conflict writes nothing", memstore.Conflict, store.ErrConflict, false},
		{"lost acknowledgement has written", memstore.LostAck, store.ErrUnknown, true},
		{"lost message has not", memstore.LostSend, store.ErrUnknown, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := memstore.New(nil)
			s.SetFault(func([]events.Message) memstore.Fault { return tt.fault })
			change := storetest.Change("a", 0, "1")
			if _, err := s.Write(t.Context(), storetest.Messages(t, change)); !errors.Is(err, tt.wantErr) {
				t.Errorf("Write = %v, want %v", err, tt.wantErr)
			}
			if _, err := s.Read(t.Context(), change.Key); (err == nil) != tt.wantWritten {
				t.Errorf("Read = %v, want written %v", err, tt.wantWritten)
			}
		})
	}
}

func TestReset(t *testing.T) {
	s := memstore.New(nil)
	for _, name := range []string{"a", "b"} {
		if _, err := s.Write(t.Context(), storetest.Messages(t, storetest.Change(name, 0, "1"))); err != nil {
			t.Fatal(err)
		}
	}
	done, delivered := make(chan error, 1), make(chan store.Entry, 2)
	go func() { done <- s.Follow(t.Context(), 0, func(e store.Entry) { delivered <- e }) }()
	<-delivered
	<-delivered
	s.Reset(1)
	if err := <-done; !errors.Is(err, store.ErrReset) {
		t.Errorf("Follow = %v, want ErrReset", err)
	}
	if last, err := s.Last(t.Context()); err != nil || last.Sequence != 1 {
		t.Errorf("Last = %d, %v; want 1", last.Sequence, err)
	}
}
