package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// created is the time of every file and every image: a constant, so that the same inputs give the same digests.
var created = time.Unix(0, 0).UTC()

// tree is the files of one layer by path, without a leading slash. What is added later replaces what was there.
type tree map[string]entry

type entry struct {
	header tar.Header
	body   []byte
}

func (t tree) add(h *tar.Header, body []byte) {
	t[h.Name] = entry{header: *h, body: body}
}

func (t tree) addFile(name string, mode int64, body []byte) {
	t.add(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}, body)
}

func (t tree) addFolder(name string, mode int64) {
	t.add(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}, nil)
}

func (t tree) addLink(name, target string) {
	t.add(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, nil)
}

// addParents adds the folders that entries lie in and that nobody has added.
func (t tree) addParents() {
	for _, name := range slices.Collect(maps.Keys(t)) {
		for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
			if _, ok := t[parent]; ok {
				break
			}
			t.addFolder(parent, 0o755)
		}
	}
}

// write writes the tree as a tar archive: sorted, so that folders come before what is in them, and with nothing in it that
// differs from one build to the next.
func (t tree) write(w io.Writer) error {
	t.addParents()
	archive := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		e := t[name]
		h := tar.Header{
			Name: name, Typeflag: e.header.Typeflag, Linkname: e.header.Linkname, Mode: e.header.Mode & 0o7777,
			Uid: e.header.Uid, Gid: e.header.Gid, Size: int64(len(e.body)), ModTime: created,
		}
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := archive.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := archive.Write(e.body); err != nil {
			return err
		}
	}
	return archive.Close()
}

// layer packs the tree. A hard link whose target is in no earlier place of the archive cannot be unpacked, so it is refused.
func (t tree) layer() (v1.Layer, error) {
	for name, e := range t {
		if e.header.Typeflag != tar.TypeLink {
			continue
		}
		if _, ok := t[e.header.Linkname]; !ok || e.header.Linkname > name {
			return nil, errors.New("hard link " + name + " comes before its target " + e.header.Linkname)
		}
	}
	var archive bytes.Buffer
	if err := t.write(&archive); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestSpeed))
}
