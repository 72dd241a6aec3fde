package podinfo

import (
	"testing"
	"time"
)

func TestParseRestartBackoff(t *testing.T) {
	const form = `must be "initial=<duration>,max=<duration>" with durations above 0, such as "initial=1s,max=5s"`
	tests := []struct {
		value string
		want  RestartBackoff
		err   string
	}{
		{value: "initial=1s,max=5s", want: RestartBackoff{time.Second, 5 * time.Second}},
		{value: "max=5s,initial=1s", want: RestartBackoff{time.Second, 5 * time.Second}},
		{value: "initial=1s", want: RestartBackoff{time.Second, 5 * time.Minute}},
		{value: "initial=10m", want: RestartBackoff{10 * time.Minute, 10 * time.Minute}},
		{value: "max=1m", want: RestartBackoff{10 * time.Second, time.Minute}},
		{value: "max=2s", want: RestartBackoff{2 * time.Second, 2 * time.Second}},
		{value: "initial=1s,max=1s", want: RestartBackoff{time.Second, time.Second}},
		{value: "initial=5s,max=1s", err: "initial must not be above max"},
		{value: "", err: form},
		{value: "5s", err: form},
		{value: "initial=5", err: form},
		{value: "initial=0s", err: form},
		{value: "initial=-1s", err: form},
		{value: "initial=1s,initial=2s", err: form},
		{value: "initial=1s,factor=2s", err: form},
		{value: "initial=1s,", err: form},
		{value: "initial=1s, max=5s", err: form},
	}
	for _, tt := range tests {
		got, err := ParseRestartBackoff(tt.value)
		if text := errorText(err); got != tt.want || text != tt.err {
			t.Errorf("ParseRestartBackoff(%q) = %v, %q; want %v, %q", tt.value, got, text, tt.want, tt.err)
		}
	}
}

func TestParseConfigChange(t *testing.T) {
	const form = `must be "restart", "none" or "signal:<name>" with one of HUP, USR1, USR2, WINCH, INT, TERM, QUIT, ALRM, CONT, IO, URG, such as "signal:HUP"`
	tests := []struct {
		value string
		want  ConfigChange
		err   string
	}{
		{value: "restart", want: ConfigChange{Restart: true}},
		{value: "none"},
		{value: "signal:HUP", want: ConfigChange{Signal: "SIGHUP"}},
		{value: "signal:SIGUSR1", want: ConfigChange{Signal: "SIGUSR1"}},
		{value: "signal:KILL", err: form},
		{value: "signal:", err: form},
		{value: "signal:hup", err: form},
		{value: "signal", err: form},
		{value: "Restart", err: form},
		{value: "", err: form},
	}
	for _, tt := range tests {
		got, err := ParseConfigChange(tt.value)
		if text := errorText(err); got != tt.want || text != tt.err {
			t.Errorf("ParseConfigChange(%q) = %v, %q; want %v, %q", tt.value, got, text, tt.want, tt.err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
