package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace.dev/pkg/reconcile"
)

type reconciler func(context.Context, reconcile.Key) error

func (r reconciler) Reconcile(ctx context.Context, k reconcile.Key) error { return r(ctx, k) }

// run works q until the test ends.
func run(t *testing.T, q *reconcile.Queue, workers int, r reconciler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := q.Run(ctx, r, workers, reconcile.NewMeters(nil)); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func key(name string) reconcile.Key { return reconcile.Key{Name: name} }

func TestKeyIsHeldByOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := reconcile.NewQueue("test")
		var mu sync.Mutex
		busy, runs, most := map[string]int{}, 0, 0
		run(t, q, 8, func(_ context.Context, k reconcile.Key) error {
			mu.Lock()
			busy[k.Name]++
			runs++
			most = max(most, busy[k.Name])
			mu.Unlock()
			<-time.NewTimer(time.Second).C
			mu.Lock()
			busy[k.Name]--
			mu.Unlock()
			return nil
		})
		for range 5 {
			for i := range 3 {
				q.Add(key(fmt.Sprint(i)))
			}
			<-time.NewTimer(300 * time.Millisecond).C
		}
		<-time.NewTimer(time.Minute).C
		mu.Lock()
		defer mu.Unlock()
		if most != 1 {
			t.Errorf("%d workers had one key at once", most)
		}
		if runs != 9 { // each key: the first, and again for what was added during the first and the second
			t.Errorf("%d runs, want 9: what is added while busy comes again once", runs)
		}
	})
}

func TestErrorsComeAgainLaterEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := reconcile.NewQueue("test")
		var at []time.Duration
		began := time.Now()
		run(t, q, 1, func(context.Context, reconcile.Key) error {
			at = append(at, time.Since(began))
			if len(at) == 3 {
				panic("even then")
			}
			if len(at) == 5 {
				return nil
			}
			return errors.New("no")
		})
		q.Add(key("a"))
		<-time.NewTimer(time.Hour).C
		synctest.Wait()
		want := []time.Duration{0, 5, 15, 35, 75}
		if len(at) != len(want) {
			t.Fatalf("called at %v, want 5 times", at)
		}
		for i := range want {
			if at[i] != want[i]*time.Millisecond {
				t.Errorf("call %d at %v, want %v", i, at[i], want[i]*time.Millisecond)
			}
		}
	})
}

func TestAfterAndAddBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := reconcile.NewQueue("test")
		var at []time.Duration
		began := time.Now()
		run(t, q, 1, func(context.Context, reconcile.Key) error {
			at = append(at, time.Since(began))
			return reconcile.After(10 * time.Second)
		})
		q.Add(key("a"))
		<-time.NewTimer(4 * time.Second).C
		q.Add(key("a")) // earlier than it asked for
		<-time.NewTimer(19 * time.Second).C
		synctest.Wait()
		want := []time.Duration{0, 4 * time.Second, 14 * time.Second}
		if fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("called at %v, want %v", at, want)
		}
	})
}
