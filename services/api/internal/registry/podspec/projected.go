package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/services/api/internal/registry/check"
)

func checkProjected(at check.At, p *corev1.ProjectedVolumeSource) {
	at.Child("defaultMode").FileMode(p.DefaultMode)
	seen := files{at: at, taken: sets.New[string]()}
	for i := range p.Sources {
		checkProjection(at.Child("sources").Index(i), &p.Sources[i], seen)
	}
}

func checkProjection(at check.At, s *corev1.VolumeProjection, seen files) {
	count := 0
	if s.Secret != nil {
		count++
		checkProjectedItems(at.Child("secret"), s.Secret.Name, s.Secret.Items, seen)
	}
	if s.ConfigMap != nil {
		count++
		checkProjectedItems(at.Child("configMap"), s.ConfigMap.Name, s.ConfigMap.Items, seen)
	}
	if s.DownwardAPI != nil {
		count++
		for i := range s.DownwardAPI.Items {
			f := &s.DownwardAPI.Items[i]
			checkFile(at.Child("downwardAPI"), f)
			if f.Path != "" {
				seen.put(f.Path, f.Path)
			}
		}
	}
	if s.ServiceAccountToken != nil {
		count++
		checkToken(at.Child("serviceAccountToken"), seen.at.Child("path"), s.ServiceAccountToken)
	}
	if s.ClusterTrustBundle != nil {
		count++
		checkTrustBundle(at.Child("clusterTrustBundle"), s.ClusterTrustBundle)
		seen.put(s.ClusterTrustBundle.Path, s.ClusterTrustBundle.Path)
	}
	if s.PodCertificate != nil {
		count++
		checkCertificate(at.Child("podCertificate"), s.PodCertificate, seen)
	}
	if count > 1 {
		at.Forbidden("may not specify more than 1 volume type per source")
	}
}

func checkProjectedItems(at check.At, name string, items []corev1.KeyToPath, seen files) {
	at.Child("name").NotEmpty(name)
	for i := range items {
		checkItem(at.Child("items").Index(i), &items[i])
		if items[i].Path != "" {
			seen.put(items[i].Path, name)
		}
	}
}

// checkToken checks a service account token; its path stands at path, as Kubernetes has it.
func checkToken(at, path check.At, t *corev1.ServiceAccountTokenProjection) {
	expires := at.Child("expirationSeconds")
	switch s := t.ExpirationSeconds; {
	case s == nil:
		expires.Required("")
	case *s < 600:
		expires.Invalid(*s, "may not specify a duration less than 10 minutes")
	case *s > 1<<32:
		expires.Invalid(*s, "may not specify a duration larger than 2^32 seconds")
	}
	if path.NotEmpty(t.Path) {
		path.FileInVolume(t.Path)
	}
}

func checkTrustBundle(at check.At, b *corev1.ClusterTrustBundleProjection) {
	switch {
	case b.Name != nil && b.SignerName != nil:
		at.Invalid(b, "only one of name and signerName may be used")
	case b.Name != nil:
		checkTrustBundleName(at.Child("name"), *b.Name)
		if b.LabelSelector != nil {
			at.Child("labelSelector").Invalid(b.LabelSelector, "labelSelector must be unset if name is specified")
		}
	case b.SignerName != nil:
		if *b.SignerName == "" {
			at.Child("signerName").Required("must be a valid signer name")
		}
		checkSigner(at.Child("signerName"), *b.SignerName)
		check.Selector(at.Child("labelSelector"), b.LabelSelector)
	default:
		at.Required("either name or signerName must be specified")
	}
	at.Child("path").NotEmpty(b.Path)
	at.Child("path").FileInVolume(b.Path)
}

// checkTrustBundleName demands the name of a bundle: that of its signer, if it has one, goes before the last colon.
func checkTrustBundleName(at check.At, name string) {
	if name == "" {
		at.Required("must be a valid object name")
	}
	i := strings.LastIndex(name, ":")
	signer := strings.ReplaceAll(name[:max(i, 0)], ":", "/")
	complaints := validation.IsDNS1123Subdomain(name[i+1:])
	switch {
	case i == 0:
		complaints = []string{`ClusterTrustBundle without signer name must not have ":" in its name`}
	case i > 0 && strings.Contains(name[:i], "/"):
		complaints = []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s:", signer, strings.ReplaceAll(signer, "/", ":"))}
	}
	for _, c := range complaints {
		at.Invalid(name, fmt.Sprintf("not a valid clustertrustbundlename: %v", c))
	}
}

func checkCertificate(at check.At, c *corev1.PodCertificateProjection, seen files) {
	checkSigner(at.Child("signerName"), c.SignerName)
	checkUserAnnotations(at.Child("userAnnotations"), c.UserAnnotations)
	check.OneOf(at.Child("keyType"), c.KeyType, "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
	if s := c.MaxExpirationSeconds; s != nil {
		checkLifetime(at.Child("maxExpirationSeconds"), *s, c.SignerName)
	}
	paths := 0
	for _, f := range []struct{ field, path string }{
		{"credentialBundlePath", c.CredentialBundlePath}, {"keyPath", c.KeyPath}, {"certificateChainPath", c.CertificateChainPath},
	} {
		if f.path != "" {
			paths++
			at.Child(f.field).FileInVolume(f.path)
			seen.put(f.path, f.path)
		}
	}
	if paths == 0 {
		at.Required("specify at least one of credentialBundlePath, keyPath, and certificateChainPath")
	}
}

// checkLifetime demands a certificate of an hour to 91 days, of Kubernetes' own signers to one day.
func checkLifetime(at check.At, seconds int32, signer string) {
	longest := int32(91 * 86400)
	if host, _, _ := strings.Cut(signer, "/"); host == "kubernetes.io" || strings.HasSuffix(host, ".kubernetes.io") {
		longest = 86400
	}
	if seconds < 3600 {
		at.Invalid(seconds, "if provided, maxExpirationSeconds must be >= 3600")
	}
	if seconds > longest {
		at.Invalid(seconds, fmt.Sprintf("if provided, maxExpirationSeconds must be <= %d", longest))
	}
}

func checkUserAnnotations(at check.At, annotations map[string]string) {
	for key := range check.Sorted(annotations) {
		at.Add(validation.IsDomainPrefixedKey(at.Path(), strings.ToLower(key))...)
	}
	if apivalidation.ValidateAnnotationsSize(annotations) != nil {
		at.TooLong(apivalidation.TotalAnnotationSizeLimitB)
	}
}

// checkSigner demands the name of a signer: a domain of two labels or more, a slash, and names separated by dots.
func checkSigner(at check.At, name string) {
	if !at.NotEmpty(name) {
		return
	}
	domain, path, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(path, "/") {
		at.Invalid(name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
		return
	}
	if len(domain) > validation.DNS1123SubdomainMaxLength {
		at.TooLong(validation.DNS1123SubdomainMaxLength)
	}
	checkLabels(at, domain, validation.IsDNS1123Label)
	if !strings.Contains(domain, ".") {
		at.Invalid(domain, "should be a domain with at least two segments separated by dots")
	}
	checkLabels(at, path, validation.IsDNS1123Subdomain)
	const longest = 2*validation.DNS1123SubdomainMaxLength + validation.DNS1123LabelMaxLength + 2
	if len(name) > longest {
		at.TooLong(longest)
	}
}

// checkLabels reports the first bad one of the labels that dots separate.
func checkLabels(at check.At, name string, complaints func(string) []string) {
	for label := range strings.SplitSeq(name, ".") {
		if found := complaints(label); len(found) > 0 {
			for _, c := range found {
				at.Invalid(name, fmt.Sprintf("validating label %q: %s", label, c))
			}
			return
		}
	}
}
