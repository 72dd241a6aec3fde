package podspec

import (
	"strings"
	"testing"
)

func TestContainerRules(t *testing.T) {
	ruleTable{
		{name: "no containers", spec: "containers: []", want: []string{
			"spec.containers: Required value",
		}},
		{name: "nothing but a name is missing", spec: "containers: [{image: nginx}]", want: []string{
			"spec.containers[0].name: Required value",
		}},
		{name: "name is no DNS label", spec: "containers: [{name: Main_1, image: nginx}]", want: []string{
			`spec.containers[0].name: Invalid value: "Main_1": ` + badLabel,
		}},
		{name: "names are unique among containers", spec: "containers: [{name: main, image: nginx}, {name: main, image: nginx}]", want: []string{
			`spec.containers[1].name: Duplicate value: "main"`,
		}},
		{name: "names are unique among all sorts", spec: "initContainers: [{name: main, image: busybox}]", want: []string{
			`spec.initContainers[0].name: Duplicate value: "main"`,
		}},
		{name: "two nameless init containers", spec: "initContainers: [{image: busybox}, {image: busybox}]", want: []string{
			"spec.initContainers[0].name: Required value",
			"spec.initContainers[1].name: Required value",
		}},
		{name: "image is missing", spec: "containers: [{name: main}]", want: []string{
			"spec.containers[0].image: Required value",
		}},
		{name: "image is padded", spec: "containers: [{name: main, image: ' nginx'}]", want: []string{
			`spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace`,
		}},
		{name: "image of an init container is padded", spec: "initContainers: [{name: init, image: 'nginx '}]", want: []string{
			`spec.initContainers[0].image: Invalid value: "nginx ": must not have leading or trailing whitespace`,
		}},
		{name: "termination message policy", main: "terminationMessagePolicy: Nowhere", want: []string{
			`spec.containers[0].terminationMessagePolicy: Unsupported value: "Nowhere": supported values: "File", "FallbackToLogsOnError"`,
		}},
		{name: "pull policy", main: "imagePullPolicy: Sometimes", want: []string{
			`spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"`,
		}},
		{name: "ephemeral containers come later", spec: "ephemeralContainers: [{name: dbg, image: busybox}]", want: []string{
			"spec.ephemeralContainers: Forbidden: cannot be set on create",
		}},
		{name: "ephemeral containers lack most fields", spec: "ephemeralContainers: [{name: main, image: ' b', targetContainerName: nope, ports: [{containerPort: 1}], resources: {limits: {cpu: 1}}, resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}], restartPolicy: Always, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}], livenessProbe: {exec: {command: [a]}}, readinessProbe: {exec: {command: [a]}}, startupProbe: {exec: {command: [a]}}, lifecycle: {preStop: {exec: {command: [a]}}}, volumeMounts: [{name: v, mountPath: /a, subPath: x}, {name: v, mountPath: /b, subPathExpr: x}]}], volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.ephemeralContainers[0].image: Invalid value: " b": must not have leading or trailing whitespace`,
			`spec.ephemeralContainers[0].name: Duplicate value: "main"`,
			`spec.ephemeralContainers[0].targetContainerName: Not found: "nope"`,
			"spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].resizePolicy: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].restartPolicy: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].restartPolicyRules: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].readinessProbe: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].startupProbe: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].lifecycle: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers[0].volumeMounts[1].subPathExpr: Forbidden: cannot be set for an Ephemeral Container",
			"spec.ephemeralContainers: Forbidden: cannot be set on create",
		}},
		{name: "container restart policy", main: "restartPolicy: Sometimes", want: []string{
			`spec.containers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"`,
		}},
		{name: "restart rules need a policy", main: "restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]", want: []string{
			"spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
		}},
		{name: "restart rules", main: "restartPolicy: Never, restartPolicyRules: [{action: Stop}, {action: Restart, exitCodes: {operator: Like, values: [1]}}]", want: []string{
			`spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart", "RestartAllContainers"`,
			"spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
			`spec.containers[0].restartPolicyRules[1].exitCodes.operator: Unsupported value: "Like": supported values: "In", "NotIn"`,
		}},
		{name: "too many restart rules", main: "restartPolicy: Never, restartPolicyRules: [" + strings.Repeat("{action: Restart, exitCodes: {operator: In, values: [1]}}, ", 21) + "]", want: []string{
			"spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items",
		}},
		{name: "too many exit codes", main: "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [" + strings.Repeat("1, ", 256) + "]}}]", want: []string{
			"spec.containers[0].restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items",
		}},
		{name: "restart rules of an init container need a policy", init: "restartPolicyRules: [{action: Stop}]", want: []string{
			"spec.initContainers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
		}},
		{name: "init containers that end have no probes and hooks", init: "livenessProbe: {exec: {command: [a]}}, readinessProbe: {exec: {command: [a]}}, startupProbe: {exec: {command: [a]}}, lifecycle: {preStop: {exec: {command: [a]}}}", want: []string{
			"spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
			"spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
			"spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
			"spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
		}},
		{name: "init containers that end are not restarted to be resized", init: "resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]", want: []string{
			`spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": must not be set to 'RestartContainer' for non-sidecar initContainers`,
		}},
		{name: "sidecars have probes and hooks", init: "restartPolicy: Always, livenessProbe: {exec: {command: [a]}}, readinessProbe: {exec: {command: [a]}}, startupProbe: {exec: {command: [a]}}, lifecycle: {preStop: {exec: {command: [a]}}}"},
		{name: "probes of sidecars are checked", init: "restartPolicy: Always, livenessProbe: {}", want: []string{
			"spec.initContainers[0].livenessProbe: Required value: must specify a handler type",
		}},
	}.run(t)
}

func TestPortRules(t *testing.T) {
	ruleTable{
		{name: "number is missing", main: "ports: [{name: http}]", want: []string{
			"spec.containers[0].ports[0].containerPort: Required value",
		}},
		{name: "number is out of range", main: "ports: [{containerPort: 65536}, {containerPort: -1}]", want: []string{
			"spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
			"spec.containers[0].ports[1].containerPort: Invalid value: -1: must be between 1 and 65535, inclusive",
		}},
		{name: "host port is out of range", main: "ports: [{containerPort: 80, hostPort: 70000}]", want: []string{
			"spec.containers[0].ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
		}},
		{name: "protocol in lower case", main: "ports: [{containerPort: 80, protocol: tcp}]", want: []string{
			`spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"`,
		}},
		{name: "name has no letter", main: "ports: [{containerPort: 80, name: '80'}]", want: []string{
			`spec.containers[0].ports[0].name: Invalid value: "80": must contain at least one letter (a-z)`,
		}},
		{name: "name is too long", main: "ports: [{containerPort: 80, name: abcdefghijklmnop}]", want: []string{
			`spec.containers[0].ports[0].name: Invalid value: "abcdefghijklmnop": must be no more than 15 characters`,
		}},
		{name: "name is not a service name", main: "ports: [{containerPort: 80, name: Http--x}]", want: []string{
			`spec.containers[0].ports[0].name: Invalid value: "Http--x": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)`,
			`spec.containers[0].ports[0].name: Invalid value: "Http--x": must not contain consecutive hyphens`,
		}},
		{name: "names are unique in a container", main: "ports: [{containerPort: 80, name: http}, {containerPort: 81, name: http}]", want: []string{
			`spec.containers[0].ports[1].name: Duplicate value: "http"`,
		}},
		{name: "host ports are unique in a pod", spec: "containers: [{name: a, image: nginx, ports: [{containerPort: 80, hostPort: 80}]}, {name: b, image: nginx, ports: [{containerPort: 81, hostPort: 80}, {containerPort: 81, hostPort: 80, protocol: UDP}]}]", want: []string{
			`spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"`,
		}},
		{name: "host ports are unique in an init container", init: "ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]", want: []string{
			`spec.initContainers[0].ports[1].hostPort: Duplicate value: "TCP//80"`,
		}},
		{name: "in the node's network ports are published as they are", main: "ports: [{containerPort: 80, hostPort: 8080}]", spec: "hostNetwork: true", want: []string{
			"spec.containers[0].ports[0].hostPort: Invalid value: 8080: must match `containerPort` when `hostNetwork` is true",
		}},
	}.run(t)
}

func TestProbeRules(t *testing.T) {
	ruleTable{
		{name: "no handler", main: "livenessProbe: {}", want: []string{
			"spec.containers[0].livenessProbe: Required value: must specify a handler type",
		}},
		{name: "two handlers", main: "readinessProbe: {exec: {command: [a]}, httpGet: {port: 80}, tcpSocket: {port: 80}, grpc: {port: 80}}", want: []string{
			"spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
			"spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
			"spec.containers[0].readinessProbe.grpc: Forbidden: may not specify more than 1 handler type",
		}},
		{name: "no command", main: "startupProbe: {exec: {}}", want: []string{
			"spec.containers[0].startupProbe.exec.command: Required value",
		}},
		{name: "ports", main: "livenessProbe: {httpGet: {port: 0}}, readinessProbe: {tcpSocket: {port: ''}}, startupProbe: {grpc: {port: 70000}}", want: []string{
			"spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
			`spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: "": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)`,
			`spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: "": must contain at least one letter (a-z)`,
			"spec.containers[0].startupProbe.grpc.port: Invalid value: 70000: must be between 1 and 65535, inclusive",
		}},
		{name: "http", main: "livenessProbe: {httpGet: {port: http, scheme: FTP, httpHeaders: [{name: 'a b', value: c}]}}", want: []string{
			`spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"`,
			`spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')`,
		}},
		{name: "numbers are not negative", main: "livenessProbe: {tcpSocket: {port: 80}, initialDelaySeconds: -1, timeoutSeconds: -1, periodSeconds: -1, failureThreshold: -1, terminationGracePeriodSeconds: 0}", want: []string{
			"spec.containers[0].livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0",
			"spec.containers[0].livenessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
			"spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
			"spec.containers[0].livenessProbe.failureThreshold: Invalid value: -1: must be greater than or equal to 0",
			"spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
		}},
		{name: "one success is enough", main: "livenessProbe: {tcpSocket: {port: 80}, successThreshold: 2}, startupProbe: {tcpSocket: {port: 80}, successThreshold: 2}, readinessProbe: {tcpSocket: {port: 80}, successThreshold: 2}", want: []string{
			"spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
			"spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1",
		}},
		{name: "readiness ends nothing", main: "readinessProbe: {tcpSocket: {port: 80}, terminationGracePeriodSeconds: 5}", want: []string{
			"spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
		}},
		{name: "hooks", main: "lifecycle: {postStart: {}, preStop: {exec: {command: [a]}, sleep: {seconds: 1}}}", want: []string{
			"spec.containers[0].lifecycle.postStart: Required value: must specify a handler type",
			"spec.containers[0].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type",
		}},
		{name: "sleep is within the grace period", main: "lifecycle: {preStop: {sleep: {seconds: 31}}}", want: []string{
			"spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
		}},
	}.run(t)
}
