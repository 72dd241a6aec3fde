package lease_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"millrace.dev/pkg/lease"
	"millrace.dev/pkg/natstest"
)

// candidate tries for the lease until its context ends, and tells when it works and when it no longer does.
func candidate(ctx context.Context, t *testing.T, s *natstest.Server, id string, told chan<- string) (done <-chan error) {
	t.Helper()
	l, err := lease.New(s.Connect(), id)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- l.Guard("scheduler", func(ctx context.Context) error {
			told <- id + " works"
			<-ctx.Done()
			told <- id + " stops"
			return context.Cause(ctx)
		})(ctx)
	}()
	return ended
}

func expect(t *testing.T, told <-chan string, want string, within time.Duration) {
	t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case got := <-told:
		if got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	case <-timeout.C:
		t.Fatalf("waited %v in vain for %q", within, want)
	}
}

func TestLeaseIsHandedOverWhenItsHolderStops(t *testing.T) {
	s := natstest.Run(t)
	told := make(chan string, 10)
	first, stop := context.WithCancel(t.Context())
	a := candidate(first, t, s, "a", told)
	expect(t, told, "a works", 5*time.Second)
	second, end := context.WithCancel(t.Context())
	b := candidate(second, t, s, "b", told)
	began := time.Now()
	stop()
	expect(t, told, "a stops", time.Second)
	expect(t, told, "b works", lease.TTL/2) // not only once the lease has run out
	t.Logf("handed over in %v", time.Since(began))
	if err := <-a; !errors.Is(err, context.Canceled) {
		t.Errorf("Guard = %v", err)
	}
	end()
	if err := <-b; !errors.Is(err, context.Canceled) {
		t.Errorf("Guard = %v", err)
	}
}

func TestLeaseOfADeadHolderIsTaken(t *testing.T) {
	t.Parallel()
	s := natstest.Run(t)
	told := make(chan string, 10)
	l, err := lease.New(s.Connect(), "dead")
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.TakeOnce(t.Context(), l, "scheduler"); err != nil { // and never renews
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := candidate(ctx, t, s, "heir", told)
	expect(t, told, "heir works", 2*lease.TTL)
	for name, want := range map[string]string{"scheduler": "heir", "nobody's": ""} {
		if holder, err := l.Holder(t.Context(), name); holder != want || err != nil {
			t.Errorf("Holder(%s) = %q, %v; want %q", name, holder, err, want)
		}
	}
	end()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Guard = %v", err)
	}
}

func TestOneHolderAtATime(t *testing.T) {
	s := natstest.Run(t)
	ctx, end := context.WithCancel(t.Context())
	var mu sync.Mutex
	holders, worked := 0, make(chan struct{}, 100)
	var wg sync.WaitGroup
	for i := range 4 {
		l, err := lease.New(s.Connect(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				err := l.Guard("x", func(context.Context) error {
					mu.Lock()
					if holders++; holders > 1 {
						t.Errorf("%d holders at once", holders)
					}
					mu.Unlock()
					worked <- struct{}{}
					mu.Lock()
					holders--
					mu.Unlock()
					return errors.New("done for now")
				})(ctx)
				if err == nil {
					t.Error("Guard returned without an error")
				}
			}
		})
	}
	for range 12 {
		<-worked
	}
	end()
	wg.Wait()
}
