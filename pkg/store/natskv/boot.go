package natskv

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

// bootLook is how far behind the last sequence the boot check looks for the last message that still exists.
const bootLook = 1000

// Server is the id of the NATS server instance that this process is connected to.
func (s *Store) Server() string { return s.nc.ConnectedServerId() }

// Alone says that one server holds the state: it may lose what it has shown but not acknowledged.
func (s *Store) Alone() bool { return s.replicas == 1 }

// Reconnected gets a value at each new connection, until stop is called.
func (s *Store) Reconnected() (connected <-chan struct{}, stop func()) {
	status := s.nc.StatusChanged(nats.CONNECTED)
	told := make(chan struct{}, 1)
	go func() {
		for range status {
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told, func() { s.nc.RemoveStatusListener(status) }
}

// Torn is the boot check: the last message that the stream holds belongs to a batch whose commit it does not hold. A power
// loss on one server can do that; the server logs that it could not restore the batch, and goes on.
func (s *Store) Torn(ctx context.Context) (bool, error) {
	last, err := s.Last(ctx)
	if err != nil {
		return false, err
	}
	for seq := last.Sequence; seq > 0 && last.Sequence-seq < bootLook; seq-- {
		h, found, err := s.headerAt(ctx, seq)
		if err != nil {
			return false, err
		}
		if found {
			return h.Get(headerBatchID) != "" && h.Get(headerBatchCommit) == "", nil
		}
	}
	return false, nil
}

func (s *Store) headerAt(ctx context.Context, seq uint64) (nats.Header, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	answer, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+state.Stream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return nil, false, fmt.Errorf("boot check: %w: %w", store.ErrUnavailable, err)
	}
	var got struct {
		Error   *apiError `json:"error"`
		Message struct {
			Header []byte `json:"hdrs"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, false, fmt.Errorf("boot check: %w", err)
	}
	if got.Error != nil {
		if got.Error.ErrCode == codeNotFound {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("boot check: %w: %w", store.ErrUnavailable, got.Error)
	}
	h, err := nats.DecodeHeadersMsg(got.Message.Header)
	if err != nil {
		return nil, false, fmt.Errorf("boot check: %w", err)
	}
	return h, true, nil
}
