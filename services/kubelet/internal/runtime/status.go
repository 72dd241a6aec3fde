package runtime

import (
	"cmp"
	"slices"
	"time"
)

// Pod is a sandbox as it is.
type Pod struct {
	UID, Namespace, Name string
	// NetNS is the file of its network namespace; empty with the host's network.
	NetNS string
	// Cgroup is the path of its control group.
	Cgroup string
	// Ready says that it is there as a whole: a pod whose creation failed half-way, or that a reboot has taken, is not.
	Ready     bool
	CreatedAt time.Time
}

// State is how far a container has come.
type State string

// The states of a container, in their order.
const (
	StateCreated State = "created"
	StateRunning State = "running"
	StateExited  State = "exited"
)

// Why a container ended, in Kubernetes' words.
const (
	ReasonCompleted  = "Completed"  // exit code 0
	ReasonError      = "Error"      // another one
	ReasonOOMKilled  = "OOMKilled"  // killed for want of memory
	ReasonStartError = "StartError" // it could not be run; exit code 128
	// ReasonUnknown is for a container that ended without anybody to see how: the machine was restarted, or the process
	// that watched over it was killed. Exit code 137.
	ReasonUnknown = "ContainerStatusUnknown"
)

// Exit codes that no program gave.
const (
	ExitStartError = 128
	ExitUnknown    = 137
)

// Container is one run of one container as it is.
type Container struct {
	ID                            string
	PodUID, PodNamespace, PodName string
	Name                          string
	Attempt                       int
	Kind                          Kind
	Image                         Image
	State                         State
	PID                           int // of its first process on this machine, while it runs
	CreatedAt                     time.Time
	StartedAt                     time.Time // zero: never
	FinishedAt                    time.Time // zero: not yet
	// ExitCode is that of its first process; 128 plus the number if a signal ended it, which Signal then repeats. The two
	// cannot be told apart from a program that exits with such a code.
	ExitCode, Signal int
	// Reason is one of the reasons above, once it has ended. Message says more for [ReasonStartError] and [ReasonUnknown].
	Reason, Message string
	// OOMKills is how many of its processes were killed for want of memory, also such as the container survived. It is
	// known once the container has ended.
	OOMKills int
	LogPath  string
	Cgroup   string // path of its control group
	// TTY, Stdin and StdinOnce are as it was made.
	TTY, Stdin, StdinOnce bool
	// User is as whom its first process runs.
	User   User
	Labels map[string]string
}

// User is a user with its groups, by number.
type User struct {
	UID, GID int64
	Groups   []int64
}

// OOMKilled says that the container ended for want of memory.
func (c Container) OOMKilled() bool { return c.Reason == ReasonOOMKilled }

// SortContainers orders containers as List gives them: by creation, then by id.
func SortContainers(list []Container) {
	slices.SortFunc(list, func(a, b Container) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// SortPods orders pods as ListPods gives them: by creation, then by uid.
func SortPods(list []Pod) {
	slices.SortFunc(list, func(a, b Pod) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.UID, b.UID))
	})
}
