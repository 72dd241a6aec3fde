//go:build linux

package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/test/cluster"
)

// asking is a pod whose containers request these amounts of CPU.
func asking(name string, cpu ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n", name)
	for i, c := range cpu {
		fmt.Fprintf(&b, "  - {name: c%d, image: registry.k8s.io/pause:3.10.1, resources: {requests: {cpu: %s}}}\n", i, c)
	}
	return b.String()
}

// unschedulable is a pod that waits for a place, with this reason to the letter.
func unschedulable(message string) cluster.PodCondition {
	return func(pod *corev1.Pod) string {
		if pod == nil {
			return "it does not exist"
		}
		c := podinfo.Condition(pod.Status.Conditions, corev1.PodScheduled)
		if c == nil || c.Status != corev1.ConditionFalse || c.Reason != corev1.PodReasonUnschedulable || c.Message != message {
			return fmt.Sprintf("its condition PodScheduled is %+v, want the message %q", c, message)
		}
		if pod.Status.Phase != corev1.PodPending {
			return fmt.Sprintf("its phase is %s, want Pending", pod.Status.Phase)
		}
		return ""
	}
}

const noRoom = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, " +
	"preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."

// What containers ask for decides, not what they use; and a place that becomes free is given away at once.
func TestS6_1_RequestsDecide(t *testing.T) {
	c := cluster.Processes(t, cluster.Set("kubelet", "capacity", map[string]any{"cpu": "2"}))
	for _, name := range []string{"one", "two"} {
		c.Create(asking(name, "800m"))
		c.AwaitPod("default", name, cluster.Running, 20*time.Second)
	}
	c.Create(asking("three", "800m"))
	c.AwaitPod("default", "three", unschedulable(noRoom), 10*time.Second)
	c.AwaitEvent("default", "three", corev1.EventTypeWarning, "FailedScheduling", noRoom)

	c.Create(asking("small", "400m")) // what fits is not held up by what does not
	c.AwaitPod("default", "small", cluster.Running, 20*time.Second)

	c.Delete("pods", "default", "one")
	c.AwaitPod("default", "three", cluster.Running, 20*time.Second)
	c.AwaitEvent("default", "three", corev1.EventTypeNormal, "Scheduled", "Successfully assigned default/three to n1")
}

// The requests of all containers are summed, and the pod goes to one node as a whole or not at all; it is ready when all are.
func TestS13_3_APodIsAtomicForScheduling(t *testing.T) {
	c := cluster.Processes(t, cluster.Set("kubelet", "capacity", map[string]any{"cpu": "2"}))
	c.Create(asking("toobig", "1200m", "1200m"))
	c.AwaitPod("default", "toobig", unschedulable("0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "+
		"preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."), 10*time.Second)
	c.Create(asking("fits", "1", "1"))
	pod := c.AwaitPod("default", "fits", cluster.Running, 20*time.Second)
	if len(pod.Status.ContainerStatuses) != 2 {
		t.Errorf("%d containers run, want both", len(pod.Status.ContainerStatuses))
	}

	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: half, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: stays, image: registry.k8s.io/pause:3.10.1}
  - {name: ends, image: busybox, command: [sh, -c, exit 1]}
`)
	c.AwaitPod("default", "half", cluster.Waiting("ends", "CrashLoopBackOff"), 20*time.Second)
	if got := strings.Fields(c.Must("get", "pod", "half", "--no-headers")); len(got) < 3 || got[1] != "1/2" || got[2] != "CrashLoopBackOff" {
		t.Errorf("get pod half: %v, want READY 1/2 and STATUS CrashLoopBackOff", got)
	}
	if ready := podinfo.Condition(c.Pod("default", "half").Status.Conditions, corev1.PodReady); ready == nil || ready.Status != corev1.ConditionFalse ||
		ready.Reason != "ContainersNotReady" || ready.Message != "containers with unready status: [ends]" {
		t.Errorf("condition Ready: %+v", ready)
	}
}

// The scheduler decides, the kubelet places, the store remembers: the decision stands while the kubelet is stopped.
func TestS10_2_DecideAndExecuteAreApart(t *testing.T) {
	c := cluster.Processes(t)
	c.Freeze("kubelet")
	c.Create(asking("later", "100m"))
	pod := c.AwaitPod("default", "later", func(pod *corev1.Pod) string {
		if pod == nil || pod.Spec.NodeName != "n1" {
			return "it is not assigned"
		}
		if s := podinfo.Condition(pod.Status.Conditions, corev1.PodScheduled); s == nil || s.Status != corev1.ConditionTrue {
			return fmt.Sprintf("its condition PodScheduled is %+v", s)
		}
		return ""
	}, 10*time.Second)
	if pod.Status.Phase != corev1.PodPending {
		t.Errorf("phase is %s, want Pending", pod.Status.Phase)
	}
	if order := c.Order("n1", "default", "later"); order == nil || order.Pod.UID != pod.UID || order.Pod.Spec.NodeName != "n1" {
		t.Errorf("order is %+v, want one for uid %s", order, pod.UID)
	}
	if ids := c.Containers("default", "later"); len(ids) != 0 {
		t.Errorf("containers %v while the kubelet is stopped", ids)
	}
	c.Thaw("kubelet")
	again := c.AwaitPod("default", "later", cluster.Running, 20*time.Second)
	if again.UID != pod.UID {
		t.Errorf("uid changed from %s to %s", pod.UID, again.UID)
	}
}
