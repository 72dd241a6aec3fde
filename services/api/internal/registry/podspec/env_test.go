package podspec

import "testing"

func TestEnvRules(t *testing.T) {
	ruleTable{
		{name: "name is missing", main: "env: [{value: a}]", want: []string{
			"spec.containers[0].env[0].name: Required value",
		}},
		{name: "name has an equals sign", main: "env: [{name: 'A=B', value: a}]", want: []string{
			`spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='`,
		}},
		{name: "names may have dots, dashes and more", main: "env: [{name: 'a.b-c d', value: a}]"},
		{name: "source is empty", main: "env: [{name: A, valueFrom: {}}]", want: []string{
			"spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
		}},
		{name: "value and source", main: "env: [{name: A, value: a, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", want: []string{
			"spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
		}},
		{name: "two sources", main: "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, secretKeyRef: {name: s, key: k}}}]", want: []string{
			`spec.containers[0].env[0].valueFrom: Invalid value: "": may not have more than one field specified at a time`,
		}},
		{name: "field path is missing", main: "env: [{name: A, valueFrom: {fieldRef: {}}}]", want: []string{
			"spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Required value",
		}},
		{name: "field path is unknown", main: "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.containers}}}]", want: []string{
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.containers": error converting fieldPath: field label not supported: spec.containers`,
		}},
		{name: "field path is not for variables", main: "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]", want: []string{
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`,
		}},
		{name: "field path of long ago", main: "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.host}}}]"},
		{name: "field path of another version", main: "env: [{name: A, valueFrom: {fieldRef: {apiVersion: v2, fieldPath: metadata.name}}}]", want: []string{
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.name": error converting fieldPath: unsupported pod version: v2`,
		}},
		{name: "field path with a key", main: `env: [{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app.kubernetes.io/name']"}}}]`},
		{name: "field path with a bad key", main: `env: [{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a b']"}}}, {name: B, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['/']"}}}]`, want: []string{
			`spec.containers[0].env[0].valueFrom.fieldRef: Invalid value: "a b": ` + badNamePart,
			`spec.containers[0].env[1].valueFrom.fieldRef: Invalid value: "/": prefix part must be non-empty`,
			`spec.containers[0].env[1].valueFrom.fieldRef: Invalid value: "/": name part must be non-empty`,
			`spec.containers[0].env[1].valueFrom.fieldRef: Invalid value: "/": ` + badNamePart,
		}},
		{name: "field path that has no keys", main: `env: [{name: A, valueFrom: {fieldRef: {fieldPath: "spec.nodeName['a']"}}}]`, want: []string{
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nodeName['a']": error converting fieldPath: field label does not support subscript: spec.nodeName['a']`,
		}},
		{name: "resource is missing", main: "env: [{name: A, valueFrom: {resourceFieldRef: {divisor: 1}}}]", want: []string{
			"spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Required value",
		}},
		{name: "resource is unknown", main: "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu, divisor: 7}}}]", want: []string{
			`spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"`,
		}},
		{name: "huge pages are known", main: "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.hugepages-2Mi, divisor: 1Mi}}}]"},
		{name: "units do not fit", main: "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1k}}}, {name: B, valueFrom: {resourceFieldRef: {resource: requests.memory, divisor: 1m}}}, {name: C, valueFrom: {resourceFieldRef: {resource: limits.ephemeral-storage, divisor: 2}}}, {name: D, valueFrom: {resourceFieldRef: {resource: requests.hugepages-2Mi, divisor: 3}}}]", want: []string{
			`spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource`,
			`spec.containers[0].env[1].valueFrom.resourceFieldRef.divisor: Invalid value: "requests.memory": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource`,
			`spec.containers[0].env[2].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.ephemeral-storage": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the local ephemeral storage resource`,
			`spec.containers[0].env[3].valueFrom.resourceFieldRef.divisor: Invalid value: "requests.hugepages-2Mi": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the hugepages resource`,
		}},
		{name: "references are named", main: "env: [{name: A, valueFrom: {configMapKeyRef: {}}}, {name: B, valueFrom: {secretKeyRef: {name: S_, key: a/b}}}]", want: []string{
			`spec.containers[0].env[0].valueFrom.configMapKeyRef.name: Invalid value: "": ` + badSubdomain,
			"spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Required value",
			`spec.containers[0].env[1].valueFrom.secretKeyRef.name: Invalid value: "S_": ` + badSubdomain,
			`spec.containers[0].env[1].valueFrom.secretKeyRef.key: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`,
		}},
		{name: "file keys", main: "env: [{name: A, valueFrom: {fileKeyRef: {}}}, {name: B, valueFrom: {fileKeyRef: {key: 'a=', volumeName: V, path: ../x}}}]", want: []string{
			"spec.containers[0].env[0].valueFrom.fileKeyRef.key: Required value",
			"spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Required value",
			"spec.containers[0].env[0].valueFrom.fileKeyRef.path: Required value",
			`spec.containers[0].env[1].valueFrom.fileKeyRef.key: Invalid value: "a=": a valid environment variable name must consist only of printable ASCII characters other than '='`,
			`spec.containers[0].env[1].valueFrom.fileKeyRef.volumeName: Invalid value: "V": ` + badLabel,
			`spec.containers[0].env[1].valueFrom.fileKeyRef.path: Invalid value: "../x": must not contain '..'`,
			`spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: ""`,
			`spec.containers[0].env[1].valueFrom.fileKeyRef.volumeName: Not found: "V"`,
		}},
		{name: "file keys need a volume that can be written", main: "env: [{name: A, valueFrom: {fileKeyRef: {key: a, volumeName: s, path: x}}}, {name: B, valueFrom: {fileKeyRef: {key: a, volumeName: e, path: x}}}]", spec: "volumes: [{name: s, secret: {secretName: s}}, {name: e, emptyDir: {}}]", want: []string{
			`spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "s": referenced volume must be of type emptyDir`,
		}},
		{name: "sources of many", main: "envFrom: [{prefix: 'a=', configMapRef: {}}, {}, {configMapRef: {name: A_}, secretRef: {name: B_}}]", want: []string{
			`spec.containers[0].envFrom[0].prefix: Invalid value: "a=": a valid environment variable name must consist only of printable ASCII characters other than '='`,
			"spec.containers[0].envFrom[0].configMapRef.name: Required value",
			"spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
			`spec.containers[0].envFrom[2].configMapRef.name: Invalid value: "A_": ` + badSubdomain,
			`spec.containers[0].envFrom[2].secretRef.name: Invalid value: "B_": ` + badSubdomain,
			`spec.containers[0].envFrom: Invalid value: "": may not have more than one field specified at a time`,
		}},
	}.run(t)
}
