package podspec

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

func TestDefaultPod(t *testing.T) {
	tests := []struct {
		name             string
		main, spec, want string // want: what the pod is then, besides what every pod gets
	}{
		{name: "a pod of one line"},
		{
			name: "ports, probes and hooks",
			main: "ports: [{containerPort: 80}], livenessProbe: {httpGet: {port: 80}}, readinessProbe: {grpc: {port: 80}, periodSeconds: 5}, lifecycle: {preStop: {httpGet: {port: 80, path: /x}}}",
			want: `containers: [{name: main, image: nginx, ports: [{containerPort: 80, protocol: TCP}],
				livenessProbe: {httpGet: {path: /, port: 80, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3},
				readinessProbe: {grpc: {port: 80, service: ''}, timeoutSeconds: 1, periodSeconds: 5, successThreshold: 1, failureThreshold: 3},
				lifecycle: {preStop: {httpGet: {path: /x, port: 80, scheme: HTTP}}}}]`,
		},
		{
			name: "requests come from limits, in thousandths",
			main: "resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 100500u}}",
			want: "containers: [{name: main, image: nginx, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 101m, memory: 1Gi}}}]",
		},
		{
			name: "variables",
			main: "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {fileKeyRef: {key: k, volumeName: v, path: p}}}]",
			want: "containers: [{name: main, image: nginx, env: [{name: A, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}, {name: B, valueFrom: {fileKeyRef: {key: k, volumeName: v, path: p, optional: false}}}]}]",
		},
		{
			name: "ports in the node's network", spec: "hostNetwork: true", main: "ports: [{containerPort: 80}]",
			want: "hostNetwork: true, containers: [{name: main, image: nginx, ports: [{containerPort: 80, hostPort: 80, protocol: TCP}]}]",
		},
		{
			name: "volumes",
			spec: `volumes: [{name: a}, {name: b, hostPath: {path: /b}}, {name: c, secret: {secretName: s}}, {name: d, configMap: {name: c}},
				{name: e, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}]}}, {name: f, projected: {sources: [{serviceAccountToken: {path: t}}, {downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}]}}]}},
				{name: g, image: {reference: 'a:1'}}, {name: h, ephemeral: {volumeClaimTemplate: {spec: {resources: {requests: {storage: 1}}}}}}]`,
			want: `volumes: [{name: a, emptyDir: {}}, {name: b, hostPath: {path: /b, type: ''}}, {name: c, secret: {secretName: s, defaultMode: 420}}, {name: d, configMap: {name: c, defaultMode: 420}},
				{name: e, downwardAPI: {defaultMode: 420, items: [{path: a, fieldRef: {apiVersion: v1, fieldPath: metadata.name}}]}}, {name: f, projected: {defaultMode: 420, sources: [{serviceAccountToken: {path: t, expirationSeconds: 3600}}, {downwardAPI: {items: [{path: a, fieldRef: {apiVersion: v1, fieldPath: metadata.name}}]}}]}},
				{name: g, image: {reference: 'a:1', pullPolicy: IfNotPresent}}, {name: h, ephemeral: {volumeClaimTemplate: {metadata: {}, spec: {volumeMode: Filesystem, resources: {requests: {storage: 1}}}}}}]`,
		},
		{
			name: "vendors' volumes",
			spec: "volumes: [{name: a, iscsi: {targetPortal: p, iqn: i, lun: 0}}, {name: b, rbd: {monitors: [m], image: i}}, {name: c, azureDisk: {diskName: d, diskURI: u}}, {name: d, scaleIO: {gateway: g, system: s, secretRef: {name: s}}}]",
			want: `volumes: [{name: a, iscsi: {targetPortal: p, iqn: i, lun: 0, iscsiInterface: default}}, {name: b, rbd: {monitors: [m], image: i, pool: rbd, user: admin, keyring: /etc/ceph/keyring}},
				{name: c, azureDisk: {diskName: d, diskURI: u, cachingMode: ReadWrite, fsType: ext4, readOnly: false, kind: Shared}}, {name: d, scaleIO: {gateway: g, system: s, secretRef: {name: s}, storageMode: ThinProvisioned, fsType: xfs}}]`,
		},
		{name: "the older field names the service account", spec: "serviceAccount: sa", want: "serviceAccount: sa, serviceAccountName: sa"},
		{name: "a grace period below zero is a second", spec: "terminationGracePeriodSeconds: -5", want: "terminationGracePeriodSeconds: 1"},
		{name: "a class of the system", spec: "priorityClassName: system-node-critical", want: "priorityClassName: system-node-critical, priority: 2000001000, preemptionPolicy: PreemptLowerPriority"},
		{name: "who tolerates everything tolerates lost nodes", spec: "tolerations: [{operator: Exists}]", want: "tolerations: [{operator: Exists}]"},
		{
			name: "who tolerates one loss for longer", spec: "tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 900}]",
			want: `tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 900},
				{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := decodePod(t, "", joinSpec(tt.main, "", tt.spec))
			DefaultPod(pod)
			if diff := cmp.Diff(likeEveryPod(t, tt.want), &pod.Spec); diff != "" {
				t.Errorf("DefaultPod (-want +got):\n%s", diff)
			}
		})
	}
}

// everyPod is what a pod of one container becomes that names nothing but its image.
const everyPod = `
	containers: [{name: main, image: nginx, imagePullPolicy: Always, terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File}],
	dnsPolicy: ClusterFirst, enableServiceLinks: true, preemptionPolicy: PreemptLowerPriority, priority: 0, restartPolicy: Always,
	schedulerName: default-scheduler, securityContext: {}, serviceAccount: default, serviceAccountName: default, terminationGracePeriodSeconds: 30,
	tolerations: [
		{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300},
		{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]`

// likeEveryPod reads a spec and takes from everyPod what it does not name.
func likeEveryPod(t *testing.T, spec string) *corev1.PodSpec {
	t.Helper()
	s := &decodePod(t, "", joinSpec("", "", oneLine(spec))).Spec
	base := &decodePod(t, "", oneLine(everyPod)).Spec
	fillZero(reflect.ValueOf(&s.Containers[0]).Elem(), reflect.ValueOf(base.Containers[0]))
	fillZero(reflect.ValueOf(s).Elem(), reflect.ValueOf(*base))
	return s
}

func fillZero(v, from reflect.Value) {
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			v.Field(i).Set(from.Field(i))
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestDefaultLeavesWhatIsGiven(t *testing.T) {
	given := `imagePullPolicy: Never, terminationMessagePath: /m, terminationMessagePolicy: FallbackToLogsOnError, ports: [{containerPort: 80, hostPort: 80, protocol: UDP}],
		livenessProbe: {httpGet: {path: /h, port: 80, scheme: HTTPS}, timeoutSeconds: 2, periodSeconds: 3, successThreshold: 1, failureThreshold: 4},
		resources: {limits: {cpu: 2}, requests: {cpu: 1}}`
	spec := `dnsPolicy: Default, restartPolicy: Never, schedulerName: s, securityContext: {runAsUser: 1}, terminationGracePeriodSeconds: 5, enableServiceLinks: false,
		serviceAccount: sa, serviceAccountName: sa, tolerations: [{operator: Exists}], priority: 0, preemptionPolicy: Never, hostNetwork: true,
		volumes: [{name: a, hostPath: {path: /a, type: File}}, {name: b, secret: {secretName: s, defaultMode: 256}}, {name: c, emptyDir: {medium: Memory}}]`
	pod := decodePod(t, "", joinSpec(oneLine(given), "", oneLine(spec)))
	before := pod.DeepCopy()
	DefaultPod(pod)
	if diff := cmp.Diff(before, pod); diff != "" {
		t.Errorf("DefaultPod changed what was given (-before +after):\n%s", diff)
	}
}

func TestDefaultOfTemplates(t *testing.T) {
	spec := &decodePod(t, "", joinSpec("resources: {limits: {cpu: 1}}", "", "")).Spec
	Default(spec)
	want := corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: "main", Image: "nginx", ImagePullPolicy: corev1.PullAlways,
			TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile, Resources: spec.Containers[0].Resources,
		}},
		DNSPolicy: corev1.DNSClusterFirst, RestartPolicy: corev1.RestartPolicyAlways, SchedulerName: "default-scheduler",
		SecurityContext: &corev1.PodSecurityContext{}, TerminationGracePeriodSeconds: new(int64(30)),
	}
	if diff := cmp.Diff(&want, spec); diff != "" {
		t.Errorf("Default (-want +got):\n%s", diff)
	}
	if spec.Containers[0].Resources.Requests != nil {
		t.Errorf("requests of a template = %v, want none: a limit range may still name them", spec.Containers[0].Resources.Requests)
	}
}

func TestPullPolicy(t *testing.T) {
	tests := []struct {
		image string
		want  corev1.PullPolicy
	}{
		{"nginx", corev1.PullAlways},
		{"nginx:latest", corev1.PullAlways},
		{"nginx:1.29", corev1.PullIfNotPresent},
		{"localhost:5000/nginx", corev1.PullAlways},
		{"localhost:5000/nginx:1", corev1.PullIfNotPresent},
		{"[::1]:5000/nginx", corev1.PullAlways},
		{"Example.com/a/b", corev1.PullAlways},
		{"nginx@sha256:" + strings.Repeat("a", 64), corev1.PullIfNotPresent},
		{"nginx:latest@sha256:" + strings.Repeat("a", 64), corev1.PullAlways},
		{"Nginx", corev1.PullIfNotPresent},                   // no repository has this name
		{strings.Repeat("a", 64), corev1.PullIfNotPresent},   // the id of an image
		{strings.Repeat("ab/", 99), corev1.PullIfNotPresent}, // too long
		{strings.Repeat("n", 256), corev1.PullIfNotPresent},
		{"", corev1.PullIfNotPresent},
	}
	for _, tt := range tests {
		if got := pullPolicy(tt.image); got != tt.want {
			t.Errorf("pullPolicy(%q) = %s, want %s", tt.image, got, tt.want)
		}
	}
}

func TestDefaultAddresses(t *testing.T) {
	tests := []struct {
		name, ip string
		ips      []corev1.PodIP
		wantIP   string
		wantIPs  []corev1.PodIP
	}{
		{"neither", "", nil, "", nil},
		{"only the one", "10.0.0.1", nil, "10.0.0.1", []corev1.PodIP{{IP: "10.0.0.1"}}},
		{"only the list", "", []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "::1"}}, "10.0.0.1", []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "::1"}}},
		{"they differ", "10.0.0.2", []corev1.PodIP{{IP: "10.0.0.1"}}, "10.0.0.2", []corev1.PodIP{{IP: "10.0.0.2"}}},
	}
	for _, tt := range tests {
		s := corev1.PodStatus{PodIP: tt.ip, PodIPs: tt.ips}
		defaultAddresses(&s)
		if diff := cmp.Diff(corev1.PodStatus{PodIP: tt.wantIP, PodIPs: tt.wantIPs}, s); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// parts are pieces of pods; a random pod is some of them.
var parts = struct{ main, init, spec []string }{
	main: []string{
		"ports: [{containerPort: 80}, {hostPort: 9}]", "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {fileKeyRef: {}}}]",
		"resources: {limits: {cpu: 1, memory: 1Gi}, requests: {memory: 1}}", "livenessProbe: {httpGet: {port: 1}}", "readinessProbe: {grpc: {port: 1}}", "lifecycle: {stopSignal: SIGTERM}",
		"volumeMounts: [{name: a, mountPath: /a}]", "securityContext: {privileged: true}", "restartPolicy: Never",
	},
	init: []string{"restartPolicy: Always", "resources: {limits: {hugepages-2Mi: 2Mi}}", "ports: [{containerPort: 80}]", "startupProbe: {exec: {}}"},
	spec: []string{
		"hostNetwork: true", "resources: {limits: {cpu: 2}}", "tolerations: [{operator: Exists}]", "priorityClassName: system-node-critical", "serviceAccount: x", "terminationGracePeriodSeconds: -1",
		"volumes: [{name: a}, {name: b, projected: {sources: [{serviceAccountToken: {path: x}}, {}]}}, {name: c, ephemeral: {}}, {name: d, azureDisk: {diskName: a, diskURI: b}}]",
		"schedulingGates: [{name: g}]", "os: {name: windows}", "affinity: {nodeAffinity: {}}", "topologySpreadConstraints: [{matchLabelKeys: [a]}]", "dnsPolicy: None", "overhead: {cpu: 1u}",
		"ephemeralContainers: [{}]", "hostUsers: false",
	},
}

func drawPod(t *rapid.T) string {
	draw := func(list []string, label string) string {
		return flow(rapid.SliceOfDistinct(rapid.SampledFrom(list), rapid.ID[string]).Draw(t, label)...)
	}
	return joinSpec(draw(parts.main, "main"), draw(parts.init, "init"), draw(parts.spec, "spec"))
}

func TestDefaultIsIdempotent(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		pod := decodePod(t, "", drawPod(r))
		DefaultPod(pod)
		once := pod.DeepCopy()
		DefaultPod(pod)
		if diff := cmp.Diff(once, pod); diff != "" {
			r.Fatalf("the second DefaultPod changed the pod (-once +twice):\n%s", diff)
		}
	})
}

// FuzzPod shows that no document that decodes as a pod brings a rule down, whatever is missing from it.
func FuzzPod(f *testing.F) {
	head := "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nspec: {"
	for _, list := range [][]string{parts.main, parts.init, parts.spec} {
		for _, part := range list {
			f.Add([]byte(head + joinSpec(part, "", "") + "}"))
			f.Add([]byte(head + joinSpec("", part, "") + "}"))
			f.Add([]byte(head + flow(part, "containers: [{}]") + "}"))
		}
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		obj, _, _ := scheme.Decode(document)
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return
		}
		raw := pod.DeepCopy()
		at := check.Start()
		CheckPod(at, raw) // not defaulted, which callers should not do
		CheckTemplate(at, &corev1.PodTemplateSpec{ObjectMeta: raw.ObjectMeta, Spec: raw.Spec})
		DefaultPod(pod)
		PreparePod(pod)
		CheckPod(at, pod)
		CheckNewPod(at, pod)
		CheckPodUpdate(at, pod, raw)
		CheckPodStatusUpdate(at, pod, raw)
		KeepFromStatusUpdate(pod, raw)
	})
}
