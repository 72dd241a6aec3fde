// Package natsd is the NATS server as Millrace runs it: operator mode, four accounts, every write fsynced, and on one server
// the staging of batches in memory. `millrace up` runs it as a child process; on several machines the official server runs
// with the same settings from deploy/nats.
package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/state"
)

const (
	// maxPayload is the largest message, header included: several objects of 1.5 MiB in one request.
	maxPayload = 8 << 20
	// maxPending is how much may wait for one slow client before it is dropped (the server's default).
	maxPending   = 64 << 20
	startTimeout = 30 * time.Second
	startLook    = 100 * time.Millisecond // how often a server that starts is asked whether it has failed
)

// Config is how a server is run.
type Config struct {
	Name         string       `json:"name"`         // unique in the cluster
	Dir          string       `json:"dir"`          // where everything is stored
	Host         string       `json:"host"`         // address to listen on
	Port         int          `json:"port"`         // 0: any free one
	Auth         *auth.Public `json:"auth"`         // accounts
	MaxFileStore int64        `json:"maxFileStore"` // bytes; 0: 80 % of the free space of Dir's disk
	Volatile     bool         `json:"volatile"`     // no fsync: tests that lose nothing by it
}

// Server is a running server.
type Server struct {
	*server.Server
	config  Config
	staging string // mounted; empty: not
}

// Start runs a server and returns when it takes connections.
func Start(config Config) (*Server, error) {
	options, err := options(config)
	if err != nil {
		return nil, err
	}
	staging, err := stageInMemory(config)
	if err != nil {
		slog.Warn("batches are staged on disk and will be slow", "err", err)
	}
	ns, err := server.NewServer(options)
	if err != nil {
		unstage(staging)
		return nil, fmt.Errorf("nats server: %w", err)
	}
	fatal := make(chan string, 1)
	ns.SetLoggerV2(logger{to: slog.With("component", "nats"), staged: filepath.Dir(staging), fatal: fatal}, false, false, false)
	s := &Server{Server: ns, config: config, staging: staging}
	ns.Start()
	if err := awaitReady(ns, fatal); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// awaitReady waits until the server takes connections, or says that it never will.
func awaitReady(ns *server.Server, fatal <-chan string) error {
	for range startTimeout / startLook {
		if ns.ReadyForConnections(startLook) {
			return nil
		}
		select {
		case text := <-fatal:
			return fmt.Errorf("nats server: %s", text)
		default:
		}
	}
	return fmt.Errorf("nats server: not ready after %v; is its store damaged?", startTimeout)
}

// Run runs a server until ctx ends.
func Run(ctx context.Context, config Config) error {
	s, err := Start(config)
	if err != nil {
		return err
	}
	slog.Info("nats server ready", "url", s.ClientURL(), "dir", config.Dir)
	<-ctx.Done()
	s.Stop()
	return nil
}

// Stop ends the server in order: clients are told, stores are flushed.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
	unstage(s.staging)
}

func options(config Config) (*server.Options, error) {
	maxStore := config.MaxFileStore
	if maxStore == 0 {
		var err error
		if maxStore, err = mostOfDisk(config.Dir); err != nil {
			return nil, err
		}
	}
	port := config.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{
		ServerName: config.Name, Host: config.Host, Port: port, NoSigs: true, MaxPayload: maxPayload, MaxPending: maxPending,
		JetStream: true, StoreDir: config.Dir, JetStreamMaxStore: maxStore, JetStreamMaxMemory: 256 << 20,
		SyncAlways: !config.Volatile, WriteDeadline: 10 * time.Second, NoSystemAccount: config.Auth == nil,
	}
	if config.Auth == nil {
		return o, nil
	}
	operator, err := jwt.DecodeOperatorClaims(config.Auth.Operator)
	if err != nil {
		return nil, fmt.Errorf("nats server: operator: %w", err)
	}
	resolver, err := server.NewDirAccResolver(filepath.Join(config.Dir, "accounts"), 0, 0, server.NoDelete)
	if err != nil {
		return nil, fmt.Errorf("nats server: accounts: %w", err)
	}
	for account, token := range config.Auth.Accounts {
		if err := resolver.Store(config.Auth.IDs[account], token); err != nil {
			return nil, fmt.Errorf("nats server: account %s: %w", account, err)
		}
	}
	o.TrustedOperators = []*jwt.OperatorClaims{operator}
	o.SystemAccount = config.Auth.IDs[auth.SYS]
	o.AccountResolver = resolver
	return o, nil
}

// stageInMemory mounts a tmpfs where a lone server stages the batches of the state stream: each batch has its own file store with its
// own fsyncs, 12 to 25 ms, where memory needs 1.3 ms for a batch of two. What a kill loses there was never acknowledged.
func stageInMemory(config Config) (string, error) {
	account := "$G"
	if config.Auth != nil {
		account = config.Auth.IDs[auth.CTRL]
	}
	dir := filepath.Join(config.Dir, server.JetStreamStoreDir, account, "streams", state.Stream, "batches")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := mountMemory(dir); err != nil {
		return "", fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return dir, nil
}

// unstage unmounts what stageInMemory has mounted; empty: nothing.
func unstage(staging string) {
	if staging == "" {
		return
	}
	if err := unmount(staging); err != nil {
		slog.Warn("unmount batch staging", "component", "nats", "err", err)
	}
}
