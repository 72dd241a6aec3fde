package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"millrace.dev/services/kubelet/internal/runtime"
)

var streams = []test{
	{"exec gives output and exit code", func(s *suite) {
		c := s.run("app", forever)
		var out, err bytes.Buffer
		code, e := s.rt.Exec(s.ctx(), c.ID, runtime.ExecConfig{
			Args: []string{"/bin/sh", "-c", "echo to out; echo to err >&2; exit 5"}, Stdout: &out, Stderr: &err,
		})
		if e != nil || code != 5 || out.String() != "to out\n" || err.String() != "to err\n" {
			s.Errorf("exec gave %d, %v, %q, %q", code, e, out.String(), err.String())
		}
		if code, e := s.rt.Exec(s.ctx(), c.ID, runtime.ExecConfig{Args: []string{"true"}}); code != 0 || e != nil {
			s.Errorf("exec without streams gave %d, %v", code, e)
		}
	}},
	{"exec reads its input to the end", func(s *suite) {
		c := s.run("app", forever)
		for _, in := range []string{"", "hello", strings.Repeat("0123456789", 100000)} {
			var out bytes.Buffer
			code, err := s.rt.Exec(s.ctx(), c.ID, runtime.ExecConfig{Args: []string{"cat"}, Stdin: strings.NewReader(in), Stdout: &out})
			if err != nil || code != 0 || out.String() != in {
				s.Errorf("cat of %d bytes gave %d, %v, %d bytes", len(in), code, err, out.Len())
			}
		}
	}},
	{"exec is killed with its caller", func(s *suite) {
		c := s.run("app", forever)
		tired := errors.New("tired")
		ctx, cancel := context.WithCancelCause(s.ctx())
		time.AfterFunc(100*time.Millisecond, func() { cancel(tired) })
		_, err := s.rt.Exec(ctx, c.ID, runtime.ExecConfig{Args: []string{"/bin/sh", "-c", stubborn}})
		s.want("exec", err, tired)
		if got := s.status(c.ID); got.State != runtime.StateRunning {
			s.Errorf("the container is %s", got.State)
		}
	}},
	{"exec of no such command", func(s *suite) {
		c := s.run("app", forever)
		_, err := s.rt.Exec(s.ctx(), c.ID, runtime.ExecConfig{Args: []string{"no-such-command"}})
		if failed, ok := errors.AsType[*runtime.StartError](err); !ok || !strings.Contains(failed.Message, "no-such-command") {
			s.Errorf("exec: %v", err)
		}
	}},
	{"exec many at once", func(s *suite) {
		c := s.run("app", forever)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if out, code := s.exec(c.ID, "echo hi"); out != "hi" || code != 0 {
					s.Errorf("exec gave %q, %d", out, code)
				}
			})
		}
		wg.Wait()
	}},
	{"exec ends with its container", func(s *suite) {
		c := s.run("app", obedient)
		s.awaitLog(c, "ready")
		var wg sync.WaitGroup
		wg.Go(func() {
			code, err := s.rt.Exec(s.ctx(), c.ID, runtime.ExecConfig{Args: []string{"/bin/sh", "-c", stubborn}})
			if err == nil && code != 137 {
				s.Errorf("exec gave %d", code)
			}
		})
		if _, err := s.rt.Stop(s.ctx(), c.ID, patience); err != nil {
			s.Error(err)
		}
		wg.Wait()
	}},
	{"attach sees what comes", func(s *suite) {
		c := s.run("app", "trap 'echo bye; exit 0' HUP; echo ready; sleep 1000 & wait")
		s.awaitLog(c, "ready")
		var outs [2]lockedBuffer
		var wg sync.WaitGroup
		for i := range outs {
			wg.Go(func() {
				if err := s.rt.Attach(s.ctx(), c.ID, runtime.AttachConfig{Stdout: &outs[i], Stderr: &outs[i]}); err != nil {
					s.Error(err)
				}
			})
		}
		time.AfterFunc(300*time.Millisecond, func() { _ = s.rt.Kill(context.WithoutCancel(s.Context()), c.ID, "HUP") })
		wg.Wait()
		for i := range outs {
			if got := outs[i].String(); got != "bye\n" {
				s.Errorf("reader %d saw %q", i, got)
			}
		}
	}},
	{"attach gives input to the first and ends it", func(s *suite) {
		config := s.config("app", "echo ready; cat; echo done")
		config.Stdin, config.StdinOnce = true, true
		c := s.start(config)
		s.awaitLog(c, "ready")
		var out lockedBuffer
		err := s.rt.Attach(s.ctx(), c.ID, runtime.AttachConfig{Stdin: strings.NewReader("one\ntwo\n"), Stdout: &out})
		if err != nil || out.String() != "one\ntwo\ndone\n" {
			s.Errorf("attach gave %q, %v", out.String(), err)
		}
		got := s.wait(c.ID)
		s.ended(got, 0, runtime.ReasonCompleted)
		if log := s.log(got); log != "ready\none\ntwo\ndone\n" {
			s.Errorf("log is %q", log)
		}
	}},
	{"attach leaves the input open", func(s *suite) {
		config := s.config("app", "echo ready; cat")
		config.Stdin = true
		c := s.start(config)
		s.awaitLog(c, "ready")
		for _, line := range []string{"one", "two"} {
			ctx, leave := context.WithCancel(s.ctx())
			r, w := io.Pipe()
			var wg sync.WaitGroup
			wg.Go(func() {
				s.want("attach", s.rt.Attach(ctx, c.ID, runtime.AttachConfig{Stdin: r}), context.Canceled)
			})
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				s.Error(err)
			}
			s.awaitLog(c, line)
			leave()
			wg.Wait()
			_ = w.Close()
		}
		if got := s.status(c.ID); got.State != runtime.StateRunning {
			s.Errorf("the container is %s", got.State)
		}
	}},
}
