// Package registry holds what each kind defaults to, allows and lets change, as Kubernetes 1.37 does it: the same defaults,
// field paths, texts and order of errors. Every kind is one file with one entry in [kinds]; what pods and pod templates have
// in common is package podspec, the words in which rules are written are package check.
//
// Everything is pure: no clock, no I/O, no look at other objects. Whether a namespace, a class or a quota lets an object in
// is admission's question, who may ask is authorisation's.
//
// The order on a create is [Rules.Default], admission, a generated name if there is none, [Rules.PrepareCreate],
// [Rules.Validate]; on an update Default, [Rules.PrepareUpdate] (or [Rules.PrepareStatusUpdate]), [Rules.ValidateUpdate] (or
// [Rules.ValidateStatusUpdate]). Prepare and Default change their argument in place, checks change nothing. Objects must be
// of the Go type of the kind.
package registry

import (
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"millrace.dev/pkg/scheme"
	"millrace.dev/services/api/internal/registry/check"
	"millrace.dev/services/api/internal/registry/podspec"
)

// kinds lists the rules of every kind that is served.
var kinds = index(
	configMaps.rules(),
	events.rules(),
	namespaces.rules(),
	nodes.rules(),
	pods.rules(),
	secrets.rules(),
)

// Rules is what one kind defaults, checks and lets change. It is immutable and safe for concurrent use.
type Rules struct {
	Kind *scheme.Kind

	own        rulesOf[scheme.Object]
	keepStatus bool // of a new object
	generation bool
	name       apivalidation.ValidateNameFunc
}

// rulesOf is how a kind states its rules, in its own Go type. What is nil has nothing to add to the rules that all kinds
// share: those of metadata, of the halves spec and status, and of generations.
type rulesOf[T scheme.Object] struct {
	resource string
	name     apivalidation.ValidateNameFunc // names that objects can have; nil: RFC 1123 subdomains

	generation bool // metadata.generation counts changes of the spec
	keepStatus bool // a new object may bring its status

	defaults     func(obj T)
	create       func(obj T)      // the rest of PrepareCreate
	update       func(obj, old T) // the rest of PrepareUpdate
	updateStatus func(obj, old T) // the rest of PrepareStatusUpdate
	check        func(at check.At, obj T)
	checkNew     func(at check.At, obj T) // what only a create must obey
	checkUpdate  func(at check.At, obj, old T)
	checkStatus  func(at check.At, obj, old T)
	changesFirst bool // checkUpdate comes before check
}

// rules makes the rules of one kind from its statement. It panics if no such kind is served.
func (r rulesOf[T]) rules() *Rules {
	kind, ok := scheme.ByResource(r.resource)
	if !ok {
		panic(fmt.Sprintf("registry: no kind serves %q", r.resource))
	}
	if r.name == nil {
		r.name = apivalidation.NameIsDNSSubdomain
	}
	return &Rules{Kind: kind, name: r.name, generation: r.generation, keepStatus: r.keepStatus, own: rulesOf[scheme.Object]{
		defaults:     one(r.defaults),
		create:       one(r.create),
		update:       two(r.update),
		updateStatus: two(r.updateStatus),
		check:        checkOne(r.check),
		checkNew:     checkOne(r.checkNew),
		checkUpdate:  checkTwo(r.checkUpdate),
		checkStatus:  checkTwo(r.checkStatus),
		changesFirst: r.changesFirst,
	}}
}

// one, two, checkOne and checkTwo let a function of a kind's own type take any object; nil becomes a function that does nothing.
func one[T scheme.Object](f func(T)) func(scheme.Object) {
	if f == nil {
		return func(scheme.Object) {}
	}
	return func(obj scheme.Object) { f(obj.(T)) }
}

func two[T scheme.Object](f func(T, T)) func(scheme.Object, scheme.Object) {
	if f == nil {
		return func(scheme.Object, scheme.Object) {}
	}
	return func(obj, old scheme.Object) { f(obj.(T), old.(T)) }
}

func checkOne[T scheme.Object](f func(check.At, T)) func(check.At, scheme.Object) {
	if f == nil {
		return func(check.At, scheme.Object) {}
	}
	return func(at check.At, obj scheme.Object) { f(at, obj.(T)) }
}

func checkTwo[T scheme.Object](f func(check.At, T, T)) func(check.At, scheme.Object, scheme.Object) {
	if f == nil {
		return func(check.At, scheme.Object, scheme.Object) {}
	}
	return func(at check.At, obj, old scheme.Object) { f(at, obj.(T), old.(T)) }
}

func index(all ...*Rules) map[string]*Rules {
	byResource := make(map[string]*Rules, len(all))
	for _, r := range all {
		byResource[r.Kind.Resource()] = r
	}
	return byResource
}

// For finds the rules of a kind. It panics if there are none, which a test of this package excludes for all that are served.
func For(kind *scheme.Kind) *Rules {
	r, ok := kinds[kind.Resource()]
	if !ok {
		panic(fmt.Sprintf("registry: no rules for %s", kind.Resource()))
	}
	return r
}

// Default fills in what the user left out. It is idempotent.
func (r *Rules) Default(obj scheme.Object) { r.own.defaults(obj) }

// PrepareCreate makes a defaulted object a new one, with uid, born now: it clears what only the system says (deletion,
// status) and sets what begins with the object (generation, phase, finalizers). The name must be known.
func (r *Rules) PrepareCreate(obj scheme.Object, uid types.UID, now time.Time) {
	obj.SetUID(uid)
	obj.SetCreationTimestamp(metav1.NewTime(now.Truncate(time.Second)))
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
	if r.generation {
		obj.SetGeneration(1)
	}
	if status := half(obj, "Status"); status.IsValid() && !r.keepStatus {
		status.SetZero()
	}
	r.own.create(obj)
}

// PrepareUpdate keeps of old what an update of the object cannot say: its status and the system's part of its metadata. The
// generation moves on if the spec changed. An update that names no resourceVersion is meant for whatever there is. Nothing of
// obj is shared with old.
func (r *Rules) PrepareUpdate(obj, old scheme.Object) {
	old = old.DeepCopyObject().(scheme.Object)
	if status := half(obj, "Status"); status.IsValid() {
		status.Set(half(old, "Status"))
	}
	r.own.update(obj, old)
	obj.SetGeneration(old.GetGeneration())
	if r.generation && !equality.Semantic.DeepEqual(half(obj, "Spec").Interface(), half(old, "Spec").Interface()) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
	keepSystemMeta(obj, old)
}

// PrepareStatusUpdate keeps everything of old but the status, and of a kind without status everything. The resourceVersion
// that obj expects and the record of who manages which field stay its own.
func (r *Rules) PrepareStatusUpdate(obj, old scheme.Object) {
	status, version, managers := reflect.Value{}, obj.GetResourceVersion(), obj.GetManagedFields()
	if half(obj, "Status").IsValid() {
		status = reflect.ValueOf(half(obj, "Status").Interface())
	}
	kept := old.DeepCopyObject().(scheme.Object)
	reflect.ValueOf(obj).Elem().Set(reflect.ValueOf(kept).Elem())
	if status.IsValid() {
		half(obj, "Status").Set(status)
	}
	if version != "" {
		obj.SetResourceVersion(version)
	}
	obj.SetManagedFields(managers)
	r.own.updateStatus(obj, old.DeepCopyObject().(scheme.Object))
}

// HasStatus says that objects of the kind have a status, which has a subresource of its own.
func (r *Rules) HasStatus() bool { return half(r.Kind.New(), "Status").IsValid() }

// half is the spec or the status of an object, as a settable value; invalid if its kind has none.
func half(obj scheme.Object, name string) reflect.Value {
	return reflect.ValueOf(obj).Elem().FieldByName(name)
}

// Validate lists what is wrong with a new object.
func (r *Rules) Validate(obj scheme.Object) field.ErrorList {
	at := check.Start()
	r.checkMeta(at.Child("metadata"), obj)
	podspec.CheckMillraceAnnotations(at.Child("metadata", "annotations"), obj.GetAnnotations())
	r.own.check(at, obj)
	r.own.checkNew(at, obj)
	return check.Unique(at.Faults())
}

// ValidateUpdate lists what is wrong with obj as the next revision of old.
func (r *Rules) ValidateUpdate(obj, old scheme.Object) field.ErrorList {
	at := check.Start()
	r.checkMetaUpdate(at.Child("metadata"), obj, old)
	podspec.CheckMillraceAnnotations(at.Child("metadata", "annotations"), obj.GetAnnotations())
	if r.own.changesFirst {
		r.own.checkUpdate(at, obj, old)
		r.own.check(at, obj)
	} else {
		r.own.check(at, obj)
		r.own.checkUpdate(at, obj, old)
	}
	return check.Unique(at.Faults())
}

// ValidateStatusUpdate lists what is wrong with the status of obj after that of old.
func (r *Rules) ValidateStatusUpdate(obj, old scheme.Object) field.ErrorList {
	at := check.Start()
	r.checkMetaUpdate(at.Child("metadata"), obj, old)
	r.own.checkStatus(at, obj, old)
	return check.Unique(at.Faults())
}

// Invalid is the answer 422 for faults that were found in an object; nil if there are none.
func (r *Rules) Invalid(name string, faults field.ErrorList) error {
	if len(faults) == 0 {
		return nil
	}
	return apierrors.NewInvalid(r.Kind.GVK().GroupKind(), name, faults)
}
