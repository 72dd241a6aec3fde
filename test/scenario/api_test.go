//go:build linux

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/test/cluster"
)

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: default, labels: {app: %s}}\ndata: {key: %q}", name, strings.SplitN(name, "-", 2)[0], value)
}

func mapRef(name string) state.ObjectRef {
	return state.ObjectRef{Resource: scheme.ConfigMaps, Namespace: "default", Name: name}
}

// Bad input is refused with the path of the field, and what is left out is filled in.
func TestS8_1_ValidationAndDefaults(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode())
	for _, tc := range []struct {
		name, manifest string
		reason         metav1.StatusReason
		want           []string
	}{
		{
			name: "every invalid field at once", reason: metav1.StatusReasonInvalid,
			manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: Bad_Name, namespace: default}\nspec: {restartPolicy: Sometimes, containers: [{name: c, image: x, ports: [{containerPort: 70000}]}]}",
			want: []string{
				`Pod "Bad_Name" is invalid: [`, `metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of`,
				"spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
				`spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`,
			},
		},
		{
			name: "unknown field", reason: metav1.StatusReasonBadRequest,
			manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default}\nspec: {containers: [{name: c, imaeg: x}]}",
			want:     []string{`unknown field "spec.containers[0].imaeg"`, `did you mean "image"`},
		},
		{
			name: "no such namespace", reason: metav1.StatusReasonNotFound,
			manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: nowhere}", want: []string{`namespaces "nowhere" not found`},
		},
		{
			name: "no such kind", reason: metav1.StatusReasonNotFound, manifest: "apiVersion: v1\nkind: Pot\nmetadata: {name: c}",
			want: []string{`no matches for kind "Pot" in version "v1"`},
		},
	} {
		_, err := c.TryCreate(t.Context(), tc.manifest)
		if apierrors.ReasonForError(err) != tc.reason {
			t.Errorf("%s: %v, want reason %s", tc.name, err, tc.reason)
		}
		for _, want := range tc.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", tc.name, err, want)
			}
		}
	}

	var pod corev1.Pod
	object := c.Create("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default}\nspec: {containers: [{name: c, image: nginx}]}")[0]
	if err := json.Unmarshal(object, &pod); err != nil {
		t.Fatal(err)
	}
	if s := pod.Spec; s.RestartPolicy != corev1.RestartPolicyAlways || s.DNSPolicy != corev1.DNSClusterFirst || *s.TerminationGracePeriodSeconds != 30 ||
		s.SchedulerName != "default-scheduler" || s.Containers[0].ImagePullPolicy != corev1.PullAlways || s.Containers[0].TerminationMessagePath != "/dev/termination-log" {
		t.Errorf("defaults: %+v", s)
	}
	if pod.UID == "" || pod.ResourceVersion == "" || pod.CreationTimestamp.IsZero() || pod.Generation != 1 || pod.Status.QOSClass != corev1.PodQOSBestEffort {
		t.Errorf("metadata and status: %+v %+v", pod.ObjectMeta, pod.Status)
	}
}

// Of two writers who read the same version, the second is told so and loses nothing.
func TestS8_1_Conflict(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode())
	c.Create(configMap("settings", "one"))
	var first, second corev1.ConfigMap
	for _, m := range []*corev1.ConfigMap{&first, &second} {
		if err := c.GetInto(t.Context(), mapRef("settings"), m); err != nil {
			t.Fatal(err)
		}
	}
	first.Data["key"], second.Data["key"] = "two", "three"
	if err := c.TryUpdate(t.Context(), scheme.ConfigMaps, &first); err != nil {
		t.Fatal(err)
	}
	want := `Operation cannot be fulfilled on configmaps "settings": the object has been modified; please apply your changes to the latest version and try again`
	if err := c.TryUpdate(t.Context(), scheme.ConfigMaps, &second); !apierrors.IsConflict(err) || err.Error() != want {
		t.Errorf("update with a stale resourceVersion: %v, want %s", err, want)
	}
	var now corev1.ConfigMap
	if err := c.GetInto(t.Context(), mapRef("settings"), &now); err != nil || now.Data["key"] != "two" {
		t.Errorf("after the conflict: %v %v, want two", now.Data, err)
	}
	if _, err := c.TryCreate(t.Context(), configMap("settings", "four")); !apierrors.IsAlreadyExists(err) || err.Error() != `configmaps "settings" already exists` {
		t.Errorf("second create: %v", err)
	}
}

// A list comes in pages of one moment, whatever is written in between.
func TestS8_1_ListPages(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode())
	for i := range 25 {
		c.Create(configMap(fmt.Sprintf("page-%02d", i), "x"))
	}
	options := metav1.ListOptions{Limit: 10, LabelSelector: "app=page"}
	var names []string
	var version string
	for page := range 3 {
		list, err := c.List(t.Context(), scheme.ConfigMaps, "default", options)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range list.Items {
			var m corev1.ConfigMap
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			names = append(names, m.Name)
		}
		if version == "" {
			version = list.ResourceVersion
		}
		if list.ResourceVersion != version {
			t.Errorf("page %d is of version %s, the first of %s", page, list.ResourceVersion, version)
		}
		if (list.Continue == "") != (page == 2) {
			t.Errorf("page %d: continue %q", page, list.Continue)
		}
		options.Continue = list.Continue
		c.Create(configMap(fmt.Sprintf("page-between-%d", page), "x")) // not of this moment
	}
	if len(names) != 25 || names[0] != "page-00" || names[24] != "page-24" {
		t.Errorf("%d items: %v", len(names), names)
	}
}

// A watch begins behind a version and misses nothing; one that is too old is told so.
func TestS8_1_Watch(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode())
	c.Create(configMap("seen-before", "x"))
	list, err := c.List(t.Context(), scheme.ConfigMaps, "default", metav1.ListOptions{LabelSelector: "app=seen"})
	if err != nil {
		t.Fatal(err)
	}
	c.Create(configMap("seen-later", "x")) // before the watch begins
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	options := metav1.ListOptions{LabelSelector: "app=seen", ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: true}
	var got []string
	done := errors.New("done")
	err = c.Watch(ctx, scheme.ConfigMaps, "default", options, func(e client.WatchEvent) error {
		var m corev1.ConfigMap
		if err := json.Unmarshal(e.Object, &m); err != nil {
			return err
		}
		if e.Type == "BOOKMARK" {
			return nil
		}
		switch got = append(got, e.Type+" "+m.Name+" "+m.Data["key"]); len(got) {
		case 1:
			m.Data["key"] = "y"
			return c.TryUpdate(t.Context(), scheme.ConfigMaps, &m)
		case 2:
			m.Labels["app"] = "hidden" // leaves the selection
			return c.TryUpdate(t.Context(), scheme.ConfigMaps, &m)
		case 3:
			return done
		}
		return nil
	})
	if want := "ADDED seen-later x, MODIFIED seen-later y, DELETED seen-later y"; !errors.Is(err, done) || strings.Join(got, ", ") != want {
		t.Errorf("watch: %v, %v; want %s", got, err, want)
	}

	c.Kill("api") // its window begins anew
	err = c.Watch(ctx, scheme.ConfigMaps, "default", options, func(client.WatchEvent) error { return nil })
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("watch from a version that is too old: %v, want it expired", err)
	}
}

// One of two api processes is killed again and again: no request is lost and none is done twice.
func TestS8_1_AnAPIProcessDies(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode(), cluster.Replicas("api", 2))
	var wg sync.WaitGroup
	created := make([]int, 4)
	ctx := t.Context()
	stop, cancel := context.WithCancel(ctx)
	for worker := range created {
		wg.Go(func() {
			for i := 0; stop.Err() == nil; i++ {
				if _, err := c.TryCreate(ctx, configMap(fmt.Sprintf("w%d-%d", worker, i), "x")); err != nil {
					t.Errorf("create: %v", err)
					return
				}
				created[worker]++
			}
		})
	}
	for range 5 {
		c.Kill("api")
		c.Kill("api-2")
	}
	cancel()
	wg.Wait()
	total := 0
	for worker, n := range created {
		total += n
		list, err := c.All(t.Context(), scheme.ConfigMaps, "default", metav1.ListOptions{LabelSelector: fmt.Sprintf("app=w%d", worker)})
		if err != nil || len(list.Items) != n {
			t.Errorf("worker %d: %d acknowledged, %d there, %v", worker, n, len(list.Items), err)
		}
	}
	t.Logf("%d creates acknowledged over 10 kills", total)
}
