package podworker

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/kubelet/internal/cgroup"
	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/volume"
)

// Labels of a container, for people who look with the runtime's own tools.
const labelPodNamespace = "millrace.dev/namespace"

// makeSandbox is the sandbox that a pod asks for.
func makeSandbox(pod *corev1.Pod) runtime.PodConfig {
	c := runtime.PodConfig{
		UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name, Hostname: hostname(pod),
		HostNetwork: pod.Spec.HostNetwork, HostIPC: pod.Spec.HostIPC, HostPID: pod.Spec.HostPID,
		SharePID: pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace,
		Limits:   podLimits(pod),
	}
	if s := pod.Spec.SecurityContext; s != nil && len(s.Sysctls) > 0 {
		c.Sysctls = map[string]string{}
		for _, sysctl := range s.Sysctls {
			c.Sysctls[sysctl.Name] = sysctl.Value
		}
	}
	return c
}

// hostname is what the pod calls itself: at most 63 bytes, cut where the name still is legal.
func hostname(pod *corev1.Pod) string {
	name := cmp.Or(pod.Spec.Hostname, pod.Name)
	const most = 63
	if len(name) > most {
		name = strings.TrimRight(name[:most], "-.")
	}
	return name
}

// podLimits bound the pod as a whole: its containers' limits together, for what every container limits.
func podLimits(pod *corev1.Pod) cgroup.Limits {
	limits := podinfo.Limits(pod)
	requests := podinfo.Requests(pod)
	l := cgroup.Limits{CPUShares: shares(podinfo.MilliCPU(requests))}
	if allLimit(pod, corev1.ResourceCPU) {
		l.CPUQuota, l.CPUPeriod = quota(podinfo.MilliCPU(limits))
	}
	if allLimit(pod, corev1.ResourceMemory) {
		l.MemoryBytes = podinfo.Bytes(limits, corev1.ResourceMemory)
	}
	return l
}

func allLimit(pod *corev1.Pod, name corev1.ResourceName) bool {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if _, ok := list[i].Resources.Limits[name]; !ok {
				return false
			}
		}
	}
	return true
}

// The scale of CPU weights and quotas (Kubernetes' own).
const (
	sharesPerCPU = 1024
	minShares    = 2
	maxShares    = 262144
	quotaPeriod  = 100_000 // µs
	minQuota     = 1_000   // µs: the kernel takes no less
)

func shares(milliCPU int64) uint64 {
	return uint64(min(max(milliCPU*sharesPerCPU/1000, minShares), maxShares))
}

func quota(milliCPU int64) (quota int64, period uint64) {
	if milliCPU == 0 {
		return 0, 0
	}
	return max(milliCPU*quotaPeriod/1000, minQuota), quotaPeriod
}

// containerLimits bound one container.
func (w *worker) containerLimits(pod *corev1.Pod, c *corev1.Container) runtime.Resources {
	request := c.Resources.Requests
	if _, ok := request[corev1.ResourceCPU]; !ok {
		request = c.Resources.Limits
	}
	r := runtime.Resources{Limits: cgroup.Limits{
		CPUShares: shares(podinfo.MilliCPU(request)), MemoryBytes: podinfo.Bytes(c.Resources.Limits, corev1.ResourceMemory), PIDs: w.node.PodPIDs,
	}}
	r.CPUQuota, r.CPUPeriod = quota(podinfo.MilliCPU(c.Resources.Limits))
	r.OOMScoreAdj = oomScore(pod, c, w.node.MemoryBytes)
	return r
}

// oomScore says how readily a container is killed when the node is out of memory, by Kubernetes' rule: guaranteed pods last, those that
// promised nothing first, the others by how much of the node they asked for.
func oomScore(pod *corev1.Pod, c *corev1.Container, nodeMemory int64) int {
	const guaranteed, bestEffort = -997, 1000
	switch podinfo.QoSClass(pod) {
	case corev1.PodQOSGuaranteed:
		return guaranteed
	case corev1.PodQOSBestEffort:
		return bestEffort
	case corev1.PodQOSBurstable:
	}
	if nodeMemory == 0 {
		return bestEffort - 1
	}
	request := podinfo.Bytes(c.Resources.Requests, corev1.ResourceMemory)
	return int(min(max(1000-1000*request/nodeMemory, 1000+guaranteed), bestEffort-1))
}

// makeContainer is one run of a container as the runtime makes it.
func (w *worker) makeContainer(o *order, a action, image localImage, env *environment) (runtime.ContainerConfig, error) {
	pod, c := o.Pod, a.container
	pairs, values, err := env.make(c)
	if err != nil {
		return runtime.ContainerConfig{}, err
	}
	security, err := makeSecurity(pod, c, image.user)
	if err != nil {
		return runtime.ContainerConfig{}, err
	}
	config := runtime.ContainerConfig{
		PodUID: string(pod.UID), Name: c.Name, Attempt: a.attempt, Kind: runtime.KindApp, Image: image.Image,
		Command: expandAll(c.Command, values), Args: expandAll(c.Args, values), WorkingDir: c.WorkingDir,
		Env: pairs, Resources: w.containerLimits(pod, c), Security: security,
		TTY: c.TTY, Stdin: c.Stdin, StdinOnce: c.StdinOnce,
		Log: runtime.Log{
			Path:     logs.Path(logs.PodDir(w.node.LogDir, pod.Namespace, pod.Name, string(pod.UID)), c.Name, a.attempt),
			MaxBytes: w.node.LogMaxBytes, MaxFiles: w.node.LogMaxFiles,
		},
		Labels: map[string]string{labelPodNamespace: pod.Namespace, labelBackoff: nextBackoff(pod, w.seen.latest(c.Name)).String()},
	}
	if a.init {
		config.Kind = runtime.KindInit
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		config.StopSignal = string(*c.Lifecycle.StopSignal)
	}
	config.Mounts, err = w.mounts(pod, c, values)
	return config, err
}

// mounts are the volumes of a container and the files that every pod has.
func (w *worker) mounts(pod *corev1.Pod, c *corev1.Container, values map[string]string) ([]runtime.Mount, error) {
	mounts := w.volumes.Files(pod)
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		host, err := w.volumes.Path(pod, m.Name)
		if err != nil {
			return nil, configErrorf("volume %s: %v", m.Name, err)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, values)
		}
		if sub != "" {
			if host, err = volume.SubPath(host, sub); err != nil {
				return nil, configErrorf("subPath %s of volume %s: %v", sub, m.Name, err)
			}
		}
		mount := runtime.Mount{HostPath: host, ContainerPath: filepath.Clean("/" + m.MountPath), ReadOnly: m.ReadOnly}
		if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
			mount.Propagation = runtime.Propagation(*m.MountPropagation)
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}

// makeSecurity is as whom a container runs: what it says itself, else what its pod says, else what its image says.
func makeSecurity(pod *corev1.Pod, c *corev1.Container, imageUser string) (runtime.Security, error) {
	p, own := pod.Spec.SecurityContext, c.SecurityContext
	if p == nil {
		p = &corev1.PodSecurityContext{}
	}
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	s := runtime.Security{
		UID: firstOf(own.RunAsUser, p.RunAsUser), GID: firstOf(own.RunAsGroup, p.RunAsGroup),
		Groups:       append([]int64(nil), p.SupplementalGroups...),
		StrictGroups: p.SupplementalGroupsPolicy != nil && *p.SupplementalGroupsPolicy == corev1.SupplementalGroupsPolicyStrict,
		Privileged:   own.Privileged != nil && *own.Privileged, ReadOnlyRootfs: own.ReadOnlyRootFilesystem != nil && *own.ReadOnlyRootFilesystem,
		NoNewPrivileges: own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation,
		UnmaskedProc:    own.ProcMount != nil && *own.ProcMount == corev1.UnmaskedProcMount,
	}
	if p.FSGroup != nil {
		s.Groups = append(s.Groups, *p.FSGroup)
	}
	if own.Capabilities != nil {
		for _, add := range own.Capabilities.Add {
			s.AddCapabilities = append(s.AddCapabilities, string(add))
		}
		for _, drop := range own.Capabilities.Drop {
			s.DropCapabilities = append(s.DropCapabilities, string(drop))
		}
	}
	if nonRoot := firstOf(own.RunAsNonRoot, p.RunAsNonRoot); nonRoot != nil && *nonRoot {
		if why := rootReason(s.UID, imageUser); why != "" {
			return s, configErrorf("%s (pod: %q, container: %s)", why, pod.Name+"_"+pod.Namespace+"("+string(pod.UID)+")", c.Name)
		}
	}
	profile := own.SeccompProfile
	if profile == nil {
		profile = p.SeccompProfile
	}
	if profile != nil && profile.Type == corev1.SeccompProfileTypeRuntimeDefault {
		s.Seccomp.Kind = runtime.SeccompRuntimeDefault
	}
	if profile != nil && profile.Type == corev1.SeccompProfileTypeLocalhost {
		return s, fmt.Errorf("seccomp profile %s: this node has no profiles of its own", *profile.LocalhostProfile)
	}
	return s, nil
}

// rootReason says why a container may turn out to run as root; empty if it cannot. uid is the one that its pod names, if it does.
func rootReason(uid *int64, imageUser string) string {
	if uid != nil {
		if *uid == 0 {
			return "container's runAsUser breaks non-root policy"
		}
		return ""
	}
	user, _, _ := strings.Cut(imageUser, ":")
	switch number, err := strconv.ParseInt(cmp.Or(user, "0"), 10, 64); {
	case err != nil:
		return fmt.Sprintf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root", user)
	case number == 0:
		return "container has runAsNonRoot and image will run as root"
	}
	return ""
}

func firstOf[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// Node is what a worker must know of its node.
type Node struct {
	Name        string
	HostIP      string
	Allocatable corev1.ResourceList
	MemoryBytes int64  // of the machine
	PodPIDs     int64  // how many processes a container may have; 0: no limit
	LogDir      string // of all pods
	LogMaxBytes int64
	LogMaxFiles int
	Now         func() time.Time
}
