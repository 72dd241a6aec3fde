// Package daemon is the skeleton of a service: configuration, logs, signals, the NATS connection, health, and a stop in
// order. A service's main is one call of [Main].
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/lease"
	"millrace.dev/pkg/store/natskv"
	"millrace.dev/pkg/telemetry"
	"millrace.dev/pkg/wire"
)

// Common is the part of the configuration that every service has.
type Common struct {
	// NATS is the address of the server, or several separated by commas. Default: this machine's.
	NATS string `json:"nats"`
	// Credential is the file with the process's credential. Default: none, for servers without accounts.
	Credential string `json:"credential"`
	// Health is where /healthz, /readyz and /metrics are served: host:port, or unix:/path. Default: nowhere.
	Health string `json:"health"`
	// LogLevel is debug, info, warn or error. Default: info.
	LogLevel string `json:"logLevel"`
	// LogFormat is json or text. Default: json.
	LogFormat string `json:"logFormat"`
	// Name tells this process from others of its service. Default: the host's name and the process id.
	Name string `json:"name"`
}

// DefaultCommon is what a service starts from.
func DefaultCommon() Common {
	return Common{NATS: "nats://127.0.0.1:4222", LogLevel: "info", LogFormat: "json"}
}

// Validate says everything that is wrong.
func (c *Common) Validate() error {
	var errs []error
	if c.NATS == "" {
		errs = append(errs, errors.New("nats: the address of the NATS server is missing"))
	}
	if _, err := level(c.LogLevel); err != nil {
		errs = append(errs, err)
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		errs = append(errs, fmt.Errorf("logFormat: %q is neither json nor text", c.LogFormat))
	}
	return errors.Join(errs...)
}

func level(text string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("logLevel: %q is none of debug, info, warn, error", text)
	}
	return l, nil
}

// Config is the configuration of a service: a struct whose fields have json names, with the common part among them.
type Config interface {
	Validate() error
	// Base is the common part.
	Base() *Common
}

// Deps is what a running service is given.
type Deps struct {
	Process string     // the name of this process
	Source  string     // of the events it makes
	NATS    *wire.Conn // waits, while the server is away, with what is published
	Meters  *telemetry.Registry
	// Ready is called once the service does its work.
	Ready func()

	config *Common
	open   func() (*wire.Conn, error)
}

// Store opens the state bucket on a connection of its own; it waits until the bucket exists.
func (d *Deps) Store(ctx context.Context) (*natskv.Store, error) {
	nc, err := d.open()
	if err != nil {
		return nil, err
	}
	return natskv.Open(ctx, nc)
}

// Committing opens a further connection on which nothing waits while the server is away: what is published fails.
func (d *Deps) Committing() (*wire.Conn, error) { return d.open() }

// Leases takes leases for this process.
func (d *Deps) Leases() (*lease.Leases, error) {
	nc, err := d.open()
	if err != nil {
		return nil, err
	}
	return lease.New(nc, d.Process)
}

// Exit codes of a service.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// errSignal is why a service ends when it is told to.
var errSignal = errors.New("told to stop")

// Main runs a service and returns its exit code: 0 stopped, 1 failed, 2 bad flags or configuration.
func Main[C Config](service string, config C, run func(context.Context, C, *Deps) error) int {
	return configured(service, config, func(ctx context.Context) error {
		if err := serve(ctx, service, config, run); err != nil && !errors.Is(err, errSignal) {
			return err
		}
		slog.Info("stopped")
		return nil
	})
}

// Once runs something that ends by itself, with the same configuration and exit codes as the service, and without a connection.
func Once[C Config](name string, config C, run func(context.Context, C) error) int {
	return configured(name, config, func(ctx context.Context) error {
		return guarded(func() error { return run(ctx, config) })
	})
}

// configured reads a configuration and runs what it is for, with logs and signals set up; it returns the exit code.
func configured[C Config](name string, config C, run func(context.Context) error) int {
	show, err := Load(name, config, os.Args[1:], os.Environ())
	switch {
	case errors.Is(err, errHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return exitUsage
	case show:
		if err := Print(os.Stdout, config); err != nil {
			return exitFailed
		}
		return exitOK
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopOnSignal(cancel)
	slog.SetDefault(logger(os.Stderr, name, config.Base()))
	if err := run(ctx); err != nil {
		slog.Error("failed", "err", err)
		return exitFailed
	}
	return exitOK
}

// stopOnSignal ends the service at SIGTERM and SIGINT; a second one ends the process at once.
func stopOnSignal(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel(errSignal)
		<-signals
		os.Exit(exitFailed)
	}()
}

func logger(to io.Writer, service string, c *Common) *slog.Logger {
	l, _ := level(c.LogLevel)
	options := &slog.HandlerOptions{Level: l}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(to, options)).With("service", service)
	}
	return slog.New(slog.NewJSONHandler(to, options)).With("service", service)
}

// serve connects, serves health, runs the service, and stops in order: the service, its connections, health.
func serve[C Config](ctx context.Context, service string, config C, run func(context.Context, C, *Deps) error) error {
	deps, closeAll, err := connect(service, config.Base())
	if err != nil {
		return err
	}
	health := newHealth(deps.Meters, deps.NATS)
	deps.Ready = health.ready
	stop, err := health.serve(ctx, config.Base().Health)
	if err != nil {
		closeAll()
		return err
	}
	defer stop()
	defer closeAll()
	slog.Info("started", "process", deps.Process)
	return guarded(func() error { return run(ctx, config, deps) })
}

func connect(service string, c *Common) (*Deps, func(), error) {
	d := &Deps{Process: processName(service, c.Name), Meters: telemetry.New(), config: c}
	d.Source = "/millrace/" + d.Process
	base := wire.Config{URL: c.NATS, Name: d.Process, Steady: true}
	if c.Credential != "" {
		credential, err := auth.LoadCredential(c.Credential)
		if err != nil {
			return nil, nil, err
		}
		bearer, err := credential.Bearer()
		if err != nil {
			return nil, nil, err
		}
		base.JWT, base.Seed, base.Inbox = credential.JWT, credential.Seed, wire.Inbox(bearer)
		if service == "millrace-proxy" {
			base.Inbox = wire.ProxyInbox(bearer)
		}
		base.Steady = service != "millrace-kubelet" && service != "millrace-proxy"
	}
	var mu sync.Mutex
	var open []*wire.Conn
	dial := func(commits bool) (*wire.Conn, error) {
		config := base
		config.Commits = commits
		nc, err := wire.Connect(config)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		open = append(open, nc)
		return nc, nil
	}
	d.open = func() (*wire.Conn, error) { return dial(true) }
	var err error
	d.NATS, err = dial(false)
	return d, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, nc := range open {
			if err := nc.FlushTimeout(time.Second); err != nil {
				slog.Warn("the last words of this process may be lost", "err", err)
			}
			nc.Close()
		}
	}, err
}

func processName(service, name string) string {
	if name != "" {
		return name
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%s-%d", service, host, os.Getpid())
}

// Member is a part of a service that lives as long as its context.
type Member func(context.Context) error

// All runs the members until one returns; that ends the context of the others, and All returns when all have, with the
// first error that was not just the end of ctx. A panic of a member is such an error.
func All(ctx context.Context, members ...Member) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() {
			err := guarded(func() error { return m(ctx) })
			if err == nil {
				err = errors.New("a member of the service ended")
			}
			cancel(err)
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// guarded turns a panic into an error: the process then stops in order and exits with 1. Go's own exit code of a panic is 2,
// which says that the configuration is bad and that no restart would mend it.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
