package lease_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"millrace.dev/pkg/lease"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/wire"
)

// ask makes a request of JetStream that must succeed.
func ask(t *testing.T, nc *wire.Conn, subject string) {
	t.Helper()
	m, err := nc.Request(subject, []byte("thief"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(m.Data, []byte(`"error"`)) {
		t.Fatalf("%s: %s", subject, m.Data)
	}
}

// Whoever loses its lease ends its work because of that, waits, and works again when the lease is free.
func TestLostLeaseEndsTheWork(t *testing.T) {
	t.Parallel()
	s := natstest.Run(t)
	nc := s.Connect()
	l, err := lease.New(nc, "a")
	if err != nil {
		t.Fatal(err)
	}
	works, causes := make(chan struct{}, 10), make(chan error, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.Guard("scheduler", func(ctx context.Context) error {
			works <- struct{}{}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return errors.New("what work returns when it was ended is no failure of the service")
		})(ctx)
	}()
	<-works
	ask(t, nc, "$KV.lease.scheduler") // overwrites the lease, as nothing of ours does
	if err := <-causes; !errors.Is(err, lease.ErrLost) {
		t.Errorf("the work was ended by %v, want ErrLost", err)
	}
	select {
	case <-works:
		t.Error("two hold the lease")
	default:
	}
	ask(t, nc, "$JS.API.STREAM.PURGE.KV_lease") // the thief is gone and leaves no mark
	<-works
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Guard = %v, want the end of its context", err)
	}
	if err := <-causes; !errors.Is(err, context.Canceled) {
		t.Errorf("the work was ended by %v, want the end of the context", err)
	}
}

// A holder that cannot reach the server any more ends its work about when its lease runs out.
func TestHolderWithoutServerEndsItsWork(t *testing.T) {
	t.Parallel()
	s := natstest.Run(t)
	l, err := lease.New(s.Connect(), "a")
	if err != nil {
		t.Fatal(err)
	}
	works, causes := make(chan struct{}, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.Guard("scheduler", func(ctx context.Context) error {
			works <- struct{}{}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		})(ctx)
	}()
	<-works
	s.Shutdown()
	timeout := time.NewTimer(2 * lease.TTL)
	defer timeout.Stop()
	select {
	case err := <-causes:
		if !errors.Is(err, lease.ErrLost) {
			t.Errorf("the work was ended by %v, want ErrLost", err)
		}
	case <-timeout.C:
		t.Error("the work goes on although its lease has long run out")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Guard = %v, want the end of its context", err)
	}
}

// An error of the work's own ends Guard, and gives the lease back: the next one need not wait until it has run out.
func TestFailedWorkGivesTheLeaseBack(t *testing.T) {
	s := natstest.Run(t)
	broken := errors.New("broken")
	began := time.Now()
	for range 5 {
		l, err := lease.New(s.Connect(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Guard("scheduler", func(context.Context) error { return broken })(t.Context()); !errors.Is(err, broken) {
			t.Errorf("Guard = %v, want the error of the work", err)
		}
	}
	if took := time.Since(began); took > lease.TTL {
		t.Errorf("five times took %v", took)
	}
}

// Leases of different names are apart, whatever the names are.
func TestLeasesAreApart(t *testing.T) {
	s := natstest.Run(t)
	l, err := lease.New(s.Connect(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all, wg sync.WaitGroup
	for _, name := range []string{"scheduler", "sched.uler", "sched_uler", "*", ">", "with space", ""} {
		all.Add(1)
		wg.Go(func() {
			err := l.Guard(name, func(ctx context.Context) error {
				all.Done()
				<-ctx.Done()
				return context.Cause(ctx)
			})(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Guard of %q = %v", name, err)
			}
		})
	}
	all.Wait() // each is held
	cancel()
	wg.Wait()
}

func TestGuardEndsWhileItWaits(t *testing.T) {
	s := natstest.Run(t)
	l, err := lease.New(s.Connect(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.TakeOnce(t.Context(), l, "scheduler"); err != nil {
		t.Fatal(err)
	}
	why := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.Guard("scheduler", func(context.Context) error { t.Error("the lease is another's"); return nil })(ctx)
	}()
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("Guard = %v, want why it was ended", err)
	}
}
