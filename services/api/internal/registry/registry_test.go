package registry

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"

	"millrace.dev/pkg/scheme"
)

const (
	badSubdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
	badLabel     = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)

// decode reads an object of a kind from the parts of its YAML.
func decode(t testing.TB, kind, meta, rest string) scheme.Object {
	t.Helper()
	obj, _, err := scheme.Decode([]byte("apiVersion: v1\nkind: " + kind + "\nmetadata: {" + meta + "}\n" + rest))
	if err != nil {
		t.Fatalf("decode %s {%s} %s: %v", kind, meta, rest, err)
	}
	return obj
}

func rulesFor(t testing.TB, obj scheme.Object) *Rules {
	t.Helper()
	kind, ok := scheme.Of(obj)
	if !ok {
		t.Fatalf("no kind for %T", obj)
	}
	return For(kind)
}

func texts(faults field.ErrorList) []string {
	var list []string
	for _, f := range faults {
		list = append(list, f.Error())
	}
	return list
}

// createTable lists new objects by what is wrong with them, and what a user is told of each.
type createTable []struct {
	name       string
	meta, rest string
	want       []string
}

func (table createTable) run(t *testing.T, kind string) {
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			obj := decode(t, kind, tt.meta, tt.rest)
			r := rulesFor(t, obj)
			r.Default(obj)
			r.PrepareCreate(obj, "u1", time.Unix(1, 0))
			if diff := cmp.Diff(tt.want, texts(r.Validate(obj))); diff != "" {
				t.Errorf("Validate (-want +got):\n%s", diff)
			}
		})
	}
}

// updateTable lists pairs of objects by what is wrong with the change.
type updateTable []struct {
	name     string
	old, new string // what follows metadata
	want     []string
}

func (table updateTable) run(t *testing.T, kind, meta string) {
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			obj, old := decode(t, kind, meta, tt.new), decode(t, kind, meta+", resourceVersion: '5', uid: u1", tt.old)
			r := rulesFor(t, obj)
			r.Default(obj)
			r.Default(old)
			r.PrepareUpdate(obj, old)
			if diff := cmp.Diff(tt.want, texts(r.ValidateUpdate(obj, old))); diff != "" {
				t.Errorf("ValidateUpdate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryKindHasRules(t *testing.T) {
	for _, kind := range scheme.All() {
		if r := For(kind); r.Kind != kind {
			t.Errorf("For(%s) are the rules of %s", kind.Name, r.Kind.Name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("For a kind without rules did not panic")
		}
	}()
	For(&scheme.Kind{Plural: "unknown"})
}

func TestHasStatus(t *testing.T) {
	want := map[string]bool{scheme.Pods: true, scheme.Nodes: true, scheme.Namespaces: true, scheme.ConfigMaps: false, scheme.Secrets: false, scheme.Events: false}
	got := map[string]bool{}
	for _, kind := range scheme.All() {
		got[kind.Resource()] = For(kind).HasStatus()
	}
	for resource, has := range want {
		if got[resource] != has {
			t.Errorf("HasStatus of %s = %v, want %v", resource, got[resource], has)
		}
	}
}

func TestPrepareCreate(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 500, time.UTC)
	pod := decode(t, "Pod", "name: p, namespace: default, uid: theirs, generation: 7, creationTimestamp: '2001-01-01T00:00:00Z', deletionTimestamp: '2001-01-01T00:00:00Z', deletionGracePeriodSeconds: 3, selfLink: /x, labels: {a: b}",
		"spec: {containers: [{name: a, image: b}]}\nstatus: {phase: Running, podIP: 10.0.0.1}").(*corev1.Pod)
	r := rulesFor(t, pod)
	r.Default(pod)
	r.PrepareCreate(pod, "ours", now)
	wantMeta := metav1.ObjectMeta{Name: "p", Namespace: "default", UID: "ours", Generation: 1, CreationTimestamp: metav1.NewTime(now.Truncate(time.Second)), Labels: map[string]string{"a": "b"}}
	if diff := cmp.Diff(wantMeta, pod.ObjectMeta); diff != "" {
		t.Errorf("metadata of a new pod (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort}, pod.Status); diff != "" {
		t.Errorf("status of a new pod (-want +got):\n%s", diff)
	}
	if faults := r.Validate(pod); len(faults) > 0 {
		t.Errorf("Validate: %v", faults)
	}

	config := decode(t, "ConfigMap", "name: c, namespace: default, generation: 3", "")
	rulesFor(t, config).PrepareCreate(config, "u", now)
	if config.GetGeneration() != 3 {
		t.Errorf("generation of a config map = %d, want it untouched: Kubernetes does not count them", config.GetGeneration())
	}
}

func TestPrepareUpdate(t *testing.T) {
	old := decode(t, "Pod", "name: p, namespace: default, uid: u1, resourceVersion: '5', generation: 2, creationTimestamp: '2026-01-01T00:00:00Z', deletionTimestamp: '2026-02-01T00:00:00Z', deletionGracePeriodSeconds: 30",
		"spec: {containers: [{name: a, image: b}]}\nstatus: {phase: Running, conditions: [{type: Ready, status: 'True'}]}").(*corev1.Pod)
	r := rulesFor(t, old)
	r.Default(old)
	before := old.DeepCopy()

	same := decode(t, "Pod", "name: p, namespace: default, generation: 9, labels: {a: b}", "spec: {containers: [{name: a, image: b}]}\nstatus: {phase: Failed}").(*corev1.Pod)
	r.Default(same)
	r.PrepareUpdate(same, old)
	want := old.DeepCopy()
	want.Labels = map[string]string{"a": "b"}
	if diff := cmp.Diff(want, same); diff != "" {
		t.Errorf("an update of labels (-want +got):\n%s", diff)
	}
	same.Status.Conditions[0].Status = corev1.ConditionFalse
	if diff := cmp.Diff(before, old); diff != "" {
		t.Errorf("the update shares its status with the pod before (-before +after):\n%s", diff)
	}

	changed := decode(t, "Pod", "name: p, namespace: default, resourceVersion: '4', uid: other", "spec: {containers: [{name: a, image: c}]}").(*corev1.Pod)
	r.Default(changed)
	r.PrepareUpdate(changed, old)
	if changed.Generation != 3 {
		t.Errorf("generation after a change of the spec = %d, want 3", changed.Generation)
	}
	if changed.ResourceVersion != "4" || changed.UID != "other" {
		t.Errorf("resourceVersion %s, uid %s: what an update expects must stay, so that it can be refused", changed.ResourceVersion, changed.UID)
	}
}

func TestPrepareStatusUpdate(t *testing.T) {
	old := decode(t, "Pod", "name: p, namespace: default, uid: u1, resourceVersion: '5', labels: {a: b}", "spec: {containers: [{name: a, image: b}]}\nstatus: {phase: Pending, qosClass: Burstable}").(*corev1.Pod)
	pod := decode(t, "Pod", "name: other, namespace: default, resourceVersion: '4', labels: {c: d}, managedFields: [{manager: m}]", "spec: {containers: []}\nstatus: {phase: Running}").(*corev1.Pod)
	r := rulesFor(t, old)
	r.PrepareStatusUpdate(pod, old)
	want := old.DeepCopy()
	want.Status.Phase = corev1.PodRunning
	want.ResourceVersion = "4"
	want.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}}
	if diff := cmp.Diff(want, pod); diff != "" {
		t.Errorf("an update of the status (-want +got):\n%s", diff)
	}
	pod.Labels["a"] = "changed"
	if old.Labels["a"] != "b" {
		t.Error("the update shares its labels with the pod before")
	}

	config, before := decode(t, "ConfigMap", "name: c, namespace: default", "data: {a: b}"), decode(t, "ConfigMap", "name: c, namespace: default, resourceVersion: '5'", "data: {c: d}")
	rulesFor(t, config).PrepareStatusUpdate(config, before)
	if diff := cmp.Diff(before, config); diff != "" {
		t.Errorf("a config map has no status to update (-want +got):\n%s", diff)
	}
}

func TestInvalid(t *testing.T) {
	pod := decode(t, "Pod", "name: POD-B, namespace: default", "spec: {containers: [{name: a, image: b, ports: [{containerPort: 80, protocol: tcp}]}]}")
	r := rulesFor(t, pod)
	r.Default(pod)
	err := r.Invalid("POD-B", r.Validate(pod))
	want := `Pod "POD-B" is invalid: [metadata.name: Invalid value: "POD-B": ` + badSubdomain + `, spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"]`
	if err == nil || err.Error() != want {
		t.Errorf("Invalid = %v\nwant %s", err, want)
	}
	if err := r.Invalid("x", nil); err != nil {
		t.Errorf("Invalid without faults = %v", err)
	}
}

// objects are documents of every kind, good and bad.
var objects = []string{
	"kind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\nbinaryData: {a: YQ==, b/c: YQ==}\nimmutable: true",
	"kind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\nstringData: {tls.crt: x}\ndata: {a: YQ==}",
	"kind: Namespace\nmetadata: {name: nn}\nspec: {finalizers: [x]}",
	"kind: Namespace\nmetadata: {generateName: n-}",
	"kind: Node\nmetadata: {name: nn}\nspec: {podCIDR: x, taints: [{}, {}]}\nstatus: {capacity: {cpu: 1, a: 500m}}",
	"kind: Event\nmetadata: {name: e}\ninvolvedObject: {namespace: x}\neventTime: '2026-01-01T00:00:00.000000Z'",
	"kind: Pod\nmetadata: {name: p}\nspec: {containers: [{}], volumes: [{}], resources: {limits: {cpu: 1}}}",
}

func TestDefaultIsIdempotent(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		document := "apiVersion: v1\n" + rapid.SampledFrom(objects).Draw(r, "object")
		obj, kind, err := scheme.Decode([]byte(document))
		if err != nil {
			r.Fatalf("decode: %v", err)
		}
		For(kind).Default(obj)
		once := obj.DeepCopyObject()
		For(kind).Default(obj)
		if diff := cmp.Diff(once, obj); diff != "" {
			r.Fatalf("the second Default changed the object (-once +twice):\n%s", diff)
		}
	})
}

// FuzzObject shows that no document that decodes brings a rule down.
func FuzzObject(f *testing.F) {
	for _, document := range objects {
		f.Add([]byte("apiVersion: v1\n" + document))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		obj, kind, err := scheme.Decode(document)
		if err != nil {
			_ = DecodeError(kind, err)
		}
		if obj == nil {
			return
		}
		r, raw := For(kind), obj.DeepCopyObject().(scheme.Object)
		r.Default(obj)
		r.PrepareCreate(obj, "u", time.Time{})
		r.Validate(obj)
		r.PrepareUpdate(obj, raw)
		r.ValidateUpdate(obj, raw)
		r.PrepareStatusUpdate(obj, raw)
		r.ValidateStatusUpdate(obj, raw)
	})
}
