// Package volume makes what the containers of a pod share: emptyDir volumes, and the files that every pod has (hosts and
// resolv.conf).
package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/services/kubelet/internal/runtime"
)

// Volumes makes the volumes of one node below a directory of its own.
type Volumes struct {
	root string
	// resolv is the node's own resolver configuration.
	resolv string
}

// New makes volumes below root; resolv is the file with the node's own resolver configuration.
func New(root, resolv string) *Volumes { return &Volumes{root: root, resolv: resolv} }

// UnsupportedError names a volume of a kind that this node cannot make.
type UnsupportedError struct{ Volume string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("volume %q is of a kind that this node cannot make; it makes emptyDir", e.Volume)
}

func (v *Volumes) podDir(uid string) string { return filepath.Join(v.root, uid) }

func (v *Volumes) dir(pod *corev1.Pod, volume string) string {
	return filepath.Join(v.podDir(string(pod.UID)), "volumes", volume)
}

// SetUp makes every volume of a pod and its files. It may be called again: what is there stays. address is the pod's own.
func (v *Volumes) SetUp(pod *corev1.Pod, hostname, address string) error {
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		if volume.EmptyDir == nil {
			return &UnsupportedError{Volume: volume.Name}
		}
		if err := v.emptyDir(pod, volume); err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
	}
	return v.writeFiles(pod, hostname, address)
}

// emptyDir makes a directory that everybody may write (Kubernetes' mode 0777), in memory if that is asked for.
func (v *Volumes) emptyDir(pod *corev1.Pod, volume *corev1.Volume) error {
	dir := v.dir(pod, volume.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if volume.EmptyDir.Medium == corev1.StorageMediumMemory && !mounted(dir) {
		options := "mode=0777"
		if limit := volume.EmptyDir.SizeLimit; limit != nil && !limit.IsZero() {
			options += fmt.Sprintf(",size=%d", limit.Value())
		}
		return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	}
	if s := pod.Spec.SecurityContext; s != nil && s.FSGroup != nil {
		if err := os.Chown(dir, -1, int(*s.FSGroup)); err != nil {
			return err
		}
		return os.Chmod(dir, 0o777|fs.ModeSetgid)
	}
	return os.Chmod(dir, 0o777)
}

// mounted says that something is mounted on dir: it lies on another device than its parent.
func mounted(dir string) bool {
	var own, parent unix.Stat_t
	return unix.Stat(dir, &own) == nil && unix.Stat(filepath.Dir(dir), &parent) == nil && own.Dev != parent.Dev
}

// Path is where a volume lies on the node.
func (v *Volumes) Path(pod *corev1.Pod, volume string) (string, error) {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == volume {
			return v.dir(pod, volume), nil
		}
	}
	return "", fmt.Errorf("the pod has no volume %q", volume)
}

// SubPath is a path below a volume. What is not there is made as a directory with the mode of the volume, so that whoever may write
// the one may write the other. It cannot lead out of the volume.
func SubPath(volume, sub string) (string, error) {
	sub = filepath.Clean(sub)
	root, err := os.OpenRoot(volume)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Stat(sub); errors.Is(err, fs.ErrNotExist) {
		if err := makeAll(root, sub); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	return filepath.Join(volume, sub), nil
}

// makeAll makes what is missing of a path below a volume.
func makeAll(root *os.Root, sub string) error {
	volume, err := root.Stat(".")
	if err != nil {
		return err
	}
	made := ""
	for part := range strings.SplitSeq(sub, "/") {
		made = filepath.Join(made, part)
		switch err := root.Mkdir(made, 0o700); {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return err
		}
		if err := root.Chmod(made, volume.Mode()&(fs.ModePerm|fs.ModeSetgid)); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

const (
	fileHosts  = "hosts"
	fileResolv = "resolv.conf"
)

// Files are the mounts that every container of a pod has, but for those that the container mounts over itself.
func (v *Volumes) Files(pod *corev1.Pod) []runtime.Mount {
	files := filepath.Join(v.podDir(string(pod.UID)), "files")
	mounts := []runtime.Mount{{HostPath: filepath.Join(files, fileResolv), ContainerPath: "/etc/resolv.conf"}}
	if !pod.Spec.HostNetwork || len(pod.Spec.HostAliases) > 0 {
		mounts = append(mounts, runtime.Mount{HostPath: filepath.Join(files, fileHosts), ContainerPath: "/etc/hosts"})
	}
	return mounts
}

func (v *Volumes) writeFiles(pod *corev1.Pod, hostname, address string) error {
	files := filepath.Join(v.podDir(string(pod.UID)), "files")
	if err := os.MkdirAll(files, 0o755); err != nil {
		return err
	}
	own, err := os.ReadFile(v.resolv)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the node's resolver configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(files, fileHosts), []byte(hosts(pod, hostname, address)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(files, fileResolv), []byte(resolv(pod, string(own))), 0o644)
}

// hosts is the pod's /etc/hosts, as Kubernetes writes it.
func hosts(pod *corev1.Pod, hostname, address string) string {
	var b strings.Builder
	b.WriteString("# Kubernetes-managed hosts file.\n")
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n")
	b.WriteString("fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
	if address != "" {
		fmt.Fprintf(&b, "%s\t%s\n", address, hostname)
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, alias := range pod.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
		}
	}
	return b.String()
}

// resolv is the pod's /etc/resolv.conf: the node's own unless its policy says None, with what its dnsConfig adds.
func resolv(pod *corev1.Pod, own string) string {
	var servers, searches, options []string
	if pod.Spec.DNSPolicy != corev1.DNSNone {
		for line := range strings.Lines(own) {
			fields := strings.Fields(line)
			switch {
			case len(fields) < 2:
			case fields[0] == "nameserver":
				servers = append(servers, fields[1])
			case fields[0] == "search":
				searches = fields[1:]
			case fields[0] == "options":
				options = append(options, fields[1:]...)
			}
		}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		servers = append(servers, c.Nameservers...)
		searches = append(searches, c.Searches...)
		for _, o := range c.Options {
			option := o.Name
			if o.Value != nil {
				option += ":" + *o.Value
			}
			options = append(options, option)
		}
	}
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(searches, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.String()
}

// CleanUp removes everything of a pod. A pod of which nothing is there is no error.
func (v *Volumes) CleanUp(uid string) error {
	dir := v.podDir(uid)
	volumes, err := os.ReadDir(filepath.Join(dir, "volumes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range volumes {
		path := filepath.Join(dir, "volumes", entry.Name())
		for mounted(path) {
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", path, err)
			}
		}
	}
	return os.RemoveAll(dir)
}

// Exists says that something of a pod is there.
func (v *Volumes) Exists(uid string) bool {
	_, err := os.Stat(v.podDir(uid))
	return err == nil
}

// List gives the uids of the pods of which something is there.
func (v *Volumes) List() ([]string, error) {
	entries, err := os.ReadDir(v.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var uids []string
	for _, e := range entries {
		uids = append(uids, e.Name())
	}
	return uids, err
}
