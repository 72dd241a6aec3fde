package runtimetest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"millrace.dev/services/kubelet/internal/runtime"
)

// The scripts of the suite. A shell that waits for a child, not one that is a child, reacts to signals.
const (
	forever   = "sleep 1000"
	obedient  = "trap 'exit 7' TERM; echo ready; sleep 1000 & wait"
	stubborn  = "trap '' TERM; echo ready; sleep 1000"
	onHangup  = "trap 'exit 8' HUP; echo ready; sleep 1000 & wait"
	lastWords = "trap 'echo bye; exit 0' TERM; echo ready; sleep 1000 & wait"
)

var life = []test{
	{"runs to its end", func(s *suite) {
		before := time.Now()
		c := s.run("app", "echo hello; echo oops >&2")
		got := s.wait(c.ID)
		s.ended(got, 0, runtime.ReasonCompleted)
		if out := s.log(got); out != "hello\noops\n" && out != "oops\nhello\n" {
			s.Errorf("log is %q", out)
		}
		if e := s.told(c.ID); e.Container.State != runtime.StateExited {
			s.Errorf("event tells of a container that is %s", e.Container.State)
		}
		if got.StartedAt.Before(before) || got.FinishedAt.After(time.Now()) || got.CreatedAt.IsZero() {
			s.Errorf("created %v, started %v, finished %v", got.CreatedAt, got.StartedAt, got.FinishedAt)
		}
	}},
	{"keeps its exit code", func(s *suite) {
		got := s.wait(s.run("app", "exit 42").ID)
		s.ended(got, 42, runtime.ReasonError)
		if got.Signal != 0 {
			s.Errorf("signal is %d", got.Signal)
		}
	}},
	{"stops when asked", func(s *suite) {
		c := s.run("app", obedient)
		s.awaitLog(c, "ready")
		got, err := s.rt.Stop(s.ctx(), c.ID, patience)
		if err != nil {
			s.Fatal(err)
		}
		s.ended(got, 7, runtime.ReasonError)
	}},
	{"is killed after its grace", func(s *suite) {
		c := s.run("app", stubborn)
		s.awaitLog(c, "ready")
		const grace = 300 * time.Millisecond
		began := time.Now()
		got, err := s.rt.Stop(s.ctx(), c.ID, grace)
		if err != nil {
			s.Fatal(err)
		}
		s.ended(got, 137, runtime.ReasonError)
		if took := time.Since(began); took < grace || got.Signal != 9 {
			s.Errorf("stopped after %v with signal %d", took, got.Signal)
		}
	}},
	{"stops with the signal it names", func(s *suite) {
		config := s.config("app", onHangup)
		config.StopSignal = "SIGHUP"
		c := s.start(config)
		s.awaitLog(c, "ready")
		got, err := s.rt.Stop(s.ctx(), c.ID, patience)
		if err != nil {
			s.Fatal(err)
		}
		s.ended(got, 8, runtime.ReasonError)
	}},
	{"gets signals", func(s *suite) {
		c := s.run("app", onHangup)
		s.awaitLog(c, "ready")
		if err := s.rt.Kill(s.ctx(), c.ID, "HUP"); err != nil {
			s.Fatal(err)
		}
		s.ended(s.wait(c.ID), 8, runtime.ReasonError)
	}},
	{"keeps its last words", func(s *suite) {
		c := s.run("app", lastWords)
		s.awaitLog(c, "ready")
		got, err := s.rt.Stop(s.ctx(), c.ID, patience)
		if err != nil {
			s.Fatal(err)
		}
		if out := s.log(got); out != "ready\nbye\n" {
			s.Errorf("log is %q", out)
		}
	}},
	{"is made once and started once", func(s *suite) {
		config := s.config("app", forever)
		first, again := s.create(config), s.create(config)
		if first.ID != again.ID || first.ID != runtime.ContainerID(s.pod.UID, "app", 0) {
			s.Errorf("ids are %s and %s", first.ID, again.ID)
		}
		if first.State != runtime.StateCreated {
			s.Errorf("state is %s", first.State)
		}
		a, b := s.start(config), s.start(config)
		if a.PID != b.PID {
			s.Errorf("it runs twice: %d and %d", a.PID, b.PID)
		}
	}},
	{"runs again as the next attempt", func(s *suite) {
		config := s.config("app", "exit 1")
		first := s.wait(s.start(config).ID)
		config.Attempt = 1
		config.Command = []string{"/bin/sh", "-c", forever}
		second := s.start(config)
		list, err := s.rt.List(s.ctx(), s.pod.UID)
		if err != nil || len(list) != 2 || list[0].ID != first.ID || list[1].ID != second.ID || list[1].Attempt != 1 {
			s.Errorf("list is %+v, %v", list, err)
		}
		if got := s.status(first.ID); got.ExitCode != 1 {
			s.Errorf("the first attempt has exit code %d", got.ExitCode)
		}
	}},
	{"remembers how it was made", func(s *suite) {
		config := s.config("setup", forever)
		config.Kind, config.Attempt = runtime.KindInit, 3
		config.Labels = map[string]string{"hash": "abc", "long": strings.Repeat("x", 5000)}
		got := s.start(config)
		if got.Kind != runtime.KindInit || got.Attempt != 3 || got.Name != "setup" || got.PodUID != s.pod.UID ||
			got.PodNamespace != "default" || got.PodName != "web-0" || got.LogPath != config.Log.Path ||
			got.Image.Name != config.Image.Name || got.Image.Digest == "" || got.Labels["hash"] != "abc" || len(got.Labels["long"]) != 5000 {
			s.Errorf("got %+v", got)
		}
	}},
	{"is removed while it runs", func(s *suite) {
		c := s.run("app", stubborn)
		for range 2 {
			if err := s.rt.Remove(s.ctx(), c.ID); err != nil {
				s.Fatal(err)
			}
		}
		if list, err := s.rt.List(s.ctx(), s.pod.UID); err != nil || len(list) != 0 {
			s.Errorf("list is %+v, %v", list, err)
		}
	}},
	{"is removed before it runs", func(s *suite) {
		c := s.create(s.config("app", forever))
		if err := s.rt.Remove(s.ctx(), c.ID); err != nil {
			s.Fatal(err)
		}
		s.run("app", forever) // the name is free again
	}},
	{"goes with its pod", func(s *suite) {
		s.run("a", stubborn)
		s.run("b", "true")
		s.create(s.config("c", forever))
		for range 2 {
			if err := s.rt.RemovePod(s.ctx(), s.pod.UID); err != nil {
				s.Fatal(err)
			}
		}
		list, err := s.rt.List(s.ctx(), s.pod.UID)
		if err != nil || len(list) != 0 {
			s.Errorf("containers are %+v, %v", list, err)
		}
		pods, err := s.rt.ListPods(s.ctx())
		if err != nil || len(pods) != 0 {
			s.Errorf("pods are %+v, %v", pods, err)
		}
	}},
	{"has a pod that is made once", func(s *suite) {
		first, err := s.rt.CreatePod(s.ctx(), s.pod)
		if err != nil {
			s.Fatal(err)
		}
		again, err := s.rt.CreatePod(s.ctx(), s.pod)
		if err != nil {
			s.Fatal(err)
		}
		if first != again || !first.Ready || first.UID != s.pod.UID || first.Namespace != "default" || first.Name != "web-0" || first.NetNS == "" {
			s.Errorf("pods are %+v and %+v", first, again)
		}
	}},
	{"may be many at once", func(s *suite) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				c, err := s.rt.Create(s.ctx(), s.config(fmt.Sprintf("app%d", i), fmt.Sprintf("exit %d", i)))
				if err == nil {
					c, err = s.rt.Start(s.ctx(), c.ID)
				}
				if err == nil {
					c, err = s.rt.Wait(s.ctx(), c.ID)
				}
				if err != nil || c.ExitCode != i {
					s.Errorf("container %d ended with %d, %v", i, c.ExitCode, err)
				}
			})
		}
		wg.Wait()
	}},
	{"is killed for want of memory", func(s *suite) {
		config := s.config("app", "")
		config.Command = s.machine.EatMemory()
		config.Resources.MemoryBytes = 32 << 20
		got := s.wait(s.start(config).ID)
		s.ended(got, 137, runtime.ReasonOOMKilled)
		if got.OOMKills == 0 || !got.OOMKilled() {
			s.Errorf("%d kills", got.OOMKills)
		}
	}},
}
