package podspec

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/services/api/internal/registry/check"
)

// Millrace has no Windows nodes, but manifests for both systems are read, and what they cannot mean is refused.

// checkOS checks the operating system and what it excludes.
func (s *subject) checkOS(at check.At) {
	if s.OS == nil {
		return
	}
	os := at.Child("os")
	switch s.OS.Name {
	case "":
		os.Child("name").Required("")
	case corev1.Linux:
		s.checkLinux(at)
	case corev1.Windows:
		s.checkWindows(at)
	default:
		check.OneOf(os, s.OS.Name, corev1.Linux, corev1.Windows)
	}
}

func (s *subject) checkLinux(at check.At) {
	const text = "windows options cannot be set for a linux pod"
	if s.SecurityContext != nil && s.SecurityContext.WindowsOptions != nil {
		at.Child("securityContext", "windowsOptions").Forbidden(text)
	}
	for at, c := range containersAt(at, s.PodSpec) {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			at.Child("securityContext", "windowsOptions").Forbidden(text)
		}
	}
}

// forbidden is a field that Windows does not have, and whether it is set.
type forbidden struct {
	field string
	set   bool
}

func (s *subject) checkWindows(at check.At) {
	forbid := func(at check.At, fields []forbidden) {
		for _, f := range fields {
			if f.set {
				at.Child(f.field).Forbidden("cannot be set for a windows pod")
			}
		}
	}
	if sc := s.SecurityContext; sc != nil {
		forbid(at.Child("securityContext"), []forbidden{
			{"appArmorProfile", sc.AppArmorProfile != nil},
			{"seLinuxOptions", sc.SELinuxOptions != nil},
			{"seccompProfile", sc.SeccompProfile != nil},
			{"fsGroup", sc.FSGroup != nil},
			{"fsGroupChangePolicy", sc.FSGroupChangePolicy != nil},
			{"sysctls", len(sc.Sysctls) > 0},
			{"runAsUser", sc.RunAsUser != nil},
			{"runAsGroup", sc.RunAsGroup != nil},
			{"supplementalGroups", sc.SupplementalGroups != nil},
			{"supplementalGroupsPolicy", sc.SupplementalGroupsPolicy != nil},
			{"seLinuxChangePolicy", sc.SELinuxChangePolicy != nil},
		})
	}
	forbid(at, []forbidden{
		{"hostUsers", s.HostUsers != nil},
		{"hostPID", s.HostPID},
		{"hostIPC", s.HostIPC},
		{"shareProcessNamespace", s.ShareProcessNamespace != nil},
	})
	for at, c := range containersAt(at, s.PodSpec) {
		if sc := c.SecurityContext; sc != nil {
			forbid(at.Child("securityContext"), []forbidden{
				{"appArmorProfile", sc.AppArmorProfile != nil},
				{"seLinuxOptions", sc.SELinuxOptions != nil},
				{"seccompProfile", sc.SeccompProfile != nil},
				{"capabilities", sc.Capabilities != nil},
				{"readOnlyRootFilesystem", sc.ReadOnlyRootFilesystem != nil},
				{"privileged", sc.Privileged != nil},
				{"allowPrivilegeEscalation", sc.AllowPrivilegeEscalation != nil},
				{"procMount", sc.ProcMount != nil},
				{"runAsUser", sc.RunAsUser != nil},
				{"runAsGroup", sc.RunAsGroup != nil},
			})
		}
	}
}

// checkHostProcess demands that either all containers are processes of the node (Windows' hostProcess) or none.
func (s *subject) checkHostProcess(at check.At) {
	var pod *bool
	if s.SecurityContext != nil && s.SecurityContext.WindowsOptions != nil {
		pod = s.SecurityContext.WindowsOptions.HostProcess
	}
	all, onHost := 0, 0
	for at, c := range containersAt(at, s.PodSpec) {
		all++
		own := pod
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil && c.SecurityContext.WindowsOptions.HostProcess != nil {
			own = c.SecurityContext.WindowsOptions.HostProcess
			if pod != nil && *pod != *own {
				at.Child("securityContext", "windowsOptions", "hostProcess").Invalid(*own, fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *pod))
			}
		}
		if own != nil && *own {
			onHost++
		}
	}
	if onHost > 0 && onHost != all {
		at.Invalid("", "If pod contains any hostProcess containers then all containers must be HostProcess containers")
	}
	if onHost > 0 && !s.HostNetwork {
		at.Child("hostNetwork").Invalid(s.HostNetwork, "hostNetwork must be true if pod contains any hostProcess containers")
	}
}

func checkWindowsOptions(at check.At, o *corev1.WindowsSecurityContextOptions) {
	if o == nil {
		return
	}
	if name := o.GMSACredentialSpecName; name != nil {
		at.Child("gmsaCredentialSpecName").Subdomain(*name)
	}
	if spec := o.GMSACredentialSpec; spec != nil {
		switch at := at.Child("gmsaCredentialSpec"); {
		case *spec == "":
			at.Invalid(*spec, "gmsaCredentialSpec cannot be an empty string")
		case len(*spec) > 64<<10:
			at.Invalid(*spec, "gmsaCredentialSpec size must be under 64 KiB")
		}
	}
	if name := o.RunAsUserName; name != nil {
		for _, complaint := range windowsUserComplaints(*name) {
			at.Child("runAsUserName").Invalid(*name, complaint)
		}
	}
}

const (
	longestWindowsDomain = 256
	longestWindowsUser   = 104
)

var (
	controlCharacter  = regexp.MustCompile(`[[:cntrl:]]+`)
	netBIOSName       = regexp.MustCompile(`^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$`)
	windowsDNSName    = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$`)
	dotsAndSpaces     = regexp.MustCompile(`^[\. ]+$`)
	notInWindowsNames = `"/\:;|=,+*?<>@[]`
)

// windowsUserComplaints says what is wrong with "user" or "domain\user".
func windowsUserComplaints(name string) (complaints []string) {
	domain, user, qualified := strings.Cut(name, `\`)
	switch {
	case name == "":
		return []string{"runAsUserName cannot be an empty string"}
	case controlCharacter.MatchString(name):
		return []string{"runAsUserName cannot contain control characters"}
	case strings.Contains(user, `\`):
		return []string{"runAsUserName cannot contain more than one backslash"}
	case !qualified:
		domain, user = "", name
	}
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{len(domain) >= longestWindowsDomain, fmt.Sprintf("runAsUserName's Domain length must be under %d characters", longestWindowsDomain)},
		{qualified && !netBIOSName.MatchString(domain) && !windowsDNSName.MatchString(domain), "runAsUserName's Domain doesn't match the NetBios nor the DNS format"},
		{user == "", "runAsUserName's User cannot be empty"},
		{len(user) > longestWindowsUser, fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", longestWindowsUser)},
		{dotsAndSpaces.MatchString(user), "runAsUserName's User cannot contain only periods or spaces"},
		{strings.ContainsAny(user, notInWindowsNames), "runAsUserName's User cannot contain the following characters: " + notInWindowsNames},
	} {
		if rule.broken {
			complaints = append(complaints, rule.text)
		}
	}
	return complaints
}
