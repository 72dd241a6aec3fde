package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/services/kubelet/internal/logger"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/sandbox"
)

// sandboxRecord is what is kept of a pod, in the file podFile beside its namespaces. It is written before anything else is
// made, so that what a crash leaves has an owner, and again with Complete at the end.
type sandboxRecord struct {
	runtime.PodConfig
	CreatedAt time.Time `json:"createdAt"`
	Boot      string    `json:"boot"`
	Complete  bool      `json:"complete"`
}

const (
	podFile      = "pod.json"
	namespaceDir = "ns"
	holderGroup  = "init"
)

// hostname is what the pod's containers see as their host's name.
func (s *sandboxRecord) hostname() string {
	if s.HostNetwork {
		name, err := os.Hostname()
		if err != nil {
			return ""
		}
		return name
	}
	return s.Hostname
}

func (s *sandboxRecord) config(dir string) sandbox.Config {
	c := sandbox.Config{Dir: dir, Hostname: s.Hostname, Sysctls: s.Sysctls}
	if !s.HostNetwork {
		c.Kinds = append(c.Kinds, sandbox.Net, sandbox.UTS)
	}
	if !s.HostIPC {
		c.Kinds = append(c.Kinds, sandbox.IPC)
	}
	return c
}

func (r *Runtime) podDir(uid string) string { return filepath.Join(r.cfg.RunDir, podsDir, uid) }

func (r *Runtime) namespaces(uid string) string { return filepath.Join(r.podDir(uid), namespaceDir) }

func (r *Runtime) podCgroup(uid string) string { return r.cfg.CgroupParent + "/pod" + uid }

// CreatePod makes what the containers of a pod share.
func (r *Runtime) CreatePod(ctx context.Context, c runtime.PodConfig) (runtime.Pod, error) {
	if err := r.ready(ctx); err != nil {
		return runtime.Pod{}, err
	}
	if c.UID == "" || c.UID != filepath.Base(c.UID) {
		return runtime.Pod{}, fmt.Errorf("create pod: %w: uid %q", runtime.ErrInvalid, c.UID)
	}
	rec := r.pod(c.UID)
	if rec == nil || !r.whole(rec) {
		created := time.Now()
		if rec != nil && rec.Boot == r.boot {
			created = rec.CreatedAt
		}
		rec = &sandboxRecord{PodConfig: c, CreatedAt: created, Boot: r.boot}
		if err := r.makePod(ctx, rec); err != nil {
			return runtime.Pod{}, fmt.Errorf("create pod %s/%s: %w", c.Namespace, c.Name, err)
		}
		rec = r.pod(c.UID)
	}
	return r.podStatus(rec), nil
}

func (r *Runtime) pod(uid string) *sandboxRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[uid]
}

func (r *Runtime) makePod(ctx context.Context, rec *sandboxRecord) error {
	if err := r.writePod(rec); err != nil {
		return err
	}
	if err := r.cgroups.Create(r.podCgroup(rec.UID), rec.Limits); err != nil {
		return err
	}
	config := rec.config(r.namespaces(rec.UID))
	if len(config.Kinds) > 0 {
		if err := sandbox.Create(config); errors.Is(err, sandbox.ErrSysctl) {
			return fmt.Errorf("%w: %w", runtime.ErrInvalid, err)
		} else if err != nil {
			return err
		}
	}
	if rec.SharePID {
		if err := r.hold(ctx, rec); err != nil {
			return fmt.Errorf("hold process namespace: %w", err)
		}
	}
	whole := *rec
	whole.Complete = true
	return r.writePod(&whole)
}

// hold starts the process that keeps the process namespace of a pod.
func (r *Runtime) hold(ctx context.Context, rec *sandboxRecord) error {
	group := r.podCgroup(rec.UID) + "/" + holderGroup
	if err := r.cgroups.Remove(group); err != nil { // the holder of an earlier attempt
		return err
	}
	if err := r.cgroups.Create(group, rec.Limits); err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, r.cfg.Logger, logger.HoldMode)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return err
	}
	pid, err := strconv.Atoi(out.String())
	if err != nil {
		return err
	}
	if err := r.cgroups.Enter(group, pid); err != nil {
		return err
	}
	if err := os.MkdirAll(r.namespaces(rec.UID), 0o755); err != nil {
		return err
	}
	return sandbox.PinProcesses(r.namespaces(rec.UID), pid)
}

// whole says whether a sandbox is there with everything.
func (r *Runtime) whole(rec *sandboxRecord) bool {
	if !rec.Complete || rec.Boot != r.boot || !r.cgroups.Exists(r.podCgroup(rec.UID)) {
		return false
	}
	if rec.SharePID && len(r.cgroups.Processes(r.podCgroup(rec.UID)+"/"+holderGroup)) == 0 {
		return false
	}
	return sandbox.Complete(rec.config(r.namespaces(rec.UID)))
}

// writePod replaces the record of a pod, whole or not at all.
func (r *Runtime) writePod(rec *sandboxRecord) error {
	dir := r.podDir(rec.UID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	body, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, podFile)
	if err := os.WriteFile(path+".new", body, 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[rec.UID] = rec
	return nil
}

// readPods fills the table of pods from their files. A directory without a record belongs to a pod all the same.
func (r *Runtime) readPods() error {
	dirs, err := os.ReadDir(filepath.Join(r.cfg.RunDir, podsDir))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range dirs {
		rec := &sandboxRecord{}
		body, err := os.ReadFile(filepath.Join(r.podDir(d.Name()), podFile))
		if err != nil || json.Unmarshal(body, rec) != nil {
			rec = &sandboxRecord{}
		}
		rec.UID = d.Name()
		r.pods[rec.UID] = rec
	}
	return nil
}

// ListPods gives every sandbox, also half ones.
func (r *Runtime) ListPods(ctx context.Context) ([]runtime.Pod, error) {
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	recs := make([]*sandboxRecord, 0, len(r.pods))
	for _, rec := range r.pods {
		recs = append(recs, rec)
	}
	r.mu.Unlock()
	pods := make([]runtime.Pod, 0, len(recs))
	for _, rec := range recs {
		pods = append(pods, r.podStatus(rec))
	}
	runtime.SortPods(pods)
	return pods, nil
}

func (r *Runtime) podStatus(rec *sandboxRecord) runtime.Pod {
	p := runtime.Pod{
		UID: rec.UID, Namespace: rec.Namespace, Name: rec.Name, Cgroup: r.podCgroup(rec.UID),
		Ready: r.whole(rec), CreatedAt: rec.CreatedAt,
	}
	if !rec.HostNetwork {
		p.NetNS = sandbox.Path(r.namespaces(rec.UID), sandbox.Net)
	}
	return p
}

// RemovePod removes containers, namespaces, control group and record, in this order: as long as anything is left, there
// is a record of it.
func (r *Runtime) RemovePod(ctx context.Context, uid string) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	if uid == "" || uid != filepath.Base(uid) {
		return fmt.Errorf("remove pod: %w: uid %q", runtime.ErrInvalid, uid)
	}
	group, removing := errgroup.WithContext(ctx)
	for _, e := range r.ofPod(uid) {
		group.Go(func() error { return r.Remove(removing, e.id) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("remove pod %s: %w", uid, err)
	}
	if err := r.cgroups.Remove(r.podCgroup(uid)); err != nil {
		return fmt.Errorf("remove pod %s: %w", uid, err)
	}
	if err := sandbox.Remove(r.namespaces(uid)); err != nil {
		return fmt.Errorf("remove pod %s: %w", uid, err)
	}
	if err := os.RemoveAll(r.podDir(uid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove pod %s: %w", uid, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pods, uid)
	return nil
}
