package podspec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"millrace.dev/services/api/internal/registry/check"
)

func privileged(sc *corev1.SecurityContext) bool {
	return sc != nil && sc.Privileged != nil && *sc.Privileged
}

// checkSecurity checks what holds for every container of the pod.
func (s *subject) checkSecurity(at check.At) {
	sc := s.SecurityContext
	if sc == nil {
		return
	}
	at.Child("fsGroup").GroupID(sc.FSGroup)
	at.Child("runAsUser").UserID(sc.RunAsUser)
	at.Child("runAsGroup").GroupID(sc.RunAsGroup)
	for i := range sc.SupplementalGroups {
		at.Child("supplementalGroups").Index(i).GroupID(&sc.SupplementalGroups[i])
	}
	s.checkSysctls(at.Child("sysctls"), sc.Sysctls)
	if p := sc.FSGroupChangePolicy; p != nil {
		check.OneOf(at.Child("fsGroupChangePolicy"), *p, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)
	}
	checkSeccomp(at.Child("seccompProfile"), sc.SeccompProfile)
	checkWindowsOptions(at.Child("windowsOptions"), sc.WindowsOptions)
	checkAppArmor(at.Child("appArmorProfile"), sc.AppArmorProfile)
	if p := sc.SupplementalGroupsPolicy; p != nil {
		check.OneOf(at.Child("supplementalGroupsPolicy"), *p, corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)
	}
	if p := sc.SELinuxChangePolicy; p != nil {
		check.OneOf(at.Child("seLinuxChangePolicy"), *p, corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive)
	}
}

func (s *subject) checkContainerSecurity(at check.At, sc *corev1.SecurityContext) {
	if sc == nil {
		return
	}
	at.Child("runAsUser").UserID(sc.RunAsUser)
	at.Child("runAsGroup").GroupID(sc.RunAsGroup)
	if p := sc.ProcMount; p != nil {
		check.OneOf(at.Child("procMount"), *p, corev1.DefaultProcMount, corev1.UnmaskedProcMount)
		if s.hostUsers && *p == corev1.UnmaskedProcMount {
			at.Child("procMount").Invalid(*p, "`hostUsers` must be false to use `Unmasked`")
		}
	}
	checkSeccomp(at.Child("seccompProfile"), sc.SeccompProfile)
	if escalate := sc.AllowPrivilegeEscalation; escalate != nil && !*escalate {
		if privileged(sc) {
			at.Invalid(sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
		}
		if sc.Capabilities != nil && slices.Contains(sc.Capabilities.Add, "CAP_SYS_ADMIN") {
			at.Invalid(sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
		}
	}
	checkWindowsOptions(at.Child("windowsOptions"), sc.WindowsOptions)
	checkAppArmor(at.Child("appArmorProfile"), sc.AppArmorProfile)
}

func checkSeccomp(at check.At, p *corev1.SeccompProfile) {
	if p == nil {
		return
	}
	if p.Type == "" {
		at.Child("type").Required("type is required when seccompProfile is set")
	} else {
		check.OneOf(at.Child("type"), p.Type,
			corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	}
	local := at.Child("localhostProfile")
	switch isLocal := p.Type == corev1.SeccompProfileTypeLocalhost; {
	case isLocal && p.LocalhostProfile == nil:
		local.Required("must be set when seccomp type is Localhost")
	case isLocal:
		local.Descending(*p.LocalhostProfile)
	case p.LocalhostProfile != nil:
		local.Invalid(p, "can only be set when seccomp type is Localhost")
	}
}

const longestAppArmorProfile = 4095 // the longest path of Linux

func checkAppArmor(at check.At, p *corev1.AppArmorProfile) {
	if p == nil {
		return
	}
	local := at.Child("localhostProfile")
	switch p.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		checkLocalAppArmor(local, p.LocalhostProfile)
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if p.LocalhostProfile != nil {
			local.Invalid(p.LocalhostProfile, "can only be set when AppArmor type is Localhost")
		}
	case "":
		at.Child("type").Required("type is required when appArmorProfile is set")
	default:
		check.OneOf(at.Child("type"), p.Type,
			corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
	}
}

func checkLocalAppArmor(at check.At, profile *string) {
	if profile == nil || *profile == "" {
		at.Required("must be set when AppArmor type is Localhost")
		return
	}
	if *profile != strings.TrimSpace(*profile) {
		at.Invalid(*profile, "must not be padded with whitespace")
	}
	if len(*profile) > longestAppArmorProfile {
		at.TooLong(longestAppArmorProfile)
	}
}

const longestSysctl = 253

var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

func (s *subject) checkSysctls(at check.At, sysctls []corev1.Sysctl) {
	seen := sets.New[string]()
	for i, ctl := range sysctls {
		name := at.Index(i).Child("name")
		switch {
		case ctl.Name == "":
			name.Required("")
		case len(ctl.Name) > longestSysctl || !sysctlName.MatchString(ctl.Name):
			name.Invalid(ctl.Name, fmt.Sprintf("must have at most %d characters and match regex %s", longestSysctl, sysctlName))
		case seen.Has(ctl.Name):
			name.Duplicate(ctl.Name)
		}
		switch namespace := sysctlNamespace(ctl.Name); {
		case s.HostNetwork && namespace == "net":
			name.Invalid(ctl.Name, "may not be specified when 'hostNetwork' is true")
		case s.HostIPC && namespace == "ipc":
			name.Invalid(ctl.Name, "may not be specified when 'hostIPC' is true")
		}
		seen.Insert(ctl.Name)
	}
}

// ipcSysctls are the settings of the kernel that belong to an IPC namespace; those that end in a dot are prefixes.
var ipcSysctls = []string{
	"kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.shm",
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg", "fs.mqueue.",
}

// sysctlNamespace is "net", "ipc" or empty: whose setting a sysctl is.
func sysctlNamespace(name string) string {
	if first := strings.IndexAny(name, "./"); first >= 0 && name[first] == '/' { // the other spelling: net/ipv4/conf/eth0.1/rp_filter
		name = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			default:
				return r
			}
		}, name)
	}
	name, _, _ = strings.Cut(name, "*")
	switch {
	case strings.HasPrefix(name, "net."):
		return "net"
	case slices.ContainsFunc(ipcSysctls, func(s string) bool {
		return name == s || (strings.HasSuffix(s, ".") && strings.HasPrefix(name, s))
	}):
		return "ipc"
	default:
		return ""
	}
}

// checkUserNamespace refuses what a pod with users of its own cannot have of the node's.
func (s *subject) checkUserNamespace(at check.At) {
	if s.hostUsers {
		return
	}
	const because = "when `hostUsers` is false"
	for _, f := range []struct { // two are spelt as in Go, as Kubernetes has it
		field string
		set   bool
	}{{"hostNetwork", s.HostNetwork}, {"HostPID", s.HostPID}, {"HostIPC", s.HostIPC}} {
		if f.set {
			at.Child(f.field).Forbidden(because)
		}
	}
	for at, c := range containersAt(at, s.PodSpec) {
		if len(c.VolumeDevices) > 0 {
			at.Child("volumeDevices").Forbidden(because)
		}
	}
}
