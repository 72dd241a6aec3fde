package wire

// SkipFrame counts one frame that is never sent, as a reconnect loses it.
func SkipFrame(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
}
