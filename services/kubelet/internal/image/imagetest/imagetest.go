// Package imagetest makes a small image from this machine's busybox, and a registry to pull it from, for tests.
package imagetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"runtime"
	"testing"
	"time"

	"millrace.dev/pkg/need"
)

// Media types of an image in OCI's format.
const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// Image is an image with one or more layers, none of them compressed.
type Image struct {
	Config   []byte
	Layers   [][]byte
	Manifest []byte
}

// Config is what an image says of itself.
type Config struct {
	User         string              `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
}

// applets are the commands that tests run.
var applets = []string{
	"sh", "sleep", "echo", "cat", "true", "false", "id", "hostname", "ls", "ps", "kill", "dd", "head", "tail", "wc", "grep",
	"touch", "mkdir", "rm", "mount", "stty", "tty", "env", "pwd", "readlink", "ip", "nc", "date", "yes", "seq", "ulimit", "stat", "test", "trap", "chmod",
}

// Busybox makes the image: busybox in /bin, the users root (also in group 10) and web (1000, also in groups 1001 and 1002).
func Busybox(t testing.TB, c Config) Image {
	t.Helper()
	program, err := os.ReadFile(need.Busybox(t))
	if err != nil {
		t.Fatal(err)
	}
	l := newLayer(t)
	for _, dir := range []string{"bin", "etc", "tmp", "root", "data"} {
		l.add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	l.add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	for _, name := range applets {
		l.add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	l.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/data:/bin/sh\n")
	l.file("etc/group", "root:x:0:\nwheel:x:10:root\nweb:x:1001:\nextra:x:1002:web\n")
	if c.Cmd == nil {
		c.Cmd = []string{"sh"}
	}
	return New(t, c, l.bytes())
}

// New makes an image of layers in tar format.
func New(t testing.TB, c Config, layers ...[]byte) Image {
	t.Helper()
	type blob struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	var diffs []string
	blobs := []blob{}
	for _, l := range layers {
		diffs = append(diffs, Digest(l))
		blobs = append(blobs, blob{typeLayer, Digest(l), len(l)})
	}
	config := encode(t, map[string]any{
		"created": time.Unix(1700000000, 0).UTC(), "architecture": architecture(), "os": "linux", "config": c,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	manifest := encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest,
		"config": blob{typeConfig, Digest(config), len(config)}, "layers": blobs,
	})
	return Image{Config: config, Layers: layers, Manifest: manifest}
}

// Layer makes a layer with one file of so many bytes.
func Layer(t testing.TB, name string, size int) []byte {
	t.Helper()
	l := newLayer(t)
	l.file(name, string(bytes.Repeat([]byte("x"), size)))
	return l.bytes()
}

// Digest is that of a blob: of Manifest, it is the image's.
func Digest(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Archive is the image under a name in the format of docker save, which containerd imports.
func (i Image) Archive(t testing.TB, name string) []byte {
	t.Helper()
	l := newLayer(t)
	var files []string
	for n, layer := range i.Layers {
		file := "layer" + string(rune('0'+n)) + ".tar"
		l.add(tar.Header{Name: file, Typeflag: tar.TypeReg, Mode: 0o644}, layer)
		files = append(files, file)
	}
	l.add(tar.Header{Name: "config.json", Typeflag: tar.TypeReg, Mode: 0o644}, i.Config)
	l.file("manifest.json", string(encode(t, []map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": files}})))
	return l.bytes()
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

type layer struct {
	t   testing.TB
	buf bytes.Buffer
	tw  *tar.Writer
}

func newLayer(t testing.TB) *layer {
	t.Helper()
	l := &layer{t: t}
	l.tw = tar.NewWriter(&l.buf)
	return l
}

func (l *layer) file(name, body string) {
	l.add(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, []byte(body))
}

func (l *layer) add(h tar.Header, body []byte) {
	l.t.Helper()
	h.Size = int64(len(body))
	h.ModTime = time.Unix(1700000000, 0)
	if err := l.tw.WriteHeader(&h); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.tw.Write(body); err != nil {
		l.t.Fatal(err)
	}
}

func (l *layer) bytes() []byte {
	l.t.Helper()
	if err := l.tw.Close(); err != nil {
		l.t.Fatal(err)
	}
	return l.buf.Bytes()
}

func architecture() string { return runtime.GOARCH }
