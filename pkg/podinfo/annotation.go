package podinfo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The annotations by which a pod or its workload asks for what Kubernetes has no field for.
const (
	AnnotationRestartBackoff = "millrace.dev/restart-backoff"
	AnnotationOnConfigChange = "millrace.dev/on-config-change"
)

// RestartBackoff is how long the kubelet waits before it restarts a container that ended: Initial after the first end,
// twice as long after each further one, at most Max.
type RestartBackoff struct{ Initial, Max time.Duration }

// DefaultRestartBackoff is Kubernetes' own.
var DefaultRestartBackoff = RestartBackoff{Initial: 10 * time.Second, Max: 5 * time.Minute}

// ParseRestartBackoff reads the value of [AnnotationRestartBackoff], such as "initial=1s,max=5s". What is not named keeps
// its default or, where that contradicts what is named, is the same as it. The error says what is allowed.
func ParseRestartBackoff(value string) (RestartBackoff, error) {
	b := DefaultRestartBackoff
	given := map[string]bool{}
	for part := range strings.SplitSeq(value, ",") {
		name, text, _ := strings.Cut(part, "=")
		d, err := time.ParseDuration(text)
		switch {
		case name != "initial" && name != "max", err != nil, d <= 0, given[name]:
			return RestartBackoff{}, fmt.Errorf(`must be "initial=<duration>,max=<duration>" with durations above 0, such as "initial=1s,max=5s"`)
		case name == "initial":
			b.Initial = d
		default:
			b.Max = d
		}
		given[name] = true
	}
	switch {
	case b.Initial <= b.Max:
	case !given["max"]:
		b.Max = b.Initial
	case !given["initial"]:
		b.Initial = b.Max
	default:
		return RestartBackoff{}, fmt.Errorf("initial must not be above max")
	}
	return b, nil
}

// ConfigChange is what becomes of a workload when a ConfigMap or Secret that it uses changes.
type ConfigChange struct {
	Restart bool   // its pods are replaced by its rollout strategy
	Signal  string // its containers get this signal: "SIGHUP"
}

// Signals that a container may get when its configuration changes: those that a process can handle and is not ended by
// unless it wants to be told so.
var configSignals = []string{"HUP", "USR1", "USR2", "WINCH", "INT", "TERM", "QUIT", "ALRM", "CONT", "IO", "URG"}

// ParseConfigChange reads the value of [AnnotationOnConfigChange]: "restart", "none" or "signal:" with the name of a
// signal, with or without SIG. The error says what is allowed.
func ParseConfigChange(value string) (ConfigChange, error) {
	switch name, isSignal := strings.CutPrefix(value, "signal:"); {
	case value == "none":
		return ConfigChange{}, nil
	case value == "restart":
		return ConfigChange{Restart: true}, nil
	case isSignal && slices.Contains(configSignals, strings.TrimPrefix(name, "SIG")):
		return ConfigChange{Signal: "SIG" + strings.TrimPrefix(name, "SIG")}, nil
	default:
		return ConfigChange{}, fmt.Errorf(`must be "restart", "none" or "signal:<name>" with one of %s, such as "signal:HUP"`, strings.Join(configSignals, ", "))
	}
}
