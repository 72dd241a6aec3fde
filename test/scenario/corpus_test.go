//go:build linux

package scenario

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/test/cluster"
)

const corpus = "../testdata/manifests"

// row is a file of pods of RUNNABLE.tsv and how its end state is told from others.
type row struct {
	file string
	// needs is created first, in the same namespace.
	needs string
	// pods are those of the file, in the namespace that they name or else in the test's own.
	pods      []string
	namespace string
	wanted    cluster.PodCondition
	// log is what the log of the container must hold, each a text of its own.
	log   []string
	check func(t *testing.T, c *cluster.Cluster, pod *corev1.Pod)
}

// runnable are the rows of RUNNABLE.tsv that are pods alone.
func runnable() []row {
	succeeded := cluster.Phase(corev1.PodSucceeded)
	hack, guide := "kubernetes-testdata/hack/testdata/", "kubernetes-testdata/test/fixtures/doc-yaml/user-guide/"
	limits := "kubernetes-testdata/test/fixtures/doc-yaml/admin/limitrange/"
	return []row{
		{file: "kubernetes-examples/_archived/podsecuritypolicy/rbac/pod.yaml", pods: []string{"nginx"}},
		{file: hack + "diff/pod.yaml", pods: []string{"test"}},
		{file: hack + "filter/pod-apply-selector.yaml", pods: []string{"selector-test-pod"}},
		{file: hack + "filter/pod-dont-apply.yaml", pods: []string{"selector-test-pod-dont-apply"}},
		{file: hack + "pod-apply.yaml", pods: []string{"test-pod"}},
		{file: hack + "pod-changed.yaml", pods: []string{"test-pod"}},
		{file: hack + "pod.yaml", pods: []string{"test-pod"}},
		{file: hack + "prune/a.yaml", pods: []string{"a"}},
		{file: hack + "prune/b.yaml", pods: []string{"b"}, namespace: "nsb"},
		{file: hack + "recursive/pod-modify/busybox.yaml", pods: []string{"busybox0"}},
		{file: hack + "recursive/pod-modify/pod/busybox.yaml", pods: []string{"busybox1"}},
		{file: hack + "recursive/pod/busybox.yaml", pods: []string{"busybox0"}},
		{file: hack + "recursive/pod/pod/busybox.yaml", pods: []string{"busybox1"}},
		{file: hack + "sorted-pods/sorted-pod1.yaml", pods: []string{"sorted-pod1"}},
		{file: hack + "sorted-pods/sorted-pod2.yaml", pods: []string{"sorted-pod2"}},
		{file: hack + "sorted-pods/sorted-pod3.yaml", pods: []string{"sorted-pod3"}},
		{file: "kubernetes-testdata/test/e2e/testing-manifests/kubectl/agnhost-primary-pod.yaml", pods: []string{"agnhost-primary"}},
		{file: limits + "invalid-pod.yaml", pods: []string{"invalid-pod"}},
		{file: limits + "valid-pod.yaml", pods: []string{"valid-pod"}},
		{file: guide + "downward-api/dapi-pod.yaml", pods: []string{"dapi-test-pod"}, wanted: succeeded, log: []string{"POD_NAME=dapi-test-pod"}},
		{file: guide + "secrets/secret-env-pod.yaml", needs: guide + "secrets/secret.yaml", pods: []string{"secret-env-pod"}, wanted: succeeded, log: []string{"MY_SECRET_DATA=value-1"}},
		{file: guide + "multi-pod.yaml", pods: []string{"valid-pod"}},
		{file: "website/debug/counter-pod.yaml", pods: []string{"counter"}, log: []string{"0: ", "1: "}},
		{file: "website/pods/emptydir-volume-mode.yaml", pods: []string{"emptydir-mode-demo"}},
		{file: "website/pods/inject/dapi-envars-container.yaml", pods: []string{"dapi-envars-resourcefieldref"}, log: []string{"\n1\n1\n33554432\n67108864\n"}},
		{file: "website/pods/inject/dapi-envars-pod.yaml", pods: []string{"dapi-envars-fieldref"}, log: []string{"n1\ndapi-envars-fieldref\n"}},
		{file: "website/pods/inject/pod-secret-envFrom.yaml", needs: "website/pods/inject/secret.yaml", pods: []string{"envfrom-secret"}, check: environment("username=my-app")},
		{file: "website/pods/inject/secret-envars-pod.yaml", needs: "website/pods/inject/secret.yaml", pods: []string{"secret-envars-test-pod"}, check: environment("SECRET_USERNAME=my-app")},
		{file: "website/pods/pod-rs.yaml", pods: []string{"pod1", "pod2"}},
		{file: "website/pods/qos/qos-pod-5.yaml", pods: []string{"qos-demo-5"}, namespace: "qos-example", check: guaranteed},
		{file: "website/pods/qos/qos-pod.yaml", pods: []string{"qos-demo"}, namespace: "qos-example", check: guaranteed},
		{
			file: "website/pods/resource/extended-resource-pod.yaml", pods: []string{"extended-resource-demo"},
			wanted: unschedulable("0/1 nodes are available: 1 Insufficient example.com/dongle. no new claims to deallocate, " +
				"preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
		},
		{file: "website/pods/resource/pod-resize.yaml", pods: []string{"resize-demo"}, namespace: "qos-example", check: guaranteed},
		{file: "website/service/networking/hostaliases-pod.yaml", pods: []string{"hostaliases-pod"}, wanted: succeeded, log: []string{
			"127.0.0.1\tfoo.local\tbar.local", "10.1.2.3\tfoo.remote\tbar.remote",
		}},
	}
}

// later says which feature, of an issue to come, a row waits for.
var later = map[string]string{
	"kubernetes-examples/_archived/podsecuritypolicy/rbac/pod_priv.yaml":                "privileged containers",
	"kubernetes-testdata/hack/testdata/multi-resource-1.yaml":                           "apply",
	"kubernetes-testdata/test/fixtures/doc-yaml/user-guide/liveness/exec-liveness.yaml": "liveness probes",
	"kubernetes-testdata/test/fixtures/doc-yaml/user-guide/liveness/http-liveness.yaml": "liveness probes",
	"kubernetes-testdata/test/fixtures/doc-yaml/user-guide/secrets/secret-pod.yaml":     "Secret volumes",
	"website/configmap/configure-pod.yaml":                                              "ConfigMap volumes",
	"website/pods/commands.yaml":                                                        "the Service kubernetes",
	"website/pods/config/redis-pod.yaml":                                                "ConfigMap volumes",
	"website/pods/inject/secret-pod.yaml":                                               "Secret volumes",
	"website/pods/multi-container/resources.yaml":                                       "sidecars",
	"website/pods/multi-container/startup-coordination.yaml":                            "startup probes",
	"website/pods/pod-with-affinity-preferred-weight.yaml":                              "node affinity",
	"website/pods/probe/pod-with-http-healthcheck.yaml":                                 "liveness probes",
	"website/pods/security/seccomp/ga/fine-pod.yaml":                                    "seccomp profiles",
	"website/pods/security/security-context-6.yaml":                                     "supplemental groups",
	"website/pods/security/security-context.yaml":                                       "fsGroup",
	"website/pods/share-process-namespace.yaml":                                         "shared process namespaces",
	"website/pods/storage/projected-service-account-token.yaml":                         "projected volumes",
	"website/pods/topology-spread-constraints/two-constraints.yaml":                     "topology spread constraints",
	"website/secret/dotfile-secret.yaml":                                                "Secret volumes",
	"website/secret/optional-secret.yaml":                                               "Secret volumes",
	"website/service/networking/custom-dns.yaml":                                        "DNS configuration of pods",
}

func environment(want string) func(*testing.T, *cluster.Cluster, *corev1.Pod) {
	return func(t *testing.T, c *cluster.Cluster, pod *corev1.Pod) {
		t.Helper()
		if got := c.Must("exec", pod.Name, "-n", pod.Namespace, "--", "env"); !strings.Contains(got, want+"\n") {
			t.Errorf("environment:\n%swant %s", got, want)
		}
	}
}

func guaranteed(t *testing.T, _ *cluster.Cluster, pod *corev1.Pod) {
	t.Helper()
	if pod.Status.QOSClass != corev1.PodQOSGuaranteed {
		t.Errorf("QoS class is %s, want Guaranteed", pod.Status.QOSClass)
	}
}

// Real manifests that nobody here wrote reach the state that RUNNABLE.tsv names, unchanged, on real containers.
func TestCorpus_Pods(t *testing.T) {
	c := cluster.Processes(t, cluster.Set("kubelet", "capacity", map[string]any{"cpu": "4"})) // some ask for more than small machines have
	rows := runnable()
	for i, r := range rows {
		t.Run(strings.TrimSuffix(r.file, ".yaml"), func(t *testing.T) { reach(t, c, &rows[i], fmt.Sprintf("corpus-%d", i)) })
	}
}

func reach(t *testing.T, c *cluster.Cluster, r *row, own string) {
	t.Helper()
	c = c.For(t)
	namespace := own
	if r.namespace != "" {
		namespace = r.namespace
	}
	c.Create("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}")
	for _, file := range []string{r.needs, r.file} {
		if file != "" {
			c.Must("create", "-n", namespace, "-f", filepath.Join(corpus, file))
		}
	}
	wanted := r.wanted
	if wanted == nil {
		wanted = cluster.Running
	}
	for _, name := range r.pods {
		pod := c.AwaitPod(namespace, name, wanted, 60*time.Second)
		for _, text := range r.log {
			c.Until(10*time.Second, fmt.Sprintf("the log of %s to have %q", name, text), func() bool {
				return strings.Contains(c.Must("logs", name, "-n", namespace), text)
			})
		}
		if r.check != nil {
			r.check(t, c, pod)
		}
	}
	for _, name := range r.pods { // the node has room for the next
		c.Must("delete", "pod", name, "-n", namespace, "--grace-period=0", "--force")
	}
	c.Delete("namespaces", "", namespace)
	c.Until(30*time.Second, "namespace "+namespace+" to be gone", func() bool {
		_, _, code := c.Run("get", "namespace", namespace)
		return code != 0
	})
}

func read(t *testing.T, file string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(corpus, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Every row of RUNNABLE.tsv that is made of pods alone is either run or named with what it waits for.
func TestCorpus_NothingIsForgotten(t *testing.T) {
	run := map[string]bool{}
	for _, r := range runnable() {
		run[r.file] = true
	}
	index := columns(t, "INDEX.tsv")
	for _, fields := range columns(t, "RUNNABLE.tsv")[1:] {
		file := fields[0]
		i := slices.IndexFunc(index, func(f []string) bool { return f[0] == file })
		if i < 0 || !podsAlone(index[i][2]) || run[file] {
			continue
		}
		if waits, ok := later[file]; ok {
			t.Logf("not yet: %s: %s", file, waits)
			continue
		}
		t.Errorf("%s is neither run nor named: %s", file, strings.Join(fields, " | "))
	}
	for file := range maps.Keys(later) {
		if run[file] {
			t.Errorf("%s is run and yet waits for %s", file, later[file])
		}
	}
}

func podsAlone(kinds string) bool {
	all := strings.Split(kinds, ",")
	return slices.Contains(all, "Pod") && !slices.ContainsFunc(all, func(k string) bool {
		return k != "Pod" && k != "Namespace" && k != "ConfigMap" && k != "Secret"
	})
}

func columns(t *testing.T, file string) [][]string {
	t.Helper()
	var rows [][]string
	for line := range strings.Lines(read(t, file)) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows
}
