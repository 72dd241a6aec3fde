// Package containerd runs pods and containers with containerd and runc. It knows the daemon's versions 1.6 to 2.
//
// What it keeps, and where: of a container its record in containerd, with how it was made as an extension and how it
// ended as a label; of a pod a file beside its namespaces in the run directory. Everything else (the table of containers)
// is in memory and is rebuilt from these.
//
// Every running container has a watcher that waits for its end at its shim, through the daemon. That answer cannot be lost:
// the shim gives it as often as it is asked, until the task is deleted, which the watcher does only when the result is
// stored.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"google.golang.org/grpc"

	"millrace.dev/services/kubelet/internal/cgroup"
	"millrace.dev/services/kubelet/internal/runtime"
)

// Config says where a runtime keeps its things.
type Config struct {
	// RunDir holds namespaces and pipes, and should not outlive the machine's boot. Required; short, because sockets lie
	// below it.
	RunDir string `json:"runDir"`
	// CgroupParent is the group above those of all pods. Default "/millrace".
	CgroupParent string `json:"cgroupParent"`
	// Snapshotter of containerd. Default "overlayfs".
	Snapshotter string `json:"snapshotter"`
	// Runc is the low-level runtime. Default: the "runc" that the shim finds.
	Runc string `json:"runc,omitempty"`
	// Logger is the program millrace-logger. Required: an absolute path.
	Logger string `json:"logger"`
}

// Defaults of [Config].
const (
	DefaultCgroupParent = "/millrace"
	DefaultSnapshotter  = "overlayfs"
)

// Runtime is a [runtime.Runtime] over containerd.
type Runtime struct {
	cfg  Config
	conn *Conn
	log  *slog.Logger

	tasks      tasks.TasksClient
	containers containers.Store
	snapshots  snapshots.Snapshotter
	cgroups    *cgroup.Hierarchy
	images     *imageCache
	confines   confines
	boot       string
	guards     bool     // see guard.go; known once adopted is closed
	hostNet    *os.File // the network namespace of this process

	adopted chan struct{} // closed when the table is complete
	watches chan *entry
	events  chan runtime.Event

	mu    sync.Mutex
	table map[string]*entry
	pods  map[string]*sandboxRecord
}

var _ runtime.Runtime = (*Runtime)(nil)

// New returns a runtime that works as soon as [Runtime.Run] runs.
func New(cfg Config, conn *Conn, log *slog.Logger) (*Runtime, error) {
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = DefaultCgroupParent
	}
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = DefaultSnapshotter
	}
	var errs []error
	for name, path := range map[string]string{"runDir": cfg.RunDir, "logger": cfg.Logger, "cgroupParent": cfg.CgroupParent} {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s %q: want an absolute path", name, path))
		}
	}
	if filepath.Clean(cfg.CgroupParent) == "/" {
		errs = append(errs, errors.New("cgroupParent: the root is not ours"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	groups, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	confines, err := readConfines()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(cfg.Logger); err != nil {
		return nil, fmt.Errorf("logger: %w", err)
	}
	// Kept open: the namespace of the first thread, which stands for the process, may change for moments.
	hostNet, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open own network namespace: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	for _, dir := range []string{podsDir, ioDir, startedDir} {
		if err := os.MkdirAll(filepath.Join(cfg.RunDir, dir), 0o711); err != nil {
			return nil, fmt.Errorf("make run directory: %w", err)
		}
	}
	c := conn.Client()
	return &Runtime{
		cfg: cfg, conn: conn, log: log,
		tasks: c.TaskService(), containers: c.ContainerService(), snapshots: c.SnapshotService(cfg.Snapshotter),
		cgroups: groups, images: newImageCache(c, cfg.Snapshotter), confines: confines,
		boot: strings.TrimSpace(string(boot)), hostNet: hostNet,
		adopted: make(chan struct{}), watches: make(chan *entry), events: make(chan runtime.Event),
		table: map[string]*entry{}, pods: map[string]*sandboxRecord{},
	}, nil
}

// The directories below RunDir: one a pod with its namespaces; one a container or command with its pipes; one file a
// started container with its time; what runc keeps.
const (
	podsDir    = "pods"
	ioDir      = "io"
	startedDir = "started"
	runcDir    = "runc"
)

// Events are the exits, for one reader.
func (r *Runtime) Events() <-chan runtime.Event { return r.events }

// ready waits until the table is complete.
func (r *Runtime) ready(ctx context.Context) error {
	select {
	case <-r.adopted:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// persist repeats f while the daemon is away. For what must be done whatever happens.
func (r *Runtime) persist(ctx context.Context, f func() error) error {
	for {
		err := Translate(ctx, f())
		if !errors.Is(err, runtime.ErrUnavailable) {
			return err
		}
		if err := r.conn.Ready(ctx); err != nil {
			return err
		}
	}
}

// waitForReady makes a call wait for the daemon instead of failing.
var waitForReady = grpc.WaitForReady(true)

// entry is one container in the table.
type entry struct {
	id    string
	meta  *record
	ended chan struct{} // closed when the result is stored

	mu       sync.Mutex
	now      runtime.Container
	hasTask  bool // in the daemon, though not running: made and not started, or left by a crash
	watched  bool
	removing bool            // its result will not be asked for
	mounts   []snapshotMount // of the root file system, until it is started
	execSpec *processSpec    // how commands run in it; nil until somebody asks
}

func (e *entry) status() runtime.Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (r *Runtime) find(ctx context.Context, id string) (*entry, error) {
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.table[id]
	if !ok {
		return nil, fmt.Errorf("container %s: %w", id, runtime.ErrNotFound)
	}
	return e, nil
}

// ofPod lists the entries of one pod, or all.
func (r *Runtime) ofPod(uid string) []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*entry
	for _, e := range r.table {
		if uid == "" || e.meta.PodUID == uid {
			found = append(found, e)
		}
	}
	return found
}

// Status is one container as the table has it.
func (r *Runtime) Status(ctx context.Context, id string) (runtime.Container, error) {
	e, err := r.find(ctx, id)
	if err != nil {
		return runtime.Container{}, err
	}
	return e.status(), nil
}

// List gives the containers of a pod, or all, as the table has them.
func (r *Runtime) List(ctx context.Context, podUID string) ([]runtime.Container, error) {
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	var list []runtime.Container
	for _, e := range r.ofPod(podUID) {
		list = append(list, e.status())
	}
	runtime.SortContainers(list)
	return list, nil
}

// Wait returns the container when it has ended.
func (r *Runtime) Wait(ctx context.Context, id string) (runtime.Container, error) {
	e, err := r.find(ctx, id)
	if err != nil {
		return runtime.Container{}, err
	}
	select {
	case <-e.ended:
		return e.status(), nil
	case <-ctx.Done():
		return e.status(), context.Cause(ctx)
	}
}
