package wire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

const (
	// window is how many pieces of a stream may be on their way: a receiver that is slow holds the sender, not memory.
	window = 64
	// streamBeat is how often a sender shows that it is there; the receiver answers every one.
	streamBeat = 10 * time.Second
	// streamPatience is how long either side waits for a sign of the other.
	streamPatience = 3 * streamBeat
	// verbFlow is the verb under which receivers acknowledge. Its resource is the sending process, its namespace the stream.
	verbFlow = "flow"
	stopFlow = "stop"
)

// errReceiverGone ends a stream whose receiver is no longer there.
var errReceiverGone = errors.New("the receiver of the stream is gone")

// Streams are the streams that one process sends.
type Streams struct {
	process string

	mu   sync.Mutex
	open map[string]*Stream
}

// NewStreams makes the set of streams of a process.
func NewStreams(process string) *Streams {
	return &Streams{process: process, open: map[string]*Stream{}}
}

// Serve takes the acknowledgements of receivers behind the given prefixes until ctx ends.
func (s *Streams) Serve(ctx context.Context, nc *nats.Conn, prefixes ...string) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	failed := make(chan error, len(prefixes))
	for _, prefix := range prefixes {
		subject := prefix + ".api.*." + verbFlow + "." + state.EncodeToken(s.process) + ".*"
		wg.Go(func() { failed <- Serve(ctx, nc, Service{Subject: subject, Limit: 1, Handle: s.acknowledge}) })
	}
	return <-failed
}

func (s *Streams) acknowledge(_ context.Context, in *Incoming) error {
	target, err := ParseAPISubject(in.Subject)
	if err != nil {
		return err
	}
	s.mu.Lock()
	stream := s.open[target.Namespace]
	s.mu.Unlock()
	if stream != nil && stream.identity == target.Identity {
		stream.acknowledged(string(in.Body))
	}
	return nil
}

// Stream is the sending side of an answer without a foreseeable end.
type Stream struct {
	set      *Streams
	in       *Incoming
	id       string
	identity string
	cancel   context.CancelCauseFunc

	mu    sync.Mutex // orders what is sent
	acked int
	moved chan struct{} // gets a value when acked has moved
	heard chan struct{} // gets a value at every sign of the receiver
}

// Open begins the answer to in as a stream for identity. The returned context ends when the receiver is gone; the caller must
// call Close.
func (s *Streams) Open(ctx context.Context, in *Incoming, identity string) (context.Context, *Stream) {
	ctx, cancel := context.WithCancelCause(ctx)
	st := &Stream{
		set: s, in: in, id: events.NewID(), identity: identity, cancel: cancel,
		moved: make(chan struct{}, 1), heard: make(chan struct{}, 1),
	}
	s.mu.Lock()
	s.open[st.id] = st
	s.mu.Unlock()
	go st.keep(ctx)
	return ctx, st
}

// keep sends a beat now and then and ends the stream when the receiver is silent for too long. The beat goes out beyond the
// window too: it is what makes the receiver say again how far it is, should its acknowledgements have been lost.
func (st *Stream) keep(ctx context.Context) {
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	patience := time.NewTimer(streamPatience)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			unheard(st.send(nil, false))
		case <-st.heard:
			patience.Reset(streamPatience)
		case <-patience.C:
			st.cancel(errReceiverGone)
			return
		}
	}
}

func (st *Stream) acknowledged(text string) {
	if text == stopFlow {
		st.cancel(errReceiverGone)
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return
	}
	st.mu.Lock()
	st.acked = max(st.acked, min(n, st.in.pieces))
	st.mu.Unlock()
	for _, c := range []chan struct{}{st.moved, st.heard} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (st *Stream) room() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.in.pieces-st.acked < window
}

// Send sends one piece, waiting while the receiver is behind. The error is the end of ctx, which must be the stream's.
func (st *Stream) Send(ctx context.Context, body []byte) error {
	for !st.room() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-st.moved:
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return st.send(body, false)
}

func (st *Stream) send(body []byte, last bool) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.in.piece(body, last, st.set.process+" "+st.id)
}

// Close ends the stream. With an error, that is the last thing the receiver hears.
func (st *Stream) Close(failure error) {
	st.set.mu.Lock()
	delete(st.set.open, st.id)
	st.set.mu.Unlock()
	gone := errors.Is(failure, errReceiverGone)
	st.cancel(nil)
	switch {
	case gone:
	case failure != nil:
		unheard(st.in.Fail(failure))
	default:
		unheard(st.send(nil, true))
	}
}

// Follow makes a request whose answer is a stream and hands each piece on in order, acknowledging as it goes. It ends
// when the stream does (nil), with the error that was answered, with what take returns, or with [store.ErrUnavailable] if the
// sender falls silent or a piece is lost.
func Follow(ctx context.Context, nc *nats.Conn, api API, c Call, take func([]byte) error) error {
	r, err := open(nc, &c)
	if err != nil {
		return err
	}
	defer r.close()
	var address string
	defer func() {
		if address != "" {
			unheard(nc.Publish(address, []byte(stopFlow)))
		}
	}()
	acked := 0
	for {
		m, err := r.next(ctx, streamPatience)
		if err != nil {
			return err
		}
		if m.Header.Get(headerEnd) != "" {
			address = ""
			return nil
		}
		if address == "" {
			process, id, _ := strings.Cut(m.Header.Get(headerStream), " ")
			address = api.Subject(verbFlow, process, id)
		}
		if len(m.Data) > 0 {
			if err := take(m.Data); err != nil {
				return err
			}
		}
		if len(m.Data) == 0 || r.pieces-acked >= window/4 || acked == 0 {
			acked = r.pieces
			if err := nc.Publish(address, []byte(strconv.Itoa(acked))); err != nil {
				return fmt.Errorf("acknowledge: %w: %w", store.ErrUnavailable, err)
			}
		}
	}
}
