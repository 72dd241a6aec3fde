package podspec

import (
	"strings"
	"testing"
)

func TestNetworkRules(t *testing.T) {
	ruleTable{
		{name: "dns policy", spec: "dnsPolicy: Some", want: []string{
			`spec.dnsPolicy: Unsupported value: "Some": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"`,
		}},
		{name: "dns of its own is missing", spec: "dnsPolicy: None", want: []string{
			"spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
		}},
		{name: "dns of its own has no server", spec: "dnsPolicy: None, dnsConfig: {searches: [a]}", want: []string{
			"spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
		}},
		{name: "dns config", spec: "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 01.1.1.4], searches: [A, _a.b, ., b.], options: [{value: '1'}]}", want: []string{
			`spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","1.1.1.2","1.1.1.3","01.1.1.4"]: must not have more than 3 nameservers`,
			`spec.dnsConfig.nameservers[3]: Invalid value: "01.1.1.4": must not have leading 0s`,
			`spec.dnsConfig.searches[0]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')`,
			"spec.dnsConfig.options[0]: Required value: must not be empty",
		}},
		{name: "too many search paths", spec: "dnsConfig: {searches: [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a]}", want: []string{
			`spec.dnsConfig.searches: Invalid value: ["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]: must not have more than 32 search paths`,
		}},
		{name: "search paths are too long", spec: "dnsConfig: {searches: [" + strings.Repeat(strings.Repeat("a", 62)+"."+strings.Repeat("b", 62)+", ", 17) + "]}", want: []string{
			`spec.dnsConfig.searches: Invalid value: [` + strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("a", 62)+"."+strings.Repeat("b", 62)+`",`, 17), ",") + `]: must not have more than 2048 characters (including spaces) in the search list`,
		}},
		{name: "host aliases", spec: "hostAliases: [{ip: a, hostnames: [A]}, {ip: '::ffff:1.2.3.4'}]", want: []string{
			`spec.hostAliases[0].ip: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`,
			`spec.hostAliases[0].hostnames[0]: Invalid value: "A": ` + badSubdomain,
			`spec.hostAliases[1].ip: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address`,
		}},
		{name: "hostname and subdomain", spec: "hostname: A.b, subdomain: C_", want: []string{
			`spec.hostname: Invalid value: "A.b": ` + badLabel,
			`spec.subdomain: Invalid value: "C_": ` + badLabel,
		}},
		{name: "hostname that overrides", spec: "hostNetwork: true, setHostnameAsFQDN: true, hostnameOverride: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_", want: []string{
			"spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
			"spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
			"spec.hostnameOverride: Too long: may not be more than 64 bytes",
			`spec.hostnameOverride: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_": ` + badSubdomain,
		}},
	}.run(t)
}

func TestSpecRules(t *testing.T) {
	ruleTable{
		{name: "restart policy", spec: "restartPolicy: Sometimes", want: []string{
			`spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`,
		}},
		{name: "deadline", spec: "activeDeadlineSeconds: 0", want: []string{
			"spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
		}},
		{name: "names", spec: "nodeName: N_, priorityClassName: P_, runtimeClassName: R_, serviceAccountName: S_, serviceAccount: S_", want: []string{
			`spec.serviceAccountName: Invalid value: "S_": ` + badSubdomain,
			`spec.nodeName: Invalid value: "N_": ` + badSubdomain,
			`spec.priorityClassName: Invalid value: "P_": ` + badSubdomain,
			`spec.runtimeClassName: Invalid value: "R_": ` + badSubdomain,
		}},
		{name: "service account in both fields", spec: "serviceAccount: a, serviceAccountName: b"},
		{name: "everything good", spec: "terminationGracePeriodSeconds: 0, activeDeadlineSeconds: 1, nodeSelector: {a: b}, enableServiceLinks: false, hostname: h, subdomain: s, tolerations: [{operator: Exists}], schedulerName: mine"},
	}.run(t)
}
