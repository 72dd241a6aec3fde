package wire

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// The headers of requests and answers. They never begin with "Nats-", which belongs to the server.
const (
	headerID          = "Millrace-Id"     // of the request: its nonce and the id of the command, kept by retries
	headerAnswer      = "Millrace-Answer" // the id of the request that is answered; anything else is not for us
	headerCorrelation = "Millrace-Correlation"
	headerTrace       = "traceparent"
	headerFailed      = "Millrace-Failed" // the body is a metav1.Status
	headerPiece       = "Millrace-Piece"  // counts the pieces of an answer from 0
	headerEnd         = "Millrace-End"    // the last piece
	headerStream      = "Millrace-Stream" // where the receiver of a stream sends its acknowledgements
	headerRequestInfo = "Nats-Request-Info"
)

// PieceSize is about how many bytes one piece of a long answer has.
const PieceSize = 128 << 10

// Incoming is one request and the way to answer it.
type Incoming struct {
	Subject     string
	ID          string // the caller's id of the command: two requests with one id are one command
	Correlation string // the id of the user command that began it all; empty: this one
	Trace       string
	Body        []byte
	// Foreign says that the request came through an import of another account, put there by the server itself.
	Foreign bool

	respond func(nats.Header, []byte) error
	pieces  int
}

// NewIncoming reads a request; respond sends one message to who asked.
func NewIncoming(subject string, header nats.Header, body []byte, respond func(nats.Header, []byte) error) *Incoming {
	return &Incoming{
		Subject: subject, ID: header.Get(headerID), Correlation: header.Get(headerCorrelation), Trace: header.Get(headerTrace),
		Body: body, Foreign: len(header[headerRequestInfo]) > 0, respond: respond,
	}
}

// header begins every answer afresh: nothing of the request is echoed but its id.
func (in *Incoming) header() nats.Header { return nats.Header{headerAnswer: {in.ID}} }

// Answer sends the whole answer.
func (in *Incoming) Answer(body []byte) error {
	return in.respond(in.header(), body)
}

// AnswerJSON sends v as the whole answer.
func (in *Incoming) AnswerJSON(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return in.Fail(fmt.Errorf("encode answer: %w", err))
	}
	return in.Answer(body)
}

// Fail answers with an error; it arrives as the same sentinel.
func (in *Incoming) Fail(failure error) error {
	body, err := json.Marshal(StatusOf(failure))
	if err != nil {
		return fmt.Errorf("encode error: %w", err)
	}
	h := in.header()
	h[headerFailed] = []string{"1"}
	return in.respond(h, body)
}

// Piece sends one piece of a long answer; last says that no more will come.
func (in *Incoming) Piece(body []byte, last bool) error { return in.piece(body, last, "") }

func (in *Incoming) piece(body []byte, last bool, stream string) error {
	h := in.header()
	h[headerPiece] = []string{strconv.Itoa(in.pieces)}
	in.pieces++
	if last {
		h[headerEnd] = []string{"1"}
	}
	if stream != "" {
		h[headerStream] = []string{stream}
	}
	return in.respond(h, body)
}
