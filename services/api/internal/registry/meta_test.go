package registry

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetaOfNewObjects(t *testing.T) {
	createTable{
		{name: "good", meta: "name: a.b-c, namespace: default, labels: {app.kubernetes.io/name: x}, annotations: {Any/CASE: x}, finalizers: [example.com/x, orphan], ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u}]"},
		{name: "no name", meta: "namespace: default", want: []string{
			"metadata.name: Required value: name or generateName is required",
		}},
		{name: "name", meta: "name: A_b, namespace: default", want: []string{
			`metadata.name: Invalid value: "A_b": ` + badSubdomain,
		}},
		{name: "name is too long", meta: "name: " + strings.Repeat("a", 254) + ", namespace: default", want: []string{
			`metadata.name: Invalid value: "` + strings.Repeat("a", 254) + `": must be no more than 253 characters`,
		}},
		{name: "base of a generated name", meta: "name: a-x1y2z, generateName: A_b-, namespace: default", want: []string{
			`metadata.generateName: Invalid value: "A_b-": ` + badSubdomain,
		}},
		{name: "no namespace", meta: "name: a", want: []string{
			"metadata.namespace: Required value",
		}},
		{name: "namespace", meta: "name: a, namespace: a.b", want: []string{
			`metadata.namespace: Invalid value: "a.b": must not contain dots`,
		}},
		{name: "labels", meta: "name: a, namespace: default, labels: {'a b': 'c d'}", want: []string{
			`metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
			`metadata.labels: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
		}},
		{name: "annotations", meta: "name: a, namespace: default, annotations: {/x: y2}", want: []string{
			`metadata.annotations: Invalid value: "/x": prefix part must be non-empty`,
		}},
		{name: "annotations are too long", meta: "name: a, namespace: default, annotations: {a: " + strings.Repeat("x", 256<<10) + "}", want: []string{
			"metadata.annotations: Too long: may not be more than 262144 bytes",
		}},
		{name: "annotations of Millrace", meta: "name: a, namespace: default, annotations: {millrace.dev/on-config-change: reload, millrace.dev/restart-backoff: 'initial=1'}", want: []string{
			`metadata.annotations[millrace.dev/restart-backoff]: Invalid value: "initial=1": must be "initial=<duration>,max=<duration>" with durations above 0, such as "initial=1s,max=5s"`,
			`metadata.annotations[millrace.dev/on-config-change]: Invalid value: "reload": must be "restart", "none" or "signal:<name>" with one of HUP, USR1, USR2, WINCH, INT, TERM, QUIT, ALRM, CONT, IO, URG, such as "signal:HUP"`,
		}},
		{name: "owners", meta: "name: a, namespace: default, ownerReferences: [{apiVersion: '', kind: '', name: '', uid: ''}, {apiVersion: v1, kind: Event, name: e, uid: u}, {apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}, {apiVersion: v1, kind: Pod, name: q, uid: u, controller: true}]", want: []string{
			"metadata.ownerReferences[0].apiVersion: Required value: must not be empty",
			"metadata.ownerReferences[0].kind: Required value: must not be empty",
			"metadata.ownerReferences[0].name: Required value: must not be empty",
			"metadata.ownerReferences[0].uid: Required value: must not be empty",
			`metadata.ownerReferences[1]: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: /v1, Kind=Event is disallowed from being an owner`,
			`metadata.ownerReferences: Invalid value: [{"apiVersion":"","kind":"","name":"","uid":""},{"apiVersion":"v1","kind":"Event","name":"e","uid":"u"},{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u","controller":true},{"apiVersion":"v1","kind":"Pod","name":"q","uid":"u","controller":true}]: Only one reference can have Controller set to true. Found "true" in references for Pod/p and Pod/q`,
		}},
		{name: "finalizers", meta: "name: a, namespace: default, finalizers: [mine, foregroundDeletion, orphan]", want: []string{
			`metadata.finalizers: Invalid value: ["mine","foregroundDeletion","orphan"]: finalizer orphan and foregroundDeletion cannot be both set`,
			`metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified`,
		}},
		{name: "revision", meta: "name: a, namespace: default, resourceVersion: '7'", want: []string{
			"metadata.resourceVersion: Forbidden: resourceVersion should not be set on objects to be created",
		}},
	}.run(t, "ConfigMap")
}

func TestMetaOfClusterScopedObjects(t *testing.T) {
	createTable{
		{name: "namespace", meta: "name: a, namespace: default", want: []string{
			"metadata.namespace: Forbidden: not allowed on this type",
		}},
	}.run(t, "Node")
}

func TestMetaOfUpdates(t *testing.T) {
	const old = "name: a, namespace: default, uid: u1, resourceVersion: '5', generation: 2, creationTimestamp: '2026-01-01T00:00:00Z'"
	tests := []struct {
		name     string
		old, new string
		want     []string
	}{
		{name: "nothing", old: old, new: old},
		{name: "the system's part may be left out", old: old, new: "name: a, namespace: default"},
		{name: "name", old: old, new: "name: b, namespace: default", want: []string{
			`metadata.name: Invalid value: "b": field is immutable`,
		}},
		{name: "namespace", old: old, new: "name: a, namespace: other", want: []string{
			`metadata.namespace: Invalid value: "other": field is immutable`,
		}},
		{name: "uid", old: old, new: "name: a, namespace: default, uid: u2", want: []string{
			`metadata.uid: Invalid value: "u2": field is immutable`,
		}},
		{name: "a finalizer comes too late", old: old + ", deletionTimestamp: '2026-02-01T00:00:00Z', finalizers: [a/b]", new: "name: a, namespace: default, finalizers: [a/b, c/d, mine]", want: []string{
			`metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d", "mine"}`,
			`metadata.finalizers[2]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified`,
		}},
		{name: "annotations of Millrace", old: old, new: "name: a, namespace: default, annotations: {millrace.dev/restart-backoff: ''}", want: []string{
			`metadata.annotations[millrace.dev/restart-backoff]: Invalid value: "": must be "initial=<duration>,max=<duration>" with durations above 0, such as "initial=1s,max=5s"`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			obj, old := decode(t, "ConfigMap", tt.new, ""), decode(t, "ConfigMap", tt.old, "")
			r := rulesFor(t, obj)
			r.PrepareUpdate(obj, old)
			if diff := cmp.Diff(tt.want, texts(r.ValidateUpdate(obj, old))); diff != "" {
				t.Errorf("ValidateUpdate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGeneratedName(t *testing.T) {
	tests := []struct{ base, want string }{
		{"web-", "web-x1y2z"},
		{strings.Repeat("a", 70), strings.Repeat("a", 58) + "x1y2z"},
		{"", "x1y2z"},
	}
	for _, tt := range tests {
		if got := GeneratedName(tt.base, "x1y2z"); got != tt.want {
			t.Errorf("GeneratedName(%q) = %q, want %q", tt.base, got, tt.want)
		}
	}
}
