package commit

import (
	"errors"
	"time"

	"millrace.dev/pkg/store"
	"millrace.dev/pkg/telemetry"
)

type meters struct {
	size    telemetry.Histogram
	seconds telemetry.Histogram
}

func newMeters(r *telemetry.Registry) meters {
	return meters{
		size:    r.Sizes("millrace_commit_messages", "Messages of one commit."),
		seconds: r.Seconds("millrace_commit_duration_seconds", "Time from the first byte of a commit to its answer.", "result"),
	}
}

func (m meters) commit(messages int, took time.Duration, err error) {
	m.size.Observe(float64(messages))
	m.seconds.Observe(took.Seconds(), result(err))
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, store.ErrConflict):
		return "conflict"
	case errors.Is(err, store.ErrUnknown):
		return "unknown"
	default:
		return "failed"
	}
}
