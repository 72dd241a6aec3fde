package podspec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

func decodeStatus(t *testing.T, spec, status string) *corev1.Pod {
	t.Helper()
	obj, _, err := scheme.Decode([]byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default}\nspec: {" + joinSpec("", "", spec) + "}\nstatus: {" + status + "}"))
	if err != nil {
		t.Fatalf("decode %s: %v", status, err)
	}
	return obj.(*corev1.Pod)
}

func TestCheckPodStatusUpdate(t *testing.T) {
	ended := func(list, name, code string) string {
		return list + ": [{name: " + name + ", ready: false, restartCount: 0, image: '', imageID: '', state: {terminated: {exitCode: " + code + "}}}]"
	}
	runs := func(list, name string) string {
		return list + ": [{name: " + name + ", ready: true, restartCount: 1, image: '', imageID: '', state: {running: {}}}]"
	}
	const mayNot = ".state: Forbidden: may not be transitioned to non-terminated state"
	tests := []struct {
		name     string
		spec     string
		old, new string
		want     []string
	}{
		{name: "good", old: "phase: Pending, qosClass: Burstable", new: "phase: Running, qosClass: Burstable, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: '2001:db8::1'}], hostIP: 10.1.0.1, hostIPs: [{ip: 10.1.0.1}], conditions: [{type: Ready, status: 'True'}, {type: example.com/x, status: 'False'}]"},
		{name: "conditions", new: "conditions: [{type: 'a b', status: 'True', observedGeneration: -1}]", want: []string{
			"status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer",
			`status.conditions[0].Type: Invalid value: "a b": ` + badNamePart,
		}},
		{name: "generation", new: "observedGeneration: -1", want: []string{
			"status.observedGeneration: Invalid value: -1: must be a non-negative integer",
		}},
		{name: "class of service", old: "qosClass: Burstable", new: "qosClass: Guaranteed", want: []string{
			`status.qosClass: Invalid value: "Guaranteed": field is immutable`,
		}},
		{name: "nomination", new: "nominatedNodeName: N_", want: []string{
			`status.nominatedNodeName: Invalid value: "N_": ` + badSubdomain,
		}},
		{name: "nomination of a pod that has a node", spec: "nodeName: n1", new: "nominatedNodeName: n2", want: []string{
			"status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node",
		}},
		{name: "a nomination may go and stay", spec: "nodeName: n1", old: "nominatedNodeName: n2", new: "nominatedNodeName: n2"},
		{name: "a container that is restarted", old: ended("containerStatuses", "main", "1"), new: runs("containerStatuses", "main")},
		{name: "a container that ended for good", spec: "restartPolicy: Never", old: ended("containerStatuses", "main", "1"), new: runs("containerStatuses", "main"), want: []string{
			"status.containerStatuses[0]" + mayNot,
		}},
		{name: "a container that ended well", spec: "restartPolicy: OnFailure", old: ended("containerStatuses", "main", "0"), new: runs("containerStatuses", "main"), want: []string{
			"status.containerStatuses[0]" + mayNot,
		}},
		{
			name: "a container whose rules restart it", spec: "restartPolicy: Never, containers: [{name: main, image: x, restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]}]",
			old: ended("containerStatuses", "main", "1"), new: runs("containerStatuses", "main"),
		},
		{
			name: "a container that others restart", spec: "restartPolicy: Never, containers: [{name: main, image: x}, {name: b, image: x, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [1]}}]}]",
			old: ended("containerStatuses", "main", "1"), new: runs("containerStatuses", "main"),
		},
		{name: "an init container that ended for good", spec: "restartPolicy: Never, initContainers: [{name: i, image: x}]", old: ended("initContainerStatuses", "i", "0"), new: runs("initContainerStatuses", "i"), want: []string{
			"status.initContainerStatuses[0]" + mayNot,
		}},
		{name: "a sidecar that ended", spec: "restartPolicy: Never, initContainers: [{name: i, image: x, restartPolicy: Always}]", old: ended("initContainerStatuses", "i", "0"), new: runs("initContainerStatuses", "i")},
		{name: "a container for debugging that ended", old: ended("ephemeralContainerStatuses", "d", "1"), new: runs("ephemeralContainerStatuses", "d"), want: []string{
			"status.ephemeralContainerStatuses[0]" + mayNot,
		}},
		{name: "one address", new: "podIP: 10.0.0.1", want: []string{
			"status.podIPs: Invalid value: null: podIP and podIPs must either both be set or both be unset",
		}},
		{name: "addresses differ", new: "podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.2}], hostIP: 10.0.0.1, hostIPs: [{ip: 10.0.0.2}]", want: []string{
			"status.podIPs[0].ip: Invalid value: \"10.0.0.2\": must be equal to `podIP`",
			"status.hostIPs[0].ip: Invalid value: \"10.0.0.2\": must be equal to `hostIP`",
		}},
		{name: "two addresses of a family", new: "podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], hostIP: x, hostIPs: [{ip: x}]", want: []string{
			`status.podIPs: Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: may specify no more than one IP for each IP family`,
			`status.hostIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := check.Start()
			CheckPodStatusUpdate(at, decodeStatus(t, tt.spec, tt.new), decodeStatus(t, tt.spec, tt.old))
			if diff := cmp.Diff(tt.want, texts(at)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeepFromStatusUpdate(t *testing.T) {
	const old = "qosClass: Burstable, observedGeneration: 3, conditions: [{type: A, status: 'True', observedGeneration: 1}, {type: A, status: 'True', observedGeneration: 2}], resourceClaimStatuses: [{name: c}], extendedResourceClaimStatus: {resourceClaimName: r, requestMappings: []}"
	tests := []struct{ name, new, want string }{
		{
			"who does not know them keeps them",
			"conditions: [{type: A, status: 'False'}, {type: A, status: 'False'}, {type: B, status: 'False'}]",
			"qosClass: Burstable, observedGeneration: 3, conditions: [{type: A, status: 'False', observedGeneration: 1}, {type: A, status: 'False', observedGeneration: 2}, {type: B, status: 'False'}], resourceClaimStatuses: [{name: c}], extendedResourceClaimStatus: {resourceClaimName: r, requestMappings: []}",
		},
		{
			"who names them changes them",
			"qosClass: Guaranteed, observedGeneration: 4, conditions: [{type: A, status: 'False', observedGeneration: 4}], resourceClaimStatuses: [], extendedResourceClaimStatus: {resourceClaimName: s, requestMappings: []}",
			"qosClass: Guaranteed, observedGeneration: 4, conditions: [{type: A, status: 'False', observedGeneration: 4}], resourceClaimStatuses: [], extendedResourceClaimStatus: {resourceClaimName: s, requestMappings: []}",
		},
	}
	for _, tt := range tests {
		pod := decodeStatus(t, "", tt.new)
		KeepFromStatusUpdate(pod, decodeStatus(t, "", old))
		if diff := cmp.Diff(decodeStatus(t, "", tt.want).Status, pod.Status); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
