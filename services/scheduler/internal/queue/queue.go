// Package queue holds the pods that wait for a node: those to be tried now, by priority and age, and those that did not fit, with
// the filters that rejected them. What happens to the cluster moves only pods that it may help.
package queue

import (
	"context"
	"maps"
	"slices"
	"sync"

	"millrace.dev/services/scheduler/internal/framework"
)

// Queue is the pods that wait. Its zero value is not usable: call [New]. Safe for concurrent use.
type Queue struct {
	filters map[string]framework.Filter

	mu       sync.Mutex
	ready    map[string]*framework.Pod
	rejected map[string]rejected
	missed   framework.Event // what happened since the last Take: pods that are being tried may not have seen it
	wake     chan struct{}
}

type rejected struct {
	pod *framework.Pod
	by  map[string]bool // names of filters
}

// New makes an empty queue; filters say which events help whom.
func New(filters []framework.Filter) *Queue {
	q := &Queue{
		filters: map[string]framework.Filter{}, ready: map[string]*framework.Pod{}, rejected: map[string]rejected{},
		wake: make(chan struct{}, 1),
	}
	for _, f := range filters {
		q.filters[f.Name()] = f
	}
	return q
}

// Waits takes a pod in, or its newer revision. A pod that was rejected stays so if nothing changed that a filter reads.
func (q *Queue) Waits(pod *framework.Pod) {
	q.mu.Lock()
	defer q.mu.Unlock()
	uid := string(pod.UID)
	if r, ok := q.rejected[uid]; ok {
		if asksTheSame(r.pod, pod) {
			q.rejected[uid] = rejected{pod: pod, by: r.by}
			return
		}
		delete(q.rejected, uid)
	}
	q.ready[uid] = pod
	q.nudge()
}

// asksTheSame says that two revisions of a pod differ in nothing that a filter reads.
func asksTheSame(a, b *framework.Pod) bool {
	return a.Generation == b.Generation && maps.Equal(a.Labels, b.Labels)
}

// Left forgets a pod: it has a node, is to be deleted, or is gone.
func (q *Queue) Left(uid string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.ready, uid)
	delete(q.rejected, uid)
}

// Happened moves the pods that an event may help back to those to be tried.
func (q *Queue) Happened(e framework.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.missed |= e
	for uid, r := range q.rejected {
		if q.frees(r.by, e) {
			delete(q.rejected, uid)
			q.ready[uid] = r.pod
			q.nudge()
		}
	}
}

func (q *Queue) frees(by map[string]bool, e framework.Event) bool {
	if e == 0 {
		return false
	}
	if len(by) == 0 { // there was no node to reject it
		return e&framework.NodeAdded != 0
	}
	for name := range by {
		if f := q.filters[name]; f == nil || f.Frees(e) {
			return true
		}
	}
	return false
}

func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Wait returns when there is a pod to be tried; the error is the end of ctx.
func (q *Queue) Wait(ctx context.Context) error {
	for {
		q.mu.Lock()
		waiting := len(q.ready)
		q.mu.Unlock()
		if waiting > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-q.wake:
		}
	}
}

// Take gives the pods to be tried next, at most n: the highest priority first, then the oldest. They stay in the queue until
// they leave it or are rejected.
func (q *Queue) Take(n int) []*framework.Pod {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.missed = 0
	pods := make([]*framework.Pod, 0, len(q.ready))
	for _, pod := range q.ready {
		pods = append(pods, pod)
	}
	slices.SortFunc(pods, before)
	return pods[:min(n, len(pods))]
}

func before(a, b *framework.Pod) int {
	if pa, pb := priority(a), priority(b); pa != pb {
		return int(pb) - int(pa)
	}
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c
	}
	return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
}

func priority(pod *framework.Pod) int32 {
	if pod.Spec.Priority == nil {
		return 0
	}
	return *pod.Spec.Priority
}

// Reject puts a pod that fits nowhere aside until something happens that may help it; if that has happened since it was
// taken, or if the pod itself has changed, it stays to be tried.
func (q *Queue) Reject(pod *framework.Pod, by map[string]bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	uid := string(pod.UID)
	newest, ok := q.ready[uid]
	if !ok || !asksTheSame(newest, pod) || q.frees(by, q.missed) {
		return
	}
	delete(q.ready, uid)
	q.rejected[uid] = rejected{pod: newest, by: by}
}

// Rejected says whether a pod is put aside.
func (q *Queue) Rejected(uid string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.rejected[uid]
	return ok
}
