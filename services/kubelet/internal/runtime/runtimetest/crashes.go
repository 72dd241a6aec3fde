package runtimetest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"millrace.dev/services/kubelet/internal/runtime"
)

// same checks that a container went on as if nothing had happened.
func (s *suite) same(before runtime.Container) {
	s.Helper()
	now := s.status(before.ID)
	if now.State != runtime.StateRunning || now.PID != before.PID || !now.StartedAt.Equal(before.StartedAt) || now.Attempt != before.Attempt {
		s.Errorf("%s was pid %d since %v, is %s with pid %d since %v", before.Name, before.PID, before.StartedAt, now.State, now.PID, now.StartedAt)
	}
}

var crashes = []test{
	{"kubelet dies while it runs", func(s *suite) {
		c := s.run("app", onHangup)
		s.awaitLog(c, "ready")
		s.reopen()
		s.same(c)
		if err := s.rt.Kill(s.ctx(), c.ID, "HUP"); err != nil {
			s.Fatal(err)
		}
		got := s.wait(c.ID)
		s.ended(got, 8, runtime.ReasonError)
		if !got.StartedAt.Equal(c.StartedAt) {
			s.Errorf("started %v, now %v", c.StartedAt, got.StartedAt)
		}
		s.told(c.ID)
	}},
	{"it ends while there is no kubelet", func(s *suite) {
		c := s.run("app", "echo ready; sleep 0.3; echo bye; exit 33")
		s.awaitLog(c, "ready")
		s.stop()
		gone := time.Now()
		s.awaitLog(c, "bye")
		s.eventually("its end", func() bool { return s.machine.Ended(s.T, c.ID) })
		looked := time.Now()
		s.open()
		got := s.wait(c.ID)
		s.ended(got, 33, runtime.ReasonError)
		if got.FinishedAt.Before(gone.Add(-time.Second)) || got.FinishedAt.After(looked) || !got.StartedAt.Equal(c.StartedAt) {
			s.Errorf("started %v, finished %v, the kubelet was gone from %v to %v", got.StartedAt, got.FinishedAt, gone, looked)
		}
	}},
	{"a result outlives kubelet and daemon", func(s *suite) {
		c := s.wait(s.run("app", "exit 33").ID)
		s.stop()
		s.machine.CrashDaemon(s.T)
		s.machine.ReviveDaemon(s.T)
		s.open()
		got := s.status(c.ID)
		s.ended(got, 33, runtime.ReasonError)
		if !got.FinishedAt.Equal(c.FinishedAt) || !got.StartedAt.Equal(c.StartedAt) {
			s.Errorf("was %v to %v, is %v to %v", c.StartedAt, c.FinishedAt, got.StartedAt, got.FinishedAt)
		}
		_, err := s.rt.Start(s.ctx(), c.ID)
		s.want("start", err, runtime.ErrEnded)
	}},
	{"kubelet dies before the start", func(s *suite) {
		c := s.create(s.config("app", "exit 4"))
		s.reopen()
		if got := s.status(c.ID); got.State != runtime.StateCreated {
			s.Fatalf("it is %s", got.State)
		}
		if _, err := s.rt.Start(s.ctx(), c.ID); err != nil {
			s.Fatal(err)
		}
		s.ended(s.wait(c.ID), 4, runtime.ReasonError)
	}},
	{"daemon dies while it runs", func(s *suite) {
		c := s.run("app", onHangup)
		s.awaitLog(c, "ready")
		s.machine.CrashDaemon(s.T)
		s.same(c)
		s.machine.ReviveDaemon(s.T)
		s.eventually("the daemon", func() bool { return s.rt.Kill(s.ctx(), c.ID, "HUP") == nil })
		got := s.wait(c.ID)
		s.ended(got, 8, runtime.ReasonError)
		if !got.StartedAt.Equal(c.StartedAt) {
			s.Errorf("started %v, now %v", c.StartedAt, got.StartedAt)
		}
		s.told(c.ID)
		s.run("next", forever)
	}},
	{"it ends while there is no daemon", func(s *suite) {
		c := s.run("app", "echo ready; sleep 0.5; echo bye; exit 34")
		s.awaitLog(c, "ready")
		s.machine.CrashDaemon(s.T)
		s.awaitLog(c, "bye")
		s.machine.ReviveDaemon(s.T)
		s.ended(s.wait(c.ID), 34, runtime.ReasonError)
		s.told(c.ID)
	}},
	{"both die", func(s *suite) {
		c, brief := s.run("app", onHangup), s.run("brief", "sleep 0.3; echo bye; exit 35")
		s.awaitLog(c, "ready")
		s.stop()
		s.machine.CrashDaemon(s.T)
		s.awaitLog(brief, "bye")
		s.machine.ReviveDaemon(s.T)
		s.open()
		s.same(c)
		s.ended(s.wait(brief.ID), 35, runtime.ReasonError)
		pods, err := s.rt.ListPods(s.ctx())
		if err != nil || len(pods) != 1 || !pods[0].Ready {
			s.Errorf("pods are %+v, %v", pods, err)
		}
		s.run("next", forever)
	}},
	{"daemon dies in the midst of starts", func(s *suite) {
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d"} {
			wg.Go(func() { s.insist(s.config(name, onHangup)) })
		}
		s.eventually("the first of them", func() bool {
			begun, err := s.rt.List(s.ctx(), s.pod.UID)
			return err == nil && slices.ContainsFunc(begun, func(c runtime.Container) bool { return c.State == runtime.StateRunning })
		})
		s.machine.CrashDaemon(s.T)
		s.machine.ReviveDaemon(s.T)
		wg.Wait()
		list, err := s.rt.List(s.ctx(), s.pod.UID)
		if err != nil || len(list) != 4 {
			s.Errorf("list is %+v, %v", list, err)
		}
		for _, c := range list {
			s.same(c)
		}
	}},
}

// insist makes and starts a container as often as it must.
func (s *suite) insist(c runtime.ContainerConfig) {
	done := s.poll(func() bool {
		made, err := s.rt.Create(s.ctx(), c)
		if err == nil {
			_, err = s.rt.Start(s.ctx(), made.ID)
		}
		if errors.Is(err, runtime.ErrUnavailable) {
			return false
		}
		if err != nil {
			s.Errorf("start %s: %v", c.Name, err)
		}
		return true
	})
	if !done {
		s.Errorf("start %s: not within %v", c.Name, patience)
	}
}
