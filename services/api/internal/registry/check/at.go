// Package check is the vocabulary in which the rules of the registry are written: a place in an object, and what can be
// wrong there. Texts and error types are Kubernetes' own (k8s.io/apimachinery), so that a rule is one line that names the
// field and the demand.
//
// It knows no kind. Everything is pure; an [At] is used by one goroutine.
package check

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const notNegative = "must be greater than or equal to 0"

// At is a place in an object under check. All places that were reached from one [Start] share its list of faults, in the
// order in which they were found.
type At struct {
	path   *field.Path
	faults *field.ErrorList
}

// Start is the root of an object, with no fault found yet.
func Start() At { return At{faults: &field.ErrorList{}} }

// Faults lists what was found so far, from every place of this object.
func (at At) Faults() field.ErrorList { return *at.faults }

// Child is the place of a field, or of a field of a field.
func (at At) Child(name string, more ...string) At {
	return At{path: at.path.Child(name, more...), faults: at.faults}
}

// Index is the place of an element of a list.
func (at At) Index(i int) At { return At{path: at.path.Index(i), faults: at.faults} }

// Key is the place of an entry of a map.
func (at At) Key(key string) At { return At{path: at.path.Key(key), faults: at.faults} }

// Path is the place as a path of package field.
func (at At) Path() *field.Path { return at.path }

// Add takes over the faults that a check of apimachinery found.
func (at At) Add(found ...*field.Error) { *at.faults = append(*at.faults, found...) }

// Required reports a value that is missing; detail may be empty.
func (at At) Required(detail string) { at.Add(field.Required(at.path, detail)) }

// Invalid reports a value with one complaint.
func (at At) Invalid(value any, detail string) { at.Add(field.Invalid(at.path, value, detail)) }

// Forbidden reports a value that may not be there.
func (at At) Forbidden(detail string) { at.Add(field.Forbidden(at.path, detail)) }

// Duplicate reports a value that must be unique.
func (at At) Duplicate(value any) { at.Add(field.Duplicate(at.path, value)) }

// NotFound reports a name that refers to nothing.
func (at At) NotFound(value any) { at.Add(field.NotFound(at.path, value)) }

// TooLong reports a value of more than limit bytes.
func (at At) TooLong(limit int) { at.Add(field.TooLong(at.path, "", limit)) }

// AtMost reports a list that has more than limit elements.
func (at At) AtMost(count, limit int) {
	if count > limit {
		at.Add(field.TooMany(at.path, count, limit))
	}
}

// None reports each complaint about value; there should be none.
func (at At) None(complaints []string, value any) {
	for _, c := range complaints {
		at.Invalid(value, c)
	}
}

// NotEmpty demands a value and says whether there is one.
func (at At) NotEmpty(value string) bool {
	if value == "" {
		at.Required("")
	}
	return value != ""
}

// NotNegative demands a number that is not below zero.
func (at At) NotNegative(value int64) {
	if value < 0 {
		at.Invalid(value, notNegative)
	}
}

// Positive demands a number above zero.
func (at At) Positive(value int64) {
	if value <= 0 {
		at.Invalid(value, "must be greater than zero")
	}
}

// Between demands a number from low to high.
func (at At) Between(value, low, high int64) {
	if value < low || value > high {
		at.Invalid(value, validation.InclusiveRangeError(int(low), int(high)))
	}
}

// DNSLabel demands an RFC 1123 label, as names of containers and volumes are.
func (at At) DNSLabel(value string) { at.None(validation.IsDNS1123Label(value), value) }

// DNSLabelOrEmpty is [At.DNSLabel] for a value that may be missing.
func (at At) DNSLabelOrEmpty(value string) {
	if value != "" {
		at.DNSLabel(value)
	}
}

// Subdomain demands an RFC 1123 subdomain, as names of most objects are.
func (at At) Subdomain(value string) { at.None(validation.IsDNS1123Subdomain(value), value) }

// SubdomainOrEmpty is [At.Subdomain] for a value that may be missing.
func (at At) SubdomainOrEmpty(value string) {
	if value != "" {
		at.Subdomain(value)
	}
}

// RequiredSubdomain is [At.Subdomain] for a value that must be there.
func (at At) RequiredSubdomain(value string) {
	if at.NotEmpty(value) {
		at.Subdomain(value)
	}
}

// QualifiedName demands a name with an optional domain before it.
func (at At) QualifiedName(value string) { at.None(validation.IsQualifiedName(value), value) }

// LabelKey demands the key of a label.
func (at At) LabelKey(value string) { at.Add(metav1validation.ValidateLabelName(value, at.path)...) }

// DataKey demands a key as ConfigMaps and Secrets have it.
func (at At) DataKey(value string) { at.None(validation.IsConfigMapKey(value), value) }

// RequiredDataKey is [At.DataKey] for a key that must be there.
func (at At) RequiredDataKey(value string) {
	if at.NotEmpty(value) {
		at.DataKey(value)
	}
}

// FileMode demands permission bits.
func (at At) FileMode(mode *int32) {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		at.Invalid(*mode, "must be a number between 0 and 0777 (octal), both inclusive")
	}
}

// UserID demands the number of a user, if there is one.
func (at At) UserID(id *int64) {
	if id != nil {
		at.None(validation.IsValidUserID(*id), *id)
	}
}

// GroupID demands the number of a group, if there is one.
func (at At) GroupID(id *int64) {
	if id != nil {
		at.None(validation.IsValidGroupID(*id), *id)
	}
}

// NoBacksteps demands a path that does not climb.
func (at At) NoBacksteps(value string) {
	if slices.Contains(strings.Split(value, "/"), "..") {
		at.Invalid(value, "must not contain '..'")
	}
}

// Descending demands a relative path that does not climb.
func (at At) Descending(value string) {
	if path.IsAbs(value) {
		at.Invalid(value, "must be a relative path")
	}
	at.NoBacksteps(value)
}

// FileInVolume demands a relative path that does not climb and does not begin like the links of an atomic volume.
func (at At) FileInVolume(value string) {
	at.Descending(value)
	if strings.HasPrefix(value, "..") && !strings.HasPrefix(value, "../") {
		at.Invalid(value, "must not start with '..'")
	}
}

// IP demands an address in canonical form.
func (at At) IP(value string) {
	at.Add(validation.IsValidIPForLegacyField(at.path, value, true, nil)...)
}

// CIDR demands an address range in canonical form.
func (at At) CIDR(value string) {
	at.Add(validation.IsValidCIDRForLegacyField(at.path, value, true, nil)...)
}

// OneOf demands one of the allowed values; they are listed to the user in this order.
func OneOf[T ~string](at At, value T, allowed ...T) {
	if !slices.Contains(allowed, value) {
		NotSupported(at, value, allowed...)
	}
}

// NotSupported reports a value and lists those that would be accepted.
func NotSupported[T ~string](at At, value T, accepted ...T) {
	at.Add(field.NotSupported(at.path, value, accepted))
}

// RequiredOneOf is [OneOf] for a value that must be there.
func RequiredOneOf[T ~string](at At, value T, allowed ...T) {
	if at.NotEmpty(string(value)) {
		OneOf(at, value, allowed...)
	}
}

// Sorted iterates over a map by key: errors come in the same order each time.
func Sorted[K ~string, V any](m map[K]V) func(yield func(K, V) bool) {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// Unchanged demands that a field keeps its value.
func Unchanged[T comparable](at At, value, old T) {
	if value != old {
		at.Invalid(value, "field is immutable")
	}
}

// Unique drops the faults that say the same as an earlier one.
func Unique(faults field.ErrorList) field.ErrorList {
	seen := make(map[string]bool, len(faults))
	return slices.DeleteFunc(faults, func(e *field.Error) bool {
		text := fmt.Sprint(e)
		again := seen[text]
		seen[text] = true
		return again
	})
}

// On is the place of other, with faults in a list of their own, that of at.
func (at At) On(other At) At { return At{path: other.path, faults: at.faults} }
