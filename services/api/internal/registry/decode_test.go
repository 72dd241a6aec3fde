package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
)

func TestDecodeError(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
	unknown := func(path, message string) metav1.StatusCause {
		return metav1.StatusCause{Type: metav1.CauseTypeFieldValueNotSupported, Field: path, Message: message}
	}
	tests := []struct {
		name, document string
		code           int32
		reason         metav1.StatusReason
		message        string
		causes         []metav1.StatusCause
	}{
		{
			name: "unknown fields", document: pod + "spec: {volumes: [{name: v, rbd: {monitors: [a], image: b, imageformat: '2', imagefeatures: layering}}]}",
			code: 400, reason: metav1.StatusReasonBadRequest,
			message: `Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.volumes[0].rbd.imagefeatures", unknown field "spec.volumes[0].rbd.imageformat"`,
			causes: []metav1.StatusCause{
				unknown("spec.volumes[0].rbd.imagefeatures", `unknown field "spec.volumes[0].rbd.imagefeatures"`),
				unknown("spec.volumes[0].rbd.imageformat", `unknown field "spec.volumes[0].rbd.imageformat"`),
			},
		},
		{
			name: "unknown fields that are nearly known", document: pod + "spec: {containrs: [], restartpolicy: Never, containers: [{imagePullPolice: Never}]}",
			code: 400, reason: metav1.StatusReasonBadRequest,
			message: `Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].imagePullPolice" (did you mean "imagePullPolicy"?), unknown field "spec.containrs" (did you mean "containers"?), unknown field "spec.restartpolicy" (did you mean "restartPolicy"?)`,
			causes: []metav1.StatusCause{
				unknown("spec.containers[0].imagePullPolice", `unknown field "spec.containers[0].imagePullPolice" (did you mean "imagePullPolicy"?)`),
				unknown("spec.containrs", `unknown field "spec.containrs" (did you mean "containers"?)`),
				unknown("spec.restartpolicy", `unknown field "spec.restartpolicy" (did you mean "restartPolicy"?)`),
			},
		},
		{
			name: "a key twice", document: "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: a/b\ntype: c/d\n",
			code: 400, reason: metav1.StatusReasonBadRequest,
			message: `Secret in version "v1" cannot be handled as a Secret: strict decoding error: yaml: unmarshal errors: line 5: key "type" already set in map`,
			causes:  []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueDuplicate, Field: "type", Message: `yaml: unmarshal errors: line 5: key "type" already set in map`}},
		},
		{
			name: "a key twice and an unknown field", document: "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostPID: true\n  hostPID: false\n  foo: bar\n",
			code: 400, reason: metav1.StatusReasonBadRequest,
			message: `Pod in version "v1" cannot be handled as a Pod: strict decoding error: yaml: unmarshal errors: line 6: key "hostPID" already set in map, unknown field "spec.foo"`,
			causes: []metav1.StatusCause{
				{Type: metav1.CauseTypeFieldValueDuplicate, Field: "hostPID", Message: `yaml: unmarshal errors: line 6: key "hostPID" already set in map`},
				unknown("spec.foo", `unknown field "spec.foo"`),
			},
		},
		{
			name: "a field twice in JSON", document: `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","name":"q"}}`,
			code: 400, reason: metav1.StatusReasonBadRequest,
			message: `Pod in version "v1" cannot be handled as a Pod: strict decoding error: duplicate field "metadata.name"`,
			causes:  []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueDuplicate, Field: "metadata.name", Message: `duplicate field "metadata.name"`}},
		},
		{
			name: "a wrong type", document: pod + "spec: {volumes: [{name: v, fc: {lun: '2'}}]}",
			code: 400, reason: metav1.StatusReasonBadRequest,
			message: `Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field FCVolumeSource.spec.volumes.VolumeSource.fc.lun of type int32`,
			causes: []metav1.StatusCause{{
				Type: metav1.CauseTypeFieldValueInvalid, Field: "spec.volumes.fc.lun",
				Message: `json: cannot unmarshal string into Go struct field FCVolumeSource.spec.volumes.VolumeSource.fc.lun of type int32`,
			}},
		},
		{
			name: "a quantity that is none", document: pod + "spec: {containers: [{resources: {limits: {cpu: lots}}}]}",
			code: 400, reason: metav1.StatusReasonBadRequest,
			message: `Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`,
		},
		{
			name: "no kind", document: "apiVersion: v1\nKind: Pod\n", code: 400, reason: metav1.StatusReasonBadRequest,
			message: "Object 'Kind' or 'apiVersion' is missing",
		},
		{
			name: "kind is no word", document: "apiVersion: v1\nkind: [Pod]\n", code: 400, reason: metav1.StatusReasonBadRequest,
			message: `couldn't get version/kind; json parse error: json: cannot unmarshal array into Go struct field .kind of type string`,
		},
		{
			name: "a version that is no longer served", document: "apiVersion: batch/v1beta1\nkind: CronJob\n", code: 404, reason: metav1.StatusReasonNotFound,
			message: `no matches for kind "CronJob" in version "batch/v1beta1"`,
		},
		{
			name: "no YAML", document: "apiVersion: v1\nkind: Pod\nspec:\n\tcontainers: []\n", code: 400, reason: metav1.StatusReasonBadRequest,
			message: "yaml: line 4: found character that cannot start any token",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, kind, err := scheme.Decode([]byte(tt.document))
			if err == nil {
				t.Fatal("Decode accepted the document")
			}
			want := metav1.Status{Status: metav1.StatusFailure, Code: tt.code, Reason: tt.reason, Message: tt.message}
			if tt.causes != nil {
				want.Details = &metav1.StatusDetails{Kind: kind.Name, Causes: tt.causes}
			}
			if diff := cmp.Diff(want, DecodeError(kind, err).Status()); diff != "" {
				t.Errorf("DecodeError (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNearestField(t *testing.T) {
	tests := []struct {
		obj        any
		path, want string
	}{
		{&appsv1.Deployment{}, "spec.selector.macthLabels", "matchLabels"},
		{&appsv1.Deployment{}, "spec.template.spec.containers[0].envfrom", "envFrom"},
		{&appsv1.Deployment{}, "spec.replica", "replicas"},
		{&appsv1.Deployment{}, "spec.baz", ""},
		{&corev1.Service{}, "spec.Type", "type"},
		{&corev1.Pod{}, "spec.volumes[0].configmap", "configMap"}, // of an embedded structure
		{&corev1.Pod{}, "metdata", "metadata"},
		{&corev1.Pod{}, "spec.containers[0].ports[0].conatinerPort[3].x", ""},
		{&corev1.Pod{}, "metadata.labels.a.b", ""}, // no fields below a map of words
		{&corev1.Pod{}, "metadata.creationTimestamp.x", ""},
		{&corev1.Pod{}, "nowhere.x", ""},
		{&corev1.Pod{}, "", ""},
		{&corev1.Pod{}, "spec.q", ""},
	}
	for _, tt := range tests {
		if got := nearestField(tt.obj, tt.path); got != tt.want {
			t.Errorf("nearestField(%T, %q) = %q, want %q", tt.obj, tt.path, got, tt.want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "ab", 1},
		{"macth", "match", 1},
		{"kitten", "sitting", 3},
	}
	for _, tt := range tests {
		if got, back := editDistance(tt.a, tt.b), editDistance(tt.b, tt.a); got != tt.want || back != tt.want {
			t.Errorf("editDistance(%q, %q) = %d, and %d the other way, want %d", tt.a, tt.b, got, back, tt.want)
		}
	}
}
