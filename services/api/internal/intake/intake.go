// Package intake takes what nodes report and makes it state, on behalf of the node that reported it: pod status and node
// status. A report counts only if it is about an order of that node, and only if no newer one has been taken (P17).
package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
)

const (
	// awaitOrder bounds the wait for the order that a report names; a node that is told to retry asks again.
	awaitOrder = 2 * time.Second
	attempts   = 8
)

// Intake turns reports into state. Safe for concurrent use.
type Intake struct {
	View   *view.View
	Writer *commit.Writer
	Source string
	Now    func() time.Time
	CIDRs  CIDRs
}

// Handle is a [wire.Handler] for report.<node>.pods and report.<node>.node.
func (i *Intake) Handle(ctx context.Context, in *wire.Incoming) error {
	_, node, err := wire.ParseNodeSubject(in.Subject)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	var reports state.PodReports
	if in.Subject == wire.FromNodes+"."+wire.NodeSubject(wire.NodeReport, node, "node") {
		return i.handleNode(ctx, node, in)
	}
	if err := json.Unmarshal(in.Body, &reports); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("report: %v", err))
	}
	if err := i.checkNode(ctx, node, &reports); err != nil {
		return err
	}
	outcomes := make([]state.Outcome, len(reports.Pods))
	var wg sync.WaitGroup
	for p := range reports.Pods {
		wg.Go(func() { outcomes[p] = i.take(ctx, node, reports.Start, &reports.Pods[p]) })
	}
	wg.Wait()
	return in.AnswerJSON(state.PodOutcomes{Outcomes: outcomes})
}

// checkNode refuses a kubelet whose Node is gone or is another's, unless this replica has only not heard of it yet.
func (i *Intake) checkNode(ctx context.Context, name string, reports *state.PodReports) error {
	err := i.knownNode(name, reports)
	if !apierrors.IsNotFound(err) {
		return err
	}
	if err := i.View.Fresh(ctx); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return i.knownNode(name, reports)
}

func (i *Intake) knownNode(name string, reports *state.PodReports) error {
	record := i.View.Object(state.ObjectRef{Resource: scheme.Nodes, Name: name})
	node, ok := view.As[*corev1.Node](record)
	if !ok || node.UID != reports.UID {
		return apierrors.NewNotFound(nodeResource, name)
	}
	if reports.Start < state.ParseReport(record.Report).Start {
		return errSuperseded(name)
	}
	return nil
}

// take makes one report the status of its pod.
func (i *Intake) take(ctx context.Context, node string, start uint64, r *state.PodReport) state.Outcome {
	for range attempts {
		outcome, err := i.try(ctx, node, state.Report{Start: start, Counter: r.Counter}, r)
		switch {
		case err == nil:
			return outcome
		case errors.Is(err, store.ErrConflict):
			if i.View.Fresh(ctx) != nil {
				return state.Retry
			}
		default:
			return state.Retry
		}
	}
	return state.Retry
}

func (i *Intake) try(ctx context.Context, node string, number state.Report, r *state.PodReport) (state.Outcome, error) {
	waiting, cancel := context.WithTimeout(ctx, awaitOrder)
	defer cancel()
	if err := i.View.AwaitExact(waiting, r.Order); err != nil {
		return state.Retry, fmt.Errorf("await order %d: %w", r.Order, err)
	}
	ref := state.ObjectRef{Resource: scheme.Pods, Namespace: r.Namespace, Name: r.Name}
	record := i.View.Object(ref)
	pod, ok := view.As[*corev1.Pod](record)
	if !ok || pod.UID != r.UID || pod.Spec.NodeName != node {
		return state.Gone, nil
	}
	if taken := state.ParseReport(record.Report); !taken.Before(number) {
		return state.Accepted, nil // a newer one has been taken, or this one
	}
	// Written even if the status is known: without its number, a report from before it that comes later would be taken.
	changes, err := state.PodStatusChange(i.View, pod, reported(pod, r, i.Now()))
	if err != nil {
		return state.Retry, err
	}
	b := events.PodReported.Batch(record.Event())
	b.Meta.Source, b.Meta.Actor, b.Queue = i.Source, "system:node:"+node, events.QueueReports
	outcome := state.Accepted
	if changes[0].Remove {
		b.AddAs(events.PodDeleted.Info(), changes...)
		outcome = state.Gone
	} else {
		changes[0].Report = state.FormatReport(number)
		b.Add(changes...)
	}
	if _, err := i.Writer.Put(ctx, b); err != nil {
		return state.Retry, err
	}
	return outcome, nil
}

// reported is the pod with the status that its node reports. What others say of a pod stays: whether it was scheduled, and
// conditions that are not the kubelet's. A pod that is to be deleted and of which nothing runs has finished; what has finished
// stays so.
func reported(pod *corev1.Pod, r *state.PodReport, now time.Time) *corev1.Pod {
	next := *pod
	next.Status = r.Status
	next.Status.NominatedNodeName = ""
	next.Status.QOSClass = pod.Status.QOSClass
	next.Status.Conditions = mergeConditions(pod.Status.Conditions, r.Status.Conditions, now)
	switch {
	case podinfo.Finished(pod):
		next.Status.Phase = pod.Status.Phase // its order says finished: somebody may have counted it (P16)
	case pod.DeletionTimestamp != nil && r.Stopped && !podinfo.Finished(&next):
		next.Status.Phase = corev1.PodFailed
	}
	return &next
}

// kubeletConditions are those that the node answers for. DisruptionTarget is others' too: it stays until the node says it.
var kubeletConditions = map[corev1.PodConditionType]bool{
	corev1.PodInitialized: true, corev1.ContainersReady: true, corev1.PodReady: true, corev1.PodReadyToStartContainers: true,
	corev1.DisruptionTarget: true, corev1.PodResizePending: true, corev1.PodResizeInProgress: true,
}

// mergeConditions are the node's conditions, each with the time at which its status last changed, and those of others.
func mergeConditions(had, reported []corev1.PodCondition, now time.Time) []corev1.PodCondition {
	var merged []corev1.PodCondition
	for _, c := range reported {
		if !kubeletConditions[c.Type] {
			continue
		}
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		if before := podinfo.Condition(had, c.Type); before != nil && before.Status == c.Status {
			c.LastTransitionTime = before.LastTransitionTime
		}
		merged = append(merged, c)
	}
	for _, c := range had {
		if !kubeletConditions[c.Type] || c.Type == corev1.DisruptionTarget && podinfo.Condition(reported, c.Type) == nil {
			merged = append(merged, c)
		}
	}
	return merged
}
