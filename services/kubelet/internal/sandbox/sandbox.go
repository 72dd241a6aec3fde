// Package sandbox makes the namespaces that the containers of one pod share, without a process that holds them: each is
// pinned by a bind mount of its file. They outlive the kubelet, and end when the mounts are removed and the last container
// in them has gone. A network namespace that ends takes its interfaces along.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The kinds of namespaces, which are also the names of their files. Create makes all but a process namespace, which ends
// with its first process: see [PinProcesses].
const (
	Net = "net"
	UTS = "uts"
	IPC = "ipc"
	PID = "pid"
)

var flags = map[string]int{Net: unix.CLONE_NEWNET, UTS: unix.CLONE_NEWUTS, IPC: unix.CLONE_NEWIPC}

// shmBytes is the size of the shared memory of a pod, as the container runtimes of Kubernetes have it.
const shmBytes = "67108864"

// nsfsMagic marks a file that is a namespace.
const nsfsMagic = 0x6e736673

// ErrSysctl is returned for a sysctl that cannot be set: it is not one of the pod's namespaces, or the kernel refuses it.
var ErrSysctl = errors.New("sysctl cannot be set")

// Config says what a pod shares.
type Config struct {
	// Dir holds the files of this pod, and nothing else. It is made if need be.
	Dir string
	// Kinds are the namespaces to make, at least one.
	Kinds []string
	// Hostname is set in a new UTS namespace, where one is made.
	Hostname string
	// Sysctls are written inside the new namespaces: "net.ipv4.tcp_syncookies" or "kernel.shm_rmid_forced", and their values.
	Sysctls map[string]string
}

// Path is the file of one namespace of the pod with this directory.
func Path(dir, kind string) string { return filepath.Join(dir, kind) }

// ShmPath is the directory that the containers of the pod have as /dev/shm, if they share an IPC namespace.
func ShmPath(dir string) string { return filepath.Join(dir, "shm") }

// Create makes the namespaces of c, with the loopback interface up. What is there already, as a whole, is left as it is;
// what is there in part (left by a crash) is made anew. One call at a time for one directory. Errors: [ErrSysctl].
func Create(c Config) error {
	if Complete(c) {
		return nil
	}
	if err := Remove(c.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("create sandbox: %w", err)
	}
	if err := OnThread(c.unshare); err != nil {
		return errors.Join(fmt.Errorf("create sandbox: %w", err), Remove(c.Dir))
	}
	return nil
}

// OnThread runs f on a thread of the operating system that ends with it, so that f may change the namespaces it is in. It
// is never the first thread of the process, which cannot end and whose namespaces are taken for those of the process.
func OnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, except for the first thread
		if unix.Gettid() == unix.Getpid() {
			done <- OnThread(f) // on another thread, because this one is held meanwhile
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

// Complete says whether all that c wants is there.
func Complete(c Config) bool {
	for _, kind := range c.Kinds {
		if !pinned(Path(c.Dir, kind)) {
			return false
		}
		if kind == IPC && !mounted(ShmPath(c.Dir)) {
			return false
		}
	}
	return true
}

func pinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfsMagic
}

func mounted(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC && isMountPoint(dir)
}

func isMountPoint(dir string) bool {
	var inside, outside unix.Stat_t
	return unix.Stat(dir, &inside) == nil && unix.Stat(filepath.Dir(dir), &outside) == nil && inside.Dev != outside.Dev
}

// unshare runs on a thread of its own.
func (c Config) unshare() error {
	all := 0
	for _, kind := range c.Kinds {
		all |= flags[kind]
	}
	if err := unix.Unshare(all); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if all&unix.CLONE_NEWUTS != 0 && c.Hostname != "" {
		if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
			return fmt.Errorf("set hostname %s: %w", c.Hostname, err)
		}
	}
	if all&unix.CLONE_NEWNET != 0 {
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("set loopback up: %w", err)
		}
	}
	for name, value := range c.Sysctls {
		if err := writeSysctl(name, value); err != nil {
			return err
		}
	}
	for _, kind := range c.Kinds {
		if err := pin(c.Dir, kind, fmt.Sprintf("/proc/self/task/%d/ns/%s", unix.Gettid(), kind)); err != nil {
			return err
		}
	}
	if all&unix.CLONE_NEWIPC == 0 {
		return nil
	}
	if err := os.Mkdir(ShmPath(c.Dir), 0o755); err != nil {
		return err
	}
	return unix.Mount("shm", ShmPath(c.Dir), "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size="+shmBytes)
}

// PinProcesses gives the process namespace of a running process, the first one in it, a file in the directory of a pod.
func PinProcesses(dir string, pid int) error {
	return pin(dir, PID, fmt.Sprintf("/proc/%d/ns/pid", pid))
}

func pin(dir, kind, namespace string) error {
	path := Path(dir, kind)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := unix.Mount(namespace, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin %s namespace: %w", kind, err)
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOOPBACK)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// writeSysctl sets a kernel parameter as this thread sees it: those of networks and IPC belong to its namespaces.
func writeSysctl(name, value string) error {
	path := name
	if !strings.Contains(name, "/") {
		path = strings.ReplaceAll(name, ".", "/")
	}
	if !namespaced(path) || strings.Contains(path, "..") {
		return fmt.Errorf("%w: %q is not namespaced", ErrSysctl, name)
	}
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
		return fmt.Errorf("%w: %s=%s: %w", ErrSysctl, name, value, errors.Unwrap(err))
	}
	return nil
}

func namespaced(path string) bool {
	for _, prefix := range []string{"net/", "kernel/shm", "kernel/msg", "kernel/sem", "fs/mqueue/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// Remove lets the namespaces of a pod go and removes its directory. What is gone already is no error.
func Remove(dir string) error {
	for _, name := range []string{"shm", PID, IPC, UTS, Net} {
		path := filepath.Join(dir, name)
		// As often as something is mounted there; a plain file or directory, or nothing, is EINVAL or ENOENT.
		for unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove sandbox: %w", err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove sandbox: %w", err)
	}
	return nil
}
