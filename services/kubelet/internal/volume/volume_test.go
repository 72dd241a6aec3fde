package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"millrace.dev/pkg/need"
	"millrace.dev/pkg/objtest"
	"millrace.dev/services/kubelet/internal/runtime"
)

func emptyDir(e corev1.EmptyDirVolumeSource) corev1.Volume {
	return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &e}}
}

func newVolumes(t *testing.T) *Volumes {
	t.Helper()
	v := New(filepath.Join(t.TempDir(), "pods"), "/no/such/resolv.conf")
	t.Cleanup(func() {
		uids, err := v.List()
		for _, uid := range uids {
			err = errors.Join(err, v.CleanUp(uid))
		}
		if err != nil {
			t.Error(err)
		}
	})
	return v
}

func setUp(t *testing.T, v *Volumes, pod *corev1.Pod) {
	t.Helper()
	if err := v.SetUp(pod, pod.Name, "10.244.0.7"); err != nil {
		t.Fatal(err)
	}
}

func path(t *testing.T, v *Volumes, pod *corev1.Pod) string {
	t.Helper()
	dir, err := v.Path(pod, "v")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEmptyDirIsEverybodys(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	v := newVolumes(t)
	pod := objtest.Pod("p").Volume(emptyDir(corev1.EmptyDirVolumeSource{})).Obj()
	setUp(t, v, pod)
	dir := path(t, v, pod)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.ModeDir|0o777; got != want {
		t.Errorf("mode is %v, want %v", got, want)
	}
	kept := filepath.Join(dir, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	setUp(t, v, pod) // again, as the next kubelet does
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("what a container wrote is gone after the second set-up: %v", err)
	}
}

func TestFSGroup(t *testing.T) {
	need.Root(t)
	v := newVolumes(t)
	pod := objtest.Pod("p").Volume(emptyDir(corev1.EmptyDirVolumeSource{})).Obj()
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(1234))}
	setUp(t, v, pod)
	dir := path(t, v, pod)
	sub, err := SubPath(dir, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, sub} {
		var s unix.Stat_t
		if err := unix.Stat(d, &s); err != nil {
			t.Fatal(err)
		}
		if want := uint32(unix.S_IFDIR | unix.S_ISGID | 0o777); s.Gid != 1234 || s.Mode != want {
			t.Errorf("%s: group %d, mode %o; want 1234, %o", d, s.Gid, s.Mode, want)
		}
	}
}

func TestMemoryVolume(t *testing.T) {
	need.Root(t)
	v := newVolumes(t)
	pod := objtest.Pod("p").Volume(emptyDir(corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("64Ki"))})).Obj()
	setUp(t, v, pod)
	dir := path(t, v, pod)
	if err := os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	setUp(t, v, pod) // is mounted once
	if _, err := os.Stat(filepath.Join(dir, "kept")); err != nil {
		t.Errorf("what a container wrote is gone after the second set-up: %v", err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	if size := s.Blocks * uint64(s.Bsize); s.Type != unix.TMPFS_MAGIC || size != 64<<10 {
		t.Errorf("file system %x of %d bytes, want a tmpfs of 64 KiB", s.Type, size)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("mode is %v, %v; want 0777", info.Mode(), err)
	}
	if err := v.CleanUp(string(pod.UID)); err != nil || v.Exists(string(pod.UID)) || mounted(dir) {
		t.Errorf("CleanUp = %v; exists %v, mounted %v", err, v.Exists(string(pod.UID)), mounted(dir))
	}
}

func TestOtherVolumesAreRefused(t *testing.T) {
	v := newVolumes(t)
	pod := objtest.Pod("p").Volume(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}}).Obj()
	err := v.SetUp(pod, "p", "")
	if refused, ok := errors.AsType[*UnsupportedError](err); !ok || refused.Volume != "v" {
		t.Errorf("SetUp = %v, want an error that names v", err)
	}
	if got, err := v.Path(pod, "other"); err == nil {
		t.Errorf("Path of a volume that the pod has not = %s", got)
	}
}

// A container may make any link in its volume; no sub path follows one out of it.
func TestSubPathStaysInside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "in"), 0o700), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600), os.Symlink("in", filepath.Join(dir, "inside")),
		os.Symlink(outside, filepath.Join(dir, "absolute")), os.Symlink("../../..", filepath.Join(dir, "relative"))); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"in", "file", "inside", "new", "in/deep/er", "inside/x"} {
		got, err := SubPath(dir, sub)
		if err != nil || got != filepath.Join(dir, sub) {
			t.Errorf("SubPath(%q) = %q, %v; want it below the volume", sub, got, err)
		}
		if _, err := os.Stat(got); err != nil {
			t.Errorf("SubPath(%q): %v", sub, err)
		}
	}
	for _, sub := range []string{"..", "../x", "in/../../x", "/etc", "absolute", "absolute/x", "relative/x", "file/x"} {
		if got, err := SubPath(dir, sub); err == nil {
			t.Errorf("SubPath(%q) = %q, want an error", sub, got)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside of the volume there are %v, %v; want nothing", left, err)
	}
	if _, err := SubPath(filepath.Join(dir, "gone"), "x"); err == nil {
		t.Error("SubPath of a volume that is not there gives no error")
	}
}

// What is made for a sub path has the mode of its volume: whoever may write the one may write the other.
func TestSubPathHasTheModeOfItsVolume(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777), os.Mkdir(filepath.Join(dir, "had"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := SubPath(dir, "had/a/b"); err != nil {
		t.Fatal(err)
	}
	for sub, want := range map[string]fs.FileMode{"had": 0o700, "had/a": 0o777, "had/a/b": 0o777} {
		info, err := os.Stat(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s is %v, want %v", sub, got, want)
		}
	}
}

func TestFiles(t *testing.T) {
	v := newVolumes(t)
	pod := objtest.Pod("p").Obj()
	setUp(t, v, pod)
	files := filepath.Join(v.root, "uid-p", "files")
	resolv := runtime.Mount{HostPath: filepath.Join(files, "resolv.conf"), ContainerPath: "/etc/resolv.conf"}
	hosts := runtime.Mount{HostPath: filepath.Join(files, "hosts"), ContainerPath: "/etc/hosts"}
	if diff := cmp.Diff([]runtime.Mount{resolv, hosts}, v.Files(pod)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, m := range v.Files(pod) {
		if info, err := os.Stat(m.HostPath); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v; want mode 0644", m.HostPath, info, err)
		}
	}
	pod.Spec.HostNetwork = true
	if diff := cmp.Diff([]runtime.Mount{resolv}, v.Files(pod)); diff != "" {
		t.Errorf("files with the host's network (-want +got):\n%s", diff)
	}
	pod.Spec.HostAliases = []corev1.HostAlias{{IP: "10.0.0.9"}}
	if diff := cmp.Diff([]runtime.Mount{resolv, hosts}, v.Files(pod)); diff != "" {
		t.Errorf("files with the host's network and aliases (-want +got):\n%s", diff)
	}
}

func TestHosts(t *testing.T) {
	pod := objtest.Pod("p").Obj()
	pod.Spec.HostAliases = []corev1.HostAlias{{IP: "10.0.0.9", Hostnames: []string{"db", "db.example"}}}
	const base = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n" +
		"fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
	const aliases = "\n# Entries added by HostAliases.\n10.0.0.9\tdb\tdb.example\n"
	if diff := cmp.Diff(base+"10.244.0.7\tweb\n"+aliases, hosts(pod, "web", "10.244.0.7")); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(base+aliases, hosts(pod, "web", "")); diff != "" {
		t.Errorf("hosts without an address (-want +got):\n%s", diff)
	}
}

func TestResolv(t *testing.T) {
	const own = "# the node's\nnameserver 10.0.0.2\nsearch first.example\nsearch a.example b.example\noptions ndots:2\nbad\n"
	tests := []struct {
		name   string
		policy corev1.DNSPolicy
		config *corev1.PodDNSConfig
		want   string
	}{
		{name: "the node's", policy: corev1.DNSDefault, want: "nameserver 10.0.0.2\nsearch a.example b.example\noptions ndots:2\n"},
		{
			name: "with more", policy: corev1.DNSClusterFirst,
			config: &corev1.PodDNSConfig{Nameservers: []string{"10.0.0.3"}, Searches: []string{"c.example"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("5")}, {Name: "rotate"}}},
			want:   "nameserver 10.0.0.2\nnameserver 10.0.0.3\nsearch a.example b.example c.example\noptions ndots:2 ndots:5 rotate\n",
		},
		{name: "its own alone", policy: corev1.DNSNone, config: &corev1.PodDNSConfig{Nameservers: []string{"10.0.0.3"}}, want: "nameserver 10.0.0.3\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := objtest.Pod("p").Obj()
			pod.Spec.DNSPolicy, pod.Spec.DNSConfig = tt.policy, tt.config
			if diff := cmp.Diff(tt.want, resolv(pod, own)); diff != "" {
				t.Errorf("resolv (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolvIsTheNodesOwn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 10.0.0.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := New(t.TempDir(), file)
	pod := objtest.Pod("p").Obj()
	setUp(t, v, pod)
	if got, err := os.ReadFile(v.Files(pod)[0].HostPath); err != nil || string(got) != "nameserver 10.0.0.2\n" {
		t.Errorf("resolv.conf is %q, %v", got, err)
	}
	if err := New(t.TempDir(), t.TempDir()).SetUp(pod, "p", ""); err == nil {
		t.Error("SetUp with a configuration that cannot be read gives no error")
	}
}

func TestCleanUpAndList(t *testing.T) {
	v := newVolumes(t)
	if got, err := v.List(); err != nil || len(got) != 0 {
		t.Errorf("List before anything = %v, %v", got, err)
	}
	for _, name := range []string{"a", "b"} {
		setUp(t, v, objtest.Pod(name).Volume(emptyDir(corev1.EmptyDirVolumeSource{})).Obj())
	}
	if err := errors.Join(v.CleanUp("uid-a"), v.CleanUp("uid-a"), v.CleanUp("uid-nobody")); err != nil {
		t.Error(err)
	}
	got, err := v.List()
	if diff := cmp.Diff([]string{"uid-b"}, got); diff != "" || err != nil || v.Exists("uid-a") || !v.Exists("uid-b") {
		t.Errorf("List: %v; exists %v, %v (-want +got):\n%s", err, v.Exists("uid-a"), v.Exists("uid-b"), diff)
	}
}
