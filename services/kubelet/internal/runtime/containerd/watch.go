package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"

	"millrace.dev/services/kubelet/internal/runtime"
)

// Run finds what is there and watches it until ctx ends.
func (r *Runtime) Run(ctx context.Context) error {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	if err := r.persist(ctx, func() error { return r.adopt(ctx) }); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("adopt containers: %w", err)
	}
	close(r.adopted)
	for _, e := range r.ofPod("") {
		if e.status().State == runtime.StateRunning {
			watchers.Go(func() { r.watch(ctx, e) })
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-r.watches:
			watchers.Go(func() { r.watch(ctx, e) })
		}
	}
}

// adopt builds the tables from what lies on the machine. It may run again after it failed.
func (r *Runtime) adopt(ctx context.Context) error {
	if err := r.readPods(); err != nil {
		return fmt.Errorf("read pods: %w", err)
	}
	guards, err := r.needsGuards(ctx)
	if err != nil {
		return err
	}
	r.guards = guards
	stored, err := r.containers.List(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", Translate(ctx, err))
	}
	list, err := r.tasks.List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return fmt.Errorf("list tasks: %w", Translate(ctx, err))
	}
	running := map[string]*task.Process{}
	for _, t := range list.GetTasks() {
		running[t.GetID()] = t
	}
	known := map[string]bool{}
	for _, c := range stored {
		known[c.ID] = true
		e, err := r.adoptOne(ctx, c, running[c.ID])
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		r.mu.Lock()
		r.table[e.id] = e
		if r.pods[e.meta.PodUID] == nil { // its record is lost: a sandbox that is not whole
			r.pods[e.meta.PodUID] = &sandboxRecord{PodConfig: runtime.PodConfig{
				UID: e.meta.PodUID, Namespace: e.meta.PodNamespace, Name: e.meta.PodName,
			}}
		}
		r.mu.Unlock()
	}
	return r.sweep(ctx, known)
}

// adoptOne makes the entry of a stored container; nil if it is not ours.
func (r *Runtime) adoptOne(ctx context.Context, c containers.Container, t *task.Process) (*entry, error) {
	if !isOurs(c) {
		return nil, nil
	}
	meta, res, err := decode(c)
	if err != nil {
		r.log.ErrorContext(ctx, "record of a container cannot be read and is left alone", "name", c.ID, "err", err)
		return nil, nil
	}
	e := &entry{id: c.ID, meta: meta, ended: make(chan struct{}), now: meta.container(c.ID, c.CreatedAt)}
	started := r.startOf(c.ID)
	switch {
	case res != nil:
		res.apply(&e.now)
		close(e.ended)
		if t != nil { // the crash came between result and deletion
			return e, r.deleteTask(ctx, c.ID)
		}
	case t != nil && t.GetStatus() == task.Status_CREATED:
		e.hasTask = true
	case t != nil: // running, or ended unseen: the watcher finds out
		if started.IsZero() {
			started = processStart(int(t.GetPid()))
		}
		e.now.State, e.now.PID, e.now.StartedAt = runtime.StateRunning, int(t.GetPid()), started
	case meta.Boot != r.boot || !started.IsZero():
		return e, r.finish(ctx, e, lost(started))
	}
	return e, nil
}

// lost is the result of a container that ended without anybody to see how.
func lost(started time.Time) result {
	return result{
		Started: started, Finished: time.Now(), ExitCode: runtime.ExitUnknown, Reason: runtime.ReasonUnknown,
		Message: "The container could not be located when the node's kubelet looked for it",
	}
}

// sweep removes what belongs to no container: root file systems and pipes of a creation that a crash cut off.
func (r *Runtime) sweep(ctx context.Context, known map[string]bool) error {
	var orphans []string
	err := r.snapshots.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if id := info.Labels[labelName]; id != "" && !known[id] {
			orphans = append(orphans, info.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list root file systems: %w", Translate(ctx, err))
	}
	for _, name := range orphans {
		if err := ignoreNotFound(Translate(ctx, r.snapshots.Remove(ctx, name))); err != nil {
			return fmt.Errorf("remove root file system: %w", err)
		}
	}
	if err := r.sweepGuards(ctx, known); err != nil {
		return err
	}
	dirs, err := os.ReadDir(filepath.Join(r.cfg.RunDir, ioDir))
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for id := range known {
		keep[id[:min(len(id), 16)]] = true
	}
	for _, d := range dirs {
		if !keep[d.Name()] {
			if err := os.RemoveAll(filepath.Join(r.cfg.RunDir, ioDir, d.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// watchPause keeps a watcher from asking in circles when the daemon gives answers that it should not give.
const watchPause = 500 * time.Millisecond

// watch waits for the end of a running container and stores its result, whatever happens to the daemon meanwhile.
func (r *Runtime) watch(ctx context.Context, e *entry) {
	e.mu.Lock()
	watched := e.watched
	e.watched = true
	e.mu.Unlock()
	if watched {
		return
	}
	for {
		res, err := r.awaitExit(ctx, e)
		if err == nil {
			err = r.finish(ctx, e, res)
		}
		if err == nil {
			select {
			case r.events <- runtime.Event{Container: e.status()}:
			case <-ctx.Done():
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		r.log.WarnContext(ctx, "container is watched anew", "name", e.meta.Name, "uid", e.meta.PodUID, "err", err)
		timer := time.NewTimer(watchPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// awaitExit asks the shim, through whatever daemon there is, how the container ended.
func (r *Runtime) awaitExit(ctx context.Context, e *entry) (result, error) {
	for {
		exit, err := r.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: e.id}, waitForReady)
		switch err = Translate(ctx, err); {
		case err == nil:
			return r.resultOf(e, int(exit.GetExitStatus()), exit.GetExitedAt().AsTime()), nil
		case errors.Is(err, runtime.ErrUnavailable):
			continue // it waits for the daemon's return
		case errors.Is(err, runtime.ErrNotFound):
			return lost(e.status().StartedAt), nil // its shim was killed
		default:
			return result{}, err
		}
	}
}

// resultOf reads what the control group knows, which goes with the task.
func (r *Runtime) resultOf(e *entry, code int, finished time.Time) result {
	res := result{Started: e.status().StartedAt, Finished: finished, ExitCode: code, Reason: runtime.ReasonError}
	if kills, err := r.cgroups.OOMKills(e.meta.Cgroup); err == nil {
		res.OOMKills = kills
	}
	const killed = 137
	switch {
	case code == 0:
		res.Reason = runtime.ReasonCompleted
	case code == killed && res.OOMKills > 0:
		res.Reason = runtime.ReasonOOMKilled
	}
	return res
}

// finish stores a result, deletes the task, which completes the log, and makes the end known.
func (r *Runtime) finish(ctx context.Context, e *entry, res result) error {
	e.mu.Lock()
	removing := e.removing
	e.mu.Unlock()
	if !removing {
		if err := r.storeResult(ctx, e.id, res); err != nil {
			return fmt.Errorf("store result: %w", err)
		}
	}
	if err := r.persist(ctx, func() error { return r.deleteTask(ctx, e.id) }); err != nil {
		return fmt.Errorf("delete task: %w", err)
	}
	e.mu.Lock()
	res.apply(&e.now)
	e.hasTask = false
	e.mu.Unlock()
	close(e.ended)
	return nil
}

func (r *Runtime) storeResult(ctx context.Context, id string, res result) error {
	if len(res.Message) > maxMessage {
		res.Message = strings.ToValidUTF8(res.Message[:maxMessage], "")
	}
	body, err := json.Marshal(res)
	if err != nil {
		return err
	}
	stored := containers.Container{ID: id, Labels: map[string]string{labelResult: string(body)}}
	return ignoreNotFound(r.persist(ctx, func() error {
		_, err := r.containers.Update(ctx, stored, "labels."+labelResult)
		return err
	}))
}

// runs says whether a task has a process.
func runs(s task.Status) bool {
	return s == task.Status_RUNNING || s == task.Status_PAUSED || s == task.Status_PAUSING
}
