package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/natsd"
	"millrace.dev/pkg/natstest"
)

// service names the variable that makes this test binary one of the services below.
const service = "DAEMON_TEST_SERVICE"

func TestMain(m *testing.M) {
	switch os.Getenv(service) {
	case "":
		os.Exit(m.Run())
	case "once":
		os.Exit(Once("once", defaultConfig(), func(ctx context.Context, c *testConfig) error {
			if c.Workers == 0 {
				return errors.New("no workers")
			}
			return nil
		}))
	default:
		os.Exit(Main("millrace-test", defaultConfig(), serviceOf[os.Getenv(service)]))
	}
}

// serviceOf are services that misbehave, each in its way; they say on the standard output how far they are.
var serviceOf = map[string]func(context.Context, *testConfig, *Deps) error{
	"steady": func(ctx context.Context, _ *testConfig, d *Deps) error {
		return All(ctx, func(ctx context.Context) error {
			d.Ready()
			say("running")
			<-ctx.Done()
			say("stopping")
			if err := d.NATS.Publish("told", []byte("last words")); err != nil {
				return err
			}
			return context.Cause(ctx)
		})
	},
	"stubborn": func(context.Context, *testConfig, *Deps) error {
		say("running")
		select {}
	},
	"failing": func(ctx context.Context, _ *testConfig, _ *Deps) error {
		return All(ctx, waiting, func(context.Context) error { return errors.New("the disk is gone") })
	},
	"panicking": func(ctx context.Context, _ *testConfig, _ *Deps) error {
		return All(ctx, waiting, func(context.Context) error { panic("a broken invariant") })
	},
	"panicking at once": func(context.Context, *testConfig, *Deps) error { panic("a broken invariant") },
	"ending": func(ctx context.Context, _ *testConfig, _ *Deps) error {
		return All(ctx, waiting, func(context.Context) error { return nil })
	},
}

func waiting(ctx context.Context) error {
	<-ctx.Done()
	say("others have stopped")
	return context.Cause(ctx)
}

func say(text string) { io.WriteString(os.Stdout, text+"\n") } //nolint:errcheck // the test that reads it then fails

// process is a service as a process of its own.
type process struct {
	*exec.Cmd
	t      *testing.T
	stdout io.Reader
	stderr bytes.Buffer
}

// start runs the service called name; it is killed when the test ends.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...), t: t}
	p.Env = []string{service + "=" + name}
	p.Stderr = &p.stderr
	var err error
	if p.stdout, err = p.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// await reads what the process says until it has said text.
func (p *process) await(text string) {
	p.t.Helper()
	var said []byte
	b := make([]byte, 1)
	for !strings.HasSuffix(string(said), text+"\n") {
		if _, err := p.stdout.Read(b); err != nil {
			p.t.Fatalf("the process said %q, want %q: %v\n%s", said, text, err, p.stderr.String())
		}
		said = append(said, b...)
	}
}

// end waits for the process and returns its exit code and what else it said.
func (p *process) end() (code int, said string) {
	p.t.Helper()
	rest, err := io.ReadAll(p.stdout)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			p.t.Fatal(err)
		}
	}
	return p.ProcessState.ExitCode(), string(rest)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// A service that is told to stop ends its members, says its last words, and exits with 0.
func TestSignalsStopInOrder(t *testing.T) {
	s := natstest.Run(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			told, err := s.Connect().SubscribeSync("told")
			if err != nil {
				t.Fatal(err)
			}
			p := start(t, "steady", "--nats", s.ClientURL())
			p.await("running")
			p.signal(signal)
			code, said := p.end()
			if code != 0 || said != "stopping\n" {
				t.Errorf("exit code %d after %q, want 0:\n%s", code, said, p.stderr.String())
			}
			if m, err := told.NextMsg(5 * time.Second); err != nil || string(m.Data) != "last words" {
				t.Errorf("last words: %v, %v", m, err)
			}
			var messages []string
			for line := range strings.Lines(p.stderr.String()) {
				var record struct{ Msg, Service string }
				if err := json.Unmarshal([]byte(line), &record); err != nil || record.Service != "millrace-test" {
					t.Errorf("log line %q: %v", line, err)
				}
				messages = append(messages, record.Msg)
			}
			if diff := cmp.Diff([]string{"started", "ready", "stopped"}, messages); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	s := natstest.Run(t)
	p := start(t, "stubborn", "--nats", s.ClientURL())
	p.await("running")
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT)
	if code, _ := p.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// Whatever breaks in a running service, its exit code is 1: 2 says that no restart would mend it.
func TestExitCodeOfAFailure(t *testing.T) {
	s := natstest.Run(t)
	tests := []struct{ name, said, logged string }{
		{name: "failing", said: "others have stopped\n", logged: "the disk is gone"},
		{name: "panicking", said: "others have stopped\n", logged: "a broken invariant"},
		{name: "panicking at once", logged: "a broken invariant"},
		{name: "ending", said: "others have stopped\n", logged: "a member of the service ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.name, "--nats", s.ClientURL())
			code, said := p.end()
			if code != 1 || said != tt.said || !strings.Contains(p.stderr.String(), tt.logged) {
				t.Errorf("exit code %d after %q, want 1 after %q:\n%s", code, said, tt.said, p.stderr.String())
			}
		})
	}
	p := start(t, "steady", "--nats", s.ClientURL(), "--health", "unix:/none/at/all.sock")
	if code, _ := p.end(); code != 1 || !strings.Contains(p.stderr.String(), "health") {
		t.Errorf("exit code %d where health cannot be served, want 1:\n%s", code, p.stderr.String())
	}
	p = start(t, "steady", "--credential", "/none/at/all")
	if code, _ := p.end(); code != 1 || !strings.Contains(p.stderr.String(), "/none/at/all") {
		t.Errorf("exit code %d without a credential, want 1:\n%s", code, p.stderr.String())
	}
}

func TestExitCodesWithoutRunning(t *testing.T) {
	tests := []struct {
		name, service  string
		args           []string
		want           int
		stdout, stderr string
	}{
		{name: "bad flag", service: "steady", args: []string{"--nope"}, want: 2, stderr: "nope"},
		{name: "bad configuration", service: "steady", args: []string{"--log-level=loud"}, want: 2, stderr: "logLevel"},
		{name: "bad file", service: "steady", args: []string{"--config=/none"}, want: 2, stderr: "/none"},
		{name: "help", service: "steady", args: []string{"--help"}, stderr: "-log-level"},
		{name: "print", service: "steady", args: []string{"--print-config", "--workers=9"}, stdout: "workers: 9\n"},
		{name: "once", service: "once"},
		{name: "once fails", service: "once", args: []string{"--workers=0"}, want: 1, stderr: "no workers"},
		{name: "once with a bad flag", service: "once", args: []string{"--nope"}, want: 2, stderr: "nope"},
		{name: "once helps", service: "once", args: []string{"-h"}, stderr: "-log-level"},
		{name: "once prints", service: "once", args: []string{"--print-config"}, stdout: "workers: 2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.service, tt.args...)
			code, said := p.end()
			if code != tt.want || !strings.Contains(said, tt.stdout) || !strings.Contains(p.stderr.String(), tt.stderr) {
				t.Errorf("exit code %d, want %d\n%s%s", code, tt.want, said, p.stderr.String())
			}
		})
	}
}

func TestAll(t *testing.T) {
	failure, told := errors.New("failure"), errors.New("told")
	fails := func(context.Context) error { return failure }
	lasts := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	late := func(ctx context.Context) error {
		<-ctx.Done()
		<-time.NewTimer(time.Minute).C
		return errors.New("only because the others ended")
	}
	tests := []struct {
		name     string
		members  []Member
		end      time.Duration // when the caller ends it; 0: never
		want     error
		contains string
		took     time.Duration
	}{
		{name: "one fails", members: []Member{lasts, fails, lasts}, want: failure},
		{name: "it waits for the last", members: []Member{late, fails}, want: failure, took: time.Minute},
		{name: "one ends", members: []Member{lasts, func(context.Context) error { return nil }}, contains: "a member of the service ended"},
		{name: "one panics", members: []Member{late, func(context.Context) error { panic("oh") }}, contains: "panic: oh", took: time.Minute},
		{name: "told to stop", members: []Member{lasts, late}, end: time.Second, want: told, took: time.Minute + time.Second},
		{name: "told to stop and one returns nil", members: []Member{func(ctx context.Context) error { <-ctx.Done(); return nil }}, end: time.Second, want: told, took: time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.end > 0 {
					defer time.AfterFunc(tt.end, func() { cancel(told) }).Stop()
				}
				began := time.Now()
				err := All(ctx, tt.members...)
				if tt.want != nil && !errors.Is(err, tt.want) || err == nil || !strings.Contains(err.Error(), tt.contains) {
					t.Errorf("All = %v, want %v %s", err, tt.want, tt.contains)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("All took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// secret has no place in a log.
type secret struct{ Seed string }

func (secret) LogValue() slog.Value { return slog.StringValue("hidden") }

func TestLogger(t *testing.T) {
	authority, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	credential, err := authority.Mint(auth.RoleUser, "alice", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			var to bytes.Buffer
			l := logger(&to, "millrace-test", &Common{LogLevel: "warn", LogFormat: format})
			l.Info("not shown")
			if to.Len() > 0 {
				t.Errorf("logged below the level: %s", to.String())
			}
			l.Warn("shown", "own", secret{"SUxxx"}, "credential", credential, slog.Group("in", "credential", &credential), "authority", authority)
			l.With("credential", credential).Error("shown")
			l.Error("shown", "err", fmt.Errorf("cannot use %v", credential))
			for _, s := range []string{"SUxxx", credential.Seed, authority.Operator, authority.Signers[auth.RoleUser]} {
				if strings.Contains(to.String(), s) {
					t.Errorf("a secret is logged:\n%s", to.String())
				}
			}
			if json.Valid(bytes.SplitAfter(to.Bytes(), []byte("\n"))[0]) != (format == "json") || !strings.Contains(to.String(), "millrace-test") {
				t.Errorf("not the format %s:\n%s", format, to.String())
			}
		})
	}
}

// With a credential the process speaks under its bearer's name, and hears answers where only it may listen.
func TestConnectWithACredential(t *testing.T) {
	authority, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	public, err := authority.Public()
	if err != nil {
		t.Fatal(err)
	}
	s := natstest.Start(t, natsd.Config{Name: "test", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 1 << 30, Volatile: true, Auth: public})
	tests := []struct {
		service, ask, listen string
		role                 auth.Role
	}{
		{service: "millrace-kubelet", role: auth.RoleKubelet, ask: "hb.n1_x", listen: "n.hb.*"},
		{service: "millrace-proxy", role: auth.RoleProxy, ask: "ack.n1_x", listen: "n.ack.*"},
		{service: "millrace-scheduler", role: auth.RoleScheduler, ask: "c.api.scheduler.get.pods.d", listen: "c.api.>"},
	}
	common := func(t *testing.T, role auth.Role, name string) *Common {
		t.Helper()
		credential, err := authority.Mint(role, name, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		body, err := credential.Format()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "creds")
		if err := auth.WriteSecret(file, body); err != nil {
			t.Fatal(err)
		}
		return &Common{NATS: s.ClientURL(), Credential: file, Name: name}
	}
	api, end, err := connect("millrace-api", common(t, auth.RoleAPI, "api-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, tt := range tests {
		t.Run(tt.service, func(t *testing.T) {
			sub, err := api.NATS.SubscribeSync(tt.listen)
			if err != nil {
				t.Fatal(err)
			}
			if err := api.NATS.Flush(); err != nil {
				t.Fatal(err)
			}
			d, end, err := connect(tt.service, common(t, tt.role, "n1.x"))
			if err != nil {
				t.Fatal(err)
			}
			if d.Process != "n1.x" || d.Source != "/millrace/n1.x" {
				t.Errorf("process %q, source %q", d.Process, d.Source)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				m, err := sub.NextMsg(5 * time.Second)
				if err == nil {
					err = m.Respond([]byte("yes"))
				}
				if err != nil {
					t.Error(err)
				}
			})
			further, err := d.Committing()
			if err != nil {
				t.Fatal(err)
			}
			if m, err := further.Request(tt.ask, nil, 5*time.Second); err != nil || string(m.Data) != "yes" {
				t.Errorf("Request = %v, %v", m, err)
			}
			wg.Wait()
			end()
			if !further.IsClosed() || !d.NATS.IsClosed() {
				t.Error("a connection stays open")
			}
		})
	}
}
