package natsd

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

func config(t *testing.T) Config {
	t.Helper()
	return Config{Name: "test", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 1 << 30, Volatile: true}
}

func start(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func connect(t *testing.T, s *Server, c *auth.Credential) *wire.Conn {
	t.Helper()
	config := wire.Config{URL: s.ClientURL(), Name: t.Name(), Steady: true, Once: true}
	if c != nil {
		config.JWT, config.Seed, config.Inbox = c.JWT, c.Seed, "_INBOX_"+t.Name()
	}
	nc, err := wire.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Acknowledged means fsynced, and what a store may take is bounded: a full disk would make it mute.
func TestStoreIsDurableAndBounded(t *testing.T) {
	c := config(t)
	c.Volatile, c.MaxFileStore = false, 123<<20
	got := start(t, c).JetStreamConfig()
	if !got.SyncAlways || got.MaxStore != 123<<20 || got.MaxMemory == 0 || !strings.HasPrefix(got.StoreDir, c.Dir) {
		t.Errorf("JetStream runs with %+v, want every write fsynced and at most %d bytes below %s", got, 123<<20, c.Dir)
	}
	c = config(t)
	if start(t, c).JetStreamConfig().SyncAlways {
		t.Error("a volatile server fsyncs")
	}
}

func TestLargestMessage(t *testing.T) {
	nc := connect(t, start(t, config(t)), nil)
	if nc.MaxPayload() != 8<<20 {
		t.Errorf("the largest message has %d bytes, want 8 MiB: header and several objects of 1.5 MiB", nc.MaxPayload())
	}
}

func TestStartSaysAtOnceWhyItCannot(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test ends
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"a port that is taken", func(c *Config) { c.Port = taken.Addr().(*net.TCPAddr).Port }, "address already in use"},
		{"a name that is none", func(c *Config) { c.Name = "two words" }, "cannot contain spaces"},
		{"a damaged operator", func(c *Config) { c.Auth = &auth.Public{Operator: "x"} }, "operator"},
		{"a directory that is a file", func(c *Config) { c.Dir = os.Args[0]; c.MaxFileStore = 0 }, "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config(t) // its directory must be removable at the end: nothing is mounted there any more
			tt.change(&c)
			began := time.Now()
			s, err := Start(c)
			if err == nil {
				s.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Start = %v, want an error that says %q", err, tt.want)
			}
			if took := time.Since(began); took > startTimeout/2 {
				t.Errorf("it took %v to say so", took)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	c := config(t)
	go func() { done <- Run(ctx, c) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := Run(t.Context(), Config{Name: "two words", Dir: c.Dir, MaxFileStore: 1}); err == nil {
		t.Error("Run of a server that cannot start has no error")
	}
}

// cluster is a server with accounts and the keys that made them.
func cluster(t *testing.T) (Config, *auth.Authority) {
	t.Helper()
	authority, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	c := config(t)
	if c.Auth, err = authority.Public(); err != nil {
		t.Fatal(err)
	}
	return c, authority
}

func mint(t *testing.T, a *auth.Authority, role auth.Role, name string) *auth.Credential {
	t.Helper()
	c, err := a.Mint(role, name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// Accounts lie in the server's directory and are those of the configuration; JetStream is the control plane's alone.
func TestAccounts(t *testing.T) {
	c, authority := cluster(t)
	s := start(t, c)
	for account, id := range c.Auth.IDs {
		got, err := os.ReadFile(filepath.Join(c.Dir, "accounts", id+".jwt"))
		if err != nil || string(got) != c.Auth.Accounts[account] {
			t.Errorf("account %s is not stored as configured: %v", account, err)
		}
	}
	for account, id := range c.Auth.IDs {
		known, err := s.LookupAccount(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := known.JetStreamEnabled(), account == auth.CTRL; got != want {
			t.Errorf("account %s has JetStream: %v, want %v", account, got, want)
		}
	}
	if _, err := connect(t, s, mint(t, authority, auth.RoleAPI, "x")).Request("$JS.API.INFO", nil, 5*time.Second); err != nil {
		t.Errorf("JetStream does not answer the api: %v", err)
	}
	stranger, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	foreign := mint(t, stranger, auth.RoleAPI, "x")
	if nc, err := wire.Connect(wire.Config{URL: s.ClientURL(), JWT: foreign.JWT, Seed: foreign.Seed, Once: true}); err == nil {
		nc.Close()
		t.Error("a credential of another cluster is let in")
	}
	if nc, err := wire.Connect(wire.Config{URL: s.ClientURL(), Once: true}); err == nil {
		nc.Close()
		t.Error("somebody without a credential is let in")
	}
}

// An account can be changed while the server runs, through the system account: so a user is revoked.
func TestRevokedUserIsCutOff(t *testing.T) {
	c, authority := cluster(t)
	s := start(t, c)
	user := mint(t, authority, auth.RoleUser, "alice")
	nc := connect(t, s, user)
	claims, err := jwt.DecodeAccountClaims(c.Auth.Accounts[auth.USERS])
	if err != nil {
		t.Fatal(err)
	}
	who, err := jwt.DecodeUserClaims(user.JWT)
	if err != nil {
		t.Fatal(err)
	}
	claims.Revoke(who.Subject)
	operator, err := nkeys.FromSeed([]byte(authority.Operator))
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := claims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	cut := nc.StatusChanged()
	system := connect(t, s, mint(t, authority, auth.RoleSystem, "system"))
	answer, err := system.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(revoked), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Error json.RawMessage }
	if err := json.Unmarshal(answer.Data, &told); err != nil || told.Error != nil {
		t.Fatalf("the server answers %s, %v", answer.Data, err)
	}
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case <-cut:
	case <-timeout.C:
		t.Error("a revoked user stays connected")
	}
	if stored, err := os.ReadFile(filepath.Join(c.Dir, "accounts", claims.Subject+".jwt")); err != nil || string(stored) != revoked {
		t.Errorf("the changed account is not stored: %v", err)
	}
}

// The server's own lines become ours; the one that every first start brings is no warning.
func TestLogger(t *testing.T) {
	var to bytes.Buffer
	fatal := make(chan string, 1)
	l := logger{to: slog.New(slog.NewTextHandler(&to, nil)), staged: "/x/KV_state", fatal: fatal}
	l.Noticef("notice %d", 1)
	l.Debugf("debug %d", 1)
	l.Tracef("trace %d", 1)
	l.Warnf("  Missing stream metafile for %q", "/x/KV_state")
	if to.Len() > 0 {
		t.Errorf("logged at the level info: %s", to.String())
	}
	l.Warnf("Missing stream metafile for %q", "/x/EVENTS")
	l.Errorf("error %d", 2)
	l.Fatalf("fatal %d", 3)
	l.Fatalf("fatal %d", 4) // nobody waits for it
	for _, want := range []string{"level=WARN", "EVENTS", "level=ERROR", "error 2", "fatal 3", "fatal 4"} {
		if !strings.Contains(to.String(), want) {
			t.Errorf("%q is not logged:\n%s", want, to.String())
		}
	}
	if got := <-fatal; got != "fatal 3" {
		t.Errorf("handed on %q, want the first that was fatal", got)
	}
}

// On a machine that lets us mount nothing, batches are slow, and that is all.
func TestServerRunsWithoutStagingInMemory(t *testing.T) {
	c := config(t)
	staging := filepath.Join(c.Dir, "jetstream", "$G", "streams", state.Stream, "batches")
	if err := os.MkdirAll(filepath.Dir(staging), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(staging, nil, 0o600); err != nil { // no directory, so nothing can be mounted on it
		t.Fatal(err)
	}
	s := start(t, c)
	if s.staging != "" {
		t.Errorf("batches are staged on %s", s.staging)
	}
	if _, err := connect(t, s, nil).Request("$JS.API.INFO", nil, 5*time.Second); err != nil {
		t.Errorf("JetStream does not answer: %v", err)
	}
}
