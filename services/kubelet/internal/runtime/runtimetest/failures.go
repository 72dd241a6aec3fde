package runtimetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"millrace.dev/services/kubelet/internal/runtime"
)

// want checks which error came.
func (s *suite) want(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

var failures = []test{
	{"no such command", func(s *suite) {
		config := s.config("app", "")
		config.Command = []string{"no-such-command"}
		c := s.create(config)
		got, err := s.rt.Start(s.ctx(), c.ID)
		failed, ok := errors.AsType[*runtime.StartError](err)
		if !ok || !strings.Contains(failed.Message, `exec: "no-such-command": executable file not found`) {
			s.Fatalf("start: %v", err)
		}
		s.ended(got, runtime.ExitStartError, runtime.ReasonStartError)
		if got := s.status(c.ID); got.Message != failed.Message || !got.StartedAt.IsZero() {
			s.Errorf("status is %+v", got)
		}
		_, err = s.rt.Start(s.ctx(), c.ID)
		s.want("start again", err, runtime.ErrEnded)
	}},
	{"no such file", func(s *suite) {
		config := s.config("app", "")
		config.Command = []string{"/no/such/file"}
		_, err := s.rt.Start(s.ctx(), s.create(config).ID)
		if failed, ok := errors.AsType[*runtime.StartError](err); !ok || !strings.Contains(failed.Message, "no such file or directory") {
			s.Errorf("start: %v", err)
		}
	}},
	{"no such image", func(s *suite) {
		config := s.config("app", forever)
		config.Image = runtime.Image{Name: "docker.io/library/nothing:1"}
		_, err := s.rt.Create(s.ctx(), config)
		s.want("create", err, runtime.ErrImageNotFound)
	}},
	{"no such pod", func(s *suite) {
		config := s.config("app", forever)
		config.PodUID = "nobody"
		_, err := s.rt.Create(s.ctx(), config)
		s.want("create", err, runtime.ErrNotFound)
		if err := s.rt.RemovePod(s.ctx(), "nobody"); err != nil {
			s.Errorf("remove pod: %v", err)
		}
	}},
	{"no such container", func(s *suite) {
		ctx, id := s.ctx(), runtime.ContainerID(s.pod.UID, "nobody", 0)
		_, err := s.rt.Start(ctx, id)
		s.want("start", err, runtime.ErrNotFound)
		_, err = s.rt.Stop(ctx, id, 0)
		s.want("stop", err, runtime.ErrNotFound)
		_, err = s.rt.Status(ctx, id)
		s.want("status", err, runtime.ErrNotFound)
		_, err = s.rt.Wait(ctx, id)
		s.want("wait", err, runtime.ErrNotFound)
		_, err = s.rt.Exec(ctx, id, runtime.ExecConfig{Args: []string{"true"}})
		s.want("exec", err, runtime.ErrNotFound)
		s.want("kill", s.rt.Kill(ctx, id, "TERM"), runtime.ErrNotFound)
		s.want("attach", s.rt.Attach(ctx, id, runtime.AttachConfig{}), runtime.ErrNotFound)
		s.want("remove", s.rt.Remove(ctx, id), nil)
	}},
	{"a container that has ended", func(s *suite) {
		c := s.wait(s.run("app", "exit 3").ID)
		_, err := s.rt.Start(s.ctx(), c.ID)
		s.want("start", err, runtime.ErrEnded)
		s.want("kill", s.rt.Kill(s.ctx(), c.ID, "TERM"), runtime.ErrNotRunning)
		_, err = s.rt.Exec(s.ctx(), c.ID, runtime.ExecConfig{Args: []string{"true"}})
		s.want("exec", err, runtime.ErrNotRunning)
		s.want("attach", s.rt.Attach(s.ctx(), c.ID, runtime.AttachConfig{}), runtime.ErrNotRunning)
		s.want("update", s.rt.Update(s.ctx(), c.ID, runtime.Resources{}), runtime.ErrNotRunning)
		if got, err := s.rt.Stop(s.ctx(), c.ID, patience); err != nil || got.ExitCode != 3 {
			s.Errorf("stop: %d, %v", got.ExitCode, err)
		}
	}},
	{"a configuration that cannot work", func(s *suite) {
		for name, change := range map[string]func(*runtime.ContainerConfig){
			"capability":  func(c *runtime.ContainerConfig) { c.Security.AddCapabilities = []string{"FLY"} },
			"stop signal": func(c *runtime.ContainerConfig) { c.StopSignal = "SIGNOTHING" },
		} {
			config := s.config("app", forever)
			change(&config)
			_, err := s.rt.Create(s.ctx(), config)
			s.want(name, err, runtime.ErrInvalid)
		}
		if list, err := s.rt.List(s.ctx(), s.pod.UID); err != nil || len(list) != 0 {
			s.Errorf("containers are left: %+v, %v", list, err)
		}
	}},
	{"a caller that gives up", func(s *suite) {
		c := s.run("app", stubborn)
		s.awaitLog(c, "ready")
		tired := errors.New("tired")
		ctx, cancel := context.WithCancelCause(s.ctx())
		time.AfterFunc(50*time.Millisecond, func() { cancel(tired) })
		_, err := s.rt.Stop(ctx, c.ID, time.Hour)
		s.want("stop", err, tired)
		_, err = s.rt.Wait(ctx, c.ID)
		s.want("wait", err, tired)
		if got := s.status(c.ID); got.State != runtime.StateRunning {
			s.Errorf("the container is %s", got.State)
		}
	}},
}
