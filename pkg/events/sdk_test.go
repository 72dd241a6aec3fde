package events_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
)

// attributes are the sdk's names of what a header holds, under the prefix of the NATS binding.
var attributes = spec.WithPrefix("ce-")

// message is a NATS message as the sdk's binding reads and writes it in binary mode.
type message struct {
	header events.Header
	body   []byte
}

func (m *message) ReadEncoding() binding.Encoding {
	if m.header.Get(attributes.PrefixedSpecVersionName()) == "" {
		return binding.EncodingStructured
	}
	return binding.EncodingBinary
}

func (m *message) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m *message) ReadBinary(_ context.Context, to binding.BinaryWriter) error {
	version := attributes.Version(m.header.Get(attributes.PrefixedSpecVersionName()))
	if version == nil {
		return binding.ErrUnknownEncoding
	}
	for key, values := range m.header {
		name, ours := strings.CutPrefix(key, attributes.Prefix())
		if !ours {
			continue
		}
		set := func() error { return to.SetExtension(name, values[0]) }
		if attribute := version.Attribute(key); attribute != nil {
			set = func() error { return to.SetAttribute(attribute, values[0]) }
		}
		if err := set(); err != nil {
			return err
		}
	}
	return to.SetData(bytes.NewReader(m.body))
}

func (m *message) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	attribute := attributes.Version(m.header.Get(attributes.PrefixedSpecVersionName())).AttributeFromKind(kind)
	if value := m.header.Get(attribute.PrefixedName()); value != "" {
		return attribute, value
	}
	return attribute, nil
}

func (m *message) GetExtension(name string) any {
	if value := m.header.Get(attributes.Prefix() + name); value != "" {
		return value
	}
	return nil
}

func (m *message) Finish(error) error { return nil }

func (m *message) Start(context.Context) error { return nil }
func (m *message) End(context.Context) error   { return nil }

func (m *message) SetAttribute(attribute spec.Attribute, value any) error {
	return m.SetExtension(attribute.Name(), value)
}

func (m *message) SetExtension(name string, value any) error {
	text, err := types.Format(value)
	m.header[attributes.Prefix()+name] = []string{text}
	return err
}

func (m *message) SetData(body io.Reader) (err error) {
	m.body, err = io.ReadAll(body)
	return err
}

var (
	_ binding.Message               = (*message)(nil)
	_ binding.MessageMetadataReader = (*message)(nil)
	_ binding.BinaryWriter          = (*message)(nil)
)

// drawEvent makes an envelope as a process would: any field that may be empty sometimes is.
func drawEvent(t *rapid.T) events.Event {
	maybe := func(label, pattern string) string {
		return rapid.OneOf(rapid.Just(""), rapid.StringMatching(pattern)).Draw(t, label)
	}
	return events.Event{
		Meta: events.Meta{
			Source: rapid.StringMatching(`/millrace/[a-z0-9.-]{1,40}`).Draw(t, "source"),
			Actor:  maybe("actor", `(user|system:node):[A-Za-z0-9@. =-]{0,20}[a-z]`), Correlation: maybe("correlation", `[0-9A-Z]{26}`),
			Causation: maybe("causation", `[0-9A-Z]{26}-[0-9]{1,3}`), Trace: maybe("trace", `00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]`),
		},
		ID:      rapid.StringMatching(`[0-9A-Z]{26}(-[0-9]{1,3})?`).Draw(t, "id"),
		Type:    rapid.StringMatching(`dev\.millrace\.[a-z]{1,10}\.[a-z]{1,10}`).Draw(t, "type"),
		Subject: rapid.StringMatching(`object\.[a-z_]{1,10}\.[a-z=0-9A-F-]{1,10}\.[a-z_=-]{1,20}`).Draw(t, "subject"),
		Time:    time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds")).UTC(),
		Report:  maybe("report", `[1-9][0-9]{0,5}\.[0-9]{1,9}`), PrevRevision: rapid.Uint64().Draw(t, "prevrevision"),
	}
}

// extensions are what our envelope says beyond the attributes of the standard.
func extensions(e events.Event) map[string]any {
	all := map[string]any{"prevrevision": state.FormatRevision(e.PrevRevision)}
	for name, value := range map[string]string{
		"traceparent": e.Trace, "correlationid": e.Correlation, "causationid": e.Causation, "actor": e.Actor, "report": e.Report,
	} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

func TestTheSDKReadsWhatWeWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		got, err := binding.ToEvent(context.Background(), &message{header: e.Encode(), body: []byte(`{"a":1}`)})
		if err != nil {
			t.Fatalf("the sdk cannot read the header: %v", err)
		}
		if err := got.Validate(); err != nil {
			t.Fatalf("the sdk reads an event that is not valid: %v", err)
		}
		want := event.New()
		want.SetID(e.ID)
		want.SetType(e.Type)
		want.SetSource(e.Source)
		want.SetSubject(e.Subject)
		want.SetTime(e.Time)
		want.SetDataContentType("application/json")
		for name, value := range extensions(e) {
			want.SetExtension(name, value)
		}
		want.DataEncoded = []byte(`{"a":1}`)
		if diff := cmp.Diff(want.String(), got.String()); diff != "" {
			t.Fatalf("the sdk reads another event (-want +got):\n%s", diff)
		}
	})
}

func TestWeReadWhatTheSDKWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		sdk := event.New()
		sdk.SetID(want.ID)
		sdk.SetType(want.Type)
		sdk.SetSource(want.Source)
		sdk.SetSubject(want.Subject)
		sdk.SetTime(want.Time)
		for name, value := range extensions(want) {
			sdk.SetExtension(name, value)
		}
		sdk.SetExtension("comexamplefoo", "of no concern to us")
		if err := sdk.SetData("application/json", map[string]int{"a": 1}); err != nil {
			t.Fatal(err)
		}
		m := &message{header: events.Header{}}
		if _, err := binding.Write(context.Background(), (*binding.EventMessage)(&sdk), nil, m); err != nil {
			t.Fatalf("the sdk cannot write: %v", err)
		}
		got, err := events.Decode(m.header)
		if err != nil {
			t.Fatalf("Decode(%v): %v", m.header, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("we read another event (-want +got):\n%s", diff)
		}
	})
}

// What is no event to us is none to the sdk either, and the least that it takes is enough for us.
func TestWeAgreeWithTheSDKWhatAnEventIs(t *testing.T) {
	least := events.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-type": {"t"}, "ce-source": {"/s"}}
	with := func(key, value string) events.Header {
		h := maps.Clone(least)
		h[key] = []string{value}
		return h
	}
	tests := []struct {
		name   string
		header events.Header
		want   bool
	}{
		{"the least", least, true},
		{"no header at all", nil, false},
		{"no version", with("ce-specversion", ""), false},
		{"another version", with("ce-specversion", "7.0"), false},
		{"no id", with("ce-id", ""), false},
		{"no type", with("ce-type", ""), false},
		{"no source", with("ce-source", ""), false},
		{"a time that is none", with("ce-time", "yesterday"), false},
		{"a time in another zone", with("ce-time", "2026-01-02T03:04:05.6+01:00"), true},
		{"an unknown extension", with("ce-custom", "x"), true},
		{"a header that is no attribute", with("Nats-TTL", "1h"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := events.Decode(tt.header)
			if got := err == nil; got != tt.want {
				t.Errorf("Decode(%v) = %v, want an event: %v", tt.header, err, tt.want)
			}
			sdk, err := binding.ToEvent(t.Context(), &message{header: tt.header})
			if err == nil {
				err = sdk.Validate()
			}
			if got := err == nil; got != tt.want {
				t.Errorf("the sdk says %v, want an event: %v", err, tt.want)
			}
		})
	}
}
