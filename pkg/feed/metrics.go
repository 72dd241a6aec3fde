package feed

import "millrace.dev/pkg/telemetry"

type meters struct {
	resyncs telemetry.Counter
	refused telemetry.Counter
	dropped int // messages the client library has dropped so far
}

func newMeters(r *telemetry.Registry) meters {
	return meters{
		resyncs: r.Counter("millrace_feed_resyncs_total", "Snapshots asked for, by what showed that they were needed.", "reason"),
		refused: r.Counter("millrace_feed_refused_total", "Messages on the feed that the server had not republished from the state."),
	}
}
