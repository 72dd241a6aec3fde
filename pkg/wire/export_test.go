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

// SessionWindow is how many bytes of one channel may be on their way.
const SessionWindow = sessionWindow

// Send sends one frame of data whatever the other side allows.
func Send(s *Session, c Channel, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(frameData, c, data)
}

// Queued counts the frames of a channel that arrived and were not yet read.
func Queued(s *Session, c Channel) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lanes[c].queue)
}
