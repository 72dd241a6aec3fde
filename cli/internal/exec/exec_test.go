package exec

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/fakeapi"
	"millrace.dev/cli/internal/terminal"
	"millrace.dev/pkg/wire"
)

func pod(name string, containers ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c})
	}
	return p
}

// say writes to a channel of a session and closes it.
func say(t *testing.T, s fakeapi.Session, c wire.Channel, text string) {
	w := s.Writer(c)
	if _, err := io.WriteString(w, text); err != nil {
		t.Error(err)
	}
	if c != wire.Control {
		w.Close() //nolint:errcheck // the client is gone
	}
}

// kubelet is an api whose kubelet writes something and ends the command with a document.
func kubelet(t *testing.T, document string) (*fakeapi.API, chan corev1.PodExecOptions) {
	api := fakeapi.Start(t)
	api.Put(pod("web", "app"), pod("two", "a", "b"), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm"}})
	done := pod("done", "c")
	done.Status.Phase = corev1.PodSucceeded
	chosen := pod("chosen", "a", "b")
	chosen.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "b"}
	api.Put(done, chosen)
	asked := make(chan corev1.PodExecOptions, 1)
	api.Serve(func(_ context.Context, s fakeapi.Session) {
		var o corev1.PodExecOptions
		if err := json.Unmarshal(s.Options, &o); err != nil {
			t.Error(err)
		}
		asked <- o
		say(t, s, wire.Stdout, "out\n")
		say(t, s, wire.Stderr, "err\n")
		if document != "" {
			say(t, s, wire.Control, document)
		}
	})
	return api, asked
}

func TestExec(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pod.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: web}"), 0o600); err != nil {
		t.Fatal(err)
	}
	date := []string{"date", "-u"}
	for _, c := range []struct {
		name, document string
		args           []string
		want           fakeapi.Result
		wantAsked      *corev1.PodExecOptions
	}{
		{
			name: "success", document: `{"exit":0}`, args: []string{"web", "--", "date", "-u"}, want: fakeapi.Result{Out: "out\n", Err: "err\n"},
			wantAsked: &corev1.PodExecOptions{Container: "app", Command: date, Stdout: true, Stderr: true},
		},
		{
			name: "exit code", document: `{"exit":42}`, args: []string{"pod/web", "--", "date", "-u"},
			want:      fakeapi.Result{Out: "out\n", Err: "err\ncommand terminated with exit code 42\n", Code: 42},
			wantAsked: &corev1.PodExecOptions{Container: "app", Command: date, Stdout: true, Stderr: true},
		},
		{
			name: "could not be run", document: `{"error":"exec: \"date\": executable file not found in $PATH"}`, args: []string{"-f", file, "--", "date", "-u"},
			want:      fakeapi.Result{Out: "out\n", Err: "err\nerror: exec: \"date\": executable file not found in $PATH\n", Code: 1},
			wantAsked: &corev1.PodExecOptions{Container: "app", Command: date, Stdout: true, Stderr: true},
		},
		{
			name: "lost", args: []string{"web", "--", "date", "-u"},
			want:      fakeapi.Result{Out: "out\n", Err: "err\nerror: the connection to the container was lost before the command ended\n", Code: 1},
			wantAsked: &corev1.PodExecOptions{Container: "app", Command: date, Stdout: true, Stderr: true},
		},
		{
			name: "first of two", document: `{"exit":0}`, args: []string{"two", "--", "date", "-u"}, want: fakeapi.Result{Out: "out\n", Err: "Defaulted container \"a\" out of: a, b\nerr\n"},
			wantAsked: &corev1.PodExecOptions{Container: "a", Command: date, Stdout: true, Stderr: true},
		},
		{
			name: "quietly", document: `{"exit":0}`, args: []string{"two", "-q", "--", "date", "-u"}, want: fakeapi.Result{Out: "out\n", Err: "err\n"},
			wantAsked: &corev1.PodExecOptions{Container: "a", Command: date, Stdout: true, Stderr: true},
		},
		{
			name: "the pod's choice", document: `{"exit":0}`, args: []string{"chosen", "--", "date", "-u"}, want: fakeapi.Result{Out: "out\n", Err: "err\n"},
			wantAsked: &corev1.PodExecOptions{Container: "b", Command: date, Stdout: true, Stderr: true},
		},
		{
			name: "the user's choice, no terminal to lend", document: `{"exit":0}`, args: []string{"two", "-c", "b", "-it", "--", "date", "-u"},
			want:      fakeapi.Result{Out: "out\n", Err: "Unable to use a TTY - input is not a terminal or the right kind of file\nerr\n"},
			wantAsked: &corev1.PodExecOptions{Container: "b", Command: date, Stdin: true, Stdout: true, Stderr: true},
		},
		{name: "no such container", args: []string{"two", "-c", "z", "--", "x"}, want: fakeapi.Result{Err: "error: container z is not valid for pod two out of: a, b\n", Code: 1}},
		{name: "ended pod", args: []string{"done", "--", "x"}, want: fakeapi.Result{Err: "error: cannot exec into a container in a completed pod; current phase is Succeeded\n", Code: 1}},
		{name: "no pod", args: []string{"nope", "--", "x"}, want: fakeapi.Result{Err: "Error from server (NotFound): pods \"nope\" not found\n", Code: 1}},
		{name: "no pods", args: []string{"cm/cm", "--", "x"}, want: fakeapi.Result{Err: "error: cannot attach to *v1.ConfigMap: selector for *v1.ConfigMap not implemented\n", Code: 1}},
		{name: "no dashes", args: []string{"web", "x"}, want: fakeapi.Result{Err: "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'millrace exec -h' for help and examples\n", Code: 1}},
		{name: "no command", args: []string{"web"}, want: fakeapi.Result{Err: "error: you must specify at least one command for the container\n", Code: 1}},
		{name: "no target", args: []string{"--", "x"}, want: fakeapi.Result{Err: "error: pod, type/name or --filename must be specified\n", Code: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			api, asked := kubelet(t, c.document)
			if diff := cmp.Diff(c.want, api.Run(New, "", append([]string{"exec"}, c.args...)...)); diff != "" {
				t.Errorf("exec %v (-want +got):\n%s", c.args, diff)
			}
			if c.wantAsked == nil {
				return
			}
			if diff := cmp.Diff(*c.wantAsked, <-asked); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

// TestInputArrivesWhole: what is piped in arrives byte for byte, and so does its end.
func TestInputArrivesWhole(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("web", "app"))
	api.Serve(func(_ context.Context, s fakeapi.Session) {
		sum := sha256.New()
		n, err := io.Copy(sum, s.Reader(wire.Stdin))
		if err != nil {
			t.Error(err)
		}
		say(t, s, wire.Stdout, fmt.Sprintf("%d %x", n, sum.Sum(nil)))
		say(t, s, wire.Stderr, "")
		say(t, s, wire.Control, `{"exit":0}`)
	})
	input := make([]byte, 20<<20)
	source := rand.NewChaCha8([32]byte{1})
	source.Read(input) //nolint:errcheck // it never fails
	r := api.Begin(New, bytes.NewReader(input), "exec", "-i", "web", "--", "sha256sum")
	if code := r.Wait(); code != 0 {
		t.Fatalf("exit code %d: %s", code, r.Err.String())
	}
	if want := fmt.Sprintf("%d %x", len(input), sha256.Sum256(input)); r.Out.String() != want {
		t.Errorf("got %s, want %s", r.Out.String(), want)
	}
}

// TestTerminalIsLent: keys arrive as they are typed, ^C too, and the size of the terminal with them.
func TestTerminalIsLent(t *testing.T) {
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(screen.Close(), tty.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := pty.Setsize(screen, &pty.Winsize{Cols: 100, Rows: 30}); err != nil {
		t.Fatal(err)
	}
	api := fakeapi.Start(t)
	api.Put(pod("web", "app"))
	sizes, keys := make(chan terminal.Size, 1), make(chan string, 1)
	api.Serve(func(_ context.Context, s fakeapi.Session) {
		document, err := s.Document(wire.Control)
		if err != nil {
			t.Error(err)
		}
		var c control
		if err := json.Unmarshal(document, &c); err != nil || c.Resize == nil {
			t.Errorf("first document %s: %v", document, err)
			return
		}
		sizes <- *c.Resize
		typed := make([]byte, 3)
		if _, err := io.ReadFull(s.Reader(wire.Stdin), typed); err != nil {
			t.Error(err)
		}
		keys <- string(typed)
		say(t, s, wire.Stdout, "bye\r\n")
		say(t, s, wire.Control, `{"exit":3}`)
	})
	r := api.Begin(New, tty, "exec", "-it", "web", "--", "sh")
	if got := <-sizes; got != (terminal.Size{Width: 100, Height: 30}) {
		t.Errorf("size %+v", got)
	}
	if _, err := screen.WriteString("a\x03\r"); err != nil {
		t.Fatal(err)
	}
	if got := <-keys; got != "a\x03\r" {
		t.Errorf("keys %q", got)
	}
	if code := r.Wait(); code != 3 || r.Out.String() != "bye\r\n" {
		t.Errorf("exit code %d, output %q, errors %q", code, r.Out.String(), r.Err.String())
	}
}

// TestKubeletHearsOfTheEnd: a command that is called off ends at once, not when the kubelet notices the silence.
func TestKubeletHearsOfTheEnd(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("web", "app"))
	ended := make(chan error, 1)
	api.Serve(func(_ context.Context, s fakeapi.Session) {
		say(t, s, wire.Stdout, "begun")
		ended <- s.Wait()
	})
	r := api.Begin(New, nil, "exec", "web", "--", "sleep", "1000")
	fakeapi.Await(t, "output", func() bool { return r.Out.String() == "begun" })
	r.Stop()
	if err := <-ended; err != nil {
		t.Errorf("the session ended with %v", err)
	}
}

// TestOutputThatNobodyReads: the command is called off when its output has nowhere to go.
func TestOutputThatNobodyReads(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("web", "app"))
	ended := make(chan error, 1)
	api.Serve(func(_ context.Context, s fakeapi.Session) {
		io.WriteString(s.Writer(wire.Stdout), strings.Repeat("x", 100)) //nolint:errcheck // the client may be gone
		ended <- s.Wait()
	})
	f, _, _ := api.Factory()
	f.Out = brokenWriter{}
	cmd := New(f)
	cmd.SetArgs([]string{"web", "--", "yes"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("exec: %v", err)
	}
	if err := <-ended; err == nil || err.Error() != errBroken.Error() {
		t.Errorf("the session ended with %v", err)
	}
}

var errBroken = errors.New("broken pipe")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
