//go:build linux

package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/test/cluster"
)

// A container whose process is killed comes back in the same pod, in less than two seconds.
func TestS5_1_FailedContainerRestarted(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: nginx}]
`)
	before := c.AwaitPod("default", "web", cluster.Running, 30*time.Second)
	began := time.Now()
	c.Must("exec", "web", "--", "kill", "1")
	after := c.AwaitPod("default", "web", cluster.Restarted("web", 1), 2*time.Second)
	t.Logf("killed and running again after %v", time.Since(began).Round(time.Millisecond))
	if after.UID != before.UID || after.Status.PodIP != before.Status.PodIP || after.Spec.NodeName != before.Spec.NodeName {
		t.Errorf("another pod: uid %s was %s, ip %s was %s", after.UID, before.UID, after.Status.PodIP, before.Status.PodIP)
	}
	s := podinfo.ContainerStatus(after.Status.ContainerStatuses, "web")
	if s.RestartCount != 1 || s.LastTerminationState.Terminated == nil || s.LastTerminationState.Terminated.Reason != "Completed" {
		t.Errorf("restart count %d, last state %+v; want 1, terminated", s.RestartCount, s.LastTerminationState)
	}
	c.Until(10*time.Second, "a second event Started", func() bool {
		for _, e := range c.Events("default", "web") {
			if e.Reason == "Started" && e.Count == 2 {
				return true
			}
		}
		return false
	})
}

// A container that keeps failing waits longer and longer, as its annotation says. The defaults of 10 s to 300 s and the reset after
// 10 minutes are shown in virtual time beside the kubelet's pod workers.
func TestS5_1_BackoffIsTunable(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: default, annotations: {millrace.dev/restart-backoff: "initial=1s,max=5s"}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sh, -c, exit 3]}]
`)
	c.AwaitPod("default", "crash", cluster.Waiting("c", "CrashLoopBackOff"), 20*time.Second)
	// The status names the delay of each restart; nothing needs to be timed from outside.
	seen := map[int32]string{}
	done := errors.New("done")
	err := c.Watch(t.Context(), scheme.Pods, "default", metav1.ListOptions{FieldSelector: "metadata.name=crash"}, func(e client.WatchEvent) error {
		var pod corev1.Pod
		if err := json.Unmarshal(e.Object, &pod); err != nil {
			return err
		}
		s := podinfo.ContainerStatus(pod.Status.ContainerStatuses, "c")
		if s == nil || s.State.Waiting == nil || s.State.Waiting.Reason != "CrashLoopBackOff" {
			return nil
		}
		seen[s.RestartCount] = s.State.Waiting.Message
		if last := s.LastTerminationState.Terminated; last == nil || last.ExitCode != 3 || last.Reason != "Error" {
			t.Errorf("last state of restart %d: %+v", s.RestartCount, last)
		}
		if s.RestartCount == 5 {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	pod := c.Pod("default", "crash")
	for restart, delay := range map[int32]string{1: "1s", 2: "2s", 3: "4s", 4: "5s", 5: "5s"} {
		want := fmt.Sprintf("back-off %s restarting failed container=c pod=crash_default(%s)", delay, pod.UID)
		if got, ok := seen[restart]; ok && got != want || !ok && restart > 1 {
			t.Errorf("message before restart %d: %q, want %q", restart+1, got, want)
		}
	}
	c.AwaitEvent("default", "crash", corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container c in pod crash_default(%s)", pod.UID))
}

// The restart policy decides how a pod ends.
func TestS5_2_RestartPolicy(t *testing.T) {
	c := cluster.Processes(t)
	for _, policy := range []corev1.RestartPolicy{corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure, corev1.RestartPolicyAlways} {
		for code := range 2 {
			c.Create(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s-%d, namespace: default, annotations: {millrace.dev/restart-backoff: "initial=1s,max=1s"}}
spec:
  restartPolicy: %s
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sh, -c, exit %d]}]
`, strings.ToLower(string(policy)), code, policy, code))
		}
	}
	again := func(pod *corev1.Pod) string {
		if pod == nil || len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].RestartCount < 2 {
			return "it has not been restarted twice"
		}
		if podinfo.Finished(pod) {
			return fmt.Sprintf("its phase is %s", pod.Status.Phase)
		}
		return ""
	}
	for _, tc := range []struct {
		name     string
		wanted   cluster.PodCondition
		restarts bool
	}{
		{"never-0", cluster.Phase(corev1.PodSucceeded), false},
		{"never-1", cluster.Phase(corev1.PodFailed), false},
		{"onfailure-0", cluster.Phase(corev1.PodSucceeded), false},
		{"onfailure-1", again, true},
		{"always-0", again, true},
		{"always-1", again, true},
	} {
		pod := c.AwaitPod("default", tc.name, tc.wanted, 30*time.Second)
		if s := pod.Status.ContainerStatuses[0]; (s.RestartCount > 0) != tc.restarts {
			t.Errorf("%s: %d restarts", tc.name, s.RestartCount)
		}
	}
}
