package wire

import (
	"fmt"
	"strings"

	"millrace.dev/pkg/state"
)

// The first tokens of what the api hears. Users and nodes come through an import that puts their prefix in front, so a
// message under one of them can only come from that account.
const (
	FromUsers    = "u" // people, the CLI, event clients
	FromServices = "c" // the control plane itself
	FromNodes    = "n" // kubelets and proxies
)

// API builds the subjects of requests to the api, for one identity.
type API struct {
	// Prefix is "" for users (their import adds it) and "c." for services.
	Prefix   string
	Identity string
}

// Any stands for no resource or no namespace in a subject.
const Any = ""

// Subject is where a request with this verb goes. resource and namespace may be [Any]: a set of mixed kinds, all namespaces.
func (a API) Subject(verb, resource, namespace string) string {
	return a.Prefix + strings.Join([]string{
		"api", state.EncodeToken(a.Identity), state.EncodeToken(verb), state.EncodeToken(resource), state.EncodeToken(namespace),
	}, ".")
}

// Target is what the subject of a request to the api says.
type Target struct {
	From      string // FromUsers or FromServices
	Identity  string // proven: the server lets no other credential publish this subject
	Verb      string
	Resource  string
	Namespace string
}

// ParseAPISubject reads the subject of a request as the api receives it.
func ParseAPISubject(subject string) (Target, error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 6 || tokens[1] != "api" {
		return Target{}, fmt.Errorf("subject %q is no request", subject)
	}
	t := Target{From: tokens[0]}
	for i, into := range []*string{&t.Identity, &t.Verb, &t.Resource, &t.Namespace} {
		text, err := state.DecodeToken(tokens[i+2])
		if err != nil {
			return Target{}, fmt.Errorf("subject %q: %w", subject, err)
		}
		*into = text
	}
	return t, nil
}

// The requests of nodes, each followed by the node's name: what it reports, its heartbeat, its orders, contents of ConfigMaps
// and Secrets, notes, and the proxy's acknowledgement.
const (
	NodeReport    = "report"
	NodeHeartbeat = "hb"
	NodeSnapshot  = "snap"
	NodeConfig    = "config"
	NodeNote      = "note"
	NodeAck       = "ack"
)

// NodeSubject is where a node sends a request: what and the node's name, then more tokens.
func NodeSubject(what, node string, more ...string) string {
	tokens := []string{what, state.EncodeToken(node)}
	for _, m := range more {
		tokens = append(tokens, state.EncodeToken(m))
	}
	return strings.Join(tokens, ".")
}

// ParseNodeSubject reads the subject of a node's request as the api or the controller receives it.
func ParseNodeSubject(subject string) (what, node string, err error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 3 || tokens[0] != FromNodes {
		return "", "", fmt.Errorf("subject %q is no node's request", subject)
	}
	if node, err = state.DecodeToken(tokens[2]); err != nil {
		return "", "", fmt.Errorf("subject %q: %w", subject, err)
	}
	return tokens[1], node, nil
}

// KubeletSubject is where the control plane asks a kubelet for something.
func KubeletSubject(node, what string) string {
	return strings.Join([]string{"kubelet", state.EncodeToken(node), state.EncodeToken(what)}, ".")
}

// Inbox is the prefix under which a credential's answers come.
func Inbox(bearer string) string { return "_INBOX_" + state.EncodeToken(bearer) }

// ProxyInbox is [Inbox] for the proxy of a node, which bears the node's name too.
func ProxyInbox(node string) string { return Inbox(node) + "p" }
