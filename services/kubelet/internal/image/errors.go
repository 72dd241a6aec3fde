package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"

	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/containerd"
)

// The kinds of errors of a pull. All but the first are worth another try, after a while.
var (
	// ErrInvalidName: the name can never be that of an image (InvalidImageName).
	ErrInvalidName = errors.New("invalid image name")
	// ErrNotFound: the image is not there, neither at a mirror nor at the registry, or not on this machine.
	ErrNotFound = errors.New("image not found")
	// ErrUnauthorized: the registry wants credentials, or others.
	ErrUnauthorized = errors.New("image pull unauthorized")
	// ErrRateLimited: the registry says that too much is pulled.
	ErrRateLimited = errors.New("image pull rate limited")
	// ErrTimeout: nothing came for too long.
	ErrTimeout = errors.New("image pull timed out")
	// ErrRegistryUnavailable: the registry cannot be reached, breaks off or says that something is wrong with itself
	// (RegistryUnavailable).
	ErrRegistryUnavailable = errors.New("registry unavailable")
)

// PullError is why an image was not pulled. Its text is that of Kubernetes' nodes: users see it in the status of a
// container that waits with ErrImagePull.
type PullError struct {
	// Ref is the full name.
	Ref string
	// Kind is one of the sentinels above, [runtime.ErrUnavailable], or nil.
	Kind error

	message string
	err     error
}

func (e *PullError) Error() string { return e.message }

// Unwrap gives the kind and the cause.
func (e *PullError) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.err}
	}
	return []error{e.Kind, e.err}
}

// pullError says in Kubernetes' words why a pull failed. last is the last answer of a registry that was an error.
func pullError(ctx context.Context, ref string, err error, last *badAnswer) error {
	translated := containerd.Translate(ctx, err)
	if ctx.Err() != nil {
		return translated
	}
	kind := kindOf(translated, last)
	text := err.Error()
	if errors.Is(kind, ErrNotFound) && last.is(http.StatusNotFound) && !strings.Contains(text, "not found") {
		text += ": not found"
	}
	if last != nil && !errors.Is(kind, ErrNotFound) {
		if !strings.Contains(text, last.status) {
			text += ": " + last.status
		}
		if last.text != "" && !strings.Contains(text, last.text) {
			text += ": " + last.text
		}
	}
	return &PullError{Ref: ref, Kind: kind, message: fmt.Sprintf("failed to pull and unpack image %q: %s", ref, text), err: err}
}

func kindOf(err error, last *badAnswer) error {
	var timeout net.Error
	switch {
	case errors.Is(err, runtime.ErrUnavailable), strings.Contains(err.Error(), brokenStream):
		return runtime.ErrUnavailable
	case last.is(http.StatusTooManyRequests):
		return ErrRateLimited
	case last.is(http.StatusUnauthorized), last.is(http.StatusForbidden):
		return ErrUnauthorized
	case errors.Is(err, errStalled), errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	case errdefs.IsNotFound(err), errors.Is(err, runtime.ErrNotFound), last.is(http.StatusNotFound):
		return ErrNotFound
	case last != nil && last.code >= http.StatusInternalServerError, errors.Is(err, io.ErrUnexpectedEOF), isNetwork(err):
		return ErrRegistryUnavailable
	default:
		return nil
	}
}

// brokenStream is what the library says when the daemon dies while content is sent to it.
const brokenStream = "failed to send write"

// isNetwork says that a connection could not be made or broke.
func isNetwork(err error) bool {
	_, dialed := errors.AsType[*net.OpError](err)
	_, named := errors.AsType[*net.DNSError](err)
	return dialed || named || errors.Is(err, io.EOF) || strings.Contains(err.Error(), "httpReadSeeker")
}
