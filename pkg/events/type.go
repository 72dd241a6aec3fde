package events

import (
	"slices"
	"strings"

	"millrace.dev/pkg/state"
)

// Info is what is common to all event types.
type Info struct {
	Name   string            // "dev.millrace.pod.assigned": past tense; never renamed
	Writer []state.Service   // who may write it
	Stamps []state.StampKind // the stamps that every batch with this event must bear; none where no set is decided
	Orders bool              // an order of this type adds to the pods of its node: the batch must bear that node's stamp
}

// Lacks says which stamp the type demands of a batch that writes key, and stamps do not hold; "" if they hold all.
func (i Info) Lacks(key state.Key, stamps []state.Stamp) string {
	for _, kind := range i.Stamps {
		if !slices.ContainsFunc(stamps, func(s state.Stamp) bool { return s.Kind == kind }) {
			return "a stamp of kind " + string(kind)
		}
	}
	if !i.Orders || !strings.HasPrefix(string(key), string(state.OrderPrefix(""))) {
		return ""
	}
	ofNode := func(s state.Stamp) bool {
		return s.Kind == state.StampNode && strings.HasPrefix(string(key), string(state.OrderPrefix(s.ID)))
	}
	if !slices.ContainsFunc(stamps, ofNode) {
		return "the stamp of the node of " + string(key)
	}
	return ""
}

// WrittenBy says that service may write events of this type.
func (i Info) WrittenBy(service state.Service) bool { return slices.Contains(i.Writer, service) }

// Type is an event type whose body is a T. Its variable's comment is the contract: body, readers, what a reader does when it
// comes twice or never. docs/events.md is generated from it.
type Type[T any] Info

// Info is the part of a type that does not depend on its body.
func (t Type[T]) Info() Info { return Info(t) }

// Batch begins a batch of this type that bears the given stamps.
func (t Type[T]) Batch(meta Meta, stamps ...state.Stamp) *Batch {
	return &Batch{ID: NewID(), Meta: meta, typ: t.Info(), Stamps: stamps}
}

// Catalogue lists every event type.
func Catalogue() []Info {
	all := slices.Concat(podTypes, nodeTypes, namespaceTypes, configTypes, systemTypes)
	return all
}
