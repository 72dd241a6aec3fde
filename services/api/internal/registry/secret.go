package registry

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
)

var secrets = rulesOf[*corev1.Secret]{
	resource:     scheme.Secrets,
	defaults:     defaultSecret,
	check:        checkSecret,
	checkUpdate:  checkSecretUpdate,
	changesFirst: true,
}

// defaultSecret gives a secret its type and moves what was written as text into its data.
func defaultSecret(s *corev1.Secret) {
	s.Type = cmp.Or(s.Type, corev1.SecretTypeOpaque)
	for key, text := range s.StringData {
		if s.Data == nil {
			s.Data = make(map[string][]byte, len(s.StringData))
		}
		s.Data[key] = []byte(text)
	}
	s.StringData = nil
}

func checkSecret(at check.At, s *corev1.Secret) {
	data, size := at.Child("data"), 0
	for key, value := range check.Sorted(s.Data) {
		data.Key(key).DataKey(key)
		size += len(value)
	}
	if size > maxData {
		data.TooLong(maxData)
	}
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		at.Child("metadata", "annotations").Key(corev1.ServiceAccountNameKey).NotEmpty(s.Annotations[corev1.ServiceAccountNameKey])
	case corev1.SecretTypeDockercfg:
		checkJSON(data, s, corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		checkJSON(data, s, corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		if s.Data[corev1.BasicAuthUsernameKey] == nil && s.Data[corev1.BasicAuthPasswordKey] == nil {
			data.Key(corev1.BasicAuthUsernameKey).Required("")
			data.Key(corev1.BasicAuthPasswordKey).Required("")
		}
	case corev1.SecretTypeSSHAuth:
		data.Key(corev1.SSHAuthPrivateKey).NotEmpty(string(s.Data[corev1.SSHAuthPrivateKey]))
	case corev1.SecretTypeTLS:
		checkCertificate(data, s)
	default: // of the others only who uses them knows what they must have
	}
}

func checkJSON(data check.At, s *corev1.Secret, key string) {
	value, given := s.Data[key]
	if !given {
		data.Key(key).Required("")
		return
	}
	if err := json.Unmarshal(value, &map[string]any{}); err != nil {
		data.Key(key).Invalid("<secret contents redacted>", err.Error())
	}
}

// checkCertificate demands a certificate and a key, and if both can be read, that they belong together. Kubernetes only
// warns of a key that does not fit; it would be found out when the first client connects.
func checkCertificate(data check.At, s *corev1.Secret) {
	cert, hasCert := s.Data[corev1.TLSCertKey]
	key, hasKey := s.Data[corev1.TLSPrivateKeyKey]
	if !hasCert {
		data.Key(corev1.TLSCertKey).Required("")
	}
	if !hasKey {
		data.Key(corev1.TLSPrivateKeyKey).Required("")
	}
	if !hasCert || !hasKey {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil && mismatch(err) {
		data.Key(corev1.TLSPrivateKeyKey).Invalid("<secret contents redacted>", "must be the private key of the certificate in data[tls.crt]: "+err.Error())
	}
}

// mismatch says that a certificate and a key could be read but are not a pair; the standard library has only texts for it.
func mismatch(err error) bool {
	return strings.Contains(err.Error(), "private key does not match public key") ||
		strings.Contains(err.Error(), "private key type does not match public key type")
}

func checkSecretUpdate(at check.At, s, old *corev1.Secret) {
	check.Unchanged(at.Child("type"), s.Type, old.Type)
	if !isTrue(old.Immutable) {
		return
	}
	if !isTrue(s.Immutable) {
		at.Child("immutable").Forbidden(frozen)
	}
	if !equality.Semantic.DeepEqual(s.Data, old.Data) {
		at.Child("data").Forbidden(frozen)
	}
}
