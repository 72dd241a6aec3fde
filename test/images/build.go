package images

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// recipe is the code that makes images. It is part of the digest of what an image is made of: when the code changes, all
// images are made anew. The table is not: each image and each layer has its own entry of it in its digest.
//
//go:embed build.go deb.go layer.go source.go tree.go
var recipe embed.FS

// Config says what [Build] makes, and where.
type Config struct {
	Dir      string   // required: the store; made if it is missing
	Packages string   // where Debian packages are kept; empty: packages below Dir
	Only     []string // stand-ins to make; empty: all, and images that the table no longer has are dropped
}

// Result says what [Build] has done.
type Result struct {
	Built []string // full names of images that were missing, incomplete or out of date
	Kept  []string // full names of images that were as they should be
}

// Build makes the images in c.Dir that are missing, incomplete or out of date, and leaves the others alone. Builds in other
// processes wait for each other. A build that fails or is cut off changes no image. From nothing it takes under a minute on
// two cores; with nothing to do, under a second.
func Build(ctx context.Context, c Config) (Result, error) {
	standIns, err := choose(c.Only)
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return Result{}, err
	}
	unlock, err := lock(ctx, filepath.Join(c.Dir, ".lock"))
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	store, err := Open(c.Dir)
	if err != nil {
		return Result{}, err
	}
	b := builder{layers: map[string]layer{}, keys: map[string]string{}, packed: map[string]packed{}}
	if err := b.gather(ctx, c, standIns); err != nil {
		return Result{}, err
	}
	result, err := b.update(ctx, store, standIns)
	if err != nil {
		return Result{}, err
	}
	dropped := len(c.Only) == 0 && store.keepOnly(Names())
	if len(result.Built) == 0 && !dropped {
		return result, nil
	}
	if err := store.writeIndex(); err != nil {
		return Result{}, err
	}
	return result, store.prune(time.Now())
}

// choose returns the stand-ins of those names, or all.
func choose(only []string) ([]standIn, error) {
	all := table()
	if len(only) == 0 {
		return all, nil
	}
	var chosen []standIn
	for _, name := range only {
		i := slices.IndexFunc(all, func(s standIn) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no image is called %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// builder is one run of Build.
type builder struct {
	in     inputs
	layers map[string]layer  // that the images need, by name
	keys   map[string]string // digest of what each of them is made of

	mu     sync.Mutex
	packed map[string]packed // those that were made in this run
}

// gather finds everything that the images are made of, and downloads what is not there yet.
func (b *builder) gather(ctx context.Context, c Config, standIns []standIn) error {
	for _, l := range layers() {
		if slices.ContainsFunc(standIns, func(s standIn) bool { return slices.Contains(s.layers, l.name) }) {
			b.layers[l.name] = l
		}
	}
	var packages []string
	for _, l := range b.layers {
		packages = append(packages, l.packages...)
	}
	slices.Sort(packages)
	dir := c.Packages
	if dir == "" {
		dir = filepath.Join(c.Dir, "packages")
	}
	var err error
	if b.in.packages, err = fetchPackages(ctx, dir, packages); err != nil {
		return fmt.Errorf("fetch packages: %w", err)
	}
	if b.in.source, err = findSource(ctx); err != nil {
		return fmt.Errorf("find programs: %w", err)
	}
	for name, l := range b.layers {
		if b.keys[name], err = l.key(b.in); err != nil {
			return err
		}
	}
	return nil
}

// key is a digest of everything that a layer is made of. Packages count by their file names, which hold their versions.
func (l layer) key(in inputs) (string, error) {
	h := sha256.New()
	if err := addFolder(h, recipe, "."); err != nil {
		return "", err
	}
	_, _ = fmt.Fprintf(h, "%+v\n", l)
	for _, p := range l.packages {
		_, _ = fmt.Fprintln(h, filepath.Base(in.packages[p]))
	}
	if l.program != "" {
		_, _ = fmt.Fprintln(h, in.source.digest)
	}
	if l.files {
		if err := addFolder(h, files, path.Join("files", l.name)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// addFolder adds the names and contents of all files below a folder to a digest.
func addFolder(h hash.Hash, fsys fs.FS, folder string) error {
	return fs.WalkDir(fsys, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		_, _ = fmt.Fprintf(h, "%s %d %s\n", name, len(body), body)
		return err
	})
}

// imageKey is a digest of everything that one image is made of.
func (b *builder) imageKey(s standIn, fullName string) (string, error) {
	config, err := json.Marshal(s.configFor(fullName))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, _ = h.Write(config)
	for _, name := range s.layers {
		_, _ = fmt.Fprintln(h, b.keys[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// update puts the images into store that are not there as they should be.
func (b *builder) update(ctx context.Context, store *Store, standIns []standIn) (Result, error) {
	var result Result
	stale := map[string]standIn{}
	keys := map[string]string{}
	for _, s := range standIns {
		for _, name := range s.fullNames() {
			key, err := b.imageKey(s, name)
			if err != nil {
				return Result{}, err
			}
			if d, ok := store.Image(name); ok && d.Annotations[annotationInputs] == key && store.whole(d) {
				result.Kept = append(result.Kept, name)
				continue
			}
			stale[name], keys[name] = s, key
			result.Built = append(result.Built, name)
		}
	}
	if err := b.packLayers(ctx, stale); err != nil {
		return Result{}, err
	}
	for _, name := range result.Built {
		image, err := b.image(stale[name], name)
		if err == nil {
			err = store.put(name, keys[name], image)
		}
		if err != nil {
			return Result{}, fmt.Errorf("image %s: %w", name, err)
		}
	}
	return result, nil
}

// packLayers makes the layers of those images, as many at a time as there are processors; before them all programs at once.
func (b *builder) packLayers(ctx context.Context, images map[string]standIn) error {
	var needed []layer
	var programs []string
	for name, l := range b.layers {
		for _, s := range images {
			if slices.Contains(s.layers, name) {
				needed = append(needed, l)
				break
			}
		}
	}
	for _, l := range needed {
		if l.program != "" {
			programs = append(programs, l.program)
		}
	}
	if len(programs) > 0 {
		var err error
		if b.in.programs, err = b.in.source.build(ctx, programs); err != nil {
			return fmt.Errorf("build programs: %w", err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, l := range needed {
		g.Go(func() error {
			made, err := l.pack(ctx, b.in)
			if err != nil {
				return fmt.Errorf("layer %s: %w", l.name, err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.packed[l.name] = made
			return nil
		})
	}
	return g.Wait()
}

// image puts the image of one name together.
func (b *builder) image(s standIn, fullName string) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	var adds []mutate.Addendum
	var found []libraries
	for _, name := range s.layers {
		l, ok := b.packed[name]
		if !ok {
			return nil, errors.New("there is no layer " + name)
		}
		found = append(found, l.libraries)
		adds = append(adds, mutate.Addendum{Layer: l.Layer, History: v1.History{
			Created: v1.Time{Time: created}, CreatedBy: "millrace-testimages: layer " + name,
		}})
	}
	if err := checkLibraries(found); err != nil {
		return nil, err
	}
	image, err := mutate.Append(image, adds...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: created}
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = s.configFor(fullName)
	return mutate.ConfigFile(image, config)
}
