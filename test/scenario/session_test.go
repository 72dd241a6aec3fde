//go:build linux

package scenario

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"millrace.dev/test/cluster"
)

// The output of any container can be read and followed, without gaps.
func TestS11_3_Logs(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: talk, namespace: default, labels: {app: talk}, annotations: {millrace.dev/restart-backoff: "initial=1s,max=300s"}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: ten, image: busybox, command: [sh, -c, "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; sleep 0.5; echo last >&2; exec sleep 3600"]}
  - {name: slow, image: busybox, command: [sh, -c, "i=0; while true; do i=$((i+1)); echo slow $i; sleep 0.2; done"]}
---
apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: default, annotations: {millrace.dev/restart-backoff: "initial=300s,max=300s"}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sh, -c, "echo run; exit 1"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: waits, namespace: default}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: no-such-image}]}
`)
	c.AwaitPod("default", "talk", cluster.Running, 30*time.Second)

	t.Run("what was written", func(t *testing.T) {
		c := c.For(t)
		c.Until(10*time.Second, "all of the lines", func() bool {
			return strings.HasSuffix(c.Must("logs", "talk", "-c", "ten"), "line 10\nlast\n")
		})
		if got := c.Must("logs", "talk", "-c", "ten", "--tail=2"); got != "line 10\nlast\n" {
			t.Errorf("--tail=2: %q", got)
		}
		if got := c.Must("logs", "talk", "-c", "ten", "--since=1h", "--tail=1"); got != "last\n" {
			t.Errorf("--since=1h: %q", got)
		}
		stamp, rest, ok := strings.Cut(c.Must("logs", "talk", "-c", "ten", "--timestamps", "--tail=1"), " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); !ok || err != nil || time.Since(at) > time.Minute || rest != "last\n" {
			t.Errorf("--timestamps: %q %q", stamp, rest)
		}
		if got := c.Must("logs", "talk", "--all-containers", "--prefix"); !strings.Contains(got, "[pod/talk/ten] line 1\n") || !strings.Contains(got, "[pod/talk/slow] slow 1\n") {
			t.Errorf("--all-containers --prefix: %q", got)
		}
		if _, errs, code := c.Run("logs", "talk"); code != 0 || errs != "Defaulted container \"ten\" out of: ten, slow\n" {
			t.Errorf("no container named: exit %d, %q", code, errs)
		}
	})
	t.Run("the run before", func(t *testing.T) {
		c := c.For(t)
		c.AwaitPod("default", "crash", cluster.Waiting("c", "CrashLoopBackOff"), 30*time.Second)
		if got := c.Must("logs", "crash", "-p"); got != "run\n" {
			t.Errorf("-p: %q", got)
		}
		if _, errs, code := c.Run("logs", "talk", "-c", "ten", "-p"); code != 1 || !strings.Contains(errs, `previous terminated container "ten" in pod "talk" not found`) {
			t.Errorf("-p of a container that has run once: exit %d, %q", code, errs)
		}
	})
	t.Run("nothing yet", func(t *testing.T) {
		c := c.For(t)
		c.AwaitPod("default", "waits", cluster.Waiting("c", "ImagePullBackOff"), 60*time.Second)
		want := `container "c" in pod "waits" is waiting to start: trying and failing to pull image`
		if _, errs, code := c.Run("logs", "waits"); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("exit %d, %q, want %s", code, errs, want)
		}
	})
	t.Run("followed until the end", func(t *testing.T) {
		c := c.For(t)
		lines := follow(t, c, "logs", "-l", "app=talk", "-f", "--prefix", "-c", "slow")
		await(t, lines, "[pod/talk/slow] slow ")
		c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: later, namespace: default, labels: {app: talk}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: slow, image: busybox, command: [sh, -c, "echo I came later; sleep 1; echo bye"]}]
`)
		await(t, lines, "[pod/later/slow] I came later")
		await(t, lines, "[pod/later/slow] bye")
		c.Delete("pods", "default", "talk")
		c.Delete("pods", "default", "later")
	})
}

// await reads lines until one begins with a text.
func await(t *testing.T, lines <-chan string, start string) {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("the output ended before %q", start)
			}
			if strings.HasPrefix(line, start) {
				return
			}
		case <-timeout.C:
			t.Fatalf("waited in vain for a line that begins with %q", start)
		}
	}
}

// follow gives what a call of the command line prints, line by line, until the test ends or it does.
func follow(t *testing.T, c *cluster.Cluster, args ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := c.Command(ctx, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	lines, done := make(chan string, 1024), make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			t.Errorf("millrace %v: %v\n%s", args, err, errs.String())
		}
	})
	return lines
}

// A follower sees every line of a container that writes 10 MB a second, while its log is rotated many times.
func TestS11_3_RotationLosesNothing(t *testing.T) {
	const lines, width = 500_000, 100 // 50 MB in steps of one, ten each second
	c := cluster.Processes(t, cluster.Set("kubelet", "logs", map[string]any{"maxBytes": 4 << 20, "maxFiles": 5}))
	c.Create(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: default}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox
    command: [sh, -c]
    args:
    - |
      awk 'BEGIN { for (i = 0; i < %d; i++) printf "%%08d%%091d\n", i, 0 }' > /lines
      echo ready
      until test -e /go; do sleep 0.1; done
      for i in $(seq 0 %d); do
        dd if=/lines bs=1000000 skip=$i count=1 2>/dev/null
        sleep 0.1
      done
`, lines, lines*width/1_000_000-1))
	c.AwaitPod("default", "writer", cluster.Running, 30*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := c.Command(ctx, "logs", "-f", "writer")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReaderSize(out, 1<<20)
	if line, err := in.ReadString('\n'); line != "ready\n" {
		t.Fatalf("first line %q, %v", line, err)
	}
	c.Must("exec", "writer", "--", "touch", "/go")
	began, next := time.Now(), 0
	for ; ; next++ {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			break
		}
		if want := fmt.Sprintf("%08d%091d\n", next, 0); line != want {
			t.Fatalf("line %d is %q (%v)", next, line, err)
		}
	}
	took := time.Since(began)
	if err := cmd.Wait(); err != nil || next != lines {
		t.Errorf("%d lines, %v; want %d", next, err, lines)
	}
	t.Logf("%d MB followed in %v", lines*width/1_000_000, took.Round(time.Millisecond))

	// What is kept begins with a whole line and is the end of what was written.
	kept := strings.Split(strings.TrimSuffix(c.Must("logs", "writer"), "\n"), "\n")
	for i, line := range kept {
		if want := fmt.Sprintf("%08d", lines-len(kept)+i); len(line) != width-1 || line[:8] != want {
			t.Fatalf("line %d of the %d kept is %q, want number %s", i, len(kept), line, want)
		}
	}
	if len(kept)*width < 4<<20 || len(kept)*width > 5*(4<<20) {
		t.Errorf("%d lines are kept", len(kept))
	}
}

// A command runs inside any container: with its input, its terminal and its exit code.
func TestS11_4_Exec(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: test-pod, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  initContainers: [{name: first, image: busybox, command: ["true"]}]
  containers:
  - {name: one, image: busybox, command: [sleep, "3600"]}
  - {name: two, image: busybox, command: [sleep, "3600"], env: [{name: ME, value: two}]}
`)
	c.AwaitPod("default", "test-pod", cluster.Running, 30*time.Second)

	t.Run("output and exit code", func(t *testing.T) {
		c := c.For(t)
		if out, errs, code := c.Run("exec", "test-pod", "-c", "two", "--", "sh", "-c", "echo $ME; echo oops >&2; exit 42"); out != "two\n" || !strings.HasPrefix(errs, "oops\n") || code != 42 {
			t.Errorf("%q, %q, exit %d; want two, oops, 42", out, errs, code)
		}
		if out, _, code := c.Run("exec", "test-pod", "--", "date", "+%Y"); code != 0 || !strings.HasPrefix(out, "20") {
			t.Errorf("date: %q, exit %d", out, code)
		}
		if out := c.Must("exec", "pod/test-pod", "-c", "one", "--", "cat"); out != "" {
			t.Errorf("without -i the input is empty, not %q", out)
		}
	})
	t.Run("errors", func(t *testing.T) {
		c := c.For(t)
		for _, tc := range []struct {
			args []string
			want string
			code int
		}{
			{[]string{"test-pod", "-c", "nonexistent", "--", "true"}, "container nonexistent is not valid for pod test-pod out of: one, two, first (init)", 1},
			{[]string{"test-pod", "--", "no-such-command"}, `"no-such-command": executable file not found in $PATH`, 1},
			{[]string{"nobody", "--", "true"}, `pods "nobody" not found`, 1},
			{[]string{"test-pod", "-c", "first", "--", "true"}, "first", 1},
		} {
			if out, errs, code := c.Run(append([]string{"exec"}, tc.args...)...); code != tc.code || !strings.Contains(errs, tc.want) || out != "" {
				t.Errorf("exec %v: exit %d, %q; want %q", tc.args, code, errs, tc.want)
			}
		}
	})
	t.Run("100 MB arrive", func(t *testing.T) { stdinArrives(t, c.For(t)) })
	t.Run("terminal", func(t *testing.T) { terminal(t, c.For(t)) })
}

// stdinArrives sends 100 MB into a container and has them counted there, byte for byte.
func stdinArrives(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stdin")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(file, sum), rand.Reader, 100<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := c.Command(ctx, "exec", "-i", "test-pod", "-c", "one", "--", "sha256sum")
	cmd.Stdin = file
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if want := hex.EncodeToString(sum.Sum(nil)) + "  -\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
	t.Logf("100 MiB in %v", time.Since(began).Round(time.Millisecond))
}

// terminal uses a shell as a person does: its size follows the window, ^C reaches what runs in it.
func terminal(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := c.Command(ctx, "exec", "-it", "test-pod", "-c", "one", "--", "sh")
	screen, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close() //nolint:errcheck // the command has ended
	s := &session{t: t, screen: screen, more: make(chan string, 1024)}
	go s.read()
	s.say("echo size is $(stty size)\n", "size is 24 80")
	if err := pty.Setsize(screen, &pty.Winsize{Rows: 40, Cols: 123}); err != nil {
		t.Fatal(err)
	}
	s.say("until stty size | grep -q '40 123'; do sleep 0.1; done; echo now $(stty size)\n", "now 40 123")
	s.say("echo sleep''ing; sleep 1000\n", "sleeping")
	s.say("\x03", "")
	s.say("echo still he''re\n", "still here")
	s.say("exit 7\n", "")
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
		t.Errorf("the shell ended with %v, want 7\n%s", err, s.seen)
	}
}

// session is what stands on a screen.
type session struct {
	t      *testing.T
	screen io.ReadWriter
	more   chan string
	seen   string
}

func (s *session) read() {
	defer close(s.more)
	buffer := make([]byte, 4096)
	for {
		n, err := s.screen.Read(buffer)
		if err != nil {
			return
		}
		s.more <- string(buffer[:n])
	}
}

// say types a text and waits until another is seen.
func (s *session) say(text, wanted string) {
	s.t.Helper()
	s.seen = ""
	if _, err := io.WriteString(s.screen, text); err != nil {
		s.t.Fatalf("type %q: %v", text, err)
	}
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for !strings.Contains(s.seen, wanted) {
		select {
		case more, ok := <-s.more:
			if !ok {
				s.t.Fatalf("the session ended after %q; the screen shows %q", text, s.seen)
			}
			s.seen += more
		case <-timeout.C:
			s.t.Fatalf("after %q the screen shows %q, want %q", text, s.seen, wanted)
		}
	}
}
