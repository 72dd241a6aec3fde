package state

import (
	"fmt"
	"strings"
)

// Bucket is the name of the KV bucket that holds all state; its stream is [Stream].
const (
	Bucket = "state"
	Stream = "KV_" + Bucket
	// SubjectPrefix stands before every key on the wire.
	SubjectPrefix = "$KV." + Bucket + "."
	// MaxKeyLength keeps a key well below the 4 KB of a NATS control line (a longer one closes the connection).
	MaxKeyLength = 1024
)

// Key names one chain of revisions in the bucket: tokens of [EncodeToken] joined by dots. Build keys with the functions
// below; they give legal keys for any input.
type Key string

// Subject is where the key's revisions are published.
func (k Key) Subject() string { return SubjectPrefix + string(k) }

// KeyOfSubject is the inverse of [Key.Subject]; ok is false for a subject outside the bucket.
func KeyOfSubject(subject string) (k Key, ok bool) {
	rest, ok := strings.CutPrefix(subject, SubjectPrefix)
	return Key(rest), ok
}

// The first tokens of the keys.
const (
	familyObject = "object"
	familySealed = "sealed"
	familyEdge   = "edge"
	familyStamp  = "stamp"
	familyClaim  = "claim"
	familyDone   = "done"
	familyBeat   = "beat"
	edgeOrder    = "order"
	edgeRoute    = "route"
)

// Epoch is rewritten after every start of an R1 server and every restore: sequences from before it mean nothing (P15).
const Epoch Key = "epoch"

// ObjectRef names one object: the resource as scheme.Kind.Resource prints it, namespace (empty for cluster-scoped) and name.
type ObjectRef struct {
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (r ObjectRef) String() string {
	if r.Namespace == "" {
		return r.Resource + "/" + r.Name
	}
	return r.Resource + "/" + r.Namespace + "/" + r.Name
}

// ObjectKey is where an object lies: sealed.secrets… for Secrets, object.<resource>… for all others.
func ObjectKey(r ObjectRef) Key {
	family := familyObject
	if r.Resource == "secrets" {
		family = familySealed
	}
	return join(family, r.Resource, r.Namespace, r.Name)
}

// ParseObjectKey is the inverse of [ObjectKey]; ok is false for keys of other families and for malformed ones.
func ParseObjectKey(k Key) (r ObjectRef, ok bool) {
	t, ok := split(k, 4)
	if !ok || (t[0] != familyObject && t[0] != familySealed) {
		return ObjectRef{}, false
	}
	return ObjectRef{Resource: t[1], Namespace: t[2], Name: t[3]}, true
}

// OrderKey is where the order for one pod on one node lies.
func OrderKey(node, namespace, pod string) Key {
	return join(familyEdge, edgeOrder, node, namespace, pod)
}

// OrderPrefix begins the keys of all orders of a node; "" means of all nodes.
func OrderPrefix(node string) Key {
	if node == "" {
		return join(familyEdge, edgeOrder) + "."
	}
	return join(familyEdge, edgeOrder, node) + "."
}

// ParseOrderKey is the inverse of [OrderKey].
func ParseOrderKey(k Key) (node string, pod ObjectRef, ok bool) {
	t, ok := split(k, 5)
	if !ok || t[0] != familyEdge || t[1] != edgeOrder {
		return "", ObjectRef{}, false
	}
	return t[2], ObjectRef{Resource: "pods", Namespace: t[3], Name: t[4]}, true
}

// RouteKey is where one shard of a Service's route lies.
func RouteKey(namespace, service string, shard int) Key {
	return join(familyEdge, edgeRoute, namespace, service, fmt.Sprint(shard))
}

// RoutePrefix begins the keys of all routes.
func RoutePrefix() Key { return join(familyEdge, edgeRoute) + "." }

// StampKey is where the stamp of one set lies.
func StampKey(kind StampKind, id string) Key { return join(familyStamp, string(kind), id) }

// ParseStampKey is the inverse of [StampKey].
func ParseStampKey(k Key) (kind StampKind, id string, ok bool) {
	t, ok := split(k, 3)
	if !ok || t[0] != familyStamp {
		return "", "", false
	}
	return StampKind(t[1]), t[2], true
}

// ClaimKey is where a value that may be taken only once lies.
func ClaimKey(kind ClaimKind, value string) Key { return join(familyClaim, string(kind), value) }

// ParseClaimKey is the inverse of [ClaimKey].
func ParseClaimKey(k Key) (kind ClaimKind, value string, ok bool) {
	t, ok := split(k, 3)
	if !ok || t[0] != familyClaim {
		return "", "", false
	}
	return ClaimKind(t[1]), t[2], true
}

// DoneKey is where the outcome of an executed command lies.
func DoneKey(hash string) Key { return join(familyDone, hash) }

// BeatKey is a key of a process's own. Slot 0 is written to see one's own view move (P6); slots from 1 carry the checks of
// a batch (P9).
func BeatKey(process string, slot int) Key { return join(familyBeat, process, fmt.Sprint(slot)) }

// Valid reports why k is not a legal key: an illegal token, or too long.
func (k Key) Valid() error {
	if len(k) > MaxKeyLength {
		return fmt.Errorf("key of %d bytes is longer than %d", len(k), MaxKeyLength)
	}
	for token := range strings.SplitSeq(string(k), ".") {
		if _, err := DecodeToken(token); err != nil {
			return fmt.Errorf("key %q: %w", k, err)
		}
	}
	return nil
}

func join(tokens ...string) Key {
	var b strings.Builder
	for i, t := range tokens {
		if i > 0 {
			b.WriteByte('.')
		}
		encodeToken(&b, t)
	}
	return Key(b.String())
}

func split(k Key, tokens int) ([]string, bool) {
	if strings.Count(string(k), ".") != tokens-1 {
		return nil, false
	}
	decoded := make([]string, 0, tokens)
	for t := range strings.SplitSeq(string(k), ".") {
		d, err := DecodeToken(t)
		if err != nil {
			return nil, false
		}
		decoded = append(decoded, d)
	}
	return decoded, true
}

// EncodeToken makes one token of a key or subject from any text, so that different texts give different tokens and the
// result is legal for NATS: '.' becomes '_', '_' becomes "=5F", every other byte outside [A-Za-z0-9-] becomes "=XX", and the
// empty text becomes "=".
func EncodeToken(text string) string {
	var b strings.Builder
	encodeToken(&b, text)
	return b.String()
}

const hexDigits = "0123456789ABCDEF"

func encodeToken(b *strings.Builder, text string) {
	if text == "" {
		b.WriteByte('=')
		return
	}
	b.Grow(len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case plain(c):
			b.WriteByte(c)
		case c == '.':
			b.WriteByte('_')
		default:
			b.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

// DecodeToken is the inverse of [EncodeToken]; a token that EncodeToken would not have made is an error.
func DecodeToken(token string) (string, error) {
	if token == "=" {
		return "", nil
	}
	if token == "" {
		return "", fmt.Errorf("empty token")
	}
	var b strings.Builder
	b.Grow(len(token))
	for i := 0; i < len(token); i++ {
		switch c := token[i]; {
		case plain(c):
			b.WriteByte(c)
		case c == '_':
			b.WriteByte('.')
		case c == '=' && i+2 < len(token):
			d, ok := unescape(token[i+1], token[i+2])
			if !ok {
				return "", fmt.Errorf("token %q: bad escape at byte %d", token, i)
			}
			b.WriteByte(d)
			i += 2
		default:
			return "", fmt.Errorf("token %q: byte %q at %d is not allowed", token, c, i)
		}
	}
	return b.String(), nil
}

func unescape(high, low byte) (byte, bool) {
	h, l := strings.IndexByte(hexDigits, high), strings.IndexByte(hexDigits, low)
	if h < 0 || l < 0 {
		return 0, false
	}
	c := byte(h<<4 | l)
	return c, !plain(c) && c != '.' // those are never escaped
}
