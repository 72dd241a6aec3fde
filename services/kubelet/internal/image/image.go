// Package image brings images to this machine and keeps account of them: pulls through mirrors with the pod's credentials,
// one at a time for each image, with progress; lists, reads and removes. What is pulled is unpacked, so that a container
// starts at once. Whether and when to pull is the caller's to decide.
package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/containerd"
)

// Config says how images are pulled.
type Config struct {
	// Snapshotter for which images are unpacked, that of the runtime. Default "overlayfs".
	Snapshotter string `json:"snapshotter"`
	// Mirrors are asked before the registry that a name says. Of several that fit, the one with the longest prefix counts.
	Mirrors []Mirror `json:"mirrors,omitempty"`
	// MaxPulls is how many images are pulled at once. Default 4.
	MaxPulls int `json:"maxPulls"`
	// MaxLayers is how many layers of one image are pulled at once. Default 3, as containerd.
	MaxLayers int `json:"maxLayers"`
	// StallTimeout ends a pull that gets nothing for so long. Default 1 minute, as Kubernetes' image-pull-progress-deadline.
	StallTimeout time.Duration `json:"stallTimeout"`
}

// Mirror has what a registry has.
type Mirror struct {
	// Prefix of the full names that it serves: "docker.io", "docker.io/library", or "*" for all.
	Prefix string `json:"prefix"`
	// Endpoints are asked in turn: "http://127.0.0.1:5000", "https://mirror.example/proxy".
	Endpoints []string `json:"endpoints"`
	// Exclusive says that the registry itself is never asked. Otherwise it is, for what no endpoint has.
	Exclusive bool `json:"exclusive,omitempty"`
}

// Image is an image on this machine.
type Image struct {
	// Digest is that of what the names point to.
	Digest string
	// Names are full names, sorted, some with a digest.
	Names []string
	// SizeBytes is what its layers and configuration take as they were pulled.
	SizeBytes int64
	Config    Settings
}

// Settings are what an image says of how it runs.
type Settings struct {
	Entrypoint, Cmd, Env         []string
	User, WorkingDir, StopSignal string
	Volumes, ExposedPorts        []string // sorted
	Labels                       map[string]string
}

// Local is how the runtime is told of the image.
func (i Image) Local() runtime.Image { return runtime.Image{Name: i.Names[0], Digest: i.Digest} }

// RepoDigests are the names with the digest in the place of the tag, as nodes report them.
func (i Image) RepoDigests() []string {
	var all []string
	for _, name := range i.Names {
		all = append(all, runtime.Image{Name: name, Digest: i.Digest}.ID())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Store is the images of this machine. All methods are safe for concurrent use. Every method can fail with
// [runtime.ErrUnavailable] while containerd is away.
type Store struct {
	cfg    Config
	client *client.Client
	net    *network
	slots  chan struct{}

	mu      sync.Mutex
	flights map[string]*flight
	known   map[string]details // by digest
}

// details are what is read of an image once.
type details struct {
	size   int64
	config Settings
}

// New checks cfg.
func New(cfg Config, conn *containerd.Conn) (*Store, error) {
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = containerd.DefaultSnapshotter
	}
	const maxPulls, maxLayers, stallTimeout = 4, 3, time.Minute
	cfg.MaxPulls, cfg.MaxLayers = max(cfg.MaxPulls, 0), max(cfg.MaxLayers, 0)
	if cfg.MaxPulls == 0 {
		cfg.MaxPulls = maxPulls
	}
	if cfg.MaxLayers == 0 {
		cfg.MaxLayers = maxLayers
	}
	if cfg.StallTimeout == 0 {
		cfg.StallTimeout = stallTimeout
	}
	n, err := newNetwork(cfg)
	if err != nil {
		return nil, err
	}
	// The library tells on stderr of every mirror that lacks an image; what matters is in the error.
	if err := log.SetLevel("error"); err != nil {
		return nil, err
	}
	return &Store{
		cfg: cfg, client: conn.Client(), net: n, slots: make(chan struct{}, cfg.MaxPulls),
		flights: map[string]*flight{}, known: map[string]details{},
	}, nil
}

// Normalize is the full name of an image: "nginx" is "docker.io/library/nginx:latest"; of a name with tag and digest the
// digest counts. Errors: [ErrInvalidName].
func Normalize(name string) (string, error) {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", &PullError{Ref: name, Kind: ErrInvalidName, message: fmt.Sprintf("couldn't parse image name %q: %v", name, err), err: err}
	}
	return ref.String(), nil
}

// Get finds an image by a name as a user writes it. It costs one round trip, and a few more the first time. Errors:
// [ErrNotFound], [ErrInvalidName].
func (s *Store) Get(ctx context.Context, name string) (Image, error) {
	full, err := Normalize(name)
	if err != nil {
		return Image{}, err
	}
	stored, err := s.client.ImageService().Get(ctx, full)
	if err != nil {
		if err = containerd.Translate(ctx, err); errors.Is(err, runtime.ErrNotFound) {
			err = ErrNotFound
		}
		return Image{}, fmt.Errorf("get image %s: %w", full, err)
	}
	d, err := s.details(ctx, stored)
	if err != nil {
		return Image{}, fmt.Errorf("read image %s: %w", full, err)
	}
	return Image{Digest: stored.Target.Digest.String(), Names: []string{full}, SizeBytes: d.size, Config: d.config}, nil
}

// List gives every image, each digest once, by name. What cannot be read, because a pull of it was cut off, is left out.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	stored, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", containerd.Translate(ctx, err))
	}
	byDigest := map[string]*Image{}
	for _, i := range stored {
		digest := i.Target.Digest.String()
		if known, ok := byDigest[digest]; ok {
			known.Names = append(known.Names, i.Name)
			continue
		}
		d, err := s.details(ctx, i)
		if errors.Is(err, runtime.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read image %s: %w", i.Name, err)
		}
		byDigest[digest] = &Image{Digest: digest, Names: []string{i.Name}, SizeBytes: d.size, Config: d.config}
	}
	list := make([]Image, 0, len(byDigest))
	for _, i := range byDigest {
		slices.Sort(i.Names)
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b Image) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return list, nil
}

// Remove removes an image with all its names, and what of it no other image has, before it returns. Containers that run
// keep what they need. One that is not there is no error.
func (s *Store) Remove(ctx context.Context, digest string) error {
	list, err := s.List(ctx)
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Digest != digest {
			continue
		}
		for n, name := range i.Names {
			var opts []images.DeleteOpt
			if n == len(i.Names)-1 {
				opts = append(opts, images.SynchronousDelete())
			}
			err := containerd.Translate(ctx, s.client.ImageService().Delete(ctx, name, opts...))
			if err != nil && !errors.Is(err, runtime.ErrNotFound) {
				return fmt.Errorf("remove image %s: %w", name, err)
			}
		}
	}
	return nil
}

// details reads what an image says, once.
func (s *Store) details(ctx context.Context, i images.Image) (details, error) {
	digest := i.Target.Digest.String()
	s.mu.Lock()
	d, ok := s.known[digest]
	s.mu.Unlock()
	if ok {
		return d, nil
	}
	content := s.client.ContentStore()
	manifest, err := images.Manifest(ctx, content, i.Target, platforms.Default())
	if err != nil {
		return d, containerd.Translate(ctx, err)
	}
	spec, err := client.NewImage(s.client, i).Spec(ctx)
	if err != nil {
		return d, containerd.Translate(ctx, err)
	}
	d = details{size: manifest.Config.Size, config: settings(spec.Config)}
	for _, layer := range manifest.Layers {
		d.size += layer.Size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[digest] = d
	return d, nil
}

func settings(c ocispec.ImageConfig) Settings {
	return Settings{
		Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, User: c.User, WorkingDir: c.WorkingDir, StopSignal: c.StopSignal,
		Volumes: sorted(c.Volumes), ExposedPorts: sorted(c.ExposedPorts), Labels: c.Labels,
	}
}

func sorted(set map[string]struct{}) []string {
	var list []string
	for name := range set {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
