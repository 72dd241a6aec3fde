// Package contextfile reads and writes the file that says which clusters there are and as whom they are spoken to. It has the
// shape of a kubeconfig: clusters, users, contexts that pair them, and which context is current.
//
// Several files can be chained; then they are read as one, the first that says something wins, and an entry is changed in the
// file where it stands. Every file is readable by its owner alone, because a user's credential may stand in it.
package contextfile

import (
	"slices"
)

// Cluster says where a cluster is reached.
type Cluster struct {
	Server string `json:"server,omitempty"` // "nats://127.0.0.1:4222", several separated by commas
	// CertificateAuthority is the file with the certificates that the server's is checked against; CertificateAuthorityData is
	// their text, and wins. With either, or with the scheme tls, the connection is encrypted.
	CertificateAuthority     string `json:"certificate-authority,omitempty"`
	CertificateAuthorityData []byte `json:"certificate-authority-data,omitempty"`
}

// User is how someone proves who he is.
type User struct {
	// Credential is the credential's file; CredentialData is its text, and wins. Neither: the server asks for none.
	Credential     string `json:"credential,omitempty"`
	CredentialData string `json:"credential-data,omitempty"`
}

// Context pairs a cluster with a user and the namespace that is meant when none is named.
type Context struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace,omitempty"`
	User      string `json:"user"`
}

// NamedCluster is an entry of the list of clusters.
type NamedCluster struct {
	Cluster Cluster `json:"cluster"`
	Name    string  `json:"name"`
}

// NamedUser is an entry of the list of users.
type NamedUser struct {
	Name string `json:"name"`
	User User   `json:"user"`
}

// NamedContext is an entry of the list of contexts.
type NamedContext struct {
	Context Context `json:"context"`
	Name    string  `json:"name"`
}

// Document is what stands in one file, and what all of them say together.
type Document struct {
	APIVersion     string         `json:"apiVersion"`
	Clusters       []NamedCluster `json:"clusters"`
	Contexts       []NamedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
	Kind           string         `json:"kind"`
	Users          []NamedUser    `json:"users"`
}

// named is how the entries of each list are told apart.
func (n NamedCluster) named() string { return n.Name }
func (n NamedUser) named() string    { return n.Name }
func (n NamedContext) named() string { return n.Name }

type entry interface{ named() string }

// at is where the entry called name stands in a list; -1: nowhere.
func at[E entry](list []E, name string) int {
	return slices.IndexFunc(list, func(e E) bool { return e.named() == name })
}

// find gives the entry called name.
func find[E entry](list []E, name string) (e E, ok bool) {
	if i := at(list, name); i >= 0 {
		return list[i], true
	}
	return e, false
}

// with is a list with e in the place of the entry of its name, or in its alphabetical place.
func with[E entry](list []E, e E) []E {
	if i := at(list, e.named()); i >= 0 {
		list[i] = e
		return list
	}
	i := slices.IndexFunc(list, func(other E) bool { return other.named() > e.named() })
	if i < 0 {
		i = len(list)
	}
	return slices.Insert(list, i, e)
}

func without[E entry](list []E, name string) []E {
	return slices.DeleteFunc(list, func(e E) bool { return e.named() == name })
}
