package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTreeWrite(t *testing.T) {
	made := tree{}
	made.addFile("usr/bin/tool", 0o644, []byte("old"))
	made.addFile("usr/bin/tool", 0o755, []byte("new"))
	made.addLink("bin", "usr/bin")
	made.addFolder("tmp", 0o1777)
	made.add(&tar.Header{Name: "a/b/owned", Typeflag: tar.TypeReg, Mode: 0o640, Uid: 33, Gid: 4, Uname: "web", ModTime: time.Now()}, []byte("x"))
	var archive bytes.Buffer
	if err := made.write(&archive); err != nil {
		t.Fatal(err)
	}
	var got []string
	for files := tar.NewReader(&archive); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(created) || h.Uname != "" {
			t.Errorf("%s is of %v and %q, want %v and nobody by name", h.Name, h.ModTime, h.Uname, created)
		}
		got = append(got, fmt.Sprintf("%c %o %d:%d %s %s%s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Name, h.Linkname, body))
	}
	want := []string{
		"5 755 0:0 a/ ",
		"5 755 0:0 a/b/ ",
		"0 640 33:4 a/b/owned x",
		"2 777 0:0 bin usr/bin",
		"5 1777 0:0 tmp/ ",
		"5 755 0:0 usr/ ",
		"5 755 0:0 usr/bin/ ",
		"0 755 0:0 usr/bin/tool new",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

func TestLayerIsDeterministic(t *testing.T) {
	names := []string{"etc/a", "etc/b", "usr/bin/c", "d"}
	forth, back := tree{}, tree{}
	for i := range names {
		forth.addFile(names[i], 0o644, []byte(names[i]))
		back.addFile(names[len(names)-1-i], 0o644, []byte(names[len(names)-1-i]))
	}
	var digests []string
	for _, made := range []tree{forth, back} {
		l, err := made.layer()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("the same files gave %s and %s", digests[0], digests[1])
	}
}

func TestLayerRefusesHardLinkBeforeItsTarget(t *testing.T) {
	for _, target := range []string{"z", "gone"} {
		made := tree{}
		made.addFile("z", 0o644, nil)
		made.add(&tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: target}, nil)
		if _, err := made.layer(); err == nil {
			t.Errorf("layer with a hard link to %s: no error", target)
		}
	}
}

func TestCheckLibraries(t *testing.T) {
	libc := libraries{has: map[string]bool{"libc.so.6": true}}
	program := libraries{needs: map[string][]string{"usr/bin/tool": {"libc.so.6", "libz.so.1"}}}
	zlib := libraries{has: map[string]bool{"libz.so.1": true}, needs: map[string][]string{"usr/lib/libz.so.1": {"libc.so.6"}}}
	if err := checkLibraries([]libraries{libc, zlib, program}); err != nil {
		t.Errorf("all there: %v", err)
	}
	err := checkLibraries([]libraries{libc, program})
	if want := "usr/bin/tool needs libz.so.1"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without libz.so.1: %v, want an error with %q", err, want)
	}
}
