// Package script proves that the command line and the control plane agree: scripts that a person could have typed run the built
// millrace against a real NATS server with accounts and the real services. There is no node: pods stay Pending.
//
// A script has these commands beside those of testscript:
//
//	exits CODE COMMAND...    the command must end with this exit code
//	await REGEXP COMMAND...  the command is repeated until what it prints matches
//	follow NAME COMMAND...   the command runs in the background
//	sees NAME REGEXP         what it has printed comes to match
//	interrupt NAME           it gets a ^C, and must end by that
//	quit SERVICE             the service is told to end
//	start SERVICE            it runs again
package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"millrace.dev/pkg/auth"
)

func TestMain(m *testing.M) {
	if service := os.Getenv(serviceVariable); service != "" {
		os.Exit(services[service].main())
	}
	os.Exit(m.Run())
}

// build is the directory with the built millrace: MILLRACE_BIN, which make sets, or one in which it is built now.
func build(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("MILLRACE_BIN"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "./cmd/millrace")
	cmd.Dir = filepath.Join("..", "..", "cli")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build millrace: %v\n%s", err, out)
	}
	return dir
}

func TestScripts(t *testing.T) {
	c := start(t)
	bin := build(t)
	f := &followed{running: map[string]*running{}}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               func(env *testscript.Env) error { return c.setUp(env, bin) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"await":     await,
			"follow":    f.follow,
			"sees":      f.sees,
			"interrupt": f.interrupt,
			"quit":      func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(c.stop(args[0])) },
			"start":     func(_ *testscript.TestScript, _ bool, args []string) { c.run(args[0]) },
		},
	})
}

// setUp gives a script a context for the cluster, a namespace of its own in NS, and credentials of others.
func (c *cluster) setUp(env *testscript.Env, bin string) error {
	env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("MILLRACE_CONFIG", filepath.Join(env.WorkDir, ".millrace", "config"))
	env.Setenv("SERVER", c.nats.ClientURL())
	env.Setenv("NS", strings.NewReplacer("_", "-", ".", "-").Replace(strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")))
	env.Setenv("ADMIN", c.credential(auth.RoleUser, "admin"))
	env.Setenv("BOB", c.credential(auth.RoleUser, "bob"))
	stranger, err := auth.New()
	if err != nil {
		return err
	}
	credential, err := stranger.Mint(auth.RoleUser, "admin", 0)
	if err != nil {
		return err
	}
	body, err := credential.Format()
	if err != nil {
		return err
	}
	env.Setenv("STRANGER", filepath.Join(env.WorkDir, "stranger.creds"))
	if err := auth.WriteSecret(env.Getenv("STRANGER"), body); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"config", "set-cluster", "here", "--server=" + c.nats.ClientURL()},
		{"config", "set-credentials", "admin", "--credential=" + env.Getenv("ADMIN")},
		{"config", "set-context", "here", "--cluster=here", "--user=admin", "--namespace=" + env.Getenv("NS")},
		{"config", "use-context", "here"},
		{"create", "-f", "-"},
	} {
		cmd := exec.Command(filepath.Join(bin, "millrace"), args...)
		cmd.Env = env.Vars
		cmd.Stdin = strings.NewReader("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + env.Getenv("NS") + "}\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("millrace %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// exits runs a command that must end with a code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// await repeats a command until what it prints matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await REGEXP COMMAND...")
	}
	until(ts, args[0], func() string {
		ts.Exec(args[1], args[2:]...) //nolint:errcheck // what it prints is what matters
		return ts.ReadFile("stdout") + ts.ReadFile("stderr")
	})
}

// until asks again until a text matches.
func until(ts *testscript.TestScript, want string, text func() string) {
	re, err := regexp.Compile("(?m)" + want)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		seen := text()
		if re.MatchString(seen) {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("no match for %q:\n%s", want, seen)
		case <-tick.C:
		}
	}
}

// followed are the commands that scripts have in the background.
type followed struct {
	mu      sync.Mutex
	running map[string]*running // by script and name
}

// running is one of them.
type running struct {
	cmd *exec.Cmd
	out lockedBuffer
}

// lockedBuffer is a buffer that one goroutine may write and another read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (f *followed) get(ts *testscript.TestScript, name string) *running {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.running[ts.Name()+"/"+name]
	if r == nil {
		ts.Fatalf("nothing is followed as %s", name)
	}
	return r
}

func (f *followed) follow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: follow NAME COMMAND...")
	}
	path, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], args[1]))
	ts.Check(err)
	r := &running{cmd: exec.Command(path, args[2:]...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	r.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "MILLRACE_CONFIG"} {
		r.cmd.Env = append(r.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(r.cmd.Start())
	ts.Defer(func() { r.cmd.Process.Kill() }) //nolint:errcheck // it has ended already
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[ts.Name()+"/"+args[0]] = r
}

func (f *followed) sees(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sees NAME REGEXP")
	}
	until(ts, args[1], f.get(ts, args[0]).out.String)
}

// interrupted is the exit code of a command that ended by ^C.
const interrupted = 130

func (f *followed) interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: interrupt NAME")
	}
	r := f.get(ts, args[0])
	ts.Check(r.cmd.Process.Signal(os.Interrupt))
	r.cmd.Wait() //nolint:errcheck // the exit code says it
	if code := r.cmd.ProcessState.ExitCode(); code != interrupted {
		ts.Fatalf("exit code %d, want %d\n%s", code, interrupted, r.out.String())
	}
}
