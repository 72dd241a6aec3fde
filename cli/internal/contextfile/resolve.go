package contextfile

import (
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Overrides are what the command line says instead of the files.
type Overrides struct {
	Context, Cluster, User, Server, Namespace string
}

// Target is what a command works with: where, as whom, and in which namespace.
type Target struct {
	Context string // the name of the context; empty: everything came from the command line
	User    string // the name of the user; empty: none
	Server  string // empty: no cluster is known
	// Namespace is "default" if nobody says otherwise; NamespaceNamed says that the command line named it, not the context.
	Namespace      string
	NamespaceNamed bool

	cluster Cluster
	user    User
}

// Authorities are the certificates that the server's is checked against, as PEM; nil: those of the system.
func (t *Target) Authorities() ([]byte, error) {
	if len(t.cluster.CertificateAuthorityData) > 0 {
		return t.cluster.CertificateAuthorityData, nil
	}
	return read("certificate-authority", t.cluster.CertificateAuthority)
}

// Credential is the text of the credential; nil: none.
func (t *Target) Credential() ([]byte, error) {
	if t.user.CredentialData != "" {
		return []byte(t.user.CredentialData), nil
	}
	return read("credential", t.user.Credential)
}

func read(what, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, misconfigured("unable to read %s: %v", what, err)
	}
	return body, nil
}

// ConfigurationError says that the files contradict themselves or what the command line asks of them.
type ConfigurationError struct{ text string }

func (e *ConfigurationError) Error() string { return "Error in configuration: " + e.text }

func misconfigured(format string, args ...any) error {
	return &ConfigurationError{fmt.Sprintf(format, args...)}
}

// Resolve finds what a command works with. A name that leads nowhere is a [*ConfigurationError]; that no cluster is known at
// all is none, since not every command needs one.
func (c *Config) Resolve(o Overrides) (*Target, error) {
	t := &Target{Context: o.Context}
	if t.Context == "" {
		t.Context = c.CurrentContext()
	}
	var chosen Context
	if t.Context != "" {
		var ok bool
		if chosen, ok = c.Context(t.Context); !ok {
			return nil, misconfigured("context was not found for specified context: %s", t.Context)
		}
	}
	t.Namespace = chosen.Namespace
	if o.Namespace != "" {
		t.Namespace, t.NamespaceNamed = o.Namespace, true
	}
	if t.Namespace == "" {
		t.Namespace = metav1.NamespaceDefault
	}
	if o.Cluster != "" {
		chosen.Cluster = o.Cluster
	}
	if o.User != "" {
		chosen.User = o.User
	}
	var ok bool
	if t.user, ok = c.User(chosen.User); chosen.User != "" && !ok {
		return nil, misconfigured("auth info %q does not exist", chosen.User)
	}
	t.User = chosen.User
	t.cluster, ok = c.Cluster(chosen.Cluster)
	switch {
	case chosen.Cluster != "" && !ok:
		return nil, misconfigured("cluster %q does not exist", chosen.Cluster)
	case o.Server != "":
		t.cluster.Server = o.Server
	case chosen.Cluster != "" && t.cluster.Server == "":
		return nil, misconfigured("cluster %q has no server defined", chosen.Cluster)
	}
	t.Server = t.cluster.Server
	return t, nil
}

// Named is how a sentence speaks of the target: by its context, or as what the command line says.
func (t *Target) Named() string {
	if t.Context == "" {
		return "the command line"
	}
	return fmt.Sprintf("context %q", t.Context)
}
