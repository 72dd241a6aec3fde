package images

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What the index of a store says of each image.
const (
	annotationName   = "org.opencontainers.image.ref.name" // its full name
	annotationInputs = "dev.millrace.inputs"               // digest of all that it is made of
)

// keepUnnamed is how long a blob stays that no image names any more: a registry may still be serving it.
const keepUnnamed = 24 * time.Hour

// Store is a directory of images as it was when it was opened: an OCI image layout. Safe for concurrent use.
type Store struct {
	dir    string
	images map[string]v1.Descriptor // manifests by full name
}

// DefaultDir is the store that tests and commands share on a machine, below the user's cache.
func DefaultDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "millrace", "testimages")
}

// Open reads the store in dir. A directory that is missing or empty is a store without images.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, images: map[string]v1.Descriptor{}}
	body, err := os.ReadFile(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(body, &index); err != nil {
		return nil, fmt.Errorf("open image store %s: %w", dir, err)
	}
	for _, d := range index.Manifests {
		s.images[d.Annotations[annotationName]] = d
	}
	return s, nil
}

// Image returns the descriptor of the manifest of a full name.
func (s *Store) Image(fullName string) (v1.Descriptor, bool) {
	d, ok := s.images[fullName]
	return d, ok
}

// Size returns the bytes of all manifests, configurations and layers of the images, each counted once.
func (s *Store) Size() (int64, error) {
	sizes := map[v1.Hash]int64{}
	for _, d := range s.images {
		all, err := s.blobs(d)
		if err != nil {
			return 0, err
		}
		maps.Copy(sizes, all)
	}
	var sum int64
	for _, size := range sizes {
		sum += size
	}
	return sum, nil
}

// blobs returns the sizes of all blobs of an image: its manifest, its configuration and its layers.
func (s *Store) blobs(image v1.Descriptor) (map[v1.Hash]int64, error) {
	body, err := os.ReadFile(s.blobPath(image.Digest))
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", image.Digest, err)
	}
	sizes := map[v1.Hash]int64{image.Digest: image.Size, m.Config.Digest: m.Config.Size}
	for _, l := range m.Layers {
		sizes[l.Digest] = l.Size
	}
	return sizes, nil
}

// whole reports whether every blob of an image is there with its size.
func (s *Store) whole(image v1.Descriptor) bool {
	sizes, err := s.blobs(image)
	if err != nil {
		return false
	}
	for digest, size := range sizes {
		if info, err := os.Stat(s.blobPath(digest)); err != nil || info.Size() != size {
			return false
		}
	}
	return true
}

func (s *Store) indexPath() string { return filepath.Join(s.dir, "index.json") }
func (s *Store) blobPath(hash v1.Hash) string {
	return filepath.Join(s.dir, "blobs", hash.Algorithm, hash.Hex)
}

// put writes all blobs of an image and then names it. The name is on disk with the next writeIndex.
func (s *Store) put(fullName, inputs string, image v1.Image) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := s.putLayer(l); err != nil {
			return err
		}
	}
	if _, err := s.putBody(image.RawConfigFile); err != nil {
		return err
	}
	digest, err := s.putBody(image.RawManifest)
	if err != nil {
		return err
	}
	size, err := image.Size()
	if err != nil {
		return err
	}
	s.images[fullName] = v1.Descriptor{
		MediaType: types.OCIManifestSchema1, Digest: digest, Size: size,
		Platform:    &v1.Platform{OS: "linux", Architecture: "amd64"},
		Annotations: map[string]string{annotationName: fullName, annotationInputs: inputs},
	}
	return nil
}

// putLayer writes a layer unless it is there with its size.
func (s *Store) putLayer(l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	if info, err := os.Stat(s.blobPath(digest)); err == nil && info.Size() == size {
		return nil
	}
	body, err := l.Compressed()
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return writeFile(s.blobPath(digest), body)
}

// putBody writes a small blob and returns its digest.
func (s *Store) putBody(raw func() ([]byte, error)) (v1.Hash, error) {
	body, err := raw()
	if err != nil {
		return v1.Hash{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(body))
	if err != nil {
		return v1.Hash{}, err
	}
	return digest, writeFile(s.blobPath(digest), bytes.NewReader(body))
}

// keepOnly forgets the images of other names and reports whether there were any.
func (s *Store) keepOnly(names []string) bool {
	before := len(s.images)
	maps.DeleteFunc(s.images, func(name string, _ v1.Descriptor) bool { return !slices.Contains(names, name) })
	return len(s.images) < before
}

// writeIndex names on disk what is named in memory, all of it or nothing.
func (s *Store) writeIndex() error {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, name := range slices.Sorted(maps.Keys(s.images)) {
		index.Manifests = append(index.Manifests, s.images[name])
	}
	body, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	layout := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if err := writeFile(filepath.Join(s.dir, "oci-layout"), bytes.NewReader(layout)); err != nil {
		return err
	}
	return writeFile(s.indexPath(), bytes.NewReader(body))
}

// prune removes the blobs that no image names, and half-written ones, once they are older than keepUnnamed.
func (s *Store) prune(now time.Time) error {
	named := map[string]bool{}
	for _, d := range s.images {
		sizes, err := s.blobs(d)
		if err != nil {
			return err
		}
		for digest := range sizes {
			named[digest.Hex] = true
		}
	}
	folder := filepath.Join(s.dir, "blobs", "sha256")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if named[e.Name()] || now.Sub(info.ModTime()) < keepUnnamed {
			continue
		}
		if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file so that nobody ever sees a part of it under its name.
func writeFile(name string, body io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".part-")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
