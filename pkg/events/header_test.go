package events_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/events"
)

func TestDecodeRefuses(t *testing.T) {
	e := events.Event{Meta: events.Meta{Source: "/s"}, ID: "1", Type: "t", Time: time.Unix(0, 0)}
	tests := []struct{ name, key, value, want string }{
		{"another version", "ce-specversion", "0.3", `ce-specversion is "0.3"`},
		{"no id", "ce-id", "", "ce-id is missing"},
		{"no type", "ce-type", "", "ce-type is missing"},
		{"no source", "ce-source", "", "ce-source is missing"},
		{"a damaged time", "ce-time", "noon", "ce-time"},
		{"a damaged revision", "ce-prevrevision", "-1", "ce-prevrevision"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := e.Encode()
			h[tt.key] = []string{tt.value}
			_, err := events.Decode(h)
			if !errors.Is(err, events.ErrNotEvent) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decode with %s %q = %v, want ErrNotEvent that says %q", tt.key, tt.value, err, tt.want)
			}
		})
	}
}

// Keys of a header are compared as they are written: what another spelling says is not ours.
func TestHeaderKeysAreExact(t *testing.T) {
	h := events.Header{"ce-id": {"1", "2"}, "ce-type": {}}
	for key, want := range map[string]string{"ce-id": "1", "Ce-Id": "", "ce-type": "", "ce-time": ""} {
		if got := h.Get(key); got != want {
			t.Errorf("Get(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestReserved(t *testing.T) {
	for key, want := range map[string]bool{
		"Nats-Expected-Last-Subject-Sequence": true, "nats-ttl": true, "Nats-Rollup": true, "KV-Operation": true, "ce-id": true,
		"Ce-Type": true, "traceparent": false, "Millrace-Id": false, "X-Nats-TTL": false, "": false,
	} {
		if got := events.Reserved(key); got != want {
			t.Errorf("Reserved(%q) = %v, want %v", key, got, want)
		}
	}
}

// FuzzHeader holds two truths over any text: what is encoded is decoded unchanged, and what decodes means the same when it is
// encoded again.
func FuzzHeader(f *testing.F) {
	f.Add("01J", "dev.millrace.pod.created", "/millrace/api", "object.pods.d.p", "user:alice", "1.2", "2026-01-02T03:04:05.000000006+01:00", "7")
	f.Add("", "", "", "", "", "", "", "")
	f.Add("a\r\nb", "\x00", " ", "ü", "=", "-", "0001-01-01T00:00:00Z", "18446744073709551615")
	f.Fuzz(func(t *testing.T, id, typ, source, subject, actor, report, at, revision string) {
		h := events.Header{
			"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-type": {typ}, "ce-source": {source}, "ce-subject": {subject},
			"ce-actor": {actor}, "ce-report": {report}, "ce-time": {at}, "ce-prevrevision": {revision},
		}
		e, err := events.Decode(h)
		if err != nil {
			if !errors.Is(err, events.ErrNotEvent) {
				t.Fatalf("Decode = %v, want ErrNotEvent", err)
			}
			e = events.Event{ID: "1", Type: "t", Meta: events.Meta{Source: "/", Actor: actor}, Subject: subject, Report: report}
		}
		if year := e.Time.UTC().Year(); year < 0 || year > 9999 {
			return // RFC 3339 has no such time in UTC
		}
		e.Time = e.Time.UTC()
		again, err := events.Decode(e.Encode())
		if err != nil {
			t.Fatalf("Decode(Encode(%+v)): %v", e, err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatalf("Decode(Encode(e)) differs (-want +got):\n%s", diff)
		}
	})
}
