package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/sys/user"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"millrace.dev/services/kubelet/internal/runtime"
)

// localImage is what a start needs of an image.
type localImage struct {
	digest string
	parent string // the snapshot of its topmost layer
	config ocispec.ImageConfig
}

// imageCache remembers what images say, which never changes for a digest, and what users are in them. It grows with the
// images that were used, by a few hundred bytes each.
type imageCache struct {
	client      *client.Client
	snapshotter string

	mu       sync.Mutex
	byDigest map[string]*localImage
	users    map[userKey]runtime.User
}

type userKey struct {
	parent, user string
}

func newImageCache(c *client.Client, snapshotter string) *imageCache {
	return &imageCache{client: c, snapshotter: snapshotter, byDigest: map[string]*localImage{}, users: map[userKey]runtime.User{}}
}

// get finds an image: without a round trip if its digest is given and known.
func (c *imageCache) get(ctx context.Context, i runtime.Image) (*localImage, error) {
	if cached := c.cached(i.Digest); cached != nil {
		return cached, nil
	}
	img, err := c.client.GetImage(ctx, i.Name)
	if err != nil {
		return nil, imageError(i.Name, Translate(ctx, err))
	}
	digest := img.Target().Digest.String()
	if cached := c.cached(digest); cached != nil {
		return cached, nil
	}
	spec, err := img.Spec(ctx)
	if err != nil {
		return nil, imageError(i.Name, Translate(ctx, err))
	}
	local := &localImage{digest: digest, parent: identity.ChainID(spec.RootFS.DiffIDs).String(), config: spec.Config}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byDigest[digest] = local
	return local, nil
}

func (c *imageCache) cached(digest string) *localImage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byDigest[digest]
}

func imageError(name string, err error) error {
	if errors.Is(err, runtime.ErrNotFound) {
		return fmt.Errorf("image %s: %w", name, runtime.ErrImageNotFound)
	}
	return fmt.Errorf("read image %s: %w", name, err)
}

// restore makes sure that the layers of an image are there as a snapshot: they are, unless it was pulled for another
// snapshotter or its snapshot was removed. It reports an image that has gone.
func (c *imageCache) restore(ctx context.Context, name string, local *localImage) error {
	c.mu.Lock()
	delete(c.byDigest, local.digest)
	c.mu.Unlock()
	img, err := c.client.GetImage(ctx, name)
	if err == nil {
		err = img.Unpack(ctx, c.snapshotter)
	}
	if err != nil {
		return imageError(name, Translate(ctx, err))
	}
	return nil
}

// user finds as whom a container runs. What an image says about a user is read from its files once.
func (c *imageCache) user(ctx context.Context, image *localImage, s *runtime.Security, mounts []mount.Mount) (runtime.User, error) {
	name := image.config.User
	if s.UID != nil {
		name = strconv.FormatInt(*s.UID, 10)
	}
	if name == "" {
		name = "0"
	}
	key := userKey{parent: image.parent, user: name}
	c.mu.Lock()
	found, ok := c.users[key]
	c.mu.Unlock()
	if !ok {
		err := mount.WithReadonlyTempMount(ctx, mounts, func(root string) (err error) {
			found, err = lookUp(root, name)
			return err
		})
		if err != nil {
			return runtime.User{}, err
		}
		c.mu.Lock()
		c.users[key] = found
		c.mu.Unlock()
	}
	return withGroups(found, s), nil
}

// withGroups adds the groups that a container names to those of its user in the image.
func withGroups(u runtime.User, s *runtime.Security) runtime.User {
	if s.GID != nil {
		u.GID = *s.GID
	}
	groups := []int64{}
	add := func(list []int64) {
		for _, g := range list {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	add([]int64{u.GID})
	if !s.StrictGroups {
		add(u.Groups)
	}
	add(s.Groups)
	u.Groups = groups
	return u
}

// lookUp finds a user in the files of an image: "name", "uid", or either with ":group".
func lookUp(root, name string) (runtime.User, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return runtime.User{}, fmt.Errorf("open image: %w", err)
	}
	defer func() { _ = dir.Close() }()
	read := func(path string) string {
		f, err := dir.Open(path)
		if err != nil {
			return "" // an image need not have one
		}
		defer func() { _ = f.Close() }()
		body, err := io.ReadAll(f)
		if err != nil {
			return ""
		}
		return string(body)
	}
	passwd, group := read("etc/passwd"), read("etc/group")
	found, err := user.GetExecUser(name, &user.ExecUser{}, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return runtime.User{}, &runtime.UserError{User: name}
	}
	u := runtime.User{UID: int64(found.Uid), GID: int64(found.Gid)}
	// A group given by name or number takes the place of the primary one; the further ones are those of the user.
	if plain, _, both := strings.Cut(name, ":"); both {
		if found, err = user.GetExecUser(plain, &user.ExecUser{}, strings.NewReader(passwd), strings.NewReader(group)); err != nil {
			return runtime.User{}, &runtime.UserError{User: name}
		}
	}
	for _, g := range found.Sgids {
		u.Groups = append(u.Groups, int64(g))
	}
	return u, nil
}
