// Package natstest runs a NATS server inside a test.
package natstest

import (
	"net"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/natsd"
	"millrace.dev/pkg/store/natskv"
	"millrace.dev/pkg/wire"
)

// Server is a server that ends with its test.
type Server struct {
	*natsd.Server
	t      testing.TB
	config natsd.Config
}

// Run starts a server without accounts whose streams exist. Nothing is fsynced unless durable.
func Run(t testing.TB) *Server {
	t.Helper()
	return Start(t, natsd.Config{Name: "test", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 4 << 30, Volatile: true})
}

// Start runs a server with a configuration of the test's own; without accounts its streams exist when it returns.
func Start(t testing.TB, config natsd.Config) *Server {
	t.Helper()
	s, err := natsd.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Server: s, t: t, config: config}
	t.Cleanup(func() { server.Stop() })
	if config.Auth == nil {
		js, err := jetstream.New(server.Connect())
		if err != nil {
			t.Fatal(err)
		}
		if err := natskv.EnsureStreams(t.Context(), js, 1); err != nil {
			t.Fatal(err)
		}
	}
	return server
}

// Restart ends the server and starts it again on the same port and store, as another instance.
func (s *Server) Restart() {
	s.t.Helper()
	port := s.Addr().(*net.TCPAddr).Port
	s.Stop()
	s.config.Port = port
	again, err := natsd.Start(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = again
}

// Connect opens a connection as a committing process has it.
func (s *Server) Connect() *nats.Conn {
	s.t.Helper()
	nc, err := wire.Connect(wire.Config{URL: s.ClientURL(), Name: s.t.Name(), Commits: true, Steady: true, Once: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// Open opens the state bucket.
func (s *Server) Open() *natskv.Store {
	s.t.Helper()
	st, err := natskv.Open(s.t.Context(), s.Connect())
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}
