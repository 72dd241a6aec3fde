package events

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace.dev/pkg/state"
)

// Header is the header of a message, with keys exactly as written.
type Header map[string][]string

// Get is the first value of a key, or "".
func (h Header) Get(key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// The headers of an event in binary mode, spelt as the CloudEvents NATS binding spells them.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerType        = "ce-type"
	headerSource      = "ce-source"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerContentType = "ce-datacontenttype"
	headerTrace       = "ce-traceparent"
	headerCorrelation = "ce-correlationid"
	headerCausation   = "ce-causationid"
	headerActor       = "ce-actor"
	headerPrev        = "ce-prevrevision"
	headerReport      = "ce-report"
)

const (
	specVersion = "1.0"
	contentType = "application/json"
)

// Meta says who makes a change and why. It travels in the event's extensions.
type Meta struct {
	Source      string // the process: "/millrace/scheduler/<host>-<pid>"
	Actor       string // whose wish it is: "user:alice", "system:node:n1", "system:scheduler"
	Correlation string // the id of the user command that began it all
	Causation   string // the id of the event reacted to
	Trace       string // W3C traceparent
}

// Event is the envelope of one revision.
type Event struct {
	Meta
	ID           string
	Type         string
	Subject      string // what it is about, as a key of the bucket
	Time         time.Time
	Report       string // the newest report of a node that it reflects; see state.Change
	PrevRevision uint64 // the revision of the key that this one replaced; a gap here is a lost revision of the history
}

// Encode writes e into a header.
func (e *Event) Encode() Header {
	h := Header{
		headerSpecVersion: {specVersion},
		headerID:          {e.ID},
		headerType:        {e.Type},
		headerSource:      {e.Source},
		headerSubject:     {e.Subject},
		headerTime:        {e.Time.UTC().Format(time.RFC3339Nano)},
		headerContentType: {contentType},
		headerPrev:        {state.FormatRevision(e.PrevRevision)},
	}
	for key, value := range map[string]string{
		headerActor: e.Actor, headerCorrelation: e.Correlation, headerCausation: e.Causation, headerTrace: e.Trace,
		headerReport: e.Report,
	} {
		if value != "" {
			h[key] = []string{value}
		}
	}
	return h
}

// ErrNotEvent says that a message is not an event in binary mode.
var ErrNotEvent = errors.New("not a CloudEvent in binary mode")

// Decode reads the envelope from a header. Headers it does not know are left alone.
func Decode(h Header) (Event, error) {
	if h.Get(headerSpecVersion) != specVersion {
		return Event{}, fmt.Errorf("%w: %s is %q", ErrNotEvent, headerSpecVersion, h.Get(headerSpecVersion))
	}
	e := Event{
		ID: h.Get(headerID), Type: h.Get(headerType), Subject: h.Get(headerSubject), Report: h.Get(headerReport),
		Meta: Meta{
			Source: h.Get(headerSource), Actor: h.Get(headerActor), Trace: h.Get(headerTrace),
			Correlation: h.Get(headerCorrelation), Causation: h.Get(headerCausation),
		},
	}
	for name, value := range map[string]string{headerID: e.ID, headerType: e.Type, headerSource: e.Source} {
		if value == "" {
			return Event{}, fmt.Errorf("%w: %s is missing", ErrNotEvent, name)
		}
	}
	var err error
	if at := h.Get(headerTime); at != "" {
		if e.Time, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return Event{}, fmt.Errorf("%w: %s: %w", ErrNotEvent, headerTime, err)
		}
	}
	if e.PrevRevision, err = state.ParseRevision(h.Get(headerPrev)); err != nil {
		return Event{}, fmt.Errorf("%w: %s: %w", ErrNotEvent, headerPrev, err)
	}
	return e, nil
}

// Reserved says that a header belongs to NATS or to the envelope, so that no client may set it on a message that we store.
func Reserved(key string) bool {
	lower := strings.ToLower(key)
	return strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "kv-") || strings.HasPrefix(lower, "ce-")
}
