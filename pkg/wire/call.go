package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/store"
)

const (
	// tryTimeout bounds one attempt of a request; an api that has not answered by then is gone or its answer was lost.
	tryTimeout = 10 * time.Second
	retryFirst = 20 * time.Millisecond
	retryMost  = time.Second
)

// Call is one request to be made.
type Call struct {
	Subject string
	Body    []byte
	// ID is the id of the command; empty: a new one. Whoever repeats a command with its id has it executed once.
	ID          string
	Correlation string // what began it all; empty: this command
	Trace       string
	// Try bounds one attempt; 0: 10 s.
	Try time.Duration
}

func (c *Call) message() *nats.Msg {
	m := &nats.Msg{Subject: c.Subject, Data: c.Body, Header: nats.Header{headerID: {c.ID}}}
	if c.Correlation != "" {
		m.Header[headerCorrelation] = []string{c.Correlation}
	}
	if c.Trace != "" {
		m.Header[headerTrace] = []string{c.Trace}
	}
	return m
}

// Do makes a request and returns its answer. While nobody answers it tries again, with the same id, until ctx ends: a service
// that restarts is ridden through. An error that was answered is a [*StatusError].
func Do(ctx context.Context, nc *nats.Conn, c Call) ([]byte, error) {
	if c.ID == "" {
		c.ID = events.NewID()
	}
	var body []byte
	err := Retry(ctx, func() (err error) {
		body, err = attempt(ctx, nc, &c)
		return err
	})
	if err != nil && unanswered(err) {
		err = fmt.Errorf("request %s: %w", c.Subject, err)
	}
	return body, err
}

// Retry makes a request again, with growing pauses, as long as nobody answers it; then the error is [store.ErrUnavailable].
// An error that was answered ends it at once, and so does the end of ctx.
func Retry(ctx context.Context, request func() error) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := request()
		if err == nil || !unanswered(err) {
			return err
		}
		if !clock.Pause(ctx, wait) {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, errors.Join(err, context.Cause(ctx)))
		}
	}
}

func attempt(ctx context.Context, nc *nats.Conn, c *Call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Try, tryTimeout))
	defer cancel()
	answer, err := nc.RequestMsgWithContext(ctx, c.message())
	if err != nil {
		return nil, err
	}
	return read(answer, c.ID)
}

// unanswered says that a request may be made again: nobody heard it, or nobody's answer was heard.
func unanswered(err error) bool {
	_, answered := errors.AsType[*StatusError](err)
	return !answered && !errors.Is(err, nats.ErrMaxPayload) && !errors.Is(err, nats.ErrPermissionViolation) && !errors.Is(err, errForeign)
}

// errForeign: an answer that names another request. Inside an account anyone may send to anyone's inbox.
var errForeign = errors.New("answer to another request")

func read(m *nats.Msg, id string) ([]byte, error) {
	if m.Header.Get(headerAnswer) != id {
		return nil, errForeign
	}
	if m.Header.Get(headerFailed) != "" {
		return nil, parseStatus(m.Data)
	}
	return m.Data, nil
}

// Pieces makes a request whose answer comes in pieces and hands each on in order. It ends after the last piece, with the
// error that was answered, or with [store.ErrUnavailable] if a piece is missing or none comes for too long.
func Pieces(ctx context.Context, nc *nats.Conn, c Call, take func([]byte) error) error {
	r, err := open(nc, &c)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		m, err := r.next(ctx, tryTimeout)
		if err != nil {
			return err
		}
		if err := take(m.Data); err != nil {
			return err
		}
		if m.Header.Get(headerEnd) != "" {
			return nil
		}
	}
}

// receiver takes the pieces of one answer.
type receiver struct {
	sub    *nats.Subscription
	call   *Call
	pieces int
}

// open makes the request and listens for its pieces.
func open(nc *nats.Conn, c *Call) (*receiver, error) {
	if c.ID == "" {
		c.ID = events.NewID()
	}
	m := c.message()
	m.Reply = nc.NewRespInbox()
	sub, err := nc.SubscribeSync(m.Reply)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w: %w", c.Subject, store.ErrUnavailable, err)
	}
	if err := nc.PublishMsg(m); err != nil {
		return nil, errors.Join(fmt.Errorf("request %s: %w: %w", c.Subject, store.ErrUnavailable, err), sub.Unsubscribe())
	}
	return &receiver{sub: sub, call: c}, nil
}

func (r *receiver) close() { r.sub.Unsubscribe() }

// next is the next piece; foreign messages are passed over.
func (r *receiver) next(ctx context.Context, patience time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		m, err := r.sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("request %s: %w: %w", r.call.Subject, store.ErrUnavailable, err)
		}
		if noResponders(m) {
			return nil, fmt.Errorf("request %s: %w: %w", r.call.Subject, store.ErrUnavailable, nats.ErrNoResponders)
		}
		if _, err := read(m, r.call.ID); errors.Is(err, errForeign) {
			continue
		} else if err != nil {
			return nil, err
		}
		if got := m.Header.Get(headerPiece); got != strconv.Itoa(r.pieces) {
			return nil, fmt.Errorf("request %s: %w: piece %d is missing", r.call.Subject, store.ErrUnavailable, r.pieces)
		}
		r.pieces++
		return m, nil
	}
}

func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}
