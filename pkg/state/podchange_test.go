package state_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/state"
)

// deed is one thing that a process of the control plane does to a pod or to a ConfigMap.
type deed struct {
	what   string
	pod    string // its name
	node   string // of create and assign
	phase  corev1.PodPhase
	config string // the ConfigMap
}

func drawDeed(t *rapid.T, label string) deed {
	return deed{
		what: rapid.SampledFrom([]string{
			"create", "assign", "label", "mark", "hold", "let go", "report", "remove", "write config", "drop config", "announce", "write and announce",
		}).Draw(t, label),
		pod: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "pod"), node: rapid.SampledFrom([]string{"", "n1", "n2"}).Draw(t, "node"),
		phase:  rapid.SampledFrom([]corev1.PodPhase{corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}).Draw(t, "phase"),
		config: rapid.SampledFrom([]string{"c1", "c2"}).Draw(t, "config"),
	}
}

// do decides on what seen shows and writes to b, unless a key has moved since.
func (d deed) do(b *bucket, seen state.Seen) {
	var changes []state.Change
	var err error
	switch d.what {
	case "create":
		if seen.Body(podKey(d.pod)) != nil {
			return
		}
		changes, err = state.PodChange(seen, nil, b.newPod(d))
	case "write config", "drop config":
		key := configKey(d.config)
		if d.what == "drop config" && b.Body(key) == nil {
			return
		}
		changes = []state.Change{{Key: key, Replaces: b.Revision(key), Body: []byte("{}"), Remove: d.what == "drop config"}}
	case "write and announce":
		deed{what: "write config", config: d.config}.do(b, b)
		changes, err = announce(b, seen, d.pod)
	case "announce":
		changes, err = announce(b, seen, d.pod)
	default:
		before := b.pod(d.pod)
		if before == nil {
			return
		}
		changes, err = d.change(seen, before)
	}
	if err != nil {
		b.fatalf("%+v: %v", d, err)
	}
	b.write(changes...)
}

// newPod refers to both ConfigMaps and has a uid that no pod had before.
func (b *bucket) newPod(d deed) *corev1.Pod {
	b.made++
	return objtest.Pod(d.pod).UID(types.UID(fmt.Sprint("uid-", b.made))).Node(d.node).Container(corev1.Container{Name: "c", EnvFrom: []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c1"}}},
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c2"}}},
	}}).Obj()
}

func configKey(name string) state.Key {
	return state.ObjectKey(state.ObjectRef{Resource: "configmaps", Namespace: "default", Name: name})
}

func announce(b *bucket, seen state.Seen, pod string) ([]state.Change, error) {
	var changes []state.Change
	for _, node := range []string{"n1", "n2"} {
		key := state.OrderKey(node, "default", pod)
		if b.Body(key) == nil {
			continue
		}
		c, changed, err := state.ConfigChange(seen, key)
		if err != nil {
			return nil, err
		}
		if changed {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// change is what becomes of a pod that exists; nothing if the deed does not apply to it.
func (d deed) change(seen state.Seen, before *corev1.Pod) ([]state.Change, error) {
	after := before.DeepCopy()
	switch d.what {
	case "remove":
		return state.PodChange(seen, before, nil)
	case "assign":
		if before.Spec.NodeName != "" || before.DeletionTimestamp != nil {
			return nil, nil
		}
		after.Spec.NodeName = d.node
	case "label":
		after.Labels = map[string]string{"at": before.ResourceVersion}
	case "mark":
		if before.DeletionTimestamp == nil {
			after.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}
	case "hold":
		if before.DeletionTimestamp == nil {
			after.Finalizers = []string{"example.com/hold"}
		}
	case "let go":
		after.Finalizers = nil
	case "report":
		if before.Spec.NodeName == "" || podinfo.Finished(before) {
			return nil, nil
		}
		after.Status.Phase = d.phase
		return state.PodStatusChange(seen, before, after)
	}
	return state.PodChange(seen, before, after)
}

// P16: whatever is done to pods, in whatever order, and whatever else happens while it is decided: each order is what follows
// from its pod, there is none without a pod, and no pod on a node is without one.
func TestP16_PodAndOrderAlwaysAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBucket(t.Fatalf)
		for range rapid.IntRange(1, 40).Draw(t, "deeds") {
			d, seen := drawDeed(t, "deed"), state.Seen(b)
			if rapid.Bool().Draw(t, "interrupted") {
				other := drawDeed(t, "meanwhile")
				seen = &interrupted{bucket: b, answers: rapid.IntRange(0, 8).Draw(t, "answers"), meanwhile: func() { other.do(b, b) }}
			}
			d.do(b, seen)
			agree(t, b)
		}
		settle(t, b)
	})
}

// Every deed, interrupted by every other after every answer, from every state that a pod passes through.
func TestP16_PodAndOrderAgreeAfterEveryInterruption(t *testing.T) {
	deeds := []deed{
		{what: "create"},
		{what: "create", node: "n1"},
		{what: "assign", node: "n1"},
		{what: "label"},
		{what: "mark"},
		{what: "hold"},
		{what: "let go"},
		{what: "report", phase: corev1.PodRunning},
		{what: "report", phase: corev1.PodFailed},
		{what: "remove"},
		{what: "write config", config: "c1"},
		{what: "drop config", config: "c1"},
		{what: "announce"},
		{what: "write and announce", config: "c1"},
	}
	lives := [][]int{{}, {0}, {1, 10}, {1, 10, 4}, {1, 5, 4, 8}, {1, 10, 9}} // indexes of deeds
	for _, life := range lives {
		for i, d := range deeds {
			for j, other := range deeds {
				for answers, happened := 0, true; happened; answers++ {
					b := newBucket(t.Fatalf)
					for _, past := range life {
						done := deeds[past]
						done.pod = "a"
						done.do(b, b)
					}
					d.pod, other.pod = "a", "a"
					happened = false // until it asks so often that it is interrupted
					d.do(b, &interrupted{bucket: b, answers: answers, meanwhile: func() { happened = true; other.do(b, b) }})
					if !agree(t, b) {
						t.Fatalf("after %v: deed %d, interrupted after %d answers by %d", life, i, answers, j)
					}
				}
			}
		}
	}
}

func agree(t reporter, b *bucket) bool {
	t.Helper()
	orders := 0
	for _, name := range []string{"a", "b"} {
		pod := b.pod(name)
		if pod == nil || pod.Spec.NodeName == "" {
			continue
		}
		key := state.OrderKey(pod.Spec.NodeName, "default", name)
		body := b.Body(key)
		if body == nil {
			return fail(t, "pod %s is on %s and has no order", name, pod.Spec.NodeName)
		}
		orders++
		order, err := state.DecodeOrder(body)
		if err != nil {
			return fail(t, "%v", err)
		}
		want := state.Order{Pod: pod.DeepCopy(), Config: order.Config, Released: pod.DeletionTimestamp != nil, Finished: podinfo.Finished(pod)}
		want.Pod.Status, want.Pod.ResourceVersion = corev1.PodStatus{}, ""
		if diff := cmp.Diff(&want, order); diff != "" {
			return fail(t, "order and pod %s disagree (-want +got):\n%s", name, diff)
		}
		for ref, revision := range order.Config {
			if revision == 0 || revision > b.last {
				return fail(t, "the order of %s names revision %d of %s; the newest of all is %d", name, revision, ref, b.last)
			}
		}
	}
	for key := range b.entries {
		if strings.HasPrefix(string(key), "edge.order.") && b.Body(key) != nil {
			orders--
		}
	}
	if orders != 0 {
		return fail(t, "%d orders lie beside no pod", -orders)
	}
	return true
}

// reporter is a test of either kind.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

func fail(t reporter, format string, args ...any) bool {
	t.Helper()
	t.Errorf(format, args...)
	return false
}

// settle announces to every order (P21): then each names the newest revision of what there is, and there is no more to say.
func settle(t *rapid.T, b *bucket) {
	for _, name := range []string{"a", "b"} {
		deed{what: "announce", pod: name}.do(b, b)
		pod := b.pod(name)
		if pod == nil || pod.Spec.NodeName == "" {
			continue
		}
		key := state.OrderKey(pod.Spec.NodeName, "default", name)
		order, err := state.DecodeOrder(b.Body(key))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]uint64{}
		for _, config := range []string{"c1", "c2"} {
			if b.Body(configKey(config)) != nil {
				want["configmaps/"+config] = b.Revision(configKey(config))
			}
		}
		if !maps.Equal(want, order.Config) {
			t.Fatalf("the order of %s names %v, want %v", name, order.Config, want)
		}
		if _, changed, err := state.ConfigChange(b, key); changed || err != nil {
			t.Fatalf("ConfigChange of what is up to date = %v, %v", changed, err)
		}
	}
	agree(t, b)
}

func TestPodChange(t *testing.T) {
	now := time.Unix(1, 0)
	plain, assigned := objtest.Pod("web"), objtest.Pod("web").Node("n1")
	hold := func(b *objtest.PodBuilder) *corev1.Pod {
		pod := b.Obj()
		pod.Finalizers = []string{"example.com/hold"}
		return pod
	}
	tests := []struct {
		name          string
		before, after *corev1.Pod
		want          []string // verb and key of each change
	}{
		{name: "created", after: plain.Obj(), want: []string{"write object.pods.default.web"}},
		{name: "created with its node", after: assigned.Obj(), want: []string{"write object.pods.default.web", "write edge.order.n1.default.web"}},
		{name: "assigned", before: plain.Obj(), after: assigned.Obj(), want: []string{"write object.pods.default.web", "write edge.order.n1.default.web"}},
		{name: "spec changed", before: assigned.Obj(), after: objtest.Pod("web").Node("n1").Label("a", "b").Obj(), want: []string{"write object.pods.default.web", "write edge.order.n1.default.web"}},
		{name: "status changed", before: assigned.Obj(), after: objtest.Pod("web").Node("n1").Phase(corev1.PodRunning).Obj(), want: []string{"write object.pods.default.web"}},
		{name: "finished", before: assigned.Obj(), after: objtest.Pod("web").Node("n1").Phase(corev1.PodFailed).Obj(), want: []string{"write object.pods.default.web", "write edge.order.n1.default.web"}},
		{name: "marked on its node", before: assigned.Obj(), after: objtest.Pod("web").Node("n1").Deleting(now).Obj(), want: []string{"write object.pods.default.web", "write edge.order.n1.default.web"}},
		{name: "marked, on no node", before: plain.Obj(), after: objtest.Pod("web").Deleting(now).Obj(), want: []string{"remove object.pods.default.web"}},
		{name: "marked, on no node, held", before: hold(plain), after: hold(objtest.Pod("web").Deleting(now)), want: []string{"write object.pods.default.web"}},
		{name: "marked and finished", before: assigned.Obj(), after: objtest.Pod("web").Node("n1").Phase(corev1.PodSucceeded).Deleting(now).Obj(), want: []string{"remove object.pods.default.web", "remove edge.order.n1.default.web"}},
		{name: "marked and finished, held", before: hold(assigned), after: hold(objtest.Pod("web").Node("n1").Phase(corev1.PodSucceeded).Deleting(now)), want: []string{"write object.pods.default.web", "write edge.order.n1.default.web"}},
		{name: "removed", before: assigned.Obj(), want: []string{"remove object.pods.default.web", "remove edge.order.n1.default.web"}},
		{name: "removed, on no node", before: plain.Obj(), want: []string{"remove object.pods.default.web"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBucket(t.Fatalf)
			before := tt.before
			if before != nil {
				changes, err := state.PodChange(b, nil, before)
				if err != nil || !b.write(changes...) {
					t.Fatalf("the pod as it was cannot be written: %v", err)
				}
				before = b.pod("web")
			}
			changes, err := state.PodChange(b, before, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				verb := "write "
				if c.Remove {
					verb = "remove "
				}
				got = append(got, verb+string(c.Key))
				if c.Replaces != b.Revision(c.Key) {
					t.Errorf("the change of %s replaces %d; it is at %d", c.Key, c.Replaces, b.Revision(c.Key))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("PodChange gives %v, want %v", got, tt.want)
			}
		})
	}
}

// P22: whose write leaves the mark, no finalizer and no order, writes the removal instead; its body is the pod as it last was.
func TestP22_LastHoldRemoves(t *testing.T) {
	b := newBucket(t.Fatalf)
	pod := objtest.Pod("web").Deleting(time.Unix(1, 0)).Obj()
	pod.Finalizers = []string{"example.com/hold"}
	changes, err := state.PodChange(b, nil, pod)
	if err != nil || !b.write(changes...) {
		t.Fatal(err)
	}
	before := b.pod("web")
	after := before.DeepCopy()
	after.Finalizers = nil
	after.Labels = map[string]string{"last": "words"}
	changes, err = state.PodChange(b, before, after)
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != 1 || !changes[0].Remove || changes[0].Replaces != 1 || !strings.Contains(string(changes[0].Body), `"last":"words"`) {
		t.Errorf("PodChange gives %+v, want the removal of the pod, with what was changed last", changes)
	}
}

// P2: over a tombstone a creation expects the tombstone; over a pod that has appeared meanwhile it must lose.
func TestP2_CreationExpectsAbsence(t *testing.T) {
	b := newBucket(t.Fatalf)
	create := func() []state.Change {
		changes, err := state.PodChange(b, nil, objtest.Pod("web").Obj())
		if err != nil {
			t.Fatal(err)
		}
		return changes
	}
	if first := create(); first[0].Replaces != 0 || !b.write(first...) {
		t.Errorf("a creation expects %d where nothing is, want 0", first[0].Replaces)
	}
	if twin := create(); twin[0].Replaces == b.Revision(podKey("web")) {
		t.Error("a creation expects the pod that is there, and would overwrite it")
	}
	removal, err := state.PodChange(b, b.pod("web"), nil)
	if err != nil || !b.write(removal...) {
		t.Fatal(err)
	}
	if again := create(); again[0].Replaces != b.Revision(podKey("web")) {
		t.Errorf("a creation expects %d over the tombstone %d", again[0].Replaces, b.Revision(podKey("web")))
	}
}

// P17: the number of the newest report stays with the pod when others change it, and with its status.
func TestP17_ReportStaysWithThePod(t *testing.T) {
	b := newBucket(t.Fatalf)
	changes, err := state.PodChange(b, nil, objtest.Pod("web").Node("n1").Obj())
	if err != nil {
		t.Fatal(err)
	}
	changes[0].Report = "3.14"
	if !b.write(changes...) {
		t.Fatal("the pod cannot be written")
	}
	before := b.pod("web")
	after := before.DeepCopy()
	after.Labels = map[string]string{"a": "b"}
	for name, change := range map[string]func(state.Seen, *corev1.Pod, *corev1.Pod) ([]state.Change, error){
		"PodChange": state.PodChange, "PodStatusChange": state.PodStatusChange,
	} {
		changes, err := change(b, before, after)
		if err != nil || changes[0].Report != "3.14" {
			t.Errorf("%s: the pod reflects report %q, %v; want 3.14", name, changes[0].Report, err)
		}
		for _, c := range changes[1:] {
			if c.Report != "" {
				t.Errorf("%s: %s reflects report %q, and is no pod", name, c.Key, c.Report)
			}
		}
	}
}

// P23: as long as no Service routes to pods, the mark is the release.
func TestP23_MarkCarriesReleased(t *testing.T) {
	for _, deleting := range []bool{false, true} {
		pod := objtest.Pod("web").Node("n1")
		if deleting {
			pod.Deleting(time.Unix(1, 0))
		}
		changes, err := state.PodChange(newBucket(t.Fatalf), nil, pod.Obj())
		if err != nil {
			t.Fatal(err)
		}
		order, err := state.DecodeOrder(changes[1].Body)
		if err != nil || order.Released != deleting {
			t.Errorf("deleting %v: released %v, %v", deleting, order.Released, err)
		}
	}
}

// P21: who assigns a pod writes the revisions that its view has; what does not exist is not named.
func TestP21_OrderNamesConfigRevisions(t *testing.T) {
	b := newBucket(t.Fatalf)
	deed{what: "write config", config: "c1"}.do(b, b)
	deed{what: "write config", config: "c1"}.do(b, b)
	changes, err := state.PodChange(b, nil, b.newPod(deed{pod: "a", node: "n1"}))
	if err != nil || !b.write(changes...) {
		t.Fatal(err)
	}
	key := state.OrderKey("n1", "default", "a")
	config := func() map[string]uint64 {
		order, err := state.DecodeOrder(b.Body(key))
		if err != nil {
			t.Fatal(err)
		}
		return order.Config
	}
	if diff := cmp.Diff(map[string]uint64{"configmaps/c1": 2}, config()); diff != "" {
		t.Errorf("config of a new order (-want +got):\n%s", diff)
	}
	deed{what: "write config", config: "c2"}.do(b, b)
	deed{what: "drop config", config: "c1"}.do(b, b)
	deed{what: "announce", pod: "a"}.do(b, b)
	if diff := cmp.Diff(map[string]uint64{"configmaps/c2": 5}, config()); diff != "" {
		t.Errorf("config once it was announced (-want +got):\n%s", diff)
	}
}

func TestConfigChangeOfWhatIsNoOrder(t *testing.T) {
	b := newBucket(t.Fatalf)
	if _, changed, err := state.ConfigChange(b, state.OrderKey("n1", "d", "absent")); changed || err != nil {
		t.Errorf("ConfigChange of an order that is gone = %v, %v; want nothing to do", changed, err)
	}
	key := state.OrderKey("n1", "d", "damaged")
	b.write(state.Change{Key: key, Body: []byte(`{"pod":`)})
	if _, _, err := state.ConfigChange(b, key); err == nil || !strings.Contains(err.Error(), string(key)) {
		t.Errorf("ConfigChange of a damaged order = %v, want an error that names it", err)
	}
}

func TestDecodeOrder(t *testing.T) {
	for _, body := range []string{"", "[]", "{}", `{"pod":null}`, `{"pod":{}`} {
		if o, err := state.DecodeOrder([]byte(body)); err == nil {
			t.Errorf("DecodeOrder(%q) = %+v, want an error", body, o)
		}
	}
	want := &state.Order{Pod: objtest.Pod("a").Obj(), Config: map[string]uint64{"secrets/s": 1 << 60}, Released: true, Finished: true}
	body, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := state.DecodeOrder(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an order that was written and read (-want +got):\n%s", diff)
	}
}

// What others put into a pod and its node need not know is not in the order.
func TestOrderLeavesOutWhatNodesNeedNot(t *testing.T) {
	pod := objtest.Pod("web").Node("n1").Phase(corev1.PodRunning).Obj()
	pod.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	pod.ResourceVersion = "17"
	changes, err := state.PodChange(newBucket(t.Fatalf), nil, pod)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"managedFields", "resourceVersion", "phase"} {
		if strings.Contains(string(changes[1].Body), word) {
			t.Errorf("the order has %s: %s", word, changes[1].Body)
		}
	}
	if pod.ResourceVersion != "17" || len(pod.ManagedFields) != 1 || pod.Status.Phase != corev1.PodRunning {
		t.Errorf("PodChange has changed its caller's pod: %+v", pod)
	}
}

func TestPodChangeRefusesADamagedRevision(t *testing.T) {
	before := objtest.Pod("web").Obj()
	before.ResourceVersion = "yesterday"
	for name, after := range map[string]*corev1.Pod{"change": objtest.Pod("web").Node("n1").Obj(), "removal": nil} {
		if changes, err := state.PodChange(newBucket(t.Fatalf), before, after); err == nil {
			t.Errorf("%s of a pod at revision %q = %v, want an error", name, before.ResourceVersion, changes)
		}
	}
}
