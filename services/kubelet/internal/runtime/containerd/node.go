package containerd

import (
	"context"
	"errors"
	"log/slog"

	"millrace.dev/services/kubelet/internal/runtime/containerd/daemon"
)

// DaemonConfig says which containerd a kubelet works with: exactly one of the two.
type DaemonConfig struct {
	// Address is the socket of a containerd that somebody else runs.
	Address string `json:"address,omitempty"`
	// Managed is a containerd of the node's own, which the kubelet starts, takes over and starts anew, and which outlives it.
	Managed *daemon.Config `json:"managed,omitempty"`
}

// Open makes the connection to that daemon, and the member of the service that keeps the daemon alive (nil if that is not
// ours to do). It waits for nothing: see [Conn.Ready].
func (c DaemonConfig) Open(log *slog.Logger) (*Conn, func(context.Context) error, error) {
	switch {
	case (c.Address == "") == (c.Managed == nil):
		return nil, nil, errors.New("containerd: want either address or managed")
	case c.Managed == nil:
		conn, err := Dial(c.Address, DefaultNamespace)
		return conn, nil, err
	}
	d, err := daemon.New(*c.Managed, log)
	if err != nil {
		return nil, nil, err
	}
	conn, err := Dial(d.Address(), DefaultNamespace)
	return conn, d.Run, err
}
