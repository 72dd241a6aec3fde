package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/services/api/internal/registry/check"
)

// What resolvers take: the C library reads three servers, the longest search list is that of glibc 2.26.
const (
	maxNameservers   = 3
	maxSearches      = 32
	maxSearchesBytes = 2048
	maxHostname      = 64
)

func (s *subject) checkDNS(at check.At) {
	c, servers := s.DNSConfig, at.Child("nameservers")
	switch alone := s.DNSPolicy == corev1.DNSNone; {
	case alone && c == nil:
		at.Required(fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone))
		return
	case alone && len(c.Nameservers) == 0:
		servers.Required(fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone))
		return
	case c == nil:
		return
	}
	if len(c.Nameservers) > maxNameservers {
		servers.Invalid(c.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers))
	}
	for i, address := range c.Nameservers {
		servers.Index(i).IP(address)
	}
	checkSearches(at.Child("searches"), c.Searches)
	for i, option := range c.Options {
		if option.Name == "" {
			at.Child("options").Index(i).Required("must not be empty")
		}
	}
}

func checkSearches(at check.At, searches []string) {
	if len(searches) > maxSearches {
		at.Invalid(searches, fmt.Sprintf("must not have more than %v search paths", maxSearches))
	}
	if len(strings.Join(searches, " ")) > maxSearchesBytes {
		at.Invalid(searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchesBytes))
	}
	for i, domain := range searches {
		if domain == "." {
			continue
		}
		domain = strings.TrimSuffix(domain, ".")
		at.Index(i).None(validation.IsDNS1123SubdomainWithUnderscore(domain), domain)
	}
}

func checkHostAliases(at check.At, aliases []corev1.HostAlias) {
	for i, a := range aliases {
		at.Index(i).Child("ip").IP(a.IP)
		for j, name := range a.Hostnames {
			at.Index(i).Child("hostnames").Index(j).Subdomain(name)
		}
	}
}

func (s *subject) checkHostnameOverride(at check.At) {
	name := s.HostnameOverride
	if name == nil {
		return
	}
	if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN {
		at.Forbidden("may not be specified when setHostnameAsFQDN is true")
	}
	if s.HostNetwork {
		at.Forbidden("may not be specified when hostNetwork is true")
	}
	if len(*name) > maxHostname {
		at.TooLong(maxHostname)
	}
	at.Subdomain(*name)
}
