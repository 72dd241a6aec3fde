package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/scheme"
)

// TombstoneTTL is how long a removal stays visible. Far above the time a view may lag, below which views resume (P3, P7).
const TombstoneTTL = time.Hour

// Change is one new revision of one key, not yet written.
type Change struct {
	Key Key
	// Replaces is the revision that this change replaces; 0: the key is absent and has no live tombstone. Over a live
	// tombstone it is the tombstone's sequence (P2). There is no change without this expectation (P1).
	Replaces uint64
	// Check, if set, moves the expectation to another key: this change is written only if Check still is at Replaces. Only
	// changes of a beat key carry one (P9).
	Check Key
	// Body is the JSON of the new revision; for a removal the last body, so that watchers see what was removed (P3).
	Body   []byte
	Remove bool
	// Report is the newest report of a node that the revision reflects, as [FormatReport] writes it. It travels in the event's
	// envelope from revision to revision, so that an older report which arrives later is recognised (P17). Empty: none.
	Report string
	TTL    time.Duration // 0: for ever; a removal always has TombstoneTTL
}

// Encode is the stored form of obj: its JSON without the resourceVersion, which is the revision's sequence and not yet
// known. obj must not be shared: its resourceVersion is taken out and put back.
func Encode(obj scheme.Object) ([]byte, error) {
	rv := obj.GetResourceVersion()
	obj.SetResourceVersion("")
	defer obj.SetResourceVersion(rv)
	body, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encode %T %s/%s: %w", obj, obj.GetNamespace(), obj.GetName(), err)
	}
	return body, nil
}

// Decode fills obj from a stored body and gives it the revision as resourceVersion.
func Decode(body []byte, revision uint64, obj scheme.Object) error {
	if err := json.Unmarshal(body, obj); err != nil {
		return fmt.Errorf("decode %T: %w", obj, err)
	}
	obj.SetResourceVersion(FormatRevision(revision))
	return nil
}

// Versioned is a stored body with its revision as metadata.resourceVersion, for readers of the api. It does not decode: the
// bodies that [Encode] makes have their metadata behind kind and apiVersion.
func Versioned(body []byte, revision uint64) []byte {
	const metadata = `"metadata":{`
	at := bytes.Index(body, []byte(metadata))
	if at < 0 {
		return body
	}
	at += len(metadata)
	versioned := make([]byte, 0, len(body)+40)
	versioned = append(versioned, body[:at]...)
	versioned = append(versioned, `"resourceVersion":"`...)
	versioned = strconv.AppendUint(versioned, revision, 10)
	versioned = append(versioned, '"')
	if body[at] != '}' {
		versioned = append(versioned, ',')
	}
	return append(versioned, body[at:]...)
}

// Report numbers what a node reports: the kubelet's start, counted on its disk, and a counter of its own.
type Report struct{ Start, Counter uint64 }

// Before says that r was made before other.
func (r Report) Before(other Report) bool {
	return r.Start < other.Start || r.Start == other.Start && r.Counter < other.Counter
}

// FormatReport is a report's number in an event's envelope.
func FormatReport(r Report) string { return fmt.Sprintf("%d.%d", r.Start, r.Counter) }

// ParseReport reads what [FormatReport] wrote; anything else is the number before all others.
func ParseReport(text string) Report {
	start, counter, _ := strings.Cut(text, ".")
	s, noStart := strconv.ParseUint(start, 10, 64)
	c, noCounter := strconv.ParseUint(counter, 10, 64)
	if noStart != nil || noCounter != nil {
		return Report{}
	}
	return Report{Start: s, Counter: c}
}

// FormatRevision is a revision as resourceVersion.
func FormatRevision(revision uint64) string { return strconv.FormatUint(revision, 10) }

// ParseRevision reads a resourceVersion; empty is 0.
func ParseRevision(resourceVersion string) (uint64, error) {
	if resourceVersion == "" {
		return 0, nil
	}
	revision, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("resourceVersion %q is not a revision", resourceVersion)
	}
	return revision, nil
}

// RefOf names an object; its Go type must be one that package scheme serves.
func RefOf(obj scheme.Object) ObjectRef {
	kind, ok := scheme.Of(obj)
	if !ok {
		panic(fmt.Sprintf("state: no kind for %T", obj))
	}
	return ObjectRef{Resource: kind.Resource(), Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// ObjectChange is the change that makes after the new revision of its object, replacing revision. It is a removal instead
// if nothing holds the object any more: it is marked for deletion and has no finalizer (P22). Pods go through [PodChange].
func ObjectChange(after scheme.Object, replaces uint64) (Change, error) {
	body, err := Encode(after)
	if err != nil {
		return Change{}, err
	}
	return Change{
		Key: ObjectKey(RefOf(after)), Replaces: replaces, Body: body,
		Remove: after.GetDeletionTimestamp() != nil && !held(after),
	}, nil
}

// held says that somebody must do something before the object may go.
func held(obj scheme.Object) bool {
	if namespace, ok := obj.(*corev1.Namespace); ok && len(namespace.Spec.Finalizers) > 0 {
		return true
	}
	return len(obj.GetFinalizers()) > 0
}

// Removal is the change that removes an object whose last revision is before.
func Removal(before scheme.Object) (Change, error) {
	revision, err := ParseRevision(before.GetResourceVersion())
	if err != nil {
		return Change{}, err
	}
	body, err := Encode(before)
	if err != nil {
		return Change{}, err
	}
	return Change{Key: ObjectKey(RefOf(before)), Replaces: revision, Body: body, Remove: true}, nil
}

// EpochBody is the stored form of [Epoch].
type EpochBody struct {
	Server string `json:"server"` // the id that the NATS server took at its start
	Torn   bool   `json:"torn"`   // the boot check found a batch without its commit; pods, orders and claims were repaired
}
