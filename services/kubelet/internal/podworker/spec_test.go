package podworker

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/kubelet/internal/cgroup"
	"millrace.dev/services/kubelet/internal/image"
	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
)

// list reads pairs of a resource and an amount.
func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

// sized is a container with these requests and limits.
func sized(name string, requests, limits corev1.ResourceList) corev1.Container {
	c := container(name)
	c.Resources = corev1.ResourceRequirements{Requests: requests, Limits: limits}
	return c
}

func TestHostname(t *testing.T) {
	long := strings.Repeat("a", 62)
	tests := []struct{ name, hostname, want string }{
		{name: "web", want: "web"},
		{name: "web", hostname: "db", want: "db"},
		{name: long + "bc", want: long + "b"},
		{name: long + "-c", want: long},
		{name: strings.Repeat("a", 61) + "-.c", want: strings.Repeat("a", 61)},
	}
	for _, tt := range tests {
		pod := objtest.Pod(tt.name).Obj()
		pod.Spec.Hostname = tt.hostname
		if got := hostname(pod); got != tt.want {
			t.Errorf("hostname(%q, %q) = %q, want %q", tt.name, tt.hostname, got, tt.want)
		}
	}
}

func TestPodLimits(t *testing.T) {
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		want cgroup.Limits
	}{
		{name: "none", pod: objtest.Pod("p"), want: cgroup.Limits{CPUShares: 2}},
		{
			name: "all limit", pod: objtest.Pod("p").Container(sized("a", list("cpu", "250m"), list("cpu", "500m", "memory", "1Mi"))).
				Container(sized("b", nil, list("cpu", "1", "memory", "2Mi"))),
			want: cgroup.Limits{CPUShares: 256, CPUQuota: 150_000, CPUPeriod: 100_000, MemoryBytes: 3 << 20},
		},
		{
			name: "one limits no memory", pod: objtest.Pod("p").Container(sized("a", nil, list("cpu", "500m", "memory", "1Mi"))).
				Container(sized("b", nil, list("cpu", "1"))),
			want: cgroup.Limits{CPUShares: 2, CPUQuota: 150_000, CPUPeriod: 100_000},
		},
		{
			name: "an init container limits nothing", pod: objtest.Pod("p").Init(container("i")).Container(sized("a", nil, list("cpu", "500m", "memory", "1Mi"))),
			want: cgroup.Limits{CPUShares: 2},
		},
		{name: "hardly any CPU", pod: objtest.Pod("p").Container(sized("a", nil, list("cpu", "1m"))), want: cgroup.Limits{CPUShares: 2, CPUQuota: 1000, CPUPeriod: 100_000}},
		{name: "more than the kernel can weigh", pod: objtest.Pod("p").Request("cpu", "1000"), want: cgroup.Limits{CPUShares: 262144}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, podLimits(tt.pod.Obj())); diff != "" {
				t.Errorf("podLimits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestContainerResources(t *testing.T) {
	tests := []struct {
		name string
		c    corev1.Container
		want runtime.Resources
	}{
		{name: "none", c: container("c"), want: runtime.Resources{Limits: cgroup.Limits{CPUShares: 2, PIDs: 99}, OOMScoreAdj: 1000}},
		{
			name: "guaranteed", c: sized("c", list("cpu", "1", "memory", "1Gi"), list("cpu", "1", "memory", "1Gi")),
			want: runtime.Resources{Limits: cgroup.Limits{CPUShares: 1024, CPUQuota: 100_000, CPUPeriod: 100_000, MemoryBytes: 1 << 30, PIDs: 99}, OOMScoreAdj: -997},
		},
		{
			name: "limit alone", c: sized("c", nil, list("cpu", "2")),
			want: runtime.Resources{Limits: cgroup.Limits{CPUShares: 2048, CPUQuota: 200_000, CPUPeriod: 100_000, PIDs: 99}, OOMScoreAdj: 999},
		},
		{name: "a quarter of the memory", c: sized("c", list("memory", "2Gi"), nil), want: runtime.Resources{Limits: cgroup.Limits{CPUShares: 2, PIDs: 99}, OOMScoreAdj: 750}},
		{name: "all of the memory", c: sized("c", list("memory", "8Gi"), nil), want: runtime.Resources{Limits: cgroup.Limits{CPUShares: 2, PIDs: 99}, OOMScoreAdj: 3}},
	}
	w := &worker{node: Node{MemoryBytes: 8 << 30, PodPIDs: 99}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := objtest.Pod("p").Container(tt.c).Obj()
			if diff := cmp.Diff(tt.want, w.containerLimits(pod, &tt.c)); diff != "" {
				t.Errorf("containerLimits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMakeSecurity(t *testing.T) {
	strict := corev1.SupplementalGroupsPolicyStrict
	podSecurity := corev1.PodSecurityContext{
		RunAsUser: new(int64(1000)), RunAsGroup: new(int64(2000)), SupplementalGroups: []int64{5}, FSGroup: new(int64(6)), SupplementalGroupsPolicy: &strict,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	nonRoot := corev1.PodSecurityContext{RunAsNonRoot: new(true)}
	const tail = ` (pod: "p_default(uid-p)", container: c)`
	tests := []struct {
		name  string
		pod   corev1.PodSecurityContext
		own   *corev1.SecurityContext
		image string // its user
		want  runtime.Security
		err   string
	}{
		{name: "nothing said"},
		{
			name: "the pod's", pod: podSecurity,
			want: runtime.Security{UID: new(int64(1000)), GID: new(int64(2000)), Groups: []int64{5, 6}, StrictGroups: true, Seccomp: runtime.Seccomp{Kind: runtime.SeccompRuntimeDefault}},
		},
		{
			name: "its own before the pod's", pod: podSecurity,
			own: &corev1.SecurityContext{
				RunAsUser: new(int64(1)), RunAsGroup: new(int64(2)), Privileged: new(true), ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false),
				ProcMount: new(corev1.UnmaskedProcMount), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
				Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
			},
			want: runtime.Security{
				UID: new(int64(1)), GID: new(int64(2)), Groups: []int64{5, 6}, StrictGroups: true, Privileged: true, ReadOnlyRootfs: true, NoNewPrivileges: true,
				UnmaskedProc: true, AddCapabilities: []string{"NET_ADMIN"}, DropCapabilities: []string{"ALL"},
			},
		},
		{name: "escalation allowed", own: &corev1.SecurityContext{AllowPrivilegeEscalation: new(true)}},
		{
			name: "not root, but 0", pod: nonRoot, own: &corev1.SecurityContext{RunAsUser: new(int64(0))}, image: "1000",
			err: "container's runAsUser breaks non-root policy" + tail,
		},
		{name: "not root, named", pod: nonRoot, own: &corev1.SecurityContext{RunAsUser: new(int64(1))}, want: runtime.Security{UID: new(int64(1))}},
		{name: "not root, image says nothing", pod: nonRoot, err: "container has runAsNonRoot and image will run as root" + tail},
		{name: "not root, image says 0", pod: nonRoot, image: "0:0", err: "container has runAsNonRoot and image will run as root" + tail},
		{name: "not root, nor is the image", pod: nonRoot, image: "65532:65532"},
		{
			name: "not root, image names somebody", pod: nonRoot, image: "nobody",
			err: "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root" + tail,
		},
		{name: "its own word against the pod's", pod: nonRoot, own: &corev1.SecurityContext{RunAsNonRoot: new(false)}},
		{
			name: "a profile of the node", own: &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: new("x.json")}},
			err: "seccomp profile x.json: this node has no profiles of its own",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := objtest.Pod("p").Obj()
			pod.Spec.SecurityContext = &tt.pod
			c := container("c")
			c.SecurityContext = tt.own
			got, err := makeSecurity(pod, &c, tt.image)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("makeSecurity = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("makeSecurity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMakeSandbox(t *testing.T) {
	pod := objtest.Pod("p").Obj()
	pod.Spec.Hostname, pod.Spec.HostIPC, pod.Spec.HostPID, pod.Spec.HostNetwork, pod.Spec.ShareProcessNamespace = "h", true, true, true, new(true)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ip_forward", Value: "1"}}}
	want := runtime.PodConfig{
		UID: "uid-p", Namespace: "default", Name: "p", Hostname: "h", HostNetwork: true, HostIPC: true, HostPID: true, SharePID: true,
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Limits: cgroup.Limits{CPUShares: 2},
	}
	if diff := cmp.Diff(want, makeSandbox(pod)); diff != "" {
		t.Errorf("makeSandbox (-want +got):\n%s", diff)
	}
}

// What the runtime is told of a container, from its order to its mounts.
func TestContainerConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.images.has("docker.io/library/busybox:latest", image.Settings{User: "65532"})
		c := corev1.Container{
			Name: "c", Image: "busybox", ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"serve", "$(WHO)", "$$(WHO)"}, Args: []string{"$(POD_IP)", "$(NOBODY)"},
			WorkingDir: "/srv", TTY: true, Stdin: true, StdinOnce: true, Lifecycle: &corev1.Lifecycle{StopSignal: new(corev1.SIGUSR1)},
			Env: []corev1.EnvVar{
				{Name: "WHO", Value: "me"},
				{Name: "HOSTNAME", Value: "mine"},
				{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			},
			VolumeMounts: []corev1.VolumeMount{
				{Name: "v", MountPath: "/data", ReadOnly: true},
				{Name: "v", MountPath: "own/", SubPathExpr: "$(WHO)/x", MountPropagation: new(corev1.MountPropagationHostToContainer)},
			},
			SecurityContext: &corev1.SecurityContext{RunAsNonRoot: new(true)},
		}
		pod := r.run(objtest.Pod("web").Container(c).Volume(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}))
		if len(r.configs) != 1 {
			t.Fatalf("started %d containers; status %+v", len(r.configs), r.status(pod))
		}
		got := r.configs[0]
		volumeDir, err := r.volumes.Path(pod, "v")
		if err != nil {
			t.Fatal(err)
		}
		want := runtime.ContainerConfig{
			PodUID: "uid-web", Name: "c", Kind: runtime.KindApp, Image: runtime.Image{Name: "docker.io/library/busybox:latest", Digest: "sha256:" + strings.Repeat("b", 64)},
			Command: []string{"serve", "me", "$(WHO)"}, Args: []string{"10.244.0.1", "$(NOBODY)"}, WorkingDir: "/srv", TTY: true, Stdin: true, StdinOnce: true,
			Env:    []string{"WHO=me", "HOSTNAME=mine", "POD_IP=10.244.0.1"},
			Mounts: append(r.volumes.Files(pod), runtime.Mount{HostPath: volumeDir, ContainerPath: "/data", ReadOnly: true}, runtime.Mount{HostPath: volumeDir + "/me/x", ContainerPath: "/own", Propagation: runtime.PropagationHostToContainer}),
			Log:    runtime.Log{Path: logs.Path(logs.PodDir(r.node.LogDir, "default", "web", "uid-web"), "c", 0)}, StopSignal: "SIGUSR1",
			Resources: runtime.Resources{Limits: cgroup.Limits{CPUShares: 2}, OOMScoreAdj: 1000},
			Labels:    map[string]string{labelPodNamespace: "default", labelBackoff: "0s"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("container (-want +got):\n%s", diff)
		}
	})
}

func TestMountErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		no, out := container("no"), container("out")
		no.VolumeMounts = []corev1.VolumeMount{{Name: "w", MountPath: "/data"}}
		out.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/data", SubPath: "../../files"}}
		pod := r.run(objtest.Pod("web").Container(no).Container(out).Volume(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}))
		s := r.status(pod)
		want := []string{`volume w: the pod has no volume "w"`, "subPath ../../files of volume v: statat ../../files: path escapes from parent"}
		for i := range want {
			if w := s.ContainerStatuses[i].State.Waiting; w == nil || w.Reason != reasonConfigError || w.Message != want[i] {
				t.Errorf("container waits for %+v, want %s: %s", w, reasonConfigError, want[i])
			}
		}
	})
}
