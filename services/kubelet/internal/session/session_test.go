package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/fake"
)

// client is the other side of a session.
type client struct {
	stdin     io.Reader
	documents chan []byte // from the client; closed when it is gone

	mu     sync.Mutex
	got    map[wire.Channel]*bytes.Buffer
	shut   []wire.Channel // closed by the kubelet
	closed bool
	reason error
}

func newClient(stdin io.Reader) *client {
	return &client{stdin: stdin, documents: make(chan []byte, 8), got: map[wire.Channel]*bytes.Buffer{wire.Stdout: {}, wire.Stderr: {}, wire.Control: {}}}
}

func (c *client) Reader(wire.Channel) io.Reader { return c.stdin }

func (c *client) Document(wire.Channel) ([]byte, error) {
	d, ok := <-c.documents
	if !ok {
		return nil, io.EOF
	}
	return d, nil
}

func (c *client) Close(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed, c.reason = true, reason
		close(c.documents)
	}
}

func (c *client) Writer(channel wire.Channel) io.WriteCloser { return writer{c, channel} }

type writer struct {
	c       *client
	channel wire.Channel
}

func (w writer) Write(p []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.c.got[w.channel].Write(p)
}

func (w writer) Close() error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.shut = append(w.c.shut, w.channel)
	return nil
}

// result is what a client heard.
type result struct {
	Stdout, Stderr, Control string
	Shut                    []wire.Channel
	Closed                  bool
	Reason                  string
}

func (c *client) result() result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := result{Stdout: c.got[wire.Stdout].String(), Stderr: c.got[wire.Stderr].String(), Control: c.got[wire.Control].String(), Shut: c.shut, Closed: c.closed}
	if c.reason != nil {
		r.Reason = c.reason.Error()
	}
	return r
}

// serve is a node with one pod, whose containers are: "c", which runs; "again", which runs for the second time; "made", which was
// made only, and "ended".
func serve(t *testing.T, cfg fake.Config) (*Server, *fake.Machine) {
	t.Helper()
	m := fake.NewMachine(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	r := m.Runtime()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-r.Events():
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		m.Close()
	})
	if _, err := r.CreatePod(ctx, runtime.PodConfig{UID: "u"}); err != nil {
		t.Fatal(err)
	}
	logs := t.TempDir()
	run := func(name string, attempt int, script string, last runtime.State) {
		t.Helper()
		c, err := r.Create(ctx, runtime.ContainerConfig{
			PodUID: "u", Name: name, Attempt: attempt, Command: []string{"sh", "-c", script},
			Log: runtime.Log{Path: filepath.Join(logs, name, string(rune('0'+attempt))+".log")},
		})
		if err == nil && last != runtime.StateCreated {
			_, err = r.Start(ctx, c.ID)
		}
		if err == nil && last == runtime.StateExited {
			_, err = r.Wait(ctx, c.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run("c", 0, "echo one; echo two >&2; sleep 1000", runtime.StateRunning)
	run("again", 0, "echo before; exit 3", runtime.StateExited)
	run("again", 1, "echo now; sleep 1000", runtime.StateRunning)
	run("made", 0, "", runtime.StateCreated)
	run("remade", 0, "echo first", runtime.StateExited)
	run("remade", 1, "", runtime.StateCreated)
	run("ended", 0, "echo a", runtime.StateExited)
	stamp := time.Now().UTC().Format(time.RFC3339Nano)
	text := stamp + " stdout F a\n" + stamp + " stderr F b\n" + stamp + " stdout F c\n"
	if err := os.WriteFile(filepath.Join(logs, "ended", "0.log"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Server{Runtime: r, Node: "n1"}, m
}

func request(t *testing.T, verb string, options any) *state.SessionRequest {
	t.Helper()
	raw, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	return &state.SessionRequest{Verb: verb, Namespace: "default", Pod: "web", UID: "u", Options: raw}
}

func TestOnlyTheAPIAnnounces(t *testing.T) {
	s, _ := serve(t, fake.Config{})
	body, err := json.Marshal(request(t, "exec", corev1.PodExecOptions{Container: "c"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle(t.Context(), &wire.Incoming{Body: body}); !apierrors.IsForbidden(err) {
		t.Errorf("Handle of a request of the node's own account = %v, want Forbidden", err)
	}
	if err := s.Handle(t.Context(), &wire.Incoming{Foreign: true, Body: []byte("{")}); !apierrors.IsBadRequest(err) {
		t.Errorf("Handle of half a request = %v, want BadRequest", err)
	}
}

func TestWhatCannotBeServed(t *testing.T) {
	tests := []struct {
		name    string
		verb    string
		options any
		uid     string
		want    string
	}{
		{name: "exec, ended", verb: "exec", options: corev1.PodExecOptions{Container: "ended"}, want: "container ended in pod web is not running"},
		{name: "exec, made only", verb: "exec", options: corev1.PodExecOptions{Container: "made"}, want: "container made in pod web is not running"},
		{name: "exec, unknown", verb: "exec", options: corev1.PodExecOptions{Container: "nobody"}, want: "container nobody in pod web is not running"},
		{name: "exec, another pod", verb: "exec", options: corev1.PodExecOptions{Container: "c"}, uid: "other", want: "container c in pod web is not running"},
		{name: "exec, bad options", verb: "exec", options: "x", want: "exec: json: cannot unmarshal string into Go value of type v1.PodExecOptions"},
		{name: "log, unknown", verb: "log", options: corev1.PodLogOptions{Container: "nobody"}, want: `container "nobody" in pod "web" is waiting to start: it has not been created`},
		{name: "log, made only", verb: "log", options: corev1.PodLogOptions{Container: "made"}, want: `container "made" in pod "web" is waiting to start: ContainerCreating`},
		{name: "log, nothing before", verb: "log", options: corev1.PodLogOptions{Container: "c", Previous: true}, want: `previous terminated container "c" in pod "web" not found`},
		{name: "log, bad options", verb: "log", options: 1, want: "log: json: cannot unmarshal number into Go value of type v1.PodLogOptions"},
		{name: "another verb", verb: "portforward", options: nil, want: "this node does not serve portforward"},
	}
	s, _ := serve(t, fake.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t, tt.verb, tt.options)
			if tt.uid != "" {
				r.UID = "other"
			}
			if _, err := s.prepare(t.Context(), r); !apierrors.IsBadRequest(err) || err.Error() != tt.want {
				t.Errorf("prepare = %v, want BadRequest %q", err, tt.want)
			}
		})
	}
}

// session serves one session to its end.
func session(t *testing.T, s *Server, r *state.SessionRequest, c *client) result {
	t.Helper()
	run, err := s.prepare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	run(t.Context(), c)
	return c.result()
}

func TestExec(t *testing.T) {
	both := []wire.Channel{wire.Stdout, wire.Stderr}
	tests := []struct {
		name    string
		options corev1.PodExecOptions
		want    result
	}{
		{name: "well", options: corev1.PodExecOptions{Command: []string{"echo", "hello"}}, want: result{Stdout: "hello\n", Control: `{"exit":0}`, Shut: both, Closed: true}},
		{
			name: "with an exit code", options: corev1.PodExecOptions{Command: []string{"sh", "-c", "echo out; echo err >&2; exit 42"}},
			want: result{Stdout: "out\n", Stderr: "err\n", Control: `{"exit":42}`, Shut: both, Closed: true},
		},
		{
			name: "on a terminal there is one stream", options: corev1.PodExecOptions{TTY: true, Command: []string{"sh", "-c", "echo out; echo err >&2"}},
			want: result{Stdout: "out\nerr\n", Control: `{"exit":0}`, Shut: both, Closed: true},
		},
		{name: "with input", options: corev1.PodExecOptions{Stdin: true, Command: []string{"cat"}}, want: result{Stdout: "typed", Control: `{"exit":0}`, Shut: both, Closed: true}},
		{name: "input that was not asked for", options: corev1.PodExecOptions{Command: []string{"cat"}}, want: result{Control: `{"exit":0}`, Shut: both, Closed: true}},
		{
			name: "cannot be run", options: corev1.PodExecOptions{Command: []string{"no-such"}},
			want: result{Control: `{"error":"exec: \"no-such\": executable file not found in $PATH"}`, Shut: both, Closed: true},
		},
	}
	s, _ := serve(t, fake.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Container = "c"
			got := session(t, s, request(t, "exec", tt.options), newClient(bytes.NewBufferString("typed")))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("client heard (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExecResizes(t *testing.T) {
	var sizes []runtime.Size
	s, _ := serve(t, fake.Config{Exec: func(_ runtime.Container, e runtime.ExecConfig) (fake.Program, error) {
		return func(context.Context, *fake.Process) int {
			sizes = append(sizes, <-e.Resize, <-e.Resize)
			return 0
		}, nil
	}})
	c := newClient(nil)
	c.documents <- []byte(`{"resize":{"Width":80,"Height":24}}`)
	c.documents <- []byte(`nonsense`)
	c.documents <- []byte(`{"resize":{"Width":100,"Height":30}}`)
	session(t, s, request(t, "exec", corev1.PodExecOptions{Container: "c", TTY: true, Command: []string{"top"}}), c)
	if want := []runtime.Size{{Width: 80, Height: 24}, {Width: 100, Height: 30}}; !slices.Equal(sizes, want) {
		t.Errorf("sizes are %v, want %v", sizes, want)
	}
}

// The end of the session's context (the client is gone) ends the command.
func TestExecEndsWithItsClient(t *testing.T) {
	killed := make(chan struct{})
	running := make(chan struct{})
	s, _ := serve(t, fake.Config{Exec: func(runtime.Container, runtime.ExecConfig) (fake.Program, error) {
		return func(ctx context.Context, _ *fake.Process) int {
			close(running)
			<-ctx.Done()
			close(killed)
			return 0
		}, nil
	}})
	run, err := s.prepare(t.Context(), request(t, "exec", corev1.PodExecOptions{Container: "c", Command: []string{"top"}}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx, newClient(nil)) })
	<-running
	cancel()
	<-killed
	wg.Wait()
}

func TestLog(t *testing.T) {
	tests := []struct {
		name    string
		options corev1.PodLogOptions
		want    string
	}{
		{name: "all", options: corev1.PodLogOptions{Container: "ended"}, want: "a\nb\nc\n"},
		{name: "one stream", options: corev1.PodLogOptions{Container: "ended", Stream: new(corev1.LogStreamStderr)}, want: "b\n"},
		{name: "both streams", options: corev1.PodLogOptions{Container: "ended", Stream: new(corev1.LogStreamAll)}, want: "a\nb\nc\n"},
		{name: "the last line", options: corev1.PodLogOptions{Container: "ended", TailLines: new(int64(1))}, want: "c\n"},
		{name: "no line", options: corev1.PodLogOptions{Container: "ended", TailLines: new(int64(0))}},
		{name: "so many bytes", options: corev1.PodLogOptions{Container: "ended", LimitBytes: new(int64(3))}, want: "a\nb"},
		{name: "since a time to come", options: corev1.PodLogOptions{Container: "ended", SinceTime: new(metav1.NewTime(time.Now().Add(time.Hour)))}},
		{name: "since an hour ago", options: corev1.PodLogOptions{Container: "ended", SinceSeconds: new(int64(3600))}, want: "a\nb\nc\n"},
		{name: "the run before", options: corev1.PodLogOptions{Container: "again", Previous: true}, want: "before\n"},
		{name: "the run before one that was made only", options: corev1.PodLogOptions{Container: "remade"}, want: "first\n"},
		{name: "followed to its end", options: corev1.PodLogOptions{Container: "ended", Follow: true}, want: "a\nb\nc\n"},
	}
	s, _ := serve(t, fake.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := session(t, s, request(t, "log", tt.options), newClient(nil))
			want := result{Stdout: tt.want, Shut: []wire.Channel{wire.Stdout}, Closed: true}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("client heard (-want +got):\n%s", diff)
			}
		})
	}
}

// Following ends when the container does, and not before.
func TestLogFollowsUntilTheContainerEnds(t *testing.T) {
	s, m := serve(t, fake.Config{})
	c := newClient(nil)
	done := make(chan result)
	r := request(t, "log", corev1.PodLogOptions{Container: "again", Follow: true})
	go func() { done <- session(t, s, r, c) }()
	m.End(runtime.ContainerID("u", "again", 1), 0, false)
	got := <-done
	if diff := cmp.Diff(result{Stdout: "now\n", Shut: []wire.Channel{wire.Stdout}, Closed: true}, got); diff != "" {
		t.Errorf("client heard (-want +got):\n%s", diff)
	}
}

// A client that goes is no error, a log that cannot be read is one.
func TestLogEnds(t *testing.T) {
	s, _ := serve(t, fake.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := newClient(nil)
	s.log(ctx, c, &runtime.Container{ID: runtime.ContainerID("u", "c", 0), LogPath: filepath.Join(t.TempDir(), "none")}, &corev1.PodLogOptions{Follow: true})
	if got := c.result(); !got.Closed || got.Reason != "" {
		t.Errorf("a client that is gone heard %+v", got)
	}
	c = newClient(nil)
	s.log(t.Context(), c, &runtime.Container{LogPath: t.TempDir()}, &corev1.PodLogOptions{})
	if got := c.result(); !got.Closed || got.Reason == "" {
		t.Errorf("client of a log that cannot be read heard %+v, want why", got)
	}
}

func TestRuntimeIsAway(t *testing.T) {
	s := &Server{Runtime: broken{}}
	if _, err := s.prepare(t.Context(), request(t, "exec", corev1.PodExecOptions{Container: "c"})); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("prepare = %v, want ServiceUnavailable", err)
	}
}

type broken struct{ runtime.Runtime }

func (broken) List(context.Context, string) ([]runtime.Container, error) {
	return nil, errors.New("away")
}
