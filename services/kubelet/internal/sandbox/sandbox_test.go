package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"millrace.dev/pkg/need"
)

func create(t *testing.T, c Config) string {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "pod")
	}
	t.Cleanup(func() {
		if err := Remove(c.Dir); err != nil {
			t.Error(err)
		}
	})
	if err := Create(c); err != nil {
		t.Fatal(err)
	}
	return c.Dir
}

// inside runs f on a thread that is in the namespaces of dir.
func inside(t *testing.T, dir string, kinds []string, f func()) {
	t.Helper()
	err := OnThread(func() error {
		for _, kind := range kinds {
			fd, err := unix.Open(Path(dir, kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := errors.Join(unix.Setns(fd, flags[kind]), unix.Close(fd)); err != nil {
				return err
			}
		}
		f()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func mounts(t *testing.T, below string) []string {
	t.Helper()
	body, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(body)) {
		if strings.Contains(line, below) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func TestCreate(t *testing.T) {
	need.Root(t)
	kinds := []string{Net, UTS, IPC}
	dir := create(t, Config{Kinds: kinds, Hostname: "web-0", Sysctls: map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "80", "net/core/somaxconn": "123", "kernel.shm_rmid_forced": "1",
	}})
	inside(t, dir, kinds, func() {
		var name unix.Utsname
		if err := unix.Uname(&name); err != nil || unix.ByteSliceToString(name.Nodename[:]) != "web-0" {
			t.Errorf("hostname is %s, %v", unix.ByteSliceToString(name.Nodename[:]), err)
		}
		for file, want := range map[string]string{
			"net/ipv4/ip_unprivileged_port_start": "80", "net/core/somaxconn": "123", "kernel/shm_rmid_forced": "1",
		} {
			if got, err := os.ReadFile("/proc/sys/" + file); strings.TrimSpace(string(got)) != want {
				t.Errorf("%s is %q, %v, want %s", file, got, err, want)
			}
		}
	})
	if got, err := os.ReadFile("/proc/sys/kernel/shm_rmid_forced"); err != nil || strings.TrimSpace(string(got)) != "0" {
		t.Errorf("the sysctl of a pod reached the machine: %q, %v", got, err)
	}
}

func TestCreateAgainKeepsWhatIsWhole(t *testing.T) {
	need.Root(t)
	c := Config{Dir: filepath.Join(t.TempDir(), "pod"), Kinds: []string{Net, UTS, IPC}}
	dir := create(t, c)
	before := inode(t, Path(dir, Net))
	create(t, c)
	if after := inode(t, Path(dir, Net)); after != before {
		t.Errorf("the network namespace was replaced: %d, then %d", before, after)
	}
}

func TestCreateMendsWhatIsHalf(t *testing.T) {
	need.Root(t)
	c := Config{Dir: filepath.Join(t.TempDir(), "pod"), Kinds: []string{Net, UTS, IPC}}
	dir := create(t, c)
	if err := unix.Unmount(Path(dir, IPC), unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	create(t, c)
	if !Complete(c) {
		t.Error("the IPC namespace is still missing")
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	need.Root(t)
	dir := filepath.Join(t.TempDir(), "pod")
	for _, sysctl := range []string{"net.core.no_such_thing", "kernel.panic", "net/../kernel/panic"} {
		if err := Create(Config{Dir: dir, Kinds: []string{Net, UTS, IPC}, Sysctls: map[string]string{sysctl: "1"}}); !errors.Is(err, ErrSysctl) {
			t.Errorf("sysctl %s: %v", sysctl, err)
		}
		if left := mounts(t, dir); left != nil {
			t.Errorf("mounts are left: %v", left)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("the directory is left")
		}
	}
}

// TestOnThread runs more of them than there are threads: the first thread of the process never changes.
func TestOnThread(t *testing.T) {
	need.Root(t)
	before := inode(t, "/proc/self/ns/uts")
	for range 50 {
		if err := OnThread(func() error { return unix.Unshare(unix.CLONE_NEWUTS) }); err != nil {
			t.Fatal(err)
		}
	}
	if after := inode(t, "/proc/self/ns/uts"); after != before {
		t.Errorf("the namespace of the process was %d, is %d", before, after)
	}
}

func TestRemove(t *testing.T) {
	need.Root(t)
	dir := create(t, Config{Kinds: []string{Net, IPC}})
	for range 2 {
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if left := mounts(t, dir); left != nil {
		t.Errorf("mounts are left: %v", left)
	}
}
