// Package daemontest runs a private containerd for one test.
package daemontest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/pkg/need"
	"millrace.dev/services/kubelet/internal/runtime/containerd/daemon"
)

var daemons atomic.Int32

// Start runs a containerd in directories of its own, which are gone when the test has ended. It does not wait until that
// answers. No containers are to be run in it.
func Start(t testing.TB) *daemon.Daemon {
	t.Helper()
	need.Containerd(t)
	// Not below t.TempDir: the paths of sockets are short.
	dir := filepath.Join("/run", fmt.Sprintf("mrdaemon-%d-%d", os.Getpid(), daemons.Add(1)))
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := daemon.New(daemon.Config{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state")}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := d.Stop(ctx, time.Minute/2); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if _, err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}
