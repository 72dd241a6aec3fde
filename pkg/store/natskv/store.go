// Package natskv is the bucket over JetStream. It alone knows JetStream's headers, subjects and error codes.
package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

// ackTimeout bounds the wait for an acknowledgement; behind it the outcome is unknown. Well above what an fsync takes:
// of single writes on one server that syncs always, p99 was 6 ms.
const ackTimeout = 5 * time.Second

const (
	headerExpected    = "Nats-Expected-Last-Subject-Sequence"
	headerExpectedOn  = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerTTL         = "Nats-TTL"
	headerOperation   = "KV-Operation"
	operationDelete   = "DEL"
	headerMarker      = "Nats-Marker-Reason"
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

// Store is the bucket over one connection, which must have no reconnect buffer (P13: what it publishes must have left, or fail).
type Store struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	// server is the instance whose sequences the follower of this process holds. On R1 another instance may have lost the
	// last ones and given them out again (P15).
	server atomic.Pointer[string]

	mu       sync.Mutex
	inFlight map[*context.CancelFunc]bool // of requests; they end when the connection is lost, for their answers are too
}

// Open waits until the stream exists and returns the bucket.
func Open(ctx context.Context, nc *nats.Conn) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	stream, err := awaitStream(ctx, js)
	if err != nil {
		return nil, err
	}
	s := &Store{nc: nc, js: js, replicas: stream.CachedInfo().Config.Replicas, inFlight: map[*context.CancelFunc]bool{}}
	go s.watchConnection(nc.StatusChanged(nats.RECONNECTING, nats.CLOSED))
	return s, nil
}

// watchConnection ends the requests in flight whenever the connection is lost, until it is closed for good.
func (s *Store) watchConnection(lost chan nats.Status) {
	for status := range lost {
		s.mu.Lock()
		for cancel := range s.inFlight {
			(*cancel)()
		}
		s.mu.Unlock()
		if status == nats.CLOSED {
			return
		}
	}
}

// bounded is a context that ends after ackTimeout or with the connection.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := &cancel
	s.inFlight[key] = true
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.inFlight, key)
	}
}

// awaitStream polls only until the api has made the streams at the very first start of a cluster.
func awaitStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	const pause = 20 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("await stream %s: %w", state.Stream, errors.Join(context.Cause(ctx), last))
		case <-timer.C:
		}
		stream, err := js.Stream(ctx, state.Stream)
		if err == nil {
			return stream, nil
		}
		last = err
		timer.Reset(pause)
	}
}

// Write implements [store.Store].
func (s *Store) Write(ctx context.Context, messages []events.Message) (uint64, error) {
	if len(messages) == 0 || len(messages) > store.MaxBatch {
		return 0, fmt.Errorf("%w: batch of %d messages", store.ErrInvalid, len(messages))
	}
	encoded, err := encode(messages)
	if err != nil {
		return 0, err
	}
	if s.foreign() {
		return 0, store.ErrReset
	}
	for _, m := range encoded[:len(encoded)-1] {
		if err := s.nc.PublishMsg(m); err != nil {
			return 0, sendError(err, false)
		}
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	answer, err := s.nc.RequestMsgWithContext(ctx, encoded[len(encoded)-1])
	if err != nil {
		return 0, sendError(err, true)
	}
	var ack struct {
		Error    *apiError `json:"error"`
		Sequence uint64    `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("%w: acknowledgement: %w", store.ErrUnknown, err)
	}
	if ack.Error != nil {
		return 0, ack.Error.storeError()
	}
	return ack.Sequence + 1 - uint64(len(messages)), nil
}

// encode makes the NATS messages of one write: an atomic batch, or a plain publish where there is only one.
func encode(messages []events.Message) ([]*nats.Msg, error) {
	encoded := make([]*nats.Msg, len(messages))
	seen := make(map[state.Key]bool, len(messages))
	batch := events.NewID()
	for i, m := range messages {
		if err := m.Key.Valid(); err != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrInvalid, err)
		}
		if len(m.Header) == 0 {
			return nil, fmt.Errorf("%w: %s has no header", store.ErrInvalid, m.Key)
		}
		if seen[m.Key] {
			return nil, fmt.Errorf("%w: %s occurs twice in a batch", store.ErrInvalid, m.Key)
		}
		seen[m.Key] = true
		msg := &nats.Msg{Subject: m.Key.Subject(), Data: m.Body, Header: header(m)}
		if len(messages) > 1 {
			msg.Header[headerBatchID] = []string{batch}
			msg.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		}
		encoded[i] = msg
	}
	if len(messages) > 1 {
		encoded[len(encoded)-1].Header[headerBatchCommit] = []string{"1"}
	}
	return encoded, nil
}

func header(m events.Message) nats.Header {
	h := make(nats.Header, len(m.Header)+6)
	maps.Copy(h, m.Header)
	h[headerExpected] = []string{state.FormatRevision(m.Replaces)}
	if m.Check != "" {
		h[headerExpectedOn] = []string{m.Check.Subject()}
	}
	if m.Remove {
		h[headerOperation] = []string{operationDelete}
	}
	if m.TTL > 0 {
		h[headerTTL] = []string{m.TTL.String()}
	}
	return h
}

// Read implements [store.Store]. It asks the stream's leader: a direct get may be answered by a follower that lags:
// on three servers 773 of 3,000 reads after a write by way of another server were stale, and none of 1,000 from the leader.
func (s *Store) Read(ctx context.Context, key state.Key) (store.Entry, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": key.Subject()})
	if err != nil {
		return store.Entry{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	answer, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+state.Stream, request)
	if err != nil {
		return store.Entry{}, fmt.Errorf("read %s: %w: %w", key, store.ErrUnavailable, err)
	}
	var got struct {
		Error   *apiError `json:"error"`
		Message struct {
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return store.Entry{}, fmt.Errorf("read %s: %w", key, err)
	}
	if got.Error != nil {
		if got.Error.ErrCode == codeNotFound {
			return store.Entry{}, fmt.Errorf("read %s: %w", key, store.ErrNotFound)
		}
		return store.Entry{}, fmt.Errorf("read %s: %w: %w", key, store.ErrUnavailable, got.Error)
	}
	h, err := nats.DecodeHeadersMsg(got.Message.Header)
	if err != nil {
		return store.Entry{}, fmt.Errorf("read %s: %w", key, err)
	}
	return entry(key, got.Message.Sequence, got.Message.Time, h, got.Message.Data), nil
}

func entry(key state.Key, sequence uint64, at time.Time, h nats.Header, body []byte) store.Entry {
	removed := len(h[headerOperation]) > 0 || len(h[headerMarker]) > 0
	return store.Entry{Key: key, Revision: sequence, Time: at, Removed: removed, Body: body, Header: events.Header(h)}
}

// Last implements [store.Store].
func (s *Store) Last(ctx context.Context) (store.Position, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	answer, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+state.Stream, nil)
	if err != nil {
		return store.Position{}, fmt.Errorf("ask for the last revision: %w: %w", store.ErrUnavailable, err)
	}
	var info struct {
		Error *apiError `json:"error"`
		State struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
		Time time.Time `json:"ts"`
	}
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		return store.Position{}, fmt.Errorf("ask for the last revision: %w", err)
	}
	if info.Error != nil {
		return store.Position{}, fmt.Errorf("ask for the last revision: %w: %w", store.ErrUnavailable, info.Error)
	}
	if s.foreign() { // its sequences mean nothing beside those that the follower has seen
		return store.Position{}, fmt.Errorf("ask for the last revision: %w: another server has answered", store.ErrUnavailable)
	}
	return store.Position{Sequence: info.State.LastSeq, Time: info.Time}, nil
}

// Instance implements [store.Store].
func (s *Store) Instance() string {
	if held := s.server.Load(); held != nil {
		return *held
	}
	return ""
}

// foreign says that this process is connected to another server instance than the one whose sequences it holds. Only on R1:
// with more replicas the quorum keeps what was shown.
func (s *Store) foreign() bool {
	held := s.server.Load()
	return s.replicas == 1 && held != nil && *held != s.nc.ConnectedServerId()
}

var _ store.Store = (*Store)(nil)
