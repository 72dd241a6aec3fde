package podspec

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/services/api/internal/registry/check"
)

func TestPreparePod(t *testing.T) {
	tests := []struct {
		name                   string
		meta, main, init, spec string
		wantMain, wantSpec     string // the same parts after creation
	}{
		{
			name:     "what is off as shipped is ignored",
			main:     "livenessProbe: {httpGet: {port: 1, protocol: HTTP2}}, readinessProbe: {grpc: {port: 1, mode: TLS}}, lifecycle: {stopSignal: SIGUSR1}, volumeMounts: [{name: a, mountPath: /a, bindMountOptions: [noexec]}]",
			spec:     "schedulingGroup: {podGroupName: g}, evictionResponders: [{name: a}], volumes: [{name: a, emptyDir: {mode: 1}}, {name: b, secret: {secretName: s, defaultUser: 1, items: [{key: k, path: p, user: 1}]}}, {name: c, configMap: {name: c, defaultUser: 1, items: [{key: k, path: p, user: 1}]}}, {name: d, downwardAPI: {defaultUser: 1, items: [{path: p, fieldRef: {fieldPath: metadata.name}, user: 1}]}}, {name: e, projected: {defaultUser: 1, sources: [{secret: {name: s, items: [{key: k, path: p, user: 1}]}}, {configMap: {name: s, items: [{key: k, path: q, user: 1}]}}, {downwardAPI: {items: [{path: r, fieldRef: {fieldPath: metadata.name}, user: 1}]}}, {serviceAccountToken: {path: t, user: 1}}, {clusterTrustBundle: {name: nn, path: u, user: 1}}, {podCertificate: {keyType: ED25519, user: 1}}]}}]",
			wantMain: "livenessProbe: {httpGet: {port: 1}}, readinessProbe: {grpc: {port: 1}}, volumeMounts: [{name: a, mountPath: /a}]",
			wantSpec: "volumes: [{name: a, emptyDir: {}}, {name: b, secret: {secretName: s, items: [{key: k, path: p}]}}, {name: c, configMap: {name: c, items: [{key: k, path: p}]}}, {name: d, downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.name}}]}}, {name: e, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}, {configMap: {name: s, items: [{key: k, path: q}]}}, {downwardAPI: {items: [{path: r, fieldRef: {fieldPath: metadata.name}}]}}, {serviceAccountToken: {path: t}}, {clusterTrustBundle: {name: nn, path: u}}, {podCertificate: {keyType: ED25519}}]}}]",
		},
		{
			name:     "other hooks stay without the signal",
			main:     "lifecycle: {stopSignal: SIGUSR1, preStop: {sleep: {seconds: 1}}}",
			wantMain: "lifecycle: {preStop: {sleep: {seconds: 1}}}",
		},
		{
			name:     "label keys become requirements on the pod's own labels",
			meta:     "labels: {app: web, hash: x1}",
			spec:     "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}, matchLabelKeys: [hash, absent]}], affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: z, labelSelector: {}, matchLabelKeys: [hash]}], preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: z, matchLabelKeys: [hash]}}]}, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: z, labelSelector: {}, mismatchLabelKeys: [hash]}], preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: z, labelSelector: {}, matchLabelKeys: [app]}}]}}",
			wantSpec: "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}, matchExpressions: [{key: hash, operator: In, values: [x1]}]}, matchLabelKeys: [hash, absent]}], affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: z, labelSelector: {matchExpressions: [{key: hash, operator: In, values: [x1]}]}, matchLabelKeys: [hash]}], preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: z, matchLabelKeys: [hash]}}]}, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: z, labelSelector: {matchExpressions: [{key: hash, operator: NotIn, values: [x1]}]}, mismatchLabelKeys: [hash]}], preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: z, labelSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}, matchLabelKeys: [app]}}]}}",
		},
		{
			name:     "an old annotation becomes the field that replaced it",
			meta:     "annotations: {container.apparmor.security.beta.kubernetes.io/main: localhost/p}",
			wantMain: "securityContext: {appArmorProfile: {type: Localhost, localhostProfile: p}}",
		},
		{
			name:     "an old annotation that means nothing",
			meta:     "annotations: {container.apparmor.security.beta.kubernetes.io/main: localhost/}",
			wantMain: "",
		},
		{
			name:     "an old annotation that says what the pod says",
			meta:     "annotations: {container.apparmor.security.beta.kubernetes.io/main: unconfined}",
			spec:     "securityContext: {appArmorProfile: {type: Unconfined}}",
			wantSpec: "securityContext: {appArmorProfile: {type: Unconfined}}",
		},
		{
			name:     "requests of all containers together",
			main:     "resources: {requests: {cpu: 1}}",
			spec:     "resources: {limits: {cpu: 2, memory: 1Gi}}",
			wantMain: "resources: {requests: {cpu: 1}}",
			wantSpec: "resources: {limits: {cpu: 2, memory: 1Gi}, requests: {cpu: 1, memory: 1Gi}}",
		},
		{
			name:     "limits of all containers together, if all are limited",
			main:     "resources: {requests: {cpu: 1}, limits: {cpu: 1, hugepages-2Mi: 2Mi}}",
			spec:     "resources: {requests: {cpu: 3, memory: 1Gi}}",
			wantMain: "resources: {requests: {cpu: 1}, limits: {cpu: 1, hugepages-2Mi: 2Mi}}",
			wantSpec: "resources: {requests: {cpu: 3, memory: 1Gi, hugepages-2Mi: 2Mi}, limits: {cpu: 3, hugepages-2Mi: 2Mi}}",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := decodePod(t, tt.meta, joinSpec(tt.main, tt.init, tt.spec))
			PreparePod(pod)
			want := decodePod(t, "", joinSpec(tt.wantMain, tt.init, tt.wantSpec))
			if diff := cmp.Diff(want.Spec, pod.Spec); diff != "" {
				t.Errorf("PreparePod (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusOfANewPod(t *testing.T) {
	pod := decodePod(t, "", joinSpec("resources: {limits: {cpu: 1}}", "", "schedulingGates: [{name: g}]"))
	pod.CreationTimestamp = metav1.NewTime(time.Unix(7, 0))
	DefaultPod(pod)
	PreparePod(pod)
	want := corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBurstable, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "SchedulingGated",
		Message: "Scheduling is blocked due to non-empty scheduling gates", LastTransitionTime: pod.CreationTimestamp,
	}}}
	if diff := cmp.Diff(want, pod.Status); diff != "" {
		t.Errorf("status of a gated pod (-want +got):\n%s", diff)
	}
}

func TestAnnotationsOfOldInitContainersGo(t *testing.T) {
	pod := decodePod(t, "annotations: {pod.beta.kubernetes.io/init-containers: x, pod.alpha.kubernetes.io/init-container-statuses: x, pod.beta.kubernetes.io/hostname: h}", joinSpec("", "", ""))
	PreparePod(pod)
	if diff := cmp.Diff(map[string]string{"pod.beta.kubernetes.io/hostname": "h"}, pod.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

// What a pod becomes when it is created is never refused for something that was not wrong before.
func TestPreparePodAddsNoFault(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		pod := decodePod(t, "labels: {a: b}", drawPod(r))
		DefaultPod(pod)
		DropUnserved(&pod.Spec)
		before := check.Start()
		CheckPod(before, pod)
		PreparePod(pod)
		after := check.Start()
		CheckPod(after, pod)
		if diff := cmp.Diff(texts(before), texts(after)); diff != "" {
			r.Fatalf("faults (-before +after PreparePod):\n%s", diff)
		}
	})
}

func TestCheckTemplate(t *testing.T) {
	tests := []struct {
		name, meta, spec string
		want             []string
	}{
		{name: "good", meta: "labels: {app: web}"},
		{name: "metadata", meta: "labels: {app: 'a b'}, annotations: {'/x': a}", want: []string{
			`template.labels: Invalid value: "a b": ` + badLabelValue,
			`template.annotations: Invalid value: "/x": prefix part must be non-empty`,
		}},
		{name: "annotations of Millrace", meta: "annotations: {millrace.dev/restart-backoff: never}", want: []string{
			`template.metadata.annotations[millrace.dev/restart-backoff]: Invalid value: "never": must be "initial=<duration>,max=<duration>" with durations above 0, such as "initial=1s,max=5s"`,
		}},
		{name: "spec", spec: "containers: [{name: main, image: ' padded is no fault here'}], restartPolicy: Sometimes", want: []string{
			`template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`,
		}},
		{name: "claims are not the pod's yet", spec: "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}}}, {name: w, persistentVolumeClaim: {claimName: p-v}}]"},
		{name: "containers for debugging", spec: "ephemeralContainers: [{name: dbg, image: busybox}]", want: []string{
			"template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
		}},
		{name: "host ports that defaulting leaves out", spec: "hostNetwork: true, containers: [{name: main, image: nginx, ports: [{containerPort: 80}, {containerPort: 81, hostPort: 82}]}]", want: []string{
			"template.spec.containers[0].ports[1].hostPort: Invalid value: 82: must match `containerPort` when `hostNetwork` is true",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := decodePod(t, tt.meta, joinSpec("", "", tt.spec))
			template := &corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
			Default(&template.Spec)
			at := check.Start()
			CheckTemplate(at.Child("template"), template)
			if diff := cmp.Diff(tt.want, texts(at)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
