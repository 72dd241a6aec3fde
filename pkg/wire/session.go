package wire

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/state"
)

// Channel is one of the byte streams of a session. Each flows by itself: a full one holds up no other.
type Channel byte

// The channels of a session.
const (
	Stdin Channel = iota
	Stdout
	Stderr
	Control // JSON documents between client and kubelet, one a frame
	channels
)

const (
	// sessionWindow is how many bytes of one channel may be on their way.
	sessionWindow = 1 << 20
	// frameSize is the most that one frame carries: what is asked meanwhile on the same connection waits for no more.
	frameSize    = 128 << 10
	secretSize   = 16
	frameHeader  = secretSize + 8 + 2
	sessionBeat  = 10 * time.Second
	sessionQuiet = 3 * sessionBeat
)

type frameKind byte

const (
	frameData   frameKind = iota
	frameEnd              // no more data on this channel
	frameCredit           // the receiver has taken so many bytes of this channel in all
	framePing
	frameClose // the session is over; the data is the reason, empty for none
)

// Offer is how a client invites a kubelet to a session. The api carries it, once it has authorised what is asked.
type Offer struct {
	ID       string `json:"id"`
	Secret   string `json:"secret"` // hex of 128 bits; every frame bears it
	Identity string `json:"identity"`
}

// LogValue keeps the secret out of logs.
func (o Offer) LogValue() slog.Value { return slog.StringValue(o.String()) }

// String says whose session this is; no way of printing an offer shows its secret.
func (o Offer) String() string { return "session " + o.ID + " of " + o.Identity }

// GoString is String.
func (o Offer) GoString() string { return o.String() }

// ErrSessionBroken ends a session whose other side is gone or of which a frame was lost.
var ErrSessionBroken = errors.New("session is broken")

// Session is a set of byte streams in both directions between a client and a kubelet, over subjects of their own. Writers
// wait while the other side is behind; nothing is ever buffered beyond the window.
type Session struct {
	nc     *nats.Conn
	sub    *nats.Subscription
	secret []byte
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	changed  sync.Cond // on mu: something arrived, credit was given, or the session ended
	out      string
	sent     uint64 // frames
	received uint64 // frames
	lanes    [channels]lane
	ended    error
}

// lane is one channel of a session in both directions.
type lane struct {
	queue   [][]byte // arrived and not yet read
	atEnd   bool     // no more will arrive
	arrived uint64   // bytes received
	taken   uint64   // bytes read
	granted uint64   // bytes read that the other side knows of
	written uint64   // bytes sent
	credit  uint64   // bytes the other side has read
}

func sessionSubject(node, identity, id, direction string) string {
	return strings.Join([]string{"session", node, state.EncodeToken(identity), id, direction}, ".")
}

// NewSession prepares the client's side: it listens. Pass the offer to the api, then call [Session.Start] with the node that the
// api names.
func NewSession(ctx context.Context, nc *nats.Conn, identity string) (*Session, Offer, error) {
	secret, id := make([]byte, secretSize), make([]byte, secretSize)
	rand.Read(secret)
	rand.Read(id)
	offer := Offer{ID: hex.EncodeToString(id), Secret: hex.EncodeToString(secret), Identity: identity}
	s, err := listen(ctx, nc, secret, sessionSubject("*", identity, offer.ID, "down"))
	return s, offer, err
}

// Start begins to talk to the kubelet of node.
func (s *Session) Start(node string, offer Offer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = sessionSubject(state.EncodeToken(node), offer.Identity, offer.ID, "up")
	return s.send(framePing, 0, nil)
}

// AcceptSession is the kubelet's side of an offer.
func AcceptSession(ctx context.Context, nc *nats.Conn, node string, offer Offer) (*Session, error) {
	secret, err := hex.DecodeString(offer.Secret)
	if err != nil || len(secret) != secretSize {
		return nil, fmt.Errorf("session offer: bad secret")
	}
	if _, err := hex.DecodeString(offer.ID); err != nil || offer.ID == "" {
		return nil, fmt.Errorf("session offer: bad id")
	}
	token := state.EncodeToken(node)
	s, err := listen(ctx, nc, secret, sessionSubject(token, offer.Identity, offer.ID, "up"))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = sessionSubject(token, offer.Identity, offer.ID, "down")
	return s, nil
}

func listen(ctx context.Context, nc *nats.Conn, secret []byte, subject string) (*Session, error) {
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	if err := flush(ctx, nc); err != nil { // the server must know of the subscription before anyone answers
		return nil, errors.Join(fmt.Errorf("open session: %w", err), sub.Unsubscribe())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s := &Session{nc: nc, sub: sub, secret: secret, cancel: cancel}
	s.changed.L = &s.mu
	go s.receive(ctx)
	go s.keep(ctx)
	return s, nil
}

func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

// Wait returns when the session is over: nil if the other side closed it without a reason.
func (s *Session) Wait() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ended == nil {
		s.changed.Wait()
	}
	if errors.Is(s.ended, io.EOF) {
		return nil
	}
	return s.ended
}

// Close ends the session; reason is what the other side's [Session.Wait] returns.
func (s *Session) Close(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		text := ""
		if reason != nil {
			text = reason.Error()
		}
		unheard(s.send(frameClose, 0, []byte(text)))
		s.end(io.EOF)
	}
}

// end makes everyone who waits give up. Caller holds mu.
func (s *Session) end(reason error) {
	if s.ended == nil {
		s.ended = reason
		s.cancel(reason)
		s.sub.Unsubscribe()
		s.changed.Broadcast()
	}
}

// send sends one frame. Caller holds mu.
func (s *Session) send(kind frameKind, c Channel, data []byte) error {
	if s.out == "" {
		return nil // not started: nobody is there to hear
	}
	frame := make([]byte, 0, frameHeader+len(data))
	frame = append(frame, s.secret...)
	frame = binary.BigEndian.AppendUint64(frame, s.sent)
	frame = append(frame, byte(kind), byte(c))
	frame = append(frame, data...)
	s.sent++
	return s.nc.Publish(s.out, frame)
}

// keep shows the other side that this one lives.
func (s *Session) keep(ctx context.Context) {
	beat := time.NewTicker(sessionBeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.end(context.Cause(ctx))
			s.mu.Unlock()
			return
		case <-beat.C:
			s.mu.Lock()
			unheard(s.send(framePing, 0, nil))
			s.mu.Unlock()
		}
	}
}

func (s *Session) receive(ctx context.Context) {
	for {
		m, err := s.next(ctx)
		s.mu.Lock()
		if ctx.Err() != nil {
			s.end(context.Cause(ctx))
		} else if err != nil {
			s.end(fmt.Errorf("%w: %w", ErrSessionBroken, err))
		} else if len(m.Data) >= frameHeader && subtle.ConstantTimeCompare(m.Data[:secretSize], s.secret) == 1 {
			s.take(m.Data[secretSize:])
		}
		over := s.ended != nil
		s.mu.Unlock()
		if over {
			return
		}
	}
}

func (s *Session) next(ctx context.Context) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionQuiet)
	defer cancel()
	return s.sub.NextMsgWithContext(ctx)
}

// take files one frame. Caller holds mu.
func (s *Session) take(frame []byte) {
	sequence, kind, c, data := binary.BigEndian.Uint64(frame), frameKind(frame[8]), Channel(frame[9]), frame[10:]
	if sequence != s.received || c >= channels {
		s.end(fmt.Errorf("%w: frame %d is missing", ErrSessionBroken, s.received))
		return
	}
	s.received++
	l := &s.lanes[c]
	switch kind {
	case frameData:
		if l.arrived += uint64(len(data)); l.arrived-l.taken > sessionWindow {
			s.end(fmt.Errorf("%w: the other side sent more than it may", ErrSessionBroken))
			return
		}
		if len(data) > 0 { // nothing would be held by no window
			l.queue = append(l.queue, data)
		}
	case frameEnd:
		l.atEnd = true
	case frameCredit:
		if len(data) == 8 {
			l.credit = max(l.credit, min(binary.BigEndian.Uint64(data), l.written))
		}
	case frameClose:
		if len(data) > 0 {
			s.end(errors.New(string(data)))
		} else {
			s.end(io.EOF)
		}
	case framePing:
	}
	s.changed.Broadcast()
}

// Reader reads one channel. It ends with io.EOF when the other side has closed the channel or the session.
func (s *Session) Reader(c Channel) io.Reader { return laneReader{s, c} }

type laneReader struct {
	s *Session
	c Channel
}

func (r laneReader) Read(p []byte) (int, error) {
	s, l := r.s, &r.s.lanes[r.c]
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(l.queue) == 0 {
		if l.atEnd || errors.Is(s.ended, io.EOF) {
			return 0, io.EOF
		}
		if s.ended != nil {
			return 0, s.ended
		}
		s.changed.Wait()
	}
	n := copy(p, l.queue[0])
	if l.queue[0] = l.queue[0][n:]; len(l.queue[0]) == 0 {
		l.queue = l.queue[1:]
	}
	s.grant(r.c, n)
	return n, nil
}

// grant tells the other side now and then how much of a channel has been read. Caller holds mu.
func (s *Session) grant(c Channel, n int) {
	l := &s.lanes[c]
	l.taken += uint64(n)
	if l.taken-l.granted >= sessionWindow/4 {
		l.granted = l.taken
		unheard(s.send(frameCredit, c, binary.BigEndian.AppendUint64(nil, l.granted)))
	}
}

// Document is the next frame of a channel, whole: for [Control]. It ends with io.EOF as a Reader does.
func (s *Session) Document(c Channel) ([]byte, error) {
	l := &s.lanes[c]
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(l.queue) == 0 {
		if l.atEnd {
			return nil, io.EOF
		}
		if s.ended != nil {
			return nil, s.ended
		}
		s.changed.Wait()
	}
	document := l.queue[0]
	l.queue = l.queue[1:]
	s.grant(c, len(document))
	return document, nil
}

// Writer writes one channel, waiting while the other side is behind. Close says that no more will come on the channel.
func (s *Session) Writer(c Channel) io.WriteCloser { return laneWriter{s, c} }

type laneWriter struct {
	s *Session
	c Channel
}

func (w laneWriter) Write(p []byte) (written int, err error) {
	s, l := w.s, &w.s.lanes[w.c]
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		for s.ended == nil && l.written-l.credit >= sessionWindow {
			s.changed.Wait()
		}
		if s.ended != nil {
			return written, fmt.Errorf("%w: %w", ErrSessionBroken, s.ended)
		}
		n := min(len(p), frameSize, int(sessionWindow-(l.written-l.credit)))
		if err := s.send(frameData, w.c, p[:n]); err != nil {
			return written, err
		}
		l.written += uint64(n)
		written += n
		p = p[n:]
	}
	return written, nil
}

func (w laneWriter) Close() error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.ended != nil {
		return nil
	}
	return w.s.send(frameEnd, w.c, nil)
}
