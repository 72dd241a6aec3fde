package natskv

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/store"
)

func TestRefusalsInTheWordsOfTheStore(t *testing.T) {
	tests := []struct {
		name   string
		code   int
		text   string
		want   error
		actual uint64 // of a conflict
		told   bool
	}{
		{name: "a key has moved", code: 10071, text: "wrong last sequence: 42", want: store.ErrConflict, actual: 42, told: true},
		{name: "a key is absent", code: 10071, text: "wrong last sequence: 0", want: store.ErrConflict, told: true},
		{name: "a key has moved, no number", code: 10071, text: "wrong last sequence", want: store.ErrConflict},
		{name: "a write is in flight", code: 10164, text: "wrong last sequence", want: store.ErrConflict},
		{name: "limit of the account", code: 10047, text: "insufficient storage", want: store.ErrFull},
		{name: "limit of the server", code: 10023, text: "insufficient resources", want: store.ErrFull},
		{name: "limit of the stream", code: 10077, text: "maximum bytes exceeded", want: store.ErrFull},
		{name: "the disk failed", code: 10077, text: "input/output error", want: store.ErrUnknown},
		{name: "too large", code: 10054, text: "message size exceeds maximum allowed", want: store.ErrInvalid},
		{name: "header too large", code: 10097, text: "header size exceeds maximum allowed of 64k", want: store.ErrInvalid},
		{name: "too many", code: 10199, text: "atomic publish batch is too large", want: store.ErrInvalid},
		{name: "a member never came", code: 10176, text: "atomic publish batch is incomplete", want: store.ErrUnavailable},
		{name: "too many batches in flight", code: 10210, text: "atomic publish too many inflight", want: store.ErrUnknown},
		{name: "what nobody knows", code: 10001, text: "?", want: store.ErrUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := (&apiError{Code: 400, ErrCode: tt.code, Description: tt.text}).storeError()
			if !errors.Is(err, tt.want) {
				t.Errorf("%d %q is %v, want %v", tt.code, tt.text, err, tt.want)
			}
			conflict, ok := errors.AsType[*store.ConflictError](err)
			if ok && (conflict.Actual != tt.actual || conflict.Told != tt.told) {
				t.Errorf("%d %q tells %d (%v), want %d (%v)", tt.code, tt.text, conflict.Actual, conflict.Told, tt.actual, tt.told)
			}
		})
	}
}

// P13: what surely did not leave was not written; whatever may have left is unknown.
func TestP13_FailedSends(t *testing.T) {
	tests := []struct {
		err  error
		last bool
		want error
	}{
		{nats.ErrMaxPayload, false, store.ErrInvalid},
		{nats.ErrMaxPayload, true, store.ErrInvalid},
		{nats.ErrReconnectBufExceeded, false, store.ErrUnavailable},
		{nats.ErrReconnectBufExceeded, true, store.ErrUnavailable},
		{nats.ErrConnectionClosed, true, store.ErrUnavailable},
		{nats.ErrTimeout, false, store.ErrUnavailable}, // a batch without its last message is dropped
		{nats.ErrTimeout, true, store.ErrUnknown},
		{nats.ErrNoResponders, true, store.ErrUnknown},
		{errors.New("connection reset"), true, store.ErrUnknown},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v/last=%v", tt.err, tt.last), func(t *testing.T) {
			if got := sendError(tt.err, tt.last); !errors.Is(got, tt.want) || !errors.Is(got, tt.err) {
				t.Errorf("sendError = %v, want %v because of %v", got, tt.want, tt.err)
			}
		})
	}
}
