package containerd

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"

	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/sandbox"
)

// processSpec is how a process begins in a container.
type processSpec = specs.Process

// specInput is everything that the specification of a container follows from.
type specInput struct {
	config   *runtime.ContainerConfig
	image    *localImage
	user     runtime.User
	pod      *sandboxRecord
	dir      string // of the pod's namespaces
	cgroup   string
	target   int // process whose process namespace is shared; 0: none
	confines confines
	hostNet  string // file of the kubelet's network namespace
}

// makeSpec is the specification of a container. It reads nothing but a seccomp profile and, if privileged, the devices.
func makeSpec(in *specInput) (*specs.Spec, error) {
	c := in.config
	process, err := in.process()
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs", Readonly: c.Security.ReadOnlyRootfs},
		Process: process,
		Mounts:  in.mounts(),
		Linux: &specs.Linux{
			CgroupsPath:       in.cgroup,
			Namespaces:        in.namespaces(),
			Resources:         linuxResources(c.Resources),
			RootfsPropagation: rootfsPropagation(c.Mounts),
		},
	}
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	if c.Security.Privileged {
		return s, addHostDevices(s)
	}
	if !c.Security.UnmaskedProc {
		s.Linux.MaskedPaths = maskedPaths
		s.Linux.ReadonlyPaths = readonlyPaths
	}
	if err := addDevices(s, c.Devices); err != nil {
		return nil, err
	}
	s.Linux.Seccomp, err = seccompFilter(c.Security.Seccomp, s)
	return s, err
}

// maskedPaths and readonlyPaths are those that every runtime of Kubernetes hides from containers.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
		"/proc/sched_debug", "/sys/firmware", "/sys/devices/virtual/powercap", "/proc/scsi",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func (in *specInput) process() (*specs.Process, error) {
	c := in.config
	args := command(c, in.image.config.Entrypoint, in.image.config.Cmd)
	if len(args) == 0 {
		return nil, runtime.ErrNoCommand
	}
	granted, err := in.confines.capabilitiesFor(&c.Security)
	if err != nil {
		return nil, err
	}
	p := &specs.Process{
		Terminal:        c.TTY,
		Args:            args,
		Cwd:             "/",
		Env:             in.env(),
		NoNewPrivileges: c.Security.NoNewPrivileges,
		User:            specs.User{UID: uint32(in.user.UID), GID: uint32(in.user.GID)},
		Capabilities:    &specs.LinuxCapabilities{Bounding: granted, Effective: granted, Permitted: granted},
		Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: in.confines.openFiles, Soft: in.confines.openFiles}},
		OOMScoreAdj:     new(max(c.Resources.OOMScoreAdj, in.confines.minOOMScore)),
	}
	if c.Security.AmbientCapabilities {
		p.Capabilities.Inheritable, p.Capabilities.Ambient = granted, granted
	}
	for _, g := range in.user.Groups {
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
	}
	for _, dir := range []string{c.WorkingDir, in.image.config.WorkingDir} {
		if dir != "" {
			p.Cwd = dir
			break
		}
	}
	return p, nil
}

// command is what a container runs: Kubernetes' rule for command and args.
func command(c *runtime.ContainerConfig, entrypoint, cmd []string) []string {
	if len(c.Command) > 0 {
		return slices.Concat(c.Command, c.Args)
	}
	if len(c.Args) > 0 {
		cmd = c.Args
	}
	return slices.Concat(entrypoint, cmd)
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// env is the environment: what is always there, the image's, the container's, later ones in the place of earlier ones.
func (in *specInput) env() []string {
	base := []string{defaultPath, "HOSTNAME=" + in.pod.hostname()}
	if in.config.TTY {
		base = append(base, "TERM=xterm")
	}
	var env []string
	where := map[string]int{}
	for _, pair := range slices.Concat(base, in.image.config.Env, in.config.Env) {
		name, _, _ := strings.Cut(pair, "=")
		if i, ok := where[name]; ok {
			env[i] = pair
			continue
		}
		where[name] = len(env)
		env = append(env, pair)
	}
	return env
}

func (in *specInput) namespaces() []specs.LinuxNamespace {
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	pod := in.pod
	if pod.HostNetwork {
		// That of the kubelet, which may be a node of its own and not where the daemon is.
		list = append(list, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: in.hostNet})
	} else {
		list = append(list,
			specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: sandbox.Path(in.dir, sandbox.Net)},
			specs.LinuxNamespace{Type: specs.UTSNamespace, Path: sandbox.Path(in.dir, sandbox.UTS)})
	}
	if !pod.HostIPC {
		list = append(list, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: sandbox.Path(in.dir, sandbox.IPC)})
	}
	switch {
	case in.target > 0:
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: "/proc/" + strconv.Itoa(in.target) + "/ns/pid"})
	case pod.SharePID:
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: sandbox.Path(in.dir, sandbox.PID)})
	case !pod.HostPID:
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace})
	}
	return list
}

func (in *specInput) mounts() []specs.Mount {
	access := "ro"
	if in.config.Security.Privileged {
		access = "rw"
	}
	shm := sandbox.ShmPath(in.dir)
	if in.pod.HostIPC {
		shm = "/dev/shm"
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "bind", Source: shm, Options: []string{"rbind", "rprivate", "rw", "nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", access}},
	}
	list = slices.DeleteFunc(list, func(m specs.Mount) bool {
		return slices.ContainsFunc(in.config.Mounts, func(own runtime.Mount) bool { return path.Clean(own.ContainerPath) == m.Destination })
	})
	// What lies above comes first, so that nothing is mounted over.
	own := slices.Clone(in.config.Mounts)
	slices.SortStableFunc(own, func(a, b runtime.Mount) int { return depth(a.ContainerPath) - depth(b.ContainerPath) })
	for _, m := range own {
		list = append(list, bindMount(m))
	}
	return list
}

func depth(p string) int { return strings.Count(path.Clean(p), "/") }

func bindMount(m runtime.Mount) specs.Mount {
	options := []string{"rbind"}
	switch m.Propagation {
	case runtime.PropagationBidirectional:
		options = append(options, "rshared")
	case runtime.PropagationHostToContainer:
		options = append(options, "rslave")
	case runtime.PropagationNone:
		options = append(options, "rprivate")
	}
	if m.ReadOnly {
		options = append(options, "ro")
	} else {
		options = append(options, "rw")
	}
	return specs.Mount{Destination: path.Clean(m.ContainerPath), Type: "bind", Source: m.HostPath, Options: options}
}

// rootfsPropagation must be as wide as the widest of the mounts in it.
func rootfsPropagation(mounts []runtime.Mount) string {
	widest := ""
	for _, m := range mounts {
		switch m.Propagation {
		case runtime.PropagationBidirectional:
			return "rshared"
		case runtime.PropagationHostToContainer:
			widest = "rslave"
		case runtime.PropagationNone:
		}
	}
	return widest
}

func linuxResources(r runtime.Resources) *specs.LinuxResources {
	res := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}}
	if r.CPUShares > 0 {
		res.CPU.Shares = new(r.CPUShares)
	}
	if r.CPUQuota > 0 {
		period := r.CPUPeriod
		if period == 0 {
			period = 100000
		}
		res.CPU.Quota, res.CPU.Period = new(r.CPUQuota), new(period)
	}
	if r.MemoryBytes > 0 {
		res.Memory.Limit, res.Memory.Swap = new(r.MemoryBytes), new(r.MemoryBytes) // the sum of both: no swap
	}
	if r.PIDs > 0 {
		res.Pids = &specs.LinuxPids{Limit: new(r.PIDs)}
	}
	return res
}

func addDevices(s *specs.Spec, devices []runtime.Device) error {
	for _, d := range devices {
		dev, err := oci.DeviceFromPath(d.HostPath)
		if err != nil {
			return fmt.Errorf("%w: device %s: %w", runtime.ErrInvalid, d.HostPath, err)
		}
		dev.Path = d.ContainerPath
		s.Linux.Devices = append(s.Linux.Devices, *dev)
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
			Allow: true, Type: dev.Type, Major: &dev.Major, Minor: &dev.Minor, Access: d.Permissions,
		})
	}
	return nil
}

// addHostDevices gives a privileged container what the machine has.
func addHostDevices(s *specs.Spec) error {
	devices, err := oci.HostDevices()
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	s.Linux.Devices = devices
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	return nil
}

// seccompFilter is made when the capabilities of s are final: the default profile follows from them.
func seccompFilter(c runtime.Seccomp, s *specs.Spec) (*specs.LinuxSeccomp, error) {
	switch c.Kind {
	case runtime.SeccompUnconfined:
		return nil, nil // no filter
	case runtime.SeccompRuntimeDefault:
		return seccomp.DefaultProfile(s), nil
	case runtime.SeccompLocalhost:
		body, err := os.ReadFile(c.Path)
		if err != nil {
			return nil, fmt.Errorf("%w: seccomp profile: %w", runtime.ErrInvalid, err)
		}
		var filter specs.LinuxSeccomp
		if err := json.Unmarshal(body, &filter); err != nil {
			return nil, fmt.Errorf("%w: seccomp profile %s: %w", runtime.ErrInvalid, c.Path, err)
		}
		return &filter, nil
	default:
		return nil, fmt.Errorf("%w: seccomp kind %q", runtime.ErrInvalid, c.Kind)
	}
}
