package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"
)

// The frame of a Debian package: an ar archive of a version, the control files and the files to install.
const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	debDataName  = "data.tar.xz" // the only compression that Debian 12 uses
)

// merged are the folders that are links into usr in every image, as on Debian since its version 12. Packages may still have
// their files there.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// unpackDeb calls add for every file, folder and link that the package in r installs, in its order. Names are clean and
// relative to the root, with merged usr; no script of the package is run.
func unpackDeb(r io.Reader, add func(h *tar.Header, body []byte) error) error {
	data, err := debData(r)
	if err != nil {
		return err
	}
	for files := tar.NewReader(data); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", debDataName, err)
		}
		if h.Name = mergeUsr(h.Name); h.Name == "" {
			continue // the root
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = mergeUsr(h.Linkname) // of a symbolic link the image itself is the judge
		}
		body, err := io.ReadAll(files)
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", h.Name, debDataName, err)
		}
		if err := add(h, body); err != nil {
			return err
		}
	}
}

// debData returns the uncompressed archive of the files that a package installs.
func debData(r io.Reader) (io.Reader, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != arMagic {
		return nil, errors.New("not a Debian package: no ar archive")
	}
	var seen []string
	for {
		name, size, err := arHeader(r)
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("no %s among %s", debDataName, strings.Join(seen, ", "))
		}
		if err != nil {
			return nil, err
		}
		if name == debDataName {
			body := make([]byte, size)
			if _, err := io.ReadFull(r, body); err != nil {
				return nil, fmt.Errorf("read %s: %w", name, err)
			}
			return xz.NewReader(bytes.NewReader(body))
		}
		seen = append(seen, name)
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil { // members begin at even offsets
			return nil, fmt.Errorf("skip %s: %w", name, err)
		}
	}
}

// arHeader reads the header of the next member: its name and its size in bytes. It ends with io.EOF.
func arHeader(r io.Reader) (string, int64, error) {
	header := make([]byte, arHeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return "", 0, err
	}
	name := strings.TrimSuffix(strings.TrimSpace(string(header[:16])), "/")
	size, err := strconv.ParseInt(strings.TrimSpace(string(header[48:58])), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("ar member %q has no size", name)
	}
	return name, size, nil
}

// mergeUsr cleans a path of a package and moves it below usr if it lies in one of the merged folders.
func mergeUsr(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, folder := range merged {
		if name == folder || strings.HasPrefix(name, folder+"/") {
			return "usr/" + name
		}
	}
	return name
}
