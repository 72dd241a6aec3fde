package wire

import "context"

// Window is how many pieces of a stream may be on their way.
const Window = window

// Acknowledge is what [Streams.Serve] does with what it hears.
func Acknowledge(ctx context.Context, s *Streams, in *Incoming) error { return s.acknowledge(ctx, in) }

// SkipFrame counts one frame that is never sent, as a reconnect loses it.
func SkipFrame(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
}
