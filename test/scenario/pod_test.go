//go:build linux

package scenario

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/scheme"
	"millrace.dev/test/cluster"
)

// Containers of a pod share network, IPC and host name, and not their files.
func TestS13_1_SharedNamespaces(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: pair, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: server, image: busybox, command: [sh, -c, "echo hello > /tmp/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp"]}
  - {name: client, image: busybox, command: [sleep, "3600"]}
`)
	pod := c.AwaitPod("default", "pair", cluster.Running, 30*time.Second)
	in := func(container, command string) string {
		t.Helper()
		return strings.TrimSpace(c.Must("exec", "pair", "-c", container, "--", "sh", "-c", command))
	}
	if got := in("client", "wget -qO- http://127.0.0.1:8080/"); got != "hello" {
		t.Errorf("over 127.0.0.1 the other container answers %q, want hello", got)
	}
	for _, same := range []string{"hostname", "readlink /proc/self/ns/net", "readlink /proc/self/ns/ipc", "readlink /proc/self/ns/uts", "ip -4 -o addr show eth0"} {
		a, b := in("server", same), in("client", same)
		if a != b || a == "" {
			t.Errorf("%s: %q in one container, %q in the other; want the same", same, a, b)
		}
	}
	for _, other := range []string{"readlink /proc/self/ns/mnt", "readlink /proc/self/ns/pid"} {
		if a, b := in("server", other), in("client", other); a == b {
			t.Errorf("%s: %q in both containers", other, a)
		}
	}
	if got := in("client", "hostname"); got != "pair" {
		t.Errorf("host name is %q, want the pod's name", got)
	}
	if got := in("client", "ip -4 -o addr show eth0"); !strings.Contains(got, pod.Status.PodIP+"/") {
		t.Errorf("address in the pod is %q, want %s", got, pod.Status.PodIP)
	}
	in("server", "echo mine > /file")
	if out, _, code := c.Run("exec", "pair", "-c", "client", "--", "cat", "/file"); code == 0 {
		t.Errorf("the other container reads the file: %q", out)
	}

	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: clash, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: first, image: busybox, command: [httpd, -f, -p, "8080"]}
  - {name: second, image: busybox, command: [sh, -c, "until cat /proc/net/tcp /proc/net/tcp6 | grep -q :1F90; do sleep 0.1; done; exec httpd -f -p 8080"]}
`)
	c.AwaitPod("default", "clash", cluster.Waiting("second", "CrashLoopBackOff"), 30*time.Second)
	if got := c.Must("logs", "clash", "-c", "second"); !strings.Contains(got, "Address already in use") {
		t.Errorf("log of the container that lost: %q, want Address already in use", got)
	}
}

// A pod has a life: phases, conditions, addresses, an orderly end; what may change of it is told.
func TestS12_3_Pod(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(`
apiVersion: v1
kind: Pod
metadata: {name: life, namespace: default}
spec:
  terminationGracePeriodSeconds: 3
  initContainers: [{name: first, image: busybox, command: [sh, -c, "test ! -e /go; sleep 1"]}]
  containers: [{name: c, image: busybox, command: [sh, -c, "trap '' TERM; while true; do sleep 1; done"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: good, namespace: default}
spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: ["true"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bad, namespace: default}
spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [sh, -c, exit 7]}]}
`)
	c.AwaitPod("default", "life", func(pod *corev1.Pod) string { // while it initialises
		if pod == nil || pod.Status.Phase != corev1.PodPending || len(pod.Status.InitContainerStatuses) != 1 || pod.Status.InitContainerStatuses[0].State.Running == nil {
			return "its init container does not run"
		}
		if got := conditions(pod); got != "PodScheduled=True PodReadyToStartContainers=True Initialized=False Ready=False ContainersReady=False" {
			return "its conditions are " + got
		}
		return ""
	}, 20*time.Second)
	pod := c.AwaitPod("default", "life", cluster.Running, 20*time.Second)
	if got := conditions(pod); got != "PodScheduled=True PodReadyToStartContainers=True Initialized=True Ready=True ContainersReady=True" {
		t.Errorf("conditions of a running pod: %s", got)
	}
	for _, a := range []string{pod.Status.PodIP, pod.Status.HostIP, pod.Status.PodIPs[0].IP, pod.Status.HostIPs[0].IP} {
		if _, err := netip.ParseAddr(a); err != nil {
			t.Errorf("address: %v", err)
		}
	}
	if pod := c.AwaitPod("default", "good", cluster.Phase(corev1.PodSucceeded), 20*time.Second); pod.Status.ContainerStatuses[0].State.Terminated.Reason != "Completed" {
		t.Errorf("a container that ended well: %+v", pod.Status.ContainerStatuses[0].State)
	}
	if pod := c.AwaitPod("default", "bad", cluster.Phase(corev1.PodFailed), 20*time.Second); pod.Status.ContainerStatuses[0].State.Terminated.ExitCode != 7 {
		t.Errorf("a container that failed: %+v", pod.Status.ContainerStatuses[0].State)
	}

	forbidden(t, c)
	c.Create("apiVersion: v1\nkind: Pod\nmetadata: {name: default-grace, namespace: default}\nspec: {containers: [{name: c, image: registry.k8s.io/pause:3.10.1}]}")
	if grace := c.AwaitPod("default", "default-grace", cluster.Running, 20*time.Second).Spec.TerminationGracePeriodSeconds; grace == nil || *grace != 30 {
		t.Errorf("default grace is %v, want 30", grace)
	}
	c.Delete("pods", "default", "default-grace")

	began := time.Now() // PID 1 ignores SIGTERM: it has its grace, then it is killed
	c.Delete("pods", "default", "life")
	dying := c.Pod("default", "life")
	if dying == nil || dying.DeletionTimestamp == nil || *dying.DeletionGracePeriodSeconds != 3 {
		t.Fatalf("right after the deletion: %+v", dying)
	}
	if got := strings.Fields(c.Must("get", "pod", "life", "--no-headers")); got[2] != "Terminating" {
		t.Errorf("get pod life: %v, want Terminating", got)
	}
	c.AwaitPod("default", "life", cluster.Gone, 20*time.Second)
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("gone after %v, before its grace of 3 s was over", took)
	}
	if ids := c.Containers("default", "life"); len(ids) != 0 {
		t.Errorf("containers of a pod that is gone: %v", ids)
	}
}

// conditions are those of a pod in the order in which they follow each other.
func conditions(pod *corev1.Pod) string {
	var all []string
	for _, typ := range []corev1.PodConditionType{
		corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady,
	} {
		if c := podinfo.Condition(pod.Status.Conditions, typ); c != nil {
			all = append(all, fmt.Sprintf("%s=%s", typ, c.Status))
		}
	}
	return strings.Join(all, " ")
}

// forbidden changes what may not be changed.
func forbidden(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	pod := c.Pod("default", "life")
	pod.Spec.Containers[0].Command = []string{"true"}
	err := c.TryUpdate(t.Context(), scheme.Pods, pod)
	want := "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
		"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` " +
		"(allow it to be set to 1 if it was previously negative)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("change of a command: %v, want %s", err, want)
	}
	pod = c.Pod("default", "life")
	pod.Labels = map[string]string{"changed": "yes"}
	if err := c.TryUpdate(t.Context(), scheme.Pods, pod); err != nil {
		t.Errorf("change of a label: %v", err)
	}
}
