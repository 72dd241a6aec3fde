package runtime

import (
	"errors"
	"fmt"
)

// What callers react to. Errors wrap one of these, or are one of the types below.
var (
	// ErrNotFound: no such pod or container.
	ErrNotFound = errors.New("not found")
	// ErrImageNotFound: the image is not on this machine (any more). Pull it again.
	ErrImageNotFound = errors.New("image not found")
	// ErrNoCommand: neither the container nor its image names one.
	ErrNoCommand = errors.New("no command specified")
	// ErrInvalid: the configuration can never work: an unknown capability, a bad signal name, a sysctl that is not the pod's.
	ErrInvalid = errors.New("invalid")
	// ErrNotRunning: the container does not run (yet, or any more).
	ErrNotRunning = errors.New("container is not running")
	// ErrEnded: the container has run already.
	ErrEnded = errors.New("container has ended")
	// ErrUnavailable: the daemon below does not answer. Try again.
	ErrUnavailable = errors.New("container runtime is unavailable")
)

// StartError says that a command could not be run. Kubernetes shows a container whose start failed so as
// RunContainerError, and its end as StartError.
type StartError struct {
	// Message is the low-level runtime's own: it names the command and what is wrong with it.
	Message string
}

func (e *StartError) Error() string { return e.Message }

// UserError says that the user that a container or its image names is not in the image.
type UserError struct {
	User string
}

func (e *UserError) Error() string {
	return fmt.Sprintf("unable to find user %s: no matching entries in passwd file", e.User)
}
