// Package clock waits without outliving its caller.
package clock

import (
	"context"
	"time"
)

// Pause waits for d; false: ctx ended first.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Stopped is a timer that does not run until it is reset.
func Stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
