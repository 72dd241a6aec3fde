package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"millrace.dev/services/kubelet/internal/cgroup"
)

// PodConfig is the sandbox of a pod.
type PodConfig struct {
	UID, Namespace, Name string // required
	// Hostname in the pod's own UTS namespace; not used with HostNetwork, where pods have that of the machine.
	Hostname string
	// HostNetwork and HostIPC leave the pod in the namespaces of the kubelet; HostPID lets its containers see all processes.
	HostNetwork, HostIPC, HostPID bool
	// SharePID lets the containers of the pod see each other's processes. It has one process that holds the namespace.
	SharePID bool
	// Sysctls are kernel parameters of the pod's own namespaces.
	Sysctls map[string]string
	// Limits bound all containers of the pod together.
	Limits cgroup.Limits
}

// Kind says what a container is for.
type Kind string

// The kinds of containers. A sidecar is an init container.
const (
	KindApp       Kind = "app"
	KindInit      Kind = "init"
	KindEphemeral Kind = "ephemeral"
)

// Image is an image on this machine, as package image found it.
type Image struct {
	// Name is its full name ("docker.io/library/nginx:1.25"). Required.
	Name string
	// Digest is that of what the name points to ("sha256:..."). If it is there, the name is not looked up.
	Digest string
}

// ID is what Kubernetes calls imageID: the repository with the digest.
func (i Image) ID() string {
	if i.Digest == "" {
		return i.Name
	}
	repository, _, _ := strings.Cut(i.Name, "@")
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository = repository[:colon]
	}
	return repository + "@" + i.Digest
}

// ContainerConfig is one run of one container of a pod. Its sandbox must be there.
type ContainerConfig struct {
	PodUID, Name string // required
	Attempt      int    // 0 for the first run
	Kind         Kind   // required
	Image        Image
	// Command replaces the image's entrypoint and drops its command; Args replaces its command.
	Command, Args []string
	// WorkingDir replaces the image's. It is made if it is not there.
	WorkingDir string
	// Env are NAME=value pairs, which replace those of the image with the same name.
	Env     []string
	Mounts  []Mount
	Devices []Device
	// Resources bound this container.
	Resources Resources
	Security  Security
	// TTY gives it a terminal. Stdin keeps its input open for those who attach, StdinOnce only until the first one leaves.
	TTY, Stdin, StdinOnce bool
	Log                   Log
	// StopSignal replaces the image's ("SIGQUIT"); SIGTERM if neither names one.
	StopSignal string
	// Target is the id of a running container whose processes this one sees. For ephemeral containers.
	Target string
	// Labels are kept with the container and given back.
	Labels map[string]string
}

// Log is where and how the output of a container is kept.
type Log struct {
	// Path of the newest file; its directory is made. Empty: the output is thrown away.
	Path string
	// MaxBytes and MaxFiles are those of package logger; 0 is its default.
	MaxBytes int64
	MaxFiles int
}

// Propagation says whether mounts made later on one side of a mount are seen on the other.
type Propagation string

// The propagations, as Kubernetes has them.
const (
	PropagationNone            Propagation = ""
	PropagationHostToContainer Propagation = "HostToContainer"
	PropagationBidirectional   Propagation = "Bidirectional"
)

// Mount shows a file or directory of the machine in a container.
type Mount struct {
	HostPath, ContainerPath string
	ReadOnly                bool
	Propagation             Propagation
}

// Device shows a device of the machine in a container.
type Device struct {
	HostPath, ContainerPath string
	Permissions             string // of "rwm"
}

// Resources bound a container. Zero means no limit.
type Resources struct {
	cgroup.Limits
	// OOMScoreAdj is how readily the kernel kills it for want of memory, -1000 to 1000. What the process may not set is
	// raised to the least it may.
	OOMScoreAdj int
}

// Security is as whom a container runs and what it may do.
type Security struct {
	// UID and GID replace the image's user. A UID without GID has the group that the image's passwd gives it, or 0.
	UID, GID *int64
	// Groups are further groups. The image's own groups of the user come on top, unless StrictGroups.
	Groups       []int64
	StrictGroups bool
	// Privileged gives all capabilities and devices and removes every confinement.
	Privileged       bool
	ReadOnlyRootfs   bool
	NoNewPrivileges  bool
	AddCapabilities  []string // "NET_ADMIN", "CAP_NET_ADMIN" or "ALL"
	DropCapabilities []string
	// AmbientCapabilities lets a user that is not root keep the capabilities that are added.
	AmbientCapabilities bool
	Seccomp             Seccomp
	// UnmaskedProc shows /proc as it is.
	UnmaskedProc bool
}

// SeccompKind says which filter of system calls a container has.
type SeccompKind string

// The kinds of filters, as Kubernetes has them.
const (
	SeccompUnconfined     SeccompKind = "" // Kubernetes' default, unless a node is configured otherwise
	SeccompRuntimeDefault SeccompKind = "RuntimeDefault"
	SeccompLocalhost      SeccompKind = "Localhost"
)

// Seccomp is a filter of system calls.
type Seccomp struct {
	Kind SeccompKind
	// Path is the file with the profile, for Localhost.
	Path string
}

// ContainerID is the id of one run of one container: the same parts always give the same id.
func ContainerID(podUID, name string, attempt int) string {
	sum := sha256.Sum256([]byte(podUID + "\x00" + name + "\x00" + strconv.Itoa(attempt)))
	return hex.EncodeToString(sum[:])
}
