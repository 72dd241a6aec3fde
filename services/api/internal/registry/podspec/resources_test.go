package podspec

import "testing"

func TestResourcesRules(t *testing.T) {
	ruleTable{
		{name: "request above its limit", main: "resources: {requests: {cpu: 2, memory: 2Gi}, limits: {cpu: 1, memory: 1Gi}}", want: []string{
			`spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`,
			`spec.containers[0].resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi`,
		}},
		{name: "names", main: "resources: {limits: {foo: 1, 'a b': 1, kubernetes.io/foo: 1, requests.cpu: 1, requests.example.com/a: 1, pods: 1, example.com/a: 1}}", want: []string{
			`spec.containers[0].resources.limits[a b]: Invalid value: "a b": ` + badNamePart,
			`spec.containers[0].resources.limits[a b]: Invalid value: "a b": must be a standard resource for containers`,
			`spec.containers[0].resources.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified`,
			`spec.containers[0].resources.limits[foo]: Invalid value: "foo": must be a standard resource for containers`,
			`spec.containers[0].resources.limits[pods]: Invalid value: "pods": must be a standard resource for containers`,
			`spec.containers[0].resources.limits[requests.cpu]: Invalid value: "requests.cpu": must be a standard resource for containers`,
			`spec.containers[0].resources.limits[requests.example.com/a]: Invalid value: "requests.example.com/a": doesn't follow extended resource name standard`,
			`spec.containers[0].resources.requests[a b]: Invalid value: "a b": ` + badNamePart,
			`spec.containers[0].resources.requests[a b]: Invalid value: "a b": must be a standard resource for containers`,
			`spec.containers[0].resources.requests[foo]: Invalid value: "foo": must be a standard resource type or fully qualified`,
			`spec.containers[0].resources.requests[foo]: Invalid value: "foo": must be a standard resource for containers`,
			`spec.containers[0].resources.requests[pods]: Invalid value: "pods": must be a standard resource for containers`,
			`spec.containers[0].resources.requests[requests.cpu]: Invalid value: "requests.cpu": must be a standard resource for containers`,
			`spec.containers[0].resources.requests[requests.example.com/a]: Invalid value: "requests.example.com/a": doesn't follow extended resource name standard`,
		}},
		{name: "amounts", main: "resources: {limits: {cpu: -1, example.com/gpu: 1500m}}", want: []string{
			`spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0`,
			`spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer`,
			`spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0`,
			`spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer`,
		}},
		{name: "extended resources are not overcommitted", main: "resources: {requests: {example.com/a: 1, example.com/b: 1}, limits: {example.com/b: 2}}", want: []string{
			"spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
			`spec.containers[0].resources.requests: Invalid value: "1": must be equal to example.com/b limit of 2`,
		}},
		{name: "huge pages", main: "resources: {limits: {hugepages-2Mi: 3Mi, hugepages-x: 1}}", want: []string{
			`spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi`,
			`spec.containers[0].resources.limits[hugepages-x]: Invalid value: "1": 1 is not positive integer multiple of hugepages-x`,
			`spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi`,
			`spec.containers[0].resources.requests[hugepages-x]: Invalid value: "1": 1 is not positive integer multiple of hugepages-x`,
			"spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
		}},
		{name: "huge pages need compute", main: "resources: {limits: {hugepages-2Mi: 4Mi}}", want: []string{
			"spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
		}},
		{name: "claims", main: "resources: {claims: [{name: a}, {name: a}, {name: ''}, {name: b, request: R_}, {name: b}, {name: c}]}", spec: "resourceClaims: [{name: a, resourceClaimName: x}, {name: b, resourceClaimTemplateName: tt}]", want: []string{
			`spec.containers[0].resources.claims[1]: Duplicate value: "a"`,
			"spec.containers[0].resources.claims[2]: Required value",
			`spec.containers[0].resources.claims[3].request: Invalid value: "R_": ` + badLabel,
			`spec.containers[0].resources.claims[4]: Duplicate value: "b"`,
			`spec.containers[0].resources.claims[5]: Not found: "c": must be one of the names in pod.spec.resourceClaims: a, b`,
		}},
		{name: "claims of a pod that has none", main: "resources: {claims: [{name: a}]}", want: []string{
			`spec.containers[0].resources.claims[0]: Not found: "a": must be one of the names in pod.spec.resourceClaims which is empty`,
		}},
		{name: "claims of the pod", spec: "resourceClaims: [{name: ''}, {name: a, resourceClaimName: A_, resourceClaimTemplateName: B_}, {name: a, resourceClaimName: x}, {name: B_, resourceClaimName: x}]", want: []string{
			"spec.resourceClaims[0].name: Required value",
			"spec.resourceClaims[0]: Invalid value: {\"name\":\"\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
			"spec.resourceClaims[1]: Invalid value: {\"name\":\"a\",\"resourceClaimName\":\"A_\",\"resourceClaimTemplateName\":\"B_\"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
			`spec.resourceClaims[1].resourceClaimName: Invalid value: "A_": ` + badSubdomain,
			`spec.resourceClaims[1].resourceClaimTemplateName: Invalid value: "B_": ` + badSubdomain,
			`spec.resourceClaims[2].name: Duplicate value: "a"`,
			`spec.resourceClaims[3].name: Invalid value: "B_": ` + badLabel,
		}},
		{name: "resize policy", main: "resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, {resourceName: cpu, restartPolicy: Always}, {resourceName: disk, restartPolicy: ''}, {resourceName: '', restartPolicy: RestartContainer}]", want: []string{
			`spec.containers[0].resizePolicy[1]: Duplicate value: "cpu"`,
			`spec.containers[0].resizePolicy: Unsupported value: "Always": supported values: "NotRequired", "RestartContainer"`,
			`spec.containers[0].resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"`,
			"spec.containers[0].resizePolicy: Required value",
		}},
		{name: "nothing restarts a pod that runs once", main: "resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]", spec: "restartPolicy: Never", want: []string{
			"spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'",
		}},
		{name: "overhead", spec: "overhead: {cpu: -1, foo: 1}", want: []string{
			`spec.overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0`,
			`spec.overhead.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified`,
			`spec.overhead.limits[foo]: Invalid value: "foo": must be a standard resource for containers`,
		}},
		{name: "of the pod: names", spec: "resources: {limits: {ephemeral-storage: 1, foo: 1}, claims: [{name: a}]}", want: []string{
			"spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level",
			`spec.resources.limits[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory"`,
			`spec.resources.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified`,
			`spec.resources.claims[0]: Not found: "a": must be one of the names in pod.spec.resourceClaims which is empty`,
		}},
		{name: "of the pod: less than its containers", spec: "containers: [{name: a, image: b, resources: {requests: {cpu: 1}, limits: {cpu: 3, memory: 1Gi, hugepages-2Mi: 4Mi}}}, {name: c, image: b, resources: {requests: {cpu: 1}}}], resources: {requests: {cpu: 1}, limits: {cpu: 2, hugepages-2Mi: 2Mi}}", want: []string{
			`spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2`,
			`spec.resources.requests[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container requests of 4Mi`,
			`spec.resources.limits[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container limits of 4Mi`,
			`spec.resources.containers[0][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 2`,
			`spec.resources.containers[0][hugepages-2Mi].limits: Invalid value: "4Mi": must be less than or equal to pod limits of 2Mi`,
		}},
		{name: "of the pod: request above limit", spec: "resources: {requests: {cpu: 2}, limits: {cpu: 1}}", want: []string{
			`spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`,
		}},
	}.run(t)
}
