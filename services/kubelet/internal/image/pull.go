package image

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"millrace.dev/services/kubelet/internal/runtime/containerd"
)

// PullRequest is one pull.
type PullRequest struct {
	// Name as the user writes it.
	Name string
	// Credentials of the pod; those that fit are tried in turn. With none that fits the pull is anonymous.
	Credentials Credentials
	// Progress, if not nil, is told of the bytes that have come and of all there are, at most ten times a second, by one
	// caller at a time. All grows while it is not yet known.
	Progress func(done, all int64)
}

// Pull brings an image to this machine and unpacks it; what is there already is not pulled again. Of several pulls of one
// image with the same credentials only one is made, and all get its result. Beyond the limit pulls wait. Errors: a
// [PullError], or the cause of ctx. A pull that containerd's death ends has the kind [runtime.ErrUnavailable] and, made
// again, goes on where it was.
func (s *Store) Pull(ctx context.Context, req PullRequest) (Image, error) {
	ref, err := Normalize(req.Name)
	if err != nil {
		return Image{}, err
	}
	auths := req.Credentials.For(ref)
	key := fmt.Sprintf("%s %#v", ref, auths)
	for {
		f, mine := s.join(key, req.Progress)
		if mine {
			f.image, f.err = s.pull(ctx, ref, auths, f.progress)
			s.mu.Lock()
			delete(s.flights, key)
			s.mu.Unlock()
			close(f.done)
			return f.image, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Image{}, context.Cause(ctx)
		}
		if _, failed := errors.AsType[*PullError](f.err); f.err == nil || failed {
			return f.image, f.err
		}
		// Whoever pulled has given up. We do not.
	}
}

// flight is a pull that is being made.
type flight struct {
	progress *progress
	done     chan struct{}
	image    Image
	err      error
}

// join finds the flight for an image, or begins one.
func (s *Store) join(key string, told func(done, all int64)) (f *flight, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, found := s.flights[key]
	if !found {
		f = &flight{progress: newProgress(), done: make(chan struct{})}
		s.flights[key] = f
	}
	f.progress.tell(told)
	return f, !found
}

// pull tries the credentials in turn.
func (s *Store) pull(ctx context.Context, ref string, auths []Auth, p *progress) (Image, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return Image{}, context.Cause(ctx)
	}
	if len(auths) == 0 {
		auths = []Auth{{}}
	}
	var err error
	for _, auth := range auths {
		var img Image
		if img, err = s.pullWith(ctx, ref, auth, p); !errors.Is(err, ErrUnauthorized) {
			return img, err
		}
	}
	return Image{}, err
}

func (s *Store) pullWith(ctx context.Context, ref string, auth Auth, p *progress) (Image, error) {
	t := s.net.transfer(ref, auth, p)
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: t.hosts})
	_, err := s.client.Pull(ctx, ref,
		client.WithResolver(resolver), client.WithPullUnpack, client.WithPullSnapshotter(s.cfg.Snapshotter),
		client.WithMaxConcurrentDownloads(s.cfg.MaxLayers), client.WithImageHandler(s.counter(p)))
	if err != nil {
		return Image{}, pullError(ctx, ref, err, t.lastBad())
	}
	p.finish()
	img, err := s.Get(ctx, ref)
	if err != nil {
		return Image{}, pullError(ctx, ref, err, nil)
	}
	return img, nil
}

// counter learns of every part of an image how large it is, and which parts are there already.
func (s *Store) counter(p *progress) images.Handler {
	content := s.client.ContentStore()
	return images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !images.IsLayerType(d.MediaType) && !images.IsConfigType(d.MediaType) {
			return nil, nil
		}
		_, err := content.Info(ctx, d.Digest)
		if err != nil && ctx.Err() != nil {
			return nil, containerd.Translate(ctx, err)
		}
		p.expect(d.Digest.String(), d.Size, err == nil)
		return nil, nil
	})
}

// progress counts the bytes of one pull and tells whoever asked.
type progress struct {
	mu        sync.Mutex
	told      []func(done, all int64)
	parts     map[string]bool
	done, all int64
	throttle  throttle
}

func newProgress() *progress { return &progress{parts: map[string]bool{}} }

func (p *progress) tell(f func(done, all int64)) {
	if f == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, f)
}

// expect adds one part, once.
func (p *progress) expect(digest string, size int64, there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parts[digest] {
		return
	}
	p.parts[digest] = true
	p.all += size
	if there {
		p.done += size
	}
}

// add counts bytes that have come.
func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = min(p.done+n, p.all)
	if p.throttle.allow() {
		p.report()
	}
}

// finish says that everything has come.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = p.all
	p.report()
}

// report is called with mu held.
func (p *progress) report() {
	for _, f := range p.told {
		f(p.done, p.all)
	}
}
