package registry

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const badKey = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"

func TestConfigMap(t *testing.T) {
	const meta = "name: c, namespace: default"
	createTable{
		{name: "good", meta: meta, rest: "data: {a: b, .c_D-1: e}\nbinaryData: {f: YQ==}"},
		{name: "keys", meta: meta, rest: "data: {a/b: c, '..': d}\nbinaryData: {'': YQ==}", want: []string{
			`data[..]: Invalid value: "..": must not be '..'`,
			`data[a/b]: Invalid value: "a/b": ` + badKey,
			`binaryData[]: Invalid value: "": ` + badKey,
		}},
		{name: "a key in both", meta: meta, rest: "data: {a: b}\nbinaryData: {a: YQ==}", want: []string{
			`data[a]: Invalid value: "a": duplicate of key present in binaryData`,
		}},
		{name: "as much as there may be", meta: meta, rest: "data: {a: '" + strings.Repeat("x", 1<<20) + "'}"},
		{name: "too much", meta: meta, rest: "data: {a: '" + strings.Repeat("x", 1<<20) + "'}\nbinaryData: {b: YQ==}", want: []string{
			`[]: Too long: may not be more than 1048576 bytes`,
		}},
	}.run(t, "ConfigMap")
	updateTable{
		{name: "data", old: "data: {a: b}", new: "data: {c: d}"},
		{name: "freezes", old: "data: {a: b}", new: "data: {c: d}\nimmutable: true"},
		{name: "frozen, nothing changes", old: "data: {a: b}\nimmutable: true", new: "data: {a: b}\nimmutable: true"},
		{name: "frozen data", old: "data: {a: b}\nbinaryData: {b: YQ==}\nimmutable: true", new: "data: {a: c}\nimmutable: true", want: []string{
			"data: Forbidden: field is immutable when `immutable` is set",
			"binaryData: Forbidden: field is immutable when `immutable` is set",
		}},
		{name: "thaws", old: "immutable: true", new: "immutable: false", want: []string{
			"immutable: Forbidden: field is immutable when `immutable` is set",
		}},
		{name: "keys are checked after what is frozen", old: "immutable: true", new: "data: {a/b: c}", want: []string{
			"immutable: Forbidden: field is immutable when `immutable` is set",
			"data: Forbidden: field is immutable when `immutable` is set",
			`data[a/b]: Invalid value: "a/b": ` + badKey,
		}},
	}.run(t, "ConfigMap", meta)
}

func TestSecret(t *testing.T) {
	const (
		meta     = "name: s, namespace: default"
		redacted = `Invalid value: "<secret contents redacted>": `
	)
	createTable{
		{name: "any type of one's own", meta: meta, rest: "type: example.com/mine\ndata: {a: YQ==}"},
		{name: "keys", meta: meta, rest: "stringData: {a/b: c}", want: []string{`data[a/b]: Invalid value: "a/b": ` + badKey}},
		{name: "too much", meta: meta, rest: "stringData: {a: '" + strings.Repeat("x", 1<<20) + "', b: c}", want: []string{
			"data: Too long: may not be more than 1048576 bytes",
		}},
		{name: "token without account", meta: meta, rest: "type: kubernetes.io/service-account-token", want: []string{
			"metadata.annotations[kubernetes.io/service-account.name]: Required value",
		}},
		{name: "token", meta: meta + ", annotations: {kubernetes.io/service-account.name: default}", rest: "type: kubernetes.io/service-account-token"},
		{name: "registry, old form, empty", meta: meta, rest: "type: kubernetes.io/dockercfg", want: []string{"data[.dockercfg]: Required value"}},
		{name: "registry, old form", meta: meta, rest: "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: 'x'}", want: []string{
			"data[.dockercfg]: " + redacted + "invalid character 'x' looking for beginning of value",
		}},
		{name: "registry, empty", meta: meta, rest: "type: kubernetes.io/dockerconfigjson", want: []string{"data[.dockerconfigjson]: Required value"}},
		{name: "registry, no object", meta: meta, rest: "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: '[]'}", want: []string{
			"data[.dockerconfigjson]: " + redacted + "json: cannot unmarshal array into Go value of type map[string]interface {}",
		}},
		{name: "registry", meta: meta, rest: "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: '{\"auths\":{}}'}"},
		{name: "basic, empty", meta: meta, rest: "type: kubernetes.io/basic-auth", want: []string{
			"data[username]: Required value",
			"data[password]: Required value",
		}},
		{name: "basic, one is enough", meta: meta, rest: "type: kubernetes.io/basic-auth\nstringData: {password: ''}"},
		{name: "ssh, empty", meta: meta, rest: "type: kubernetes.io/ssh-auth\nstringData: {ssh-privatekey: ''}", want: []string{"data[ssh-privatekey]: Required value"}},
		{name: "ssh", meta: meta, rest: "type: kubernetes.io/ssh-auth\nstringData: {ssh-privatekey: x}"},
		{name: "tls, empty", meta: meta, rest: "type: kubernetes.io/tls", want: []string{
			"data[tls.crt]: Required value",
			"data[tls.key]: Required value",
		}},
		{name: "tls that is none yet", meta: meta, rest: "type: kubernetes.io/tls\nstringData: {tls.crt: x, tls.key: ''}"},
	}.run(t, "Secret")
	updateTable{
		{name: "data", old: "data: {a: YQ==}", new: "stringData: {b: c}"},
		{name: "type", old: "type: a/b", new: "type: c/d", want: []string{`type: Invalid value: "c/d": field is immutable`}},
		{name: "frozen data", old: "data: {a: YQ==}\nimmutable: true", new: "data: {b: YQ==}\nimmutable: true", want: []string{
			"data: Forbidden: field is immutable when `immutable` is set",
		}},
		{name: "thaws", old: "immutable: true", new: "", want: []string{
			"immutable: Forbidden: field is immutable when `immutable` is set",
		}},
	}.run(t, "Secret", meta)
}

func TestSecretText(t *testing.T) {
	s := decode(t, "Secret", "name: s", "data: {a: YQ==, b: YQ==}\nstringData: {b: text, c: more}").(*corev1.Secret)
	rulesFor(t, s).Default(s)
	want := map[string][]byte{"a": []byte("a"), "b": []byte("text"), "c": []byte("more")}
	if diff := cmp.Diff(want, s.Data); diff != "" || s.StringData != nil {
		t.Errorf("data (-want +got):\n%s\nstringData = %v, want none", diff, s.StringData)
	}
	if s.Type != corev1.SecretTypeOpaque {
		t.Errorf("type = %s", s.Type)
	}
}

func TestTLSSecret(t *testing.T) {
	one, other := newKey(t), newKey(t)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		cert, key string
		want      []string
	}{
		{name: "a pair", cert: certificate(t, one), key: keyPEM(t, one)},
		{name: "the key of another certificate", cert: certificate(t, one), key: keyPEM(t, other), want: []string{
			`data[tls.key]: Invalid value: "<secret contents redacted>": must be the private key of the certificate in data[tls.crt]: tls: private key does not match public key`,
		}},
		{name: "a key of another type", cert: certificate(t, one), key: keyPEM(t, edwards), want: []string{
			`data[tls.key]: Invalid value: "<secret contents redacted>": must be the private key of the certificate in data[tls.crt]: tls: private key type does not match public key type`,
		}},
		{name: "a key that cannot be read", cert: certificate(t, one), key: "x"},
		{name: "a certificate that cannot be read", cert: "x", key: keyPEM(t, one)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := decode(t, "Secret", "name: s, namespace: default",
				"type: kubernetes.io/tls\ndata: {tls.crt: "+base64.StdEncoding.EncodeToString([]byte(tt.cert))+", tls.key: "+base64.StdEncoding.EncodeToString([]byte(tt.key))+"}")
			got := texts(rulesFor(t, s).Validate(s))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Validate (-want +got):\n%s", diff)
			}
		})
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certificate(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func keyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestNamespace(t *testing.T) {
	createTable{
		{name: "good", meta: "name: a", rest: "spec: {finalizers: [a/b]}"},
		{name: "name", meta: "name: a.b", want: []string{`metadata.name: Invalid value: "a.b": must not contain dots`}},
		{name: "finalizers", meta: "name: a", rest: "spec: {finalizers: [mine, a b/c]}", want: []string{
			`spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified`,
			`spec.finalizers: Invalid value: "a b/c": prefix part ` + badSubdomain,
		}},
	}.run(t, "Namespace")

	ns := decode(t, "Namespace", "name: a", "status: {phase: Terminating}").(*corev1.Namespace)
	r := rulesFor(t, ns)
	r.Default(ns)
	r.PrepareCreate(ns, "u", time.Time{})
	want := &corev1.Namespace{
		TypeMeta:   ns.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "u", Labels: map[string]string{"kubernetes.io/metadata.name": "a"}},
		Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes"}},
		Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
	}
	if diff := cmp.Diff(want, ns); diff != "" {
		t.Errorf("a new namespace (-want +got):\n%s", diff)
	}

	changed := decode(t, "Namespace", "name: a, labels: {kubernetes.io/metadata.name: b, c: d}", "spec: {finalizers: []}").(*corev1.Namespace)
	r.Default(changed)
	r.PrepareUpdate(changed, ns)
	want.Labels["c"] = "d"
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Errorf("an updated namespace (-want +got):\n%s", diff)
	}
}

func TestNamespaceStatus(t *testing.T) {
	tests := []struct {
		name, meta, phase string
		want              []string
	}{
		{name: "lives", phase: "Active"},
		{name: "goes", meta: ", deletionTimestamp: '2026-01-01T00:00:00Z'", phase: "Terminating"},
		{name: "goes without being deleted", phase: "Terminating", want: []string{
			"status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
		}},
		{name: "lives on", meta: ", deletionTimestamp: '2026-01-01T00:00:00Z'", phase: "Active", want: []string{
			"status.Phase: Invalid value: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty",
		}},
	}
	for _, tt := range tests {
		meta := "name: a, resourceVersion: '5'" + tt.meta
		obj, old := decode(t, "Namespace", meta, "status: {phase: "+tt.phase+"}"), decode(t, "Namespace", meta, "")
		r := rulesFor(t, obj)
		r.PrepareStatusUpdate(obj, old)
		if diff := cmp.Diff(tt.want, texts(r.ValidateStatusUpdate(obj, old))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestNode(t *testing.T) {
	const (
		badLabelValue = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
		podCIDR       = `spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`
	)
	createTable{
		{name: "good", meta: "name: a", rest: "spec: {podCIDR: 10.244.0.0/24, taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoExecute}]}\nstatus: {capacity: {cpu: 4, pods: 110}}"},
		{name: "taints", meta: "name: a", rest: "spec: {taints: [{key: '', effect: ''}, {key: a, value: 'b c', effect: Never}, {key: a, effect: NoExecute}, {key: a, value: x, effect: NoExecute}]}", want: []string{
			"metadata.taints[0].key: Invalid value: \"\": name part must be non-empty",
			`metadata.taints[0].key: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
			"metadata.taints[0].effect: Required value",
			`metadata.taints[1].value: Invalid value: "b c": ` + badLabelValue,
			`metadata.taints[1].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
			`metadata.taints[3]: Duplicate value: {"key":"a","value":"x","effect":"NoExecute"}: taints must be unique by key and effect pair`,
		}},
		{name: "capacity", meta: "name: a", rest: "status: {capacity: {cpu: -1, pods: 1500m, example.com/gpu: 500m}, allocatable: {memory: -1}}", want: []string{
			`status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0`,
			`status.capacity.example.com/gpu: Invalid value: "500m": must be an integer`,
			`status.capacity.pods: Invalid value: "1500m": must be an integer`,
			`status.allocatable.memory: Invalid value: "-1": must be greater than or equal to 0`,
		}},
		{name: "ranges", meta: "name: a", rest: "spec: {podCIDRs: [10.0.0.0/24, 10.0.1.1/24]}", want: []string{
			`spec.podCIDRs[1]: Invalid value: "10.0.1.1/24": must not have bits set beyond the prefix length`,
			`spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.1/24"]: may specify no more than one CIDR for each IP family`,
		}},
		{name: "what the node says of itself", meta: "name: a", rest: "status: {declaredFeatures: [B, B, A, lower, " + strings.Repeat("L", 254) + "], nodeInfo: {machineID: '', systemUUID: '', bootID: '', kernelVersion: '', osImage: '', containerRuntimeVersion: '', kubeletVersion: '', kubeProxyVersion: '', operatingSystem: '', architecture: '', swap: {capacity: 0}}}", want: []string{
			"metadata.nodeSwapStatus.capacity: Invalid value: 0: must be greater than zero",
			`status.declaredFeatures[1]: Duplicate value: "B"`,
			`status.declaredFeatures[2]: Invalid value: "A": list must be sorted alphabetically`,
			`status.declaredFeatures[3]: Invalid value: "lower": invalid feature name "lower": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes`,
			`status.declaredFeatures[4]: Invalid value: "` + strings.Repeat("L", 254) + `": invalid feature name "` + strings.Repeat("L", 254) + `": must be no more than 253 characters`,
			`status.declaredFeatures[4]: Invalid value: "` + strings.Repeat("L", 254) + `": list must be sorted alphabetically`,
		}},
	}.run(t, "Node")
	updateTable{
		{name: "cordon", old: "spec: {}", new: "spec: {unschedulable: true, taints: [{key: a, effect: NoSchedule}]}"},
		{name: "range appears", old: "spec: {}", new: "spec: {podCIDR: 10.0.0.0/24}"},
		{name: "range changes", old: "spec: {podCIDR: 10.0.0.0/24}", new: "spec: {podCIDR: 10.0.1.0/24}", want: []string{podCIDR}},
		{name: "range goes", old: "spec: {podCIDR: 10.0.0.0/24}", new: "spec: {}", want: []string{podCIDR}},
		{name: "provider changes", old: "spec: {providerID: a}", new: "spec: {providerID: b}", want: []string{
			"spec.providerID: Invalid value: null: field cannot be modified once set",
		}},
		{name: "provider goes", old: "spec: {providerID: a}", new: "spec: {}", want: []string{
			"spec.providerID: Invalid value: null: field cannot be cleared once set",
		}},
		{name: "id of long ago", old: "spec: {}", new: "spec: {externalID: a}", want: []string{"spec.externalID: Forbidden: may not be updated"}},
		{name: "taints", old: "spec: {}", new: "spec: {taints: [{key: a, effect: ''}]}", want: []string{"metadata.taints[0].effect: Required value"}},
	}.run(t, "Node", "name: a")
}

func TestNodeStatus(t *testing.T) {
	obj := decode(t, "Node", "name: a, resourceVersion: '5'", "spec: {unschedulable: true}\nstatus: {capacity: {cpu: -1}, addresses: [{type: InternalIP, address: 10.0.0.1}, {type: Hostname, address: a}, {type: InternalIP, address: 10.0.0.1}]}")
	old := decode(t, "Node", "name: a, resourceVersion: '5'", "spec: {podCIDR: 10.0.0.0/24}")
	r := rulesFor(t, obj)
	r.PrepareStatusUpdate(obj, old)
	want := []string{
		`status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0`,
		`status.addresses[2]: Duplicate value: {"type":"InternalIP","address":"10.0.0.1"}`,
	}
	if diff := cmp.Diff(want, texts(r.ValidateStatusUpdate(obj, old))); diff != "" {
		t.Errorf("ValidateStatusUpdate (-want +got):\n%s", diff)
	}
}

func TestDefaultNode(t *testing.T) {
	tests := []struct{ name, rest, want string }{
		{"all is allocatable, in thousandths", "status: {capacity: {cpu: 100500u}}", "status: {capacity: {cpu: 101m}, allocatable: {cpu: 101m}}"},
		{"what is allocatable is given", "status: {capacity: {cpu: 2}, allocatable: {cpu: 1}}", "status: {capacity: {cpu: 2}, allocatable: {cpu: 1}}"},
		{"one range", "spec: {podCIDR: a}", "spec: {podCIDR: a, podCIDRs: [a]}"},
		{"ranges", "spec: {podCIDRs: [a, b]}", "spec: {podCIDR: a, podCIDRs: [a, b]}"},
		{"the single range counts", "spec: {podCIDR: a, podCIDRs: [b, c]}", "spec: {podCIDR: a, podCIDRs: [a]}"},
	}
	for _, tt := range tests {
		node := decode(t, "Node", "name: a", tt.rest)
		rulesFor(t, node).Default(node)
		if diff := cmp.Diff(decode(t, "Node", "name: a", tt.want), node); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestNodeKeepsItsStatus(t *testing.T) {
	node := decode(t, "Node", "name: a", "spec: {podPreemptionPolicy: {}}\nstatus: {capacity: {cpu: 1}}").(*corev1.Node)
	rulesFor(t, node).PrepareCreate(node, "u", time.Time{})
	if node.Status.Capacity.Cpu().Value() != 1 {
		t.Error("a new node lost its status: a machine joins with what it is")
	}
	if node.Spec.PodPreemptionPolicy != nil {
		t.Error("podPreemptionPolicy is off as shipped and must be dropped")
	}
}

func TestEvent(t *testing.T) {
	createTable{
		{name: "old form", meta: "name: a, namespace: default", rest: "involvedObject: {namespace: default}"},
		{name: "old form, of something without namespace", meta: "name: a, namespace: default", rest: "involvedObject: {name: n1}"},
		{name: "old form, of another namespace", meta: "name: a, namespace: default", rest: "involvedObject: {namespace: x}", want: []string{
			`involvedObject.namespace: Invalid value: "x": does not match event.namespace`,
		}},
		{name: "new form", meta: "name: a, namespace: x", rest: "involvedObject: {namespace: x}\neventTime: '2026-01-01T00:00:00.000000Z'\nreportingComponent: a/b\nreportingInstance: c\naction: d\nreason: e"},
		{name: "new form, empty", meta: "name: a, namespace: x", rest: "eventTime: '2026-01-01T00:00:00.000000Z'\nmessage: " + strings.Repeat("m", 1025) + "\naction: " + strings.Repeat("a", 129), want: []string{
			`involvedObject.namespace: Invalid value: "": does not match event.namespace`,
			"reportingComponent: Required value",
			`reportingComponent: Invalid value: "": name part must be non-empty`,
			`reportingComponent: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
			"reportingInstance: Required value",
			`action: Invalid value: "": can have at most 128 characters`,
			"reason: Required value",
			`message: Invalid value: "": can have at most 1024 characters`,
		}},
	}.run(t, "Event")
}

func TestPod(t *testing.T) {
	const meta = "name: p, namespace: default"
	createTable{
		{name: "good", meta: meta, rest: "spec: {containers: [{name: a, image: b}]}"},
		{name: "of every part of the rules one", meta: "name: P, namespace: default, annotations: {millrace.dev/restart-backoff: x}", rest: "spec: {nodeName: n1, schedulingGates: [{name: g}], containers: [{image: b}]}", want: []string{
			`metadata.name: Invalid value: "P": ` + badSubdomain,
			`metadata.annotations[millrace.dev/restart-backoff]: Invalid value: "x": must be "initial=<duration>,max=<duration>" with durations above 0, such as "initial=1s,max=5s"`,
			"spec.containers[0].name: Required value",
			"spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
		}},
		{name: "a priority of one's own", meta: meta, rest: "spec: {priority: 5, containers: [{name: a, image: b}]}", want: []string{
			"spec.priority: Forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name",
		}},
		{name: "a priority that its class explains", meta: meta, rest: "spec: {priority: 5, priorityClassName: mine, containers: [{name: a, image: b}]}"},
		{name: "the system's priority for everyone", meta: meta, rest: "spec: {priority: 0, priorityClassName: system-cluster-critical, containers: [{name: a, image: b}]}", want: []string{
			"spec.priority: Forbidden: the integer value of priority (0) must not be provided in pod spec; priority admission controller computed 2000000000 from the given PriorityClass name",
		}},
	}.run(t, "Pod")
	updateTable{
		{name: "image", old: "spec: {containers: [{name: a, image: b}]}", new: "spec: {containers: [{name: a, image: c}]}"},
		{name: "image is padded", old: "spec: {containers: [{name: a, image: b, imagePullPolicy: Never}]}", new: "spec: {containers: [{name: a, image: ' b', imagePullPolicy: Never}]}", want: []string{
			`spec.containers[0].image: Invalid value: " b": must not have leading or trailing whitespace`,
		}},
	}.run(t, "Pod", meta)
}
