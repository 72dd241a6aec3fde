// Package session serves the byte streams that the api announces: exec and log. The streams pass between client and kubelet
// alone; the api has authorised them.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
)

// Server serves sessions for one node. Safe for concurrent use.
type Server struct {
	NATS    *wire.Conn
	Node    string
	Runtime runtime.Runtime

	sessions sync.WaitGroup
}

// streams are those of one session. A *wire.Session is one.
type streams interface {
	Reader(c wire.Channel) io.Reader
	Writer(c wire.Channel) io.WriteCloser
	Document(c wire.Channel) ([]byte, error)
	Close(reason error)
}

// Handle is a [wire.Handler] for kubelet.<node>.session: it accepts a session and serves it on its own time. Only requests
// that came from the control plane's account are heard.
func (s *Server) Handle(ctx context.Context, in *wire.Incoming) error {
	if !in.Foreign {
		return apierrors.NewForbidden(schema.GroupResource{Resource: scheme.Pods}, "", errors.New("sessions are announced by the api alone"))
	}
	var r state.SessionRequest
	if err := json.Unmarshal(in.Body, &r); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("session: %v", err))
	}
	serve, err := s.prepare(ctx, &r)
	if err != nil {
		return err
	}
	accepted, err := wire.AcceptSession(ctx, s.NATS, s.Node, wire.Offer{ID: r.ID, Secret: r.Secret, Identity: r.Identity})
	if err != nil {
		return err
	}
	s.sessions.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { // a client that is gone ends what it asked for
			if err := accepted.Wait(); err != nil {
				slog.DebugContext(ctx, "session ended", "component", "session", "err", err)
			}
			cancel()
		}()
		serve(ctx, accepted)
	})
	return in.Answer(nil)
}

// Wait returns after the last session.
func (s *Server) Wait() { s.sessions.Wait() }

// prepare checks what is asked for, so that the client hears at once if it cannot be had.
func (s *Server) prepare(ctx context.Context, r *state.SessionRequest) (func(context.Context, streams), error) {
	switch r.Verb {
	case "exec":
		var o corev1.PodExecOptions
		if err := json.Unmarshal(r.Options, &o); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("exec: %v", err))
		}
		c, err := s.running(ctx, r, o.Container)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, session streams) { s.exec(ctx, session, c.ID, &o) }, nil
	case "log":
		var o corev1.PodLogOptions
		if err := json.Unmarshal(r.Options, &o); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("log: %v", err))
		}
		c, err := s.logged(ctx, r, &o)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, session streams) { s.log(ctx, session, c, &o) }, nil
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("this node does not serve %s", r.Verb))
	}
}

// runs are the runs of a container of the pod, oldest first.
func (s *Server) runs(ctx context.Context, r *state.SessionRequest, container string) ([]runtime.Container, error) {
	all, err := s.Runtime.List(ctx, string(r.UID))
	if err != nil {
		return nil, apierrors.NewServiceUnavailable(err.Error())
	}
	var runs []runtime.Container
	for _, c := range all {
		if c.Name == container {
			runs = append(runs, c)
		}
	}
	return runs, nil
}

func (s *Server) running(ctx context.Context, r *state.SessionRequest, container string) (*runtime.Container, error) {
	runs, err := s.runs(ctx, r, container)
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 || runs[len(runs)-1].State != runtime.StateRunning {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("container %s in pod %s is not running", container, r.Pod))
	}
	return &runs[len(runs)-1], nil
}

// logged is the run whose log is asked for: the newest, or the one before.
func (s *Server) logged(ctx context.Context, r *state.SessionRequest, o *corev1.PodLogOptions) (*runtime.Container, error) {
	runs, err := s.runs(ctx, r, o.Container)
	if err != nil {
		return nil, err
	}
	at := len(runs) - 1
	if o.Previous {
		at--
	}
	switch {
	case at < 0 && o.Previous:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("previous terminated container %q in pod %q not found", o.Container, r.Pod))
	case at < 0:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: it has not been created", o.Container, r.Pod))
	case runs[at].State == runtime.StateCreated && at > 0:
		at--
	case runs[at].State == runtime.StateCreated:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: ContainerCreating", o.Container, r.Pod))
	}
	return &runs[at], nil
}

// control is what client and kubelet say to each other beside the streams.
type control struct {
	Resize *runtime.Size `json:"resize,omitempty"`
	Exit   *int          `json:"exit,omitempty"`  // the command's exit code
	Error  string        `json:"error,omitempty"` // it could not be run
}

// exec runs a command and passes its streams. Its exit code is the last thing the client hears.
func (s *Server) exec(ctx context.Context, session streams, id string, o *corev1.PodExecOptions) {
	config := runtime.ExecConfig{Args: o.Command, TTY: o.TTY}
	if o.Stdin {
		config.Stdin = session.Reader(wire.Stdin)
	}
	stdout, stderr := session.Writer(wire.Stdout), session.Writer(wire.Stderr)
	config.Stdout = stdout
	if !o.TTY {
		config.Stderr = stderr
	}
	resize := make(chan runtime.Size, 1)
	config.Resize = resize
	go func() { // ends with the session
		defer close(resize)
		for {
			document, err := session.Document(wire.Control)
			if err != nil {
				return
			}
			var c control
			if json.Unmarshal(document, &c) == nil && c.Resize != nil {
				select {
				case resize <- *c.Resize:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	code, err := s.Runtime.Exec(ctx, id, config)
	result := control{Exit: &code}
	if err != nil {
		result = control{Error: err.Error()}
	}
	for _, w := range []io.Closer{stdout, stderr} {
		_ = w.Close() // fails only when the client is gone
	}
	say(session, result)
	session.Close(nil)
}

func say(session streams, c control) {
	document, err := json.Marshal(c)
	if err != nil {
		return
	}
	_, _ = session.Writer(wire.Control).Write(document) // fails only when the client is gone
}

// log passes the log of one run of a container; with follow until it has ended.
func (s *Server) log(ctx context.Context, session streams, c *runtime.Container, o *corev1.PodLogOptions) {
	options := logs.All()
	options.Timestamps, options.Follow = o.Timestamps, o.Follow
	if o.TailLines != nil {
		options.Tail = *o.TailLines
	}
	if o.LimitBytes != nil {
		options.LimitBytes = *o.LimitBytes
	}
	switch {
	case o.SinceTime != nil:
		options.Since = o.SinceTime.Time
	case o.SinceSeconds != nil:
		options.Since = time.Now().Add(-time.Duration(*o.SinceSeconds) * time.Second)
	}
	if o.Stream != nil && *o.Stream != corev1.LogStreamAll {
		options.Stream = map[string]string{corev1.LogStreamStdout: "stdout", corev1.LogStreamStderr: "stderr"}[*o.Stream]
	}
	if o.Follow {
		options.Done = s.whenEnded(ctx, c.ID)
	}
	stdout := session.Writer(wire.Stdout)
	err := errors.Join(logs.Copy(ctx, c.LogPath, options, stdout, stdout), stdout.Close())
	if ctx.Err() != nil {
		err = nil
	}
	session.Close(err)
}

// whenEnded is closed when a container has ended.
func (s *Server) whenEnded(ctx context.Context, id string) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := s.Runtime.Wait(ctx, id); err != nil {
			slog.DebugContext(ctx, "log is no longer followed", "component", "session", "err", err)
		}
	}()
	return done
}
