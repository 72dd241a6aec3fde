package podspec

import (
	"strings"
	"testing"
)

func TestSecurityRules(t *testing.T) {
	ruleTable{
		{name: "ids", spec: "securityContext: {fsGroup: -1, runAsUser: -1, runAsGroup: -1, supplementalGroups: [0, -1]}", want: []string{
			"spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			"spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			"spec.securityContext.runAsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			"spec.securityContext.supplementalGroups[1]: Invalid value: -1: must be between 0 and 2147483647, inclusive",
		}},
		{name: "words", spec: "securityContext: {fsGroupChangePolicy: Never, supplementalGroupsPolicy: Lax, seLinuxChangePolicy: None}", want: []string{
			`spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always", "OnRootMismatch"`,
			`spec.securityContext.supplementalGroupsPolicy: Unsupported value: "Lax": supported values: "Merge", "Strict"`,
			`spec.securityContext.seLinuxChangePolicy: Unsupported value: "None": supported values: "MountOption", "Recursive"`,
		}},
		{name: "ids of a container", main: "securityContext: {runAsUser: -1, runAsGroup: -1}", want: []string{
			"spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			"spec.containers[0].securityContext.runAsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
		}},
		{name: "seccomp", spec: "securityContext: {seccompProfile: {type: ''}}", want: []string{
			"spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
		}},
		{name: "seccomp words", main: "securityContext: {seccompProfile: {type: Strict}}", want: []string{
			`spec.containers[0].securityContext.seccompProfile.type: Unsupported value: "Strict": supported values: "Localhost", "RuntimeDefault", "Unconfined"`,
		}},
		{name: "seccomp of the node is named", main: "securityContext: {seccompProfile: {type: Localhost}}", want: []string{
			"spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
		}},
		{name: "seccomp of the node climbs", main: "securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../a}}", want: []string{
			`spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: "../a": must not contain '..'`,
		}},
		{name: "seccomp names what it does not use", main: "securityContext: {seccompProfile: {type: Unconfined, localhostProfile: a}}", want: []string{
			`spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: {"type":"Unconfined","localhostProfile":"a"}: can only be set when seccomp type is Localhost`,
		}},
		{name: "apparmor profile is too long", main: "securityContext: {appArmorProfile: {type: Localhost, localhostProfile: " + strings.Repeat("p", 4096) + "}}", want: []string{
			"spec.containers[0].securityContext.appArmorProfile.localhostProfile: Too long: may not be more than 4095 bytes",
		}},
		{name: "apparmor", spec: "securityContext: {appArmorProfile: {type: ''}}, containers: [{name: a, image: b, securityContext: {appArmorProfile: {type: Strict}}}, {name: b, image: b, securityContext: {appArmorProfile: {type: Localhost}}}, {name: c, image: b, securityContext: {appArmorProfile: {type: Localhost, localhostProfile: ' a'}}}, {name: d, image: b, securityContext: {appArmorProfile: {type: Unconfined, localhostProfile: a}}}, {name: e, image: b, securityContext: {appArmorProfile: {type: Localhost, localhostProfile: ''}}}]", want: []string{
			`spec.containers[0].securityContext.appArmorProfile.type: Unsupported value: "Strict": supported values: "Localhost", "RuntimeDefault", "Unconfined"`,
			"spec.containers[1].securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost",
			`spec.containers[2].securityContext.appArmorProfile.localhostProfile: Invalid value: " a": must not be padded with whitespace`,
			`spec.containers[3].securityContext.appArmorProfile.localhostProfile: Invalid value: "a": can only be set when AppArmor type is Localhost`,
			"spec.containers[4].securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost",
			"spec.securityContext.appArmorProfile.type: Required value: type is required when appArmorProfile is set",
		}},
		{name: "privileged and not", main: "securityContext: {privileged: true, allowPrivilegeEscalation: false}", want: []string{
			"spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
		}},
		{name: "admin and not", main: "securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [CAP_SYS_ADMIN]}}", want: []string{
			"spec.containers[0].securityContext: Invalid value: {\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]},\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
		}},
		{name: "proc", main: "securityContext: {procMount: Hidden}", want: []string{
			`spec.containers[0].securityContext.procMount: Unsupported value: "Hidden": supported values: "Default", "Unmasked"`,
		}},
		{name: "unmasked proc needs users of its own", main: "securityContext: {procMount: Unmasked}", want: []string{
			"spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
		}},
		{name: "unmasked proc with users of its own", main: "securityContext: {procMount: Unmasked}", spec: "hostUsers: false"},
		{name: "sysctls", spec: "securityContext: {sysctls: [{name: '', value: a}, {name: A.b, value: a}, {name: kernel.shmmax, value: a}, {name: kernel.shmmax, value: a}]}", want: []string{
			"spec.securityContext.sysctls[0].name: Required value",
			`spec.securityContext.sysctls[1].name: Invalid value: "A.b": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`,
			`spec.securityContext.sysctls[3].name: Duplicate value: "kernel.shmmax"`,
		}},
		{name: "sysctls of the node", spec: "hostNetwork: true, hostIPC: true, securityContext: {sysctls: [{name: net.core.somaxconn, value: a}, {name: net/ipv4/conf/eth0.1/x, value: a}, {name: kernel.shmmax, value: a}, {name: fs.mqueue.msg_max, value: a}, {name: kernel.domainname, value: a}]}", want: []string{
			`spec.securityContext.sysctls[0].name: Invalid value: "net.core.somaxconn": may not be specified when 'hostNetwork' is true`,
			`spec.securityContext.sysctls[1].name: Invalid value: "net/ipv4/conf/eth0.1/x": may not be specified when 'hostNetwork' is true`,
			`spec.securityContext.sysctls[2].name: Invalid value: "kernel.shmmax": may not be specified when 'hostIPC' is true`,
			`spec.securityContext.sysctls[3].name: Invalid value: "fs.mqueue.msg_max": may not be specified when 'hostIPC' is true`,
		}},
		{name: "users of its own exclude the node's", main: "volumeDevices: [{name: v, devicePath: /dev/a}]", spec: "hostUsers: false, hostNetwork: true, hostPID: true, hostIPC: true, volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]", want: []string{
			"spec.hostNetwork: Forbidden: when `hostUsers` is false",
			"spec.HostPID: Forbidden: when `hostUsers` is false",
			"spec.HostIPC: Forbidden: when `hostUsers` is false",
			"spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false",
		}},
		{name: "processes shared with the node and not", spec: "shareProcessNamespace: true, hostPID: true", want: []string{
			"spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
		}},
	}.run(t)
}

func TestWindowsRules(t *testing.T) {
	ruleTable{
		{name: "unknown system", spec: "os: {name: plan9}", want: []string{
			`spec.os: Unsupported value: "plan9": supported values: "linux", "windows"`,
		}},
		{name: "nameless system", spec: "os: {}", want: []string{
			"spec.os.name: Required value",
		}},
		{name: "linux has no windows options", main: "securityContext: {windowsOptions: {}}", spec: "os: {name: linux}, securityContext: {windowsOptions: {}}", want: []string{
			"spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
			"spec.containers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
		}},
		{name: "windows has little of linux", main: "securityContext: {appArmorProfile: {type: Unconfined}, seLinuxOptions: {}, seccompProfile: {type: Unconfined}, capabilities: {}, readOnlyRootFilesystem: true, privileged: false, allowPrivilegeEscalation: true, procMount: Default, runAsUser: 1, runAsGroup: 1}", spec: "os: {name: windows}, hostUsers: true, hostPID: true, hostIPC: true, shareProcessNamespace: true, resources: {limits: {cpu: 1}}, securityContext: {appArmorProfile: {type: Unconfined}, seLinuxOptions: {}, seccompProfile: {type: Unconfined}, fsGroup: 1, fsGroupChangePolicy: Always, sysctls: [{name: a, value: b}], runAsUser: 1, runAsGroup: 1, supplementalGroups: [1], supplementalGroupsPolicy: Merge, seLinuxChangePolicy: Recursive}", want: []string{
			"spec.resources: Forbidden: may not be set for a windows pod",
			"spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
			"spec.securityContext.appArmorProfile: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.seLinuxOptions: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.seccompProfile: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.fsGroupChangePolicy: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.sysctls: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.runAsGroup: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.supplementalGroups: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.supplementalGroupsPolicy: Forbidden: cannot be set for a windows pod",
			"spec.securityContext.seLinuxChangePolicy: Forbidden: cannot be set for a windows pod",
			"spec.hostUsers: Forbidden: cannot be set for a windows pod",
			"spec.hostPID: Forbidden: cannot be set for a windows pod",
			"spec.hostIPC: Forbidden: cannot be set for a windows pod",
			"spec.shareProcessNamespace: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.appArmorProfile: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.seLinuxOptions: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.seccompProfile: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.capabilities: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.readOnlyRootFilesystem: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.allowPrivilegeEscalation: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.procMount: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
			"spec.containers[0].securityContext.runAsGroup: Forbidden: cannot be set for a windows pod",
		}},
		{name: "options", spec: `securityContext: {windowsOptions: {gmsaCredentialSpecName: A_, gmsaCredentialSpec: '', runAsUserName: ''}}, containers: [{name: c0, image: b, securityContext: {windowsOptions: {runAsUserName: 'a\b\c'}}}, {name: c1, image: b, securityContext: {windowsOptions: {runAsUserName: 'a?b\user'}}}, {name: c2, image: b, securityContext: {windowsOptions: {runAsUserName: 'd\'}}}, {name: c3, image: b, securityContext: {windowsOptions: {runAsUserName: '..'}}}, {name: c4, image: b, securityContext: {windowsOptions: {runAsUserName: 'a/b'}}}, {name: c5, image: b, securityContext: {windowsOptions: {runAsUserName: '` + strings.Repeat("x", 105) + "'}}}, {name: c6, image: b, securityContext: {windowsOptions: {runAsUserName: '" + strings.Repeat("d", 257) + `\u'}}}]`, want: []string{
			`spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: "a\\b\\c": runAsUserName cannot contain more than one backslash`,
			`spec.containers[1].securityContext.windowsOptions.runAsUserName: Invalid value: "a?b\\user": runAsUserName's Domain doesn't match the NetBios nor the DNS format`,
			`spec.containers[2].securityContext.windowsOptions.runAsUserName: Invalid value: "d\\": runAsUserName's User cannot be empty`,
			`spec.containers[3].securityContext.windowsOptions.runAsUserName: Invalid value: "..": runAsUserName's User cannot contain only periods or spaces`,
			`spec.containers[4].securityContext.windowsOptions.runAsUserName: Invalid value: "a/b": runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`,
			`spec.containers[5].securityContext.windowsOptions.runAsUserName: Invalid value: "` + strings.Repeat("x", 105) + `": runAsUserName's User length must not be longer than 104 characters`,
			`spec.containers[6].securityContext.windowsOptions.runAsUserName: Invalid value: "` + strings.Repeat("d", 257) + `\\u": runAsUserName's Domain length must be under 256 characters`,
			`spec.containers[6].securityContext.windowsOptions.runAsUserName: Invalid value: "` + strings.Repeat("d", 257) + `\\u": runAsUserName's Domain doesn't match the NetBios nor the DNS format`,
			`spec.securityContext.windowsOptions.gmsaCredentialSpecName: Invalid value: "A_": ` + badSubdomain,
			`spec.securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: "": gmsaCredentialSpec cannot be an empty string`,
			`spec.securityContext.windowsOptions.runAsUserName: Invalid value: "": runAsUserName cannot be an empty string`,
		}},
		{name: "host processes", spec: "securityContext: {windowsOptions: {hostProcess: true}}, containers: [{name: a, image: b}, {name: c, image: b, securityContext: {windowsOptions: {hostProcess: false}}}]", want: []string{
			"spec.containers[1].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must be identical if both are specified, was true",
			`spec: Invalid value: "": If pod contains any hostProcess containers then all containers must be HostProcess containers`,
			"spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
		}},
	}.run(t)
}

func TestAnnotationRules(t *testing.T) {
	ruleTable{
		{name: "mirror pods have a node", meta: "annotations: {kubernetes.io/config.mirror: x}", want: []string{
			`metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set`,
		}},
		{name: "deletion cost", meta: "annotations: {controller.kubernetes.io/pod-deletion-cost: '+5'}", want: []string{
			`metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+5": must be a 32bit integer`,
		}},
		{name: "tolerations of long ago", meta: `annotations: {scheduler.alpha.kubernetes.io/tolerations: '[{"key":"a b","operator":"Exists"}]'}`, want: []string{
			`metadata.annotations.scheduler.alpha.kubernetes.io/tolerations[0].key: Invalid value: "a b": ` + badNamePart,
		}},
		{name: "tolerations of long ago that are none", meta: "annotations: {scheduler.alpha.kubernetes.io/tolerations: '{'}", want: []string{
			`metadata.annotations: Invalid value: "scheduler.alpha.kubernetes.io/tolerations": unexpected end of JSON input`,
		}},
		{name: "apparmor of a container says two things", meta: "annotations: {container.apparmor.security.beta.kubernetes.io/main: runtime/default}", main: "securityContext: {appArmorProfile: {type: Unconfined}}", want: []string{
			"spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match",
		}},
		{name: "seccomp of long ago", meta: "annotations: {seccomp.security.alpha.kubernetes.io/pod: strict, container.seccomp.security.alpha.kubernetes.io/main: localhost/../a}", want: []string{
			`metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: "strict": must be a valid seccomp profile`,
			`metadata.annotations.container.seccomp.security.alpha.kubernetes.io/main: Invalid value: "../a": must not contain '..'`,
		}},
		{name: "apparmor of long ago", meta: "annotations: {container.apparmor.security.beta.kubernetes.io/nope: localhost/a, container.apparmor.security.beta.kubernetes.io/main: strict}", want: []string{
			`metadata.annotations[container.apparmor.security.beta.kubernetes.io/main]: Invalid value: "strict": invalid AppArmor profile name: "strict"`,
			`metadata.annotations[container.apparmor.security.beta.kubernetes.io/nope]: Invalid value: "nope": container not found`,
		}},
		{name: "seccomp says two things", meta: "annotations: {seccomp.security.alpha.kubernetes.io/pod: runtime/default, container.seccomp.security.alpha.kubernetes.io/a: unconfined, container.seccomp.security.alpha.kubernetes.io/b: localhost/y, container.seccomp.security.alpha.kubernetes.io/c: unconfined}", spec: "securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: a, image: b, securityContext: {seccompProfile: {type: RuntimeDefault}}}, {name: b, image: b, securityContext: {seccompProfile: {type: Localhost, localhostProfile: x}}}, {name: c, image: b, securityContext: {seccompProfile: {type: Localhost, localhostProfile: x}}}]", want: []string{
			"spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
			"spec.containers[0].securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
			"spec.containers[1].securityContext.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match",
			"spec.containers[2].securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
		}},
		{name: "apparmor says two things", meta: "annotations: {container.apparmor.security.beta.kubernetes.io/a: runtime/default, container.apparmor.security.beta.kubernetes.io/b: unconfined, container.apparmor.security.beta.kubernetes.io/c: localhost/y}", spec: "securityContext: {appArmorProfile: {type: Unconfined}}, containers: [{name: a, image: b}, {name: b, image: b, securityContext: {appArmorProfile: {type: RuntimeDefault}}}, {name: c, image: b, securityContext: {appArmorProfile: {type: Localhost, localhostProfile: x}}}]", want: []string{
			"spec.containers[1].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match",
			"spec.containers[2].securityContext.appArmorProfile.localhostProfile: Forbidden: apparmor profile in annotation and field must match",
		}},
	}.run(t)
}
