package containerd

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/runtime"
)

func TestCommand(t *testing.T) {
	entry, cmd := []string{"/entry"}, []string{"run", "it"}
	tests := []struct {
		name                           string
		command, args, entrypoint, cmd []string
		want                           []string
	}{
		{name: "the image's", entrypoint: entry, cmd: cmd, want: []string{"/entry", "run", "it"}},
		{name: "args replace cmd", args: []string{"a"}, entrypoint: entry, cmd: cmd, want: []string{"/entry", "a"}},
		{name: "command replaces entrypoint and drops cmd", command: []string{"c"}, entrypoint: entry, cmd: cmd, want: []string{"c"}},
		{name: "both", command: []string{"c"}, args: []string{"a"}, entrypoint: entry, cmd: cmd, want: []string{"c", "a"}},
		{name: "only cmd", cmd: cmd, want: cmd},
		{name: "none", want: nil},
	}
	for _, tt := range tests {
		got := command(&runtime.ContainerConfig{Command: tt.command, Args: tt.args}, tt.entrypoint, tt.cmd)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestCapabilities(t *testing.T) {
	whole := confines{capabilities: capabilityNames}
	less := confines{capabilities: slices.DeleteFunc(slices.Clone(capabilityNames), func(n string) bool { return n == "CAP_SYS_RESOURCE" })}
	plain := len(defaultCapabilities)
	tests := []struct {
		name     string
		confines confines
		s        runtime.Security
		want     int
		has, not string
	}{
		{name: "default", confines: whole, want: plain, has: "CAP_KILL", not: "CAP_NET_ADMIN"},
		{name: "add", confines: whole, s: runtime.Security{AddCapabilities: []string{"NET_ADMIN"}}, want: plain + 1, has: "CAP_NET_ADMIN"},
		{name: "add with prefix", confines: whole, s: runtime.Security{AddCapabilities: []string{"cap_net_admin"}}, want: plain + 1, has: "CAP_NET_ADMIN"},
		{name: "drop", confines: whole, s: runtime.Security{DropCapabilities: []string{"KILL"}}, want: plain - 1, not: "CAP_KILL"},
		{name: "drop all", confines: whole, s: runtime.Security{DropCapabilities: []string{"ALL"}}, want: 0},
		{name: "drop all, add one", confines: whole, s: runtime.Security{DropCapabilities: []string{"all"}, AddCapabilities: []string{"NET_BIND_SERVICE"}}, want: 1, has: "CAP_NET_BIND_SERVICE"},
		{name: "add all", confines: whole, s: runtime.Security{AddCapabilities: []string{"ALL"}}, want: len(capabilityNames)},
		{name: "add all, drop one", confines: whole, s: runtime.Security{AddCapabilities: []string{"ALL"}, DropCapabilities: []string{"SYS_ADMIN"}}, want: len(capabilityNames) - 1, not: "CAP_SYS_ADMIN"},
		{name: "what the machine lacks", confines: less, s: runtime.Security{AddCapabilities: []string{"SYS_RESOURCE"}}, want: plain, not: "CAP_SYS_RESOURCE"},
		{name: "privileged", confines: less, s: runtime.Security{Privileged: true}, want: len(capabilityNames) - 1, not: "CAP_SYS_RESOURCE"},
	}
	for _, tt := range tests {
		got, err := tt.confines.capabilitiesFor(&tt.s)
		if err != nil || len(got) != tt.want || (tt.has != "" && !slices.Contains(got, tt.has)) || slices.Contains(got, tt.not) {
			t.Errorf("%s: %d, want %d, with %q, without %q: %v, %v", tt.name, len(got), tt.want, tt.has, tt.not, got, err)
		}
	}
	if _, err := whole.capabilitiesFor(&runtime.Security{DropCapabilities: []string{"FLY"}}); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("unknown capability: %v", err)
	}
}

func TestSignalNumber(t *testing.T) {
	for name, want := range map[string]unix.Signal{
		"SIGTERM": 15, "TERM": 15, "sigquit": 3, "9": 9, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "RTMAX": 64,
	} {
		if got, err := signalNumber(name); err != nil || got != want {
			t.Errorf("signalNumber(%s) = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"", "SIGNOTHING", "0", "65", "SIGRTMIN+31", "SIGRTMAX-40"} {
		if got, err := signalNumber(name); !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("signalNumber(%s) = %d, %v", name, got, err)
		}
	}
}

func input(c *runtime.ContainerConfig) *specInput {
	return &specInput{
		config: c, image: &localImage{config: ocispec.ImageConfig{Env: []string{"A=image", "B=image"}, Cmd: []string{"run"}, WorkingDir: "/srv"}},
		pod: &sandboxRecord{PodConfig: runtime.PodConfig{Hostname: "web-0"}}, dir: "/ns", cgroup: "/m/p/c",
		confines: confines{capabilities: capabilityNames, openFiles: 4096, minOOMScore: 0},
	}
}

func TestMakeSpec(t *testing.T) {
	c := &runtime.ContainerConfig{
		Env:       []string{"B=pod", "C=pod"},
		Resources: runtime.Resources{OOMScoreAdj: -997},
		Mounts: []runtime.Mount{
			{HostPath: "/h/deep", ContainerPath: "/data/deep/", ReadOnly: true},
			{HostPath: "/h/data", ContainerPath: "/data", Propagation: runtime.PropagationHostToContainer},
			{HostPath: "/h/shm", ContainerPath: "/dev/shm"},
		},
	}
	c.Resources.MemoryBytes, c.Resources.CPUQuota = 1<<20, 5000
	s, err := makeSpec(input(c))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{defaultPath, "HOSTNAME=web-0", "A=image", "B=pod", "C=pod"}, s.Process.Env); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
	var where []string
	for _, m := range s.Mounts {
		if m.Type == "bind" {
			where = append(where, m.Source+" "+m.Destination+" "+m.Options[1]+" "+m.Options[2])
		}
	}
	if diff := cmp.Diff([]string{"/h/data /data rslave rw", "/h/deep /data/deep rprivate ro", "/h/shm /dev/shm rprivate rw"}, where); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if s.Process.Cwd != "/srv" || *s.Process.OOMScoreAdj != 0 || s.Linux.RootfsPropagation != "rslave" || s.Process.Rlimits[0].Hard != 4096 {
		t.Errorf("cwd %s, oom score %d, propagation %s, limits %v", s.Process.Cwd, *s.Process.OOMScoreAdj, s.Linux.RootfsPropagation, s.Process.Rlimits)
	}
	if *s.Linux.Resources.Memory.Swap != 1<<20 || *s.Linux.Resources.CPU.Period != 100000 || len(s.Linux.Namespaces) != 5 {
		t.Errorf("resources %+v, namespaces %v", s.Linux.Resources, s.Linux.Namespaces)
	}
}

func TestMakeSpecErrors(t *testing.T) {
	in := input(&runtime.ContainerConfig{})
	in.image.config.Cmd = nil
	if _, err := makeSpec(in); !errors.Is(err, runtime.ErrNoCommand) {
		t.Errorf("no command: %v", err)
	}
	for name, s := range map[string]runtime.Seccomp{
		"no file": {Kind: runtime.SeccompLocalhost, Path: filepath.Join(t.TempDir(), "none")}, "no kind": {Kind: "What"},
	} {
		if _, err := makeSpec(input(&runtime.ContainerConfig{Security: runtime.Security{Seccomp: s}})); !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImageID(t *testing.T) {
	for name, want := range map[string]string{
		"docker.io/library/nginx:1.25": "docker.io/library/nginx@sha256:a", "localhost:5000/x": "localhost:5000/x@sha256:a",
		"localhost:5000/x:v1": "localhost:5000/x@sha256:a", "a/b@sha256:a": "a/b@sha256:a",
	} {
		if got := (runtime.Image{Name: name, Digest: "sha256:a"}).ID(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
