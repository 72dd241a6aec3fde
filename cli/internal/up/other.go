//go:build !linux

package up

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// errLinux is the answer on every other system.
var errLinux = errors.New("a cluster runs on Linux only; from here, reach one that runs elsewhere through a context")

// Start has a cluster run in the background.
func Start(context.Context, *Config, []string, io.Writer) (already bool, err error) {
	return false, errLinux
}

// Supervise runs the cluster until ctx ends.
func Supervise(context.Context, *Config) error { return errLinux }

// Stop ends a cluster.
func Stop(context.Context, *Config, bool, io.Writer) error { return errLinux }

// WithSignals is a context that ends at SIGTERM and SIGINT.
func WithSignals(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
}

// NewNATS is a verb that says that there is none.
func NewNATS() *cobra.Command {
	return &cobra.Command{Use: "nats", Hidden: true, RunE: func(*cobra.Command, []string) error { return errLinux }}
}

// expected names nothing: nothing runs.
func expected(*Config) []string { return nil }
