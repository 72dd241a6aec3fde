package nodelifecycle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
)

func TestHearSaysWhatIsNew(t *testing.T) {
	alive := state.Heartbeat{UID: "u", Start: 1, Ready: true}
	down := state.Heartbeat{UID: "u", Start: 1, Message: "no containerd"}
	other := state.Heartbeat{UID: "u", Start: 1, Message: "no network"}
	again := state.Heartbeat{UID: "second", Start: 1, Ready: true}
	b := NewBeats(noon)
	steps := []struct {
		what string
		h    state.Heartbeat
		at   time.Duration
		want bool
	}{
		{"the first", alive, 0, true},
		{"the same", alive, 4 * time.Second, false},
		{"the kubelet has restarted", state.Heartbeat{UID: "u", Start: 2, Ready: true}, 8 * time.Second, false},
		{"not ready any more", down, 12 * time.Second, true},
		{"for another reason", other, 16 * time.Second, true},
		{"late, but within the grace period", other, 16*time.Second + Grace, false},
		{"after it had been given up", other, 17*time.Second + 2*Grace, true},
		{"another Node of that name", again, 18*time.Second + 2*Grace, true},
	}
	for _, s := range steps {
		if got := b.Hear("n1", s.h, noon.Add(s.at)); got != s.want {
			t.Errorf("%s: news %v, want %v", s.what, got, s.want)
		}
	}
}

func TestHeard(t *testing.T) {
	live := heard{known: true, ready: true}
	silent := heard{known: true, silent: true}
	beatAt := func(at time.Duration) func(*Beats) {
		return func(b *Beats) { b.Hear("n1", state.Heartbeat{UID: "uid-n1", Ready: true}, noon.Add(at)) }
	}
	tests := []struct {
		name     string
		begin    func(*Beats)
		created  time.Duration // of the node; 0: it does not say
		at       time.Duration
		want     heard
		wantWait time.Duration
	}{
		{name: "nothing yet: wait for what there may be", at: 3 * time.Second, wantWait: Grace - 3*time.Second + time.Millisecond},
		{name: "nothing at the end of the grace period", at: Grace, wantWait: time.Millisecond},
		{name: "nothing beyond it", at: Grace + 1, want: silent, wantWait: time.Minute},
		{name: "heard", begin: beatAt(time.Second), at: 2 * time.Second, want: live, wantWait: Grace - time.Second + time.Millisecond},
		{name: "heard, at the end of its grace period", begin: beatAt(time.Second), at: time.Second + Grace, want: live, wantWait: time.Millisecond},
		{name: "heard long ago", begin: beatAt(time.Second), at: time.Second + Grace + 1, want: silent, wantWait: time.Minute},
		{name: "heard before this process began to decide", begin: beatAt(-time.Hour), at: time.Second, want: live, wantWait: Grace - time.Second + time.Millisecond},
		{name: "heard of another Node of that name", begin: func(b *Beats) { b.Hear("n1", state.Heartbeat{UID: "old", Ready: true}, noon) }, at: time.Second, wantWait: Grace - time.Second + time.Millisecond},
		{name: "it cannot run pods", begin: func(b *Beats) { b.Hear("n1", state.Heartbeat{UID: "uid-n1", Message: "x"}, noon) }, want: heard{known: true, message: "x"}, wantWait: Grace + time.Millisecond},
		{name: "forgotten", begin: func(b *Beats) { beatAt(0)(b); b.forget("n1") }, at: time.Second, wantWait: Grace - time.Second + time.Millisecond},
		{name: "it joined a moment ago", created: time.Hour, at: time.Hour + time.Second, wantWait: Grace - time.Second + time.Millisecond},
		{name: "it joined before this process began to decide", created: -time.Hour, at: time.Second, wantWait: Grace - time.Second + time.Millisecond},
		{name: "leader since a moment ago", begin: func(b *Beats) { b.Lead(noon.Add(time.Hour)) }, at: time.Hour + time.Second, wantWait: Grace - time.Second + time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBeats(noon)
			if tt.begin != nil {
				tt.begin(b)
			}
			node := objtest.Node("n1").Obj()
			if tt.created != 0 {
				node.CreationTimestamp = metav1.NewTime(noon.Add(tt.created))
			}
			got, wait := b.heard(node, noon.Add(tt.at))
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(heard{})); diff != "" || wait != tt.wantWait {
				t.Errorf("heard (-want +got):\n%s; look again after %v, want %v", diff, wait, tt.wantWait)
			}
		})
	}
}

// The clock of silence starts anew whenever this process could not hear.
func TestHears(t *testing.T) {
	node := objtest.Node("n1").Obj()
	node.UID = types.UID("u")
	silentAt := func(b *Beats, at time.Duration) bool {
		h, _ := b.heard(node, noon.Add(at))
		return h.silent
	}
	b := NewBeats(noon)
	if !b.hears(true, 0, noon.Add(Grace-time.Second)) || !silentAt(b, Grace+1) {
		t.Error("an uninterrupted connection moved the clock")
	}
	if b.hears(false, 0, noon.Add(time.Hour)) {
		t.Error("it hears without a connection")
	}
	if silentAt(b, time.Hour+Grace) || !silentAt(b, time.Hour+Grace+1) {
		t.Error("the clock did not start anew when the connection was lost")
	}
	if !b.hears(true, 1, noon.Add(2*time.Hour)) {
		t.Error("it does not hear with a connection")
	}
	if silentAt(b, 2*time.Hour+Grace) || !silentAt(b, 2*time.Hour+Grace+1) {
		t.Error("the clock did not start anew after an interruption that nobody was asked about")
	}
	if b.hears(true, 1, noon.Add(3*time.Hour)); !silentAt(b, 2*time.Hour+Grace+1) {
		t.Error("one interruption moved the clock twice")
	}
}
