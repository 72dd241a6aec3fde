// Package runtime says what the kubelet can do with pods and containers on its machine: an interface and plain data, of
// which containerd is one implementation and a fake another. Both pass the suite in runtimetest.
//
// A pod is a sandbox: the namespaces its containers share, and a control group above theirs. No process holds it. A
// container is made once (Create), runs once (Start) and stays as it ended until it is removed, so that its log and its
// result can be read; to run it again is to make the next one, with a higher attempt.
//
// Nothing here depends on the life of the kubelet or of the daemon below: containers run on when either is killed, and a
// runtime made anew over the same directories finds every pod, every container and every result, also of those that
// ended while nobody watched.
package runtime

import (
	"context"
	"io"
	"time"
)

// Runtime is the machine's side of the kubelet. All methods are safe for concurrent use. Calls for one pod or container
// are not to overlap, except that Stop, Kill, Exec, Attach and the reading ones may run beside any other.
//
// Every method can fail with [ErrUnavailable] while the daemon is away: nothing is lost, and the call may be made again.
// Every method that takes a context returns its cause when it ends.
type Runtime interface {
	Pods
	Containers
	Streams
	// Run watches every container until ctx ends, which returns nil. The other methods wait until it has found what is
	// there. It is called once.
	Run(ctx context.Context) error
	// Events tells of every exit that this runtime finds out, once: also of those that came while there was no runtime,
	// unless their result was stored already, as List then shows from the beginning. A start that fails is told by Start
	// alone. One reader; what it has not read yet waits.
	Events() <-chan Event
}

// Pods makes and removes sandboxes.
type Pods interface {
	// CreatePod makes the sandbox of a pod, or gives the one that is there, as it was made. What a failed attempt left is
	// made good. Errors: [ErrInvalid] (a sysctl that is not the pod's to set).
	CreatePod(ctx context.Context, c PodConfig) (Pod, error)
	// RemovePod kills and removes every container of a pod, then its sandbox with control group and namespaces. A pod that
	// is not there is no error; what only half exists is removed. The network is detached before by whoever attached it.
	RemovePod(ctx context.Context, uid string) error
	// ListPods gives every sandbox, also such as are only half there.
	ListPods(ctx context.Context) ([]Pod, error)
}

// Containers runs containers. An id is that of [ContainerID]; one that is not there is [ErrNotFound].
type Containers interface {
	// Create makes a container in a sandbox without running anything. One that is there already is given as it is. Errors:
	// [ErrImageNotFound], [ErrNotFound] (no such sandbox), [ErrNoCommand], [ErrInvalid], [UserError].
	Create(ctx context.Context, c ContainerConfig) (Container, error)
	// Start runs a created container. If it cannot be run, the container has ended with [ReasonStartError] and the error is
	// a [StartError]. A running container is given as it is; one that has ended is [ErrEnded].
	Start(ctx context.Context, id string) (Container, error)
	// Stop sends the stop signal of the container, waits up to grace for its end, then kills it with all its processes. It
	// returns the container as it ended. A grace of zero kills at once. One that was never started ends without a trace; one
	// that has ended is given as it is.
	Stop(ctx context.Context, id string, grace time.Duration) (Container, error)
	// Kill sends one signal by name or number ("SIGHUP", "HUP", "1") to the first process. Errors: [ErrNotRunning].
	Kill(ctx context.Context, id, signal string) error
	// Remove removes a container, killing it if it runs. Its log stays. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// Update changes the limits of a running container in place. Errors: [ErrNotRunning].
	Update(ctx context.Context, id string, r Resources) error
	// Status is one container as it is now. Reading costs no round trip.
	Status(ctx context.Context, id string) (Container, error)
	// List gives the containers of one pod, or of all pods if uid is empty, oldest first. Reading costs no round trip.
	List(ctx context.Context, podUID string) ([]Container, error)
	// Wait returns the container when it has ended, or at once if it has.
	Wait(ctx context.Context, id string) (Container, error)
}

// Streams talks with running containers.
type Streams interface {
	// Exec runs a command in a running container until it ends, and returns its exit code. When ctx ends, the command is
	// killed. The error is a [StartError] if it cannot be run, [ErrNotRunning] if the container does not run.
	Exec(ctx context.Context, id string, e ExecConfig) (exitCode int, err error)
	// Attach connects with the streams of a running container until it ends (nil), the input ends where that is all there
	// is, or ctx ends. Several may be attached; each sees all output from now on. A reader that is too slow is cut off.
	Attach(ctx context.Context, id string, a AttachConfig) error
}

// Event says that a container has ended.
type Event struct {
	Container Container
}

// ExecConfig is a command to be run in a container.
type ExecConfig struct {
	Args []string
	// TTY gives the command a terminal: there is no Stderr then.
	TTY bool
	// Stdin is read to its end, nil means none. It is not closed.
	Stdin io.Reader
	// Stdout and Stderr may be nil and may be the same.
	Stdout, Stderr io.Writer
	// Resize sets the size of the terminal, from the first one on. May be nil.
	Resize <-chan Size
}

// AttachConfig are the streams to connect; those that are nil are left out.
type AttachConfig struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Resize         <-chan Size
}

// Size is that of a terminal, in characters.
type Size struct{ Width, Height uint16 }
