package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"
)

// debOf packs members as a Debian package does: names and bodies in turn.
func debOf(members ...string) []byte {
	var b bytes.Buffer
	b.WriteString(arMagic)
	for i := 0; i < len(members); i += 2 {
		name, body := members[i], members[i+1]
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", name, 0, 0, 0, 0o100644, len(body), body)
		if len(body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// dataOf is a data.tar.xz of those headers; a file's body is its own name.
func dataOf(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	compressed, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(compressed)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := archive.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := archive.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestUnpackDeb(t *testing.T) {
	deb := debOf("debian-binary", "2.0\n", "control.tar.xz", "odd", debDataName+"/", dataOf(
		t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin/tool", Typeflag: tar.TypeReg, Mode: 0o4755},
		tar.Header{Name: "./lib64/ld.so", Typeflag: tar.TypeSymlink, Linkname: "/lib/ld.so"},
		tar.Header{Name: "./usr/bin/twin", Typeflag: tar.TypeLink, Linkname: "./bin/tool"},
		tar.Header{Name: "./etc/tool.conf", Typeflag: tar.TypeReg, Mode: 0o640, Gid: 4},
	))
	var got []string
	err := unpackDeb(bytes.NewReader(deb), func(h *tar.Header, body []byte) error {
		got = append(got, fmt.Sprintf("%c %o %s %d %s %s", h.Typeflag, h.Mode, h.Name, h.Gid, h.Linkname, body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"5 755 usr/bin 0  ",
		"0 4755 usr/bin/tool 0  ./bin/tool",
		"2 0 usr/lib64/ld.so 0 /lib/ld.so ",
		"1 0 usr/bin/twin 0 usr/bin/tool ",
		"0 640 etc/tool.conf 4  ./etc/tool.conf",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestUnpackDebRefuses(t *testing.T) {
	whole := debOf("debian-binary", "2.0\n", debDataName, dataOf(t, tar.Header{Name: "./a", Typeflag: tar.TypeReg}))
	for _, tt := range []struct{ name, deb, want string }{
		{name: "nothing", deb: "", want: "no ar archive"},
		{name: "another format", deb: strings.Repeat("x", 100), want: "no ar archive"},
		{
			name: "another compression", deb: string(debOf("debian-binary", "2.0\n", "data.tar.zst", "x")),
			want: "no data.tar.xz among debian-binary, data.tar.zst",
		},
		{name: "no size", deb: arMagic + strings.Repeat(" ", arHeaderSize), want: "has no size"},
		{name: "cut in the data", deb: string(whole[:len(whole)-8]), want: "unexpected EOF"},
		{name: "cut in a header", deb: string(whole[:len(arMagic)+20]), want: "unexpected EOF"},
		{name: "damaged data", deb: string(debOf(debDataName, strings.Repeat("no xz", 10))), want: "xz"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := unpackDeb(strings.NewReader(tt.deb), func(*tar.Header, []byte) error { return nil })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("unpackDeb: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestMergeUsr(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{name: "./", want: ""},
		{name: "./bin/sh", want: "usr/bin/sh"},
		{name: "./lib", want: "usr/lib"},
		{name: "./lib64/", want: "usr/lib64"},
		{name: "./libexec/x", want: "libexec/x"},
		{name: "./usr/lib/x", want: "usr/lib/x"},
		{name: "../../etc/passwd", want: "etc/passwd"},
		{name: "/sbin/init", want: "usr/sbin/init"},
	} {
		if got := mergeUsr(tt.name); got != tt.want {
			t.Errorf("mergeUsr(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}
