package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/telemetry"
)

// outcome is what a reconciler of the property does with one call.
type outcome struct {
	takes time.Duration
	ends  string // ok, error, panic, after
}

// act does what an outcome says.
func (o outcome) act(ctx context.Context) error {
	timer := time.NewTimer(o.takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	switch o.ends {
	case "error":
		return errors.New("no")
	case "panic":
		panic("oh")
	case "after":
		return reconcile.After(time.Second)
	default:
		return nil
	}
}

// addition makes a key due at some time.
type addition struct {
	key  string
	wait time.Duration // after the one before
}

// Whatever reconcilers do and whenever keys are added: no key is worked on twice at once, each addition is followed by a call
// that began after it, and a failure by another call, until one succeeds.
func TestQueueProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ms := func(name string, most int) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(r, name)) * time.Millisecond
		}
		additions := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) addition {
			return addition{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "key"), ms("wait", 30)}
		}), 1, 20).Draw(r, "additions")
		outcomes := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) outcome {
			return outcome{ms("takes", 40), rapid.SampledFrom([]string{"ok", "error", "panic", "after"}).Draw(r, "ends")}
		}), 0, 20).Draw(r, "outcomes")
		workers := rapid.IntRange(1, 3).Draw(r, "workers")
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = play(t, additions, outcomes, workers) })
		if len(problems) > 0 {
			r.Fatal(strings.Join(problems, "\n"))
		}
	})
}

// play works a queue and says what was wrong. Calls beyond the outcomes succeed.
func play(t *testing.T, additions []addition, outcomes []outcome, workers int) (problems []string) {
	t.Helper()
	q := reconcile.NewQueue("test")
	var mu sync.Mutex
	busy, due := map[string]bool{}, map[string]bool{} // due: added or failed, and not yet called again
	calls := 0
	run(t, q, workers, func(ctx context.Context, k reconcile.Key) error {
		mu.Lock()
		if busy[k.Name] {
			problems = append(problems, k.Name+" is worked on twice at once")
		}
		busy[k.Name], due[k.Name] = true, false
		o := outcome{}
		if calls < len(outcomes) {
			o = outcomes[calls]
		}
		calls++
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			busy[k.Name] = false
			due[k.Name] = due[k.Name] || o.ends == "error" || o.ends == "panic" || o.ends == "after"
		}()
		return o.act(ctx)
	})
	for _, a := range additions {
		<-time.NewTimer(a.wait).C
		mu.Lock()
		due[a.key] = true
		mu.Unlock()
		q.Add(key(a.key))
	}
	<-time.NewTimer(time.Hour).C
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	for k, is := range due {
		if is {
			problems = append(problems, k+" was due and never called again")
		}
	}
	return problems
}

// A queue may run again under a later lease: what waited for its time then is not forgotten.
func TestQueueRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := reconcile.NewQueue("test")
		var seen []string
		outcomes := map[string]error{"fails": errors.New("no"), "waits": reconcile.After(time.Hour)}
		once := func(add ...string) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- q.Run(ctx, reconciler(func(_ context.Context, k reconcile.Key) error {
					seen = append(seen, k.Name)
					err := outcomes[k.Name]
					delete(outcomes, k.Name)
					return err
				}), 1, reconcile.NewMeters(nil))
			}()
			for _, name := range add {
				q.Add(key(name))
				synctest.Wait()
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v", err)
			}
		}
		once("waits", "fails", "ends")
		q.Add(key("between"))
		<-time.NewTimer(time.Second).C // no worker is there: nothing happens
		seen = append(seen, "again")
		once("later")
		counts := map[string]int{}
		for _, name := range seen {
			counts[name]++
		}
		want := map[string]int{"waits": 2, "fails": 2, "ends": 1, "again": 1, "between": 1, "later": 1}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("calls %v (-want +got):\n%s", seen, diff)
		}
	})
}

// Run ends only after the calls that it began, and with the cause of its context's end.
func TestRunWaitsForItsWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := reconcile.NewQueue("test")
		why := errors.New("lease was lost")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		ended := 0
		go func() {
			done <- q.Run(ctx, reconciler(func(ctx context.Context, _ reconcile.Key) error {
				<-ctx.Done()
				<-time.NewTimer(time.Minute).C
				ended++
				return nil
			}), 1, reconcile.NewMeters(nil))
		}()
		q.Add(key("a"))
		q.Add(key("b")) // waits for the one worker and is not begun any more
		synctest.Wait()
		began := time.Now()
		cancel(why)
		if err := <-done; !errors.Is(err, why) {
			t.Errorf("Run = %v, want why it was ended", err)
		}
		if ended != 1 || time.Since(began) != time.Minute {
			t.Errorf("%d calls ended after %v, want the one that was begun", ended, time.Since(began))
		}
	})
}

// Who asks for another call has not failed: the pause after its next failure is the first again.
func TestAfterForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := reconcile.NewQueue("test")
		no := errors.New("no")
		outcomes := []error{no, no, no, reconcile.After(time.Minute), no, nil}
		var gaps []time.Duration
		last := time.Now()
		run(t, q, 1, func(context.Context, reconcile.Key) error {
			gaps = append(gaps, time.Since(last))
			last = time.Now()
			return outcomes[len(gaps)-1]
		})
		q.Add(key("a"))
		<-time.NewTimer(time.Hour).C
		synctest.Wait()
		want := []time.Duration{0, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, time.Minute, 5 * time.Millisecond}
		if diff := cmp.Diff(want, gaps); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
	})
}

func TestBackoffIsBoundedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := reconcile.NewQueue("test")
		var gaps []time.Duration
		last := time.Now()
		run(t, q, 1, func(context.Context, reconcile.Key) error {
			gaps = append(gaps, time.Since(last))
			last = time.Now()
			if len(gaps) == 20 {
				return nil
			}
			return errors.New("no")
		})
		q.Add(key("a"))
		<-time.NewTimer(time.Hour).C
		synctest.Wait()
		if len(gaps) != 20 || gaps[18] != 30*time.Second || gaps[19] != 30*time.Second {
			t.Fatalf("pauses %v, want 30s at most", gaps)
		}
		q.Add(key("a")) // it had succeeded: the first pause is short again
		<-time.NewTimer(6 * time.Millisecond).C
		synctest.Wait()
		if got := gaps[len(gaps)-1]; got != 5*time.Millisecond {
			t.Errorf("pause %v after a success, want 5ms", got)
		}
	})
}

// A conflict is everyday life; whatever else fails is a warning. Nothing is logged of a call that did what it should.
func TestWhatIsLoggedAndCounted(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		logged string // level
		result string
	}{
		{name: "ok", result: "ok"},
		{name: "again", err: reconcile.After(time.Hour), result: "ok"},
		{name: "conflict", err: fmt.Errorf("put: %w", &store.ConflictError{}), logged: "DEBUG", result: "conflict"},
		{name: "reset", err: store.ErrReset, logged: "DEBUG", result: "error"},
		{name: "failure", err: errors.New("boom"), logged: "WARN", result: "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
			t.Cleanup(func() { slog.SetDefault(before) })
			registry := telemetry.New()
			meters := reconcile.NewMeters(registry)
			synctest.Test(t, func(t *testing.T) {
				q := reconcile.NewQueue("test")
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				calls := 0
				go func() {
					done <- q.Run(ctx, reconciler(func(context.Context, reconcile.Key) error {
						if calls++; calls > 1 {
							return nil
						}
						return tt.err
					}), 1, meters)
				}()
				q.Add(reconcile.Key{Namespace: "d", Name: "web"})
				synctest.Wait()
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v", err)
				}
			})
			if tt.logged == "" && log.Len() > 0 || !strings.Contains(log.String(), tt.logged) || strings.Count(log.String(), "\n") > 1 {
				t.Errorf("logged %q, want one line of %q", log.String(), tt.logged)
			}
			if tt.logged != "" && !strings.Contains(log.String(), "component=test key=d/web") {
				t.Errorf("logged %q, want which key of which kind", log.String())
			}
			answer := httptest.NewRecorder()
			registry.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
			want := `millrace_reconcile_duration_seconds_count{kind="test",result="` + tt.result + `"} 1`
			if !strings.Contains(answer.Body.String(), want) {
				t.Errorf("%s is not counted", want)
			}
		})
	}
}

func TestKeyAsText(t *testing.T) {
	for want, k := range map[string]reconcile.Key{"d/web": {Namespace: "d", Name: "web"}, "n1": {Name: "n1"}} {
		if k.String() != want {
			t.Errorf("String = %q, want %q", k.String(), want)
		}
	}
}
