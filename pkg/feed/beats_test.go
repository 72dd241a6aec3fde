package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace.dev/pkg/state"
)

// beating runs the beats of f inside a synctest bubble until the test ends.
func beating(t *testing.T, f *Feed) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.beats(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// elapse lets virtual time go by, and everything that is due in it happen.
func elapse(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}

// P20: a message may be on its way, so a difference counts only if it is still there a second later.
func TestP20_ADifferenceMustLast(t *testing.T) {
	differs := state.Beat{Digest: state.Digest{Count: 1, Hash: 1}, Revision: 9}
	tests := []struct {
		name    string
		answers []state.Beat // the last one again and again
		err     error
		kick    time.Duration // when a snapshot is asked for; 0: not in ten seconds
	}{
		{name: "in step", answers: []state.Beat{{Revision: 9}}},
		{name: "a difference that lasts", answers: []state.Beat{differs}, kick: recheckAfter},
		{name: "a difference that passes", answers: []state.Beat{differs, {Revision: 9}}},
		{name: "a difference at every other look", answers: []state.Beat{differs, {Revision: 9}, differs, {Revision: 9}}},
		{name: "nobody answers", answers: []state.Beat{differs}, err: errors.New("no responders")},
		{name: "who answers is behind", answers: []state.Beat{{Digest: differs.Digest, Revision: 4}}},
		{name: "another epoch, though its sequence is lower", answers: []state.Beat{{Revision: 1, Epoch: 2}}, kick: recheckAfter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				f := New(nil, Config{Every: 4 * time.Second, Beat: func(context.Context) (*state.Beat, error) {
					b := tt.answers[min(asked, len(tt.answers)-1)]
					asked++
					return &b, tt.err
				}})
				f.seen = 5
				began := time.Now()
				beating(t, f)
				limit := time.NewTimer(10 * time.Second)
				select {
				case why := <-f.kicks:
					if at := time.Since(began); why != "digest" || at != tt.kick {
						t.Errorf("asked for a snapshot after %v because of a %s, want it at %v (0: never)", at, why, tt.kick)
					}
				case <-limit.C:
					if tt.kick != 0 {
						t.Errorf("asked for no snapshot in ten seconds, want it at %v", tt.kick)
					}
				}
			})
		})
	}
}

// As long as snapshots do not help, each is asked for with the same patience.
func TestP20_EveryDifferenceIsLookedAtTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(nil, Config{Every: 4 * time.Second, Beat: func(context.Context) (*state.Beat, error) {
			return &state.Beat{Digest: state.Digest{Count: 1}}, nil
		}})
		began, at := time.Now(), []time.Duration{}
		beating(t, f)
		for range 3 {
			<-f.kicks
			at = append(at, time.Since(began))
		}
		if want := []time.Duration{time.Second, 5 * time.Second, 9 * time.Second}; fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("asked for snapshots at %v, want %v", at, want)
		}
	})
}

// A node shows that it lives at every beat, and looks once more two seconds behind each snapshot.
func TestBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, at := time.Now(), []time.Duration{}
		f := New(nil, Config{Beat: func(context.Context) (*state.Beat, error) {
			at = append(at, time.Since(began))
			return &state.Beat{}, nil
		}})
		beating(t, f)
		elapse(5 * time.Second)
		f.apply(&state.Snapshot{})
		elapse(4 * time.Second)
		want := []time.Duration{0, 4 * time.Second, 7 * time.Second, 8 * time.Second}
		if fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("beats at %v, want %v", at, want)
		}
	})
}

// A beat that is not answered is given up before the next one.
func TestABeatEndsBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lasted []time.Duration
		f := New(nil, Config{Every: 4 * time.Second, Beat: func(ctx context.Context) (*state.Beat, error) {
			began := time.Now()
			<-ctx.Done()
			lasted = append(lasted, time.Since(began))
			return nil, context.Cause(ctx)
		}})
		beating(t, f)
		elapse(9 * time.Second)
		if len(lasted) != 2 || lasted[0] != 4*time.Second || lasted[1] != 4*time.Second {
			t.Errorf("unanswered beats lasted %v, want 4 s each", lasted)
		}
	})
}
