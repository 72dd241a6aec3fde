package podspec

import "testing"

func TestMountRules(t *testing.T) {
	ruleTable{
		{name: "volume and path are missing", main: "volumeMounts: [{}]", want: []string{
			"spec.containers[0].volumeMounts[0].name: Required value",
			`spec.containers[0].volumeMounts[0].name: Not found: ""`,
			"spec.containers[0].volumeMounts[0].mountPath: Required value",
		}},
		{name: "volume is unknown", main: "volumeMounts: [{name: w, mountPath: /a}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.containers[0].volumeMounts[0].name: Not found: "w"`,
		}},
		{name: "volume has a fault itself", main: "volumeMounts: [{name: v, mountPath: /a}]", spec: "volumes: [{name: v, secret: {}}]", want: []string{
			"spec.volumes[0].secret.secretName: Required value",
			`spec.containers[0].volumeMounts[0].name: Not found: "v"`,
		}},
		{name: "paths are unique", main: "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique`,
		}},
		{name: "sub path is absolute", main: "volumeMounts: [{name: v, mountPath: /a, subPath: /b}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.containers[0].volumeMounts.subPath: Invalid value: "/b": must be a relative path`,
		}},
		{name: "sub path climbs", main: "volumeMounts: [{name: v, mountPath: /a, subPath: b/../c}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.containers[0].volumeMounts.subPath: Invalid value: "b/../c": must not contain '..'`,
		}},
		{name: "two kinds of sub path", main: "volumeMounts: [{name: v, mountPath: /a, subPath: b, subPathExpr: /$(X)}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "/$(X)": subPathExpr and subPath are mutually exclusive`,
			`spec.containers[0].volumeMounts.subPathExpr: Invalid value: "/$(X)": must be a relative path`,
		}},
		{name: "propagation", main: "volumeMounts: [{name: v, mountPath: /a, mountPropagation: Sideways}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.containers[0].volumeMounts.mountPropagation: Unsupported value: "Sideways": supported values: "Bidirectional", "HostToContainer", "None"`,
		}},
		{name: "propagation to the node needs privileges", main: "volumeMounts: [{name: v, mountPath: /a, mountPropagation: Bidirectional}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			"spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
		}},
		{name: "read-only all the way down", main: "volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Enabled, mountPropagation: HostToContainer}, {name: v, mountPath: /b, recursiveReadOnly: Sometimes}, {name: v, mountPath: /c, recursiveReadOnly: Disabled}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			"spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
			"spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified",
			`spec.containers[0].volumeMounts.recursiveReadOnly: Unsupported value: "Sometimes": supported values: "Disabled", "Enabled", "IfPossible"`,
		}},
		{name: "devices are claims", main: "volumeDevices: [{name: v, devicePath: /dev/a}, {name: nope, devicePath: /dev/b}, {}]", spec: "volumes: [{name: v, emptyDir: {}}]", want: []string{
			`spec.containers[0].volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode`,
			`spec.containers[0].volumeDevices[1].name: Not found: "nope"`,
			"spec.containers[0].volumeDevices[2].name: Required value",
			`spec.containers[0].volumeDevices[2].name: Not found: ""`,
			"spec.containers[0].volumeDevices[2].devicePath: Required value",
		}},
		{name: "devices are unique and do not climb", main: "volumeDevices: [{name: v, devicePath: /dev/a}, {name: v, devicePath: /dev/a}, {name: w, devicePath: /dev/../b}]", spec: "volumes: [{name: v, persistentVolumeClaim: {claimName: c}}, {name: w, persistentVolumeClaim: {claimName: d}}]", want: []string{
			`spec.containers[0].volumeDevices[1].name: Invalid value: "v": must be unique`,
			`spec.containers[0].volumeDevices[1].devicePath: Invalid value: "/dev/a": must be unique`,
			`spec.containers[0].volumeDevices[2].devicePath: Invalid value: "/dev/../b": can not contain backsteps ('..')`,
		}},
		{name: "a volume is a device or files", main: "volumeDevices: [{name: v, devicePath: /a}], volumeMounts: [{name: v, mountPath: /a}]", spec: "volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]", want: []string{
			`spec.containers[0].volumeMounts[0].name: Invalid value: "v": must not already exist in volumeDevices`,
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/a": must not already exist as a path in volumeDevices`,
			`spec.containers[0].volumeDevices[0].name: Invalid value: "v": must not already exist in volumeMounts`,
			`spec.containers[0].volumeDevices[0].devicePath: Invalid value: "/a": must not already exist as a path in volumeMounts`,
		}},
	}.run(t)
}
