package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"millrace.dev/pkg/telemetry"
	"millrace.dev/pkg/version"
	"millrace.dev/pkg/wire"
)

// health says how a process is: alive if it answers, ready if it does its work and has its connection.
type health struct {
	meters *telemetry.Registry
	nats   *wire.Conn
	works  atomic.Bool
}

func newHealth(meters *telemetry.Registry, nc *wire.Conn) *health {
	return &health{meters: meters, nats: nc}
}

func (h *health) ready() {
	if !h.works.Swap(true) {
		slog.Info("ready")
	}
}

// serve answers at address until stop is called.
func (h *health) serve(ctx context.Context, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := listen(address)
	if err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { h.answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { h.answer(w, h.notReady()) })
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(version.Get()) // fails only when whoever asked has gone
	})
	mux.Handle("GET /metrics", h.meters.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("health is not served", "err", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			slog.Warn("health was cut off in the middle of an answer", "err", errors.Join(err, server.Close()))
		}
		<-done
	}, nil
}

func (h *health) notReady() error {
	switch {
	case !h.nats.IsConnected():
		return errors.New("not connected to NATS")
	case !h.works.Load():
		return errors.New("starting")
	default:
		return nil
	}
}

func (h *health) answer(w http.ResponseWriter, failure error) {
	if failure != nil {
		http.Error(w, failure.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok") // fails only when whoever asked has gone
}

// listen opens host:port or unix:/path; a socket that a killed process left behind is replaced.
func listen(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return net.Listen("tcp", address)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}
