package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"millrace.dev/services/kubelet/internal/runtime"
)

// DefaultNamespace is the namespace of containerd in which everything of ours lies.
const DefaultNamespace = "millrace"

// Conn is a connection to a containerd daemon. It is there from the beginning and connects again by itself, also to a
// daemon that was not there yet or was started anew.
type Conn struct {
	client             *client.Client
	address, namespace string
}

// Dial makes a connection to the socket of a daemon, without waiting for it. namespace is [DefaultNamespace] if empty.
func Dial(address, namespace string) (*Conn, error) {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	// A daemon that is started anew should be found again within a moment, not within gRPC's seconds.
	patience := grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
		MinConnectTimeout: 5 * time.Second,
	}
	c, err := client.New(address, client.WithDefaultNamespace(namespace),
		client.WithExtraDialOpts([]grpc.DialOption{grpc.WithConnectParams(patience)}))
	if err != nil {
		return nil, fmt.Errorf("dial containerd %s: %w", address, err)
	}
	return &Conn{client: c, address: address, namespace: namespace}, nil
}

// shimSocket is the socket of a container's shim. The daemon removes it only if the shim ends in good order.
func (c *Conn) shimSocket(id string) string {
	sum := sha256.Sum256([]byte(filepath.Join(c.address, c.namespace, id)))
	return filepath.Join("/run/containerd/s", hex.EncodeToString(sum[:]))
}

// Client is the connection as containerd's own library has it, for the packages that have business with containerd.
func (c *Conn) Client() *client.Client { return c.client }

// Close ends the connection.
func (c *Conn) Close() error { return c.client.Close() }

// Ready returns when the daemon answers; before, only the end of ctx makes it return.
func (c *Conn) Ready(ctx context.Context) error {
	for {
		_, err := c.client.VersionService().Version(ctx, &emptypb.Empty{}, waitForReady)
		if err = Translate(ctx, err); !errors.Is(err, runtime.ErrUnavailable) {
			return err
		}
	}
}

// Version waits for the daemon and asks for its version.
func (c *Conn) Version(ctx context.Context) (string, error) {
	answer, err := c.client.VersionService().Version(ctx, &emptypb.Empty{}, waitForReady)
	if err != nil {
		return "", Translate(ctx, err)
	}
	return answer.Version, nil
}

// Translate makes of an error of the daemon one that this module knows: the cause of ctx if that has ended,
// [runtime.ErrUnavailable], [runtime.ErrNotFound], or the error itself with its text.
func Translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	native := err
	if _, plain := status.FromError(err); plain { // not yet one of the library's, or of ours
		native = errgrpc.ToNative(err)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, runtime.ErrUnavailable), errors.Is(err, runtime.ErrNotFound):
		return err
	case errdefs.IsUnavailable(native):
		return fmt.Errorf("%w: %w", runtime.ErrUnavailable, native)
	case errdefs.IsNotFound(native):
		return fmt.Errorf("%w: %w", runtime.ErrNotFound, native)
	default:
		return native
	}
}
