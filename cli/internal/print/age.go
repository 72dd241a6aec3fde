package print

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// Age is how long ago t was, as kubectl says it: "5m", "3d4h"; "<unknown>" of the zero time.
func Age(t, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t))
}

// restarts counts restarts, with the time since the last one if it is known.
func restarts(count int, last, now time.Time) string {
	if count == 0 || last.IsZero() {
		return fmt.Sprint(count)
	}
	return fmt.Sprintf("%d (%s ago)", count, Age(last, now))
}
