package report

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"millrace.dev/pkg/state"
)

// api answers as a test says and keeps what it was sent.
type api struct {
	mu     sync.Mutex
	sent   []state.PodReports
	at     []time.Duration
	began  time.Time
	answer func(r state.PodReports) (*state.PodOutcomes, error)
}

func (a *api) send(_ context.Context, r state.PodReports) (*state.PodOutcomes, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent, a.at = append(a.sent, r), append(a.at, time.Since(a.began))
	return a.answer(r)
}

func (a *api) behave(f func(r state.PodReports) (*state.PodOutcomes, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

// forget drops what was sent so far.
func (a *api) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent, a.at, a.began = nil, nil, time.Now()
}

// all answers the same for every pod.
func all(o state.Outcome) func(state.PodReports) (*state.PodOutcomes, error) {
	return func(r state.PodReports) (*state.PodOutcomes, error) {
		a := &state.PodOutcomes{}
		for range r.Pods {
			a.Outcomes = append(a.Outcomes, o)
		}
		return a, nil
	}
}

func away(state.PodReports) (*state.PodOutcomes, error) { return nil, errors.New("away") }

// start runs a reporter until the test ends.
func start(t *testing.T) (*Reporter, *api) {
	t.Helper()
	a := &api{began: time.Now(), answer: all(state.Accepted)}
	r := New(7, a.send)
	r.Node("node-uid")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want the end of its context", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return r, a
}

func pod(uid types.UID, message string) state.PodReport {
	return state.PodReport{Namespace: "default", Name: "p-" + string(uid), UID: uid, Order: 3, Status: corev1.PodStatus{Message: message}}
}

// pass lets time pass, and all that falls due in it happen.
func pass(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}

// told are the messages that were sent, in order.
func (a *api) told() [][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var messages [][]string
	for _, r := range a.sent {
		var pods []string
		for _, p := range r.Pods {
			pods = append(pods, string(p.UID)+" "+p.Status.Message)
		}
		messages = append(messages, pods)
	}
	return messages
}

func never() { panic("called gone for a pod that the control plane has") }

func TestReportNamesNodeStartAndCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := start(t)
		r.Report(pod("a", "1"), never)
		r.Report(pod("b", "1"), never)
		synctest.Wait()
		r.Report(pod("a", "2"), never)
		synctest.Wait()
		with := func(p state.PodReport, counter uint64) state.PodReport { p.Counter = counter; return p }
		want := []state.PodReports{
			{Start: 7, UID: "node-uid", Pods: []state.PodReport{with(pod("a", "1"), 1), with(pod("b", "1"), 2)}},
			{Start: 7, UID: "node-uid", Pods: []state.PodReport{with(pod("a", "2"), 3)}},
		}
		if diff := cmp.Diff(want, a.sent); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		pass(time.Hour)
		if got := len(a.told()); got != 2 {
			t.Errorf("%d messages in an hour without news, want none", got-2)
		}
	})
}

// While a message is on its way what comes is put together: one message at a time, the newest of each pod.
func TestReportsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := start(t)
		a.behave(away)
		r.Report(pod("a", "1"), never)
		synctest.Wait()
		for i := range 5 {
			r.Report(pod("a", fmt.Sprint("new ", i)), never)
			r.Report(pod("b", fmt.Sprint("new ", i)), never)
		}
		a.behave(all(state.Accepted))
		pass(retryFirst)
		want := [][]string{{"a 1"}, {"a new 4", "b new 4"}}
		if diff := cmp.Diff(want, a.told()); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

func TestMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := start(t)
		a.behave(away)
		r.Report(pod("0", ""), never)
		synctest.Wait()
		for i := range most {
			r.Report(pod(types.UID(fmt.Sprint(i+1)), ""), never)
		}
		a.forget()
		a.behave(all(state.Accepted))
		pass(retryFirst)
		if len(a.sent) != 2 || len(a.sent[0].Pods) != most || len(a.sent[1].Pods) != 1 {
			t.Errorf("%d messages, the first with %d pods; want two, %d and 1", len(a.sent), len(a.sent[0].Pods), most)
		}
	})
}

func TestReportsAreSentUntilTheyAreTaken(t *testing.T) {
	tests := []struct {
		name   string
		answer func(state.PodReports) (*state.PodOutcomes, error)
	}{
		{name: "the api is away", answer: away},
		{name: "the api could not write", answer: all(state.Retry)},
		{name: "an answer without outcomes", answer: func(state.PodReports) (*state.PodOutcomes, error) { return &state.PodOutcomes{}, nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, a := start(t)
				a.behave(tt.answer)
				r.Report(pod("a", "1"), never)
				pass(20 * time.Second)
				var waits []time.Duration
				for i := range a.at[1:] {
					waits = append(waits, a.at[i+1]-a.at[i])
				}
				want := []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000}
				for i := range want {
					want[i] *= time.Millisecond
				}
				if diff := cmp.Diff(want, waits); diff != "" {
					t.Errorf("pauses (-want +got):\n%s", diff)
				}
				a.behave(all(state.Accepted))
				pass(retryMost)
				a.forget()
				a.behave(tt.answer)
				r.Report(pod("a", "2"), never) // the pauses begin anew
				pass(retryFirst)
				if diff := cmp.Diff([][]string{{"a 2"}, {"a 2"}}, a.told()); diff != "" {
					t.Errorf("sent afterwards (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Only what was not taken is sent again.
func TestOutcomesCountForEachPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := start(t)
		a.behave(func(q state.PodReports) (*state.PodOutcomes, error) {
			outcomes := map[types.UID]state.Outcome{"a": state.Accepted, "b": state.Retry, "c": state.Gone}
			o := &state.PodOutcomes{}
			for _, p := range q.Pods {
				o.Outcomes = append(o.Outcomes, outcomes[p.UID])
			}
			return o, nil
		})
		gone := 0
		r.Report(pod("a", "1"), never)
		r.Report(pod("b", "1"), never)
		r.Report(pod("c", "1"), func() { gone++ })
		pass(retryFirst)
		if diff := cmp.Diff([][]string{{"a 1", "b 1", "c 1"}, {"b 1"}}, a.told()); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		if gone != 1 {
			t.Errorf("gone was called %d times, want once", gone)
		}
	})
}

// The acknowledgement of an older report does not stand for the newer one that came meanwhile.
func TestNewerReportOutlivesAnOlderAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := start(t)
		once := false
		a.behave(func(q state.PodReports) (*state.PodOutcomes, error) {
			if !once {
				once = true
				r.Report(pod("a", "2"), never)
			}
			return all(state.Accepted)(q)
		})
		r.Report(pod("a", "1"), never)
		synctest.Wait()
		if diff := cmp.Diff([][]string{{"a 1"}, {"a 2"}}, a.told()); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

// Whatever is lost or refused: counters of a pod never go back, and in the end the newest report of every pod has been taken.
func TestReportProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 30).Draw(rt, "steps")
		outcomes := rapid.SliceOfN(rapid.SampledFrom([]string{"accepted", "accepted", "retry", "lost", "away"}), 1, 30).Draw(rt, "outcomes")
		synctest.Test(t, func(t *testing.T) {
			r, a := start(t)
			last, taken, newest := map[types.UID]uint64{}, map[types.UID]string{}, map[types.UID]string{}
			n := 0
			a.behave(func(q state.PodReports) (*state.PodOutcomes, error) {
				answer := "accepted"
				if n < len(outcomes) {
					answer = outcomes[n]
				}
				n++
				for _, p := range q.Pods {
					if p.Counter < last[p.UID] {
						t.Errorf("counter of %s went from %d back to %d", p.UID, last[p.UID], p.Counter)
					}
					last[p.UID] = p.Counter
				}
				switch answer {
				case "away":
					return nil, errors.New("away")
				case "retry":
					return all(state.Retry)(q)
				}
				for _, p := range q.Pods {
					taken[p.UID] = p.Status.Message
				}
				if answer == "lost" {
					return nil, errors.New("no answer")
				}
				return all(state.Accepted)(q)
			})
			for i, step := range steps {
				if step == 0 {
					pass(time.Second)
					continue
				}
				uid := types.UID(fmt.Sprint(step))
				newest[uid] = fmt.Sprint(i)
				r.Report(pod(uid, newest[uid]), never)
			}
			pass(time.Hour)
			if diff := cmp.Diff(newest, taken); diff != "" {
				t.Errorf("taken in the end (-want +got):\n%s", diff)
			}
		})
	})
}
