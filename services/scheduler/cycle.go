package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/note"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/services/scheduler/internal/cache"
	"millrace.dev/services/scheduler/internal/framework"
	"millrace.dev/services/scheduler/internal/queue"
)

const (
	// mostPods is how many pods one cycle places: with their orders, and a stamp for each node, they fit one batch.
	mostPods = (store.MaxBatch - 1) / 3
	// retryAfter is the pause after a commit that failed for another reason than a conflict.
	retryAfter = 100 * time.Millisecond
)

// scheduler places pods, one cycle after the other.
type scheduler struct {
	view    *view.View
	writer  *commit.Writer
	cache   *cache.Cache
	queue   *queue.Queue
	notes   *note.Noter
	source  string
	now     func() time.Time
	filters []framework.Filter
	scorers []framework.Weighted
	scratch scratch
}

// choice is the node of one pod.
type choice struct {
	pod  *framework.Pod
	node *framework.Node
}

// run schedules until ctx ends: wait for pods, look at the cluster, choose, commit; a cycle that loses decides again.
func (s *scheduler) run(ctx context.Context) error {
	size := mostPods
	for {
		if err := s.queue.Wait(ctx); err != nil {
			return err
		}
		var snapshot *cache.Snapshot
		var pods []*framework.Pod
		err := s.view.ReadExact(ctx, func(uint64) { snapshot, pods = s.cache.Snapshot(), s.queue.Take(size) })
		if err != nil {
			return err
		}
		chosen, misfits := s.choose(snapshot, pods)
		switch err := s.commit(ctx, snapshot, chosen, misfits); {
		case err == nil:
			size = min(2*size, mostPods)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrReset):
			size = max(size/2, 1) // a pod that keeps moving must not hold up the others
			if err := s.view.Fresh(ctx); err != nil {
				return err
			}
		default:
			slog.WarnContext(ctx, "pods were not placed", "component", "cycle", "err", err)
			if !clock.Pause(ctx, retryAfter) {
				return context.Cause(ctx)
			}
		}
	}
}

// misfit is a pod that fits nowhere, and why.
type misfit struct {
	pod *framework.Pod
	why *framework.Diagnosis
}

// choose gives each pod the node that it fits best, taking into account those before it.
func (s *scheduler) choose(snapshot *cache.Snapshot, pods []*framework.Pod) (chosen []choice, misfits []misfit) {
	for _, pod := range pods {
		node, why := s.place(&snapshot.Cluster, pod)
		if node == nil {
			misfits = append(misfits, misfit{pod, why})
			continue
		}
		snapshot.Assume(pod, node)
		chosen = append(chosen, choice{pod, node})
	}
	return chosen, misfits
}

// commit writes what was decided, all of it or nothing: the pods with their nodes, their orders, and the stamps of the nodes used
// and of the scheduler. Then it waits for the view, so that the next cycle sees this one.
func (s *scheduler) commit(ctx context.Context, snapshot *cache.Snapshot, chosen []choice, misfits []misfit) error {
	if len(chosen) > 0 {
		if err := s.assign(ctx, snapshot, chosen); err != nil {
			return err
		}
	}
	return s.explain(ctx, misfits)
}

func (s *scheduler) assign(ctx context.Context, snapshot *cache.Snapshot, chosen []choice) error {
	b := events.PodAssigned.Batch(s.meta(nil), state.Stamp{Kind: state.StampScheduler, ID: state.TheScheduler, Revision: snapshot.Stamp})
	b.Queue = events.QueueDecisions
	stamped := map[string]bool{}
	for _, c := range chosen {
		changes, err := state.PodChange(s.view, c.pod.Pod, s.assigned(c))
		if err != nil {
			return err
		}
		b.Add(changes...)
		if name := c.node.Name; !stamped[name] {
			stamped[name] = true
			b.Stamps = append(b.Stamps, state.Stamp{Kind: state.StampNode, ID: name, Revision: c.node.Stamp})
		}
	}
	result, err := s.writer.Put(ctx, b)
	if err != nil {
		return fmt.Errorf("assign %d pods: %w", len(chosen), err)
	}
	for _, c := range chosen {
		s.notes.Normal(c.pod.Pod, "Scheduled", "Successfully assigned %s/%s to %s", c.pod.Namespace, c.pod.Name, c.node.Name)
	}
	return s.view.AwaitExact(ctx, result.Max())
}

// assigned is the pod with its node.
func (s *scheduler) assigned(c choice) *corev1.Pod {
	pod := *c.pod.Pod
	pod.Spec.NodeName = c.node.Name
	pod.Status.Conditions = slices.Clone(pod.Status.Conditions)
	podinfo.SetCondition(&pod.Status, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation,
	}, s.now().Truncate(time.Second))
	return &pod
}

// explain writes into each pod that fits nowhere why, unless it says so already, and puts it aside. A pod that could not be
// written stays to be tried.
func (s *scheduler) explain(ctx context.Context, misfits []misfit) error {
	errs := make([]error, len(misfits))
	var wg sync.WaitGroup
	for i, m := range misfits {
		wg.Go(func() {
			if errs[i] = s.explainOne(ctx, m); errs[i] == nil {
				s.notes.Warning(m.pod.Pod, "FailedScheduling", "%s", m.why.Message())
				s.queue.Reject(m.pod, m.why.Plugins)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *scheduler) explainOne(ctx context.Context, m misfit) error {
	pod := *m.pod.Pod
	pod.Status.Conditions = slices.Clone(pod.Status.Conditions)
	changed := podinfo.SetCondition(&pod.Status, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: m.why.Message(),
		ObservedGeneration: pod.Generation,
	}, s.now().Truncate(time.Second))
	if !changed {
		return nil
	}
	changes, err := state.PodStatusChange(s.view, m.pod.Pod, &pod)
	if err != nil {
		return err
	}
	b := events.PodUnschedulable.Batch(s.meta(m.pod))
	b.Queue = events.QueueDecisions
	b.Add(changes...)
	if _, err = s.writer.Put(ctx, b); err != nil {
		return fmt.Errorf("explain %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (s *scheduler) meta(pod *framework.Pod) events.Meta {
	meta := events.Meta{}
	if pod != nil {
		if r := s.view.Get(state.ObjectKey(state.RefOf(pod.Pod))); r != nil {
			meta = r.Event()
		}
	}
	meta.Source, meta.Actor = s.source, "system:scheduler"
	return meta
}
