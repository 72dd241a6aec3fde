package images

import (
	"archive/tar"
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// files holds a folder for each layer that has files of ours. The base layer's come with every image.
//
//go:embed all:files
var files embed.FS

// inputs are what layers are made of and the table does not hold.
type inputs struct {
	packages map[string]string // file of each Debian package
	source   source            // of our programs
	programs map[string][]byte // binary of each program, once they are built
}

// packed is a layer that is ready to be put into images.
type packed struct {
	v1.Layer
	libraries
}

// pack makes a layer.
func (l layer) pack(ctx context.Context, in inputs) (packed, error) {
	t := tree{}
	for _, p := range l.packages {
		if err := t.addPackage(in.packages[p]); err != nil {
			return packed{}, fmt.Errorf("unpack %s: %w", p, err)
		}
	}
	if l.applets {
		if err := t.addApplets(ctx); err != nil {
			return packed{}, fmt.Errorf("list applets: %w", err)
		}
	}
	if l.files {
		if err := t.addFiles(path.Join("files", l.name)); err != nil {
			return packed{}, err
		}
	}
	if l.program != "" {
		t.addFile(l.program, 0o755, in.programs[l.program])
	}
	for name, target := range l.links {
		t.addLink(name, target)
	}
	for name, mode := range l.folders {
		t.addFolder(name, mode)
	}
	made, err := t.layer()
	if err != nil {
		return packed{}, err
	}
	has, err := t.libraries()
	return packed{Layer: made, libraries: has}, err
}

// addPackage adds what a Debian package installs, but for what is unused.
func (t tree) addPackage(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unpackDeb(f, func(h *tar.Header, body []byte) error {
		if !unused(h.Name) {
			t.add(h, body)
		}
		return nil
	})
}

// unused are the paths of packages that no container of ours needs. What Debian's packages put into usr/share is for people
// and for other packages, but for the page that nginx serves.
func unused(name string) bool {
	for _, folder := range []string{
		"etc/default", "etc/init.d", "etc/logrotate.d", "etc/skel", "etc/ufw", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu/gconv",
	} {
		if name == folder || strings.HasPrefix(name, folder+"/") {
			return true
		}
	}
	return strings.HasPrefix(name, "usr/share/") && !strings.HasPrefix(name+"/", "usr/share/nginx/") ||
		slices.Contains([]string{"usr/bin/redis-benchmark", "usr/bin/redis-check-aof"}, name)
}

// The name of busybox's own wget in our images, as long as the old one. Debian's busybox is built without wget's -T and dies
// of it, and its shell prefers its applets to programs in PATH: under another name the applet leaves room for our wget.
var (
	wgetApplet        = []byte("\x00wget\x00")
	wgetAppletRenamed = []byte("\x00wgex\x00")
)

// addApplets renames an applet of the busybox in the tree, and adds a link to busybox for each applet it then says it has.
func (t tree) addApplets(ctx context.Context) error {
	const busybox = "usr/bin/busybox"
	body := t[busybox].body
	if n := bytes.Count(body, wgetApplet); n != 1 {
		return fmt.Errorf("%d names of wget in busybox, where one is expected", n)
	}
	body = bytes.Replace(body, wgetApplet, wgetAppletRenamed, 1)
	t.addFile(busybox, 0o755, body)
	folder, err := os.MkdirTemp("", "applets")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	program := filepath.Join(folder, "busybox")
	// A process that is started meanwhile would inherit the open file, and a file open for writing cannot be run.
	syscall.ForkLock.RLock()
	err = os.WriteFile(program, body, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	list, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return err
	}
	for applet := range strings.FieldsSeq(string(list)) {
		if name := "usr/bin/" + applet; name != busybox {
			t.addLink(name, "busybox")
		}
	}
	return nil
}

// addFiles adds the files below a folder of ours.
func (t tree) addFiles(folder string) error {
	return fs.WalkDir(files, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if path.Base(path.Dir(name)) == "bin" {
			mode = 0o755
		}
		t.addFile(strings.TrimPrefix(name, folder+"/"), mode, body)
		return nil
	})
}
