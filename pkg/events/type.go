package events

import (
	"slices"

	"millrace.dev/pkg/state"
)

// Info is what is common to all event types.
type Info struct {
	Name   string          // "dev.millrace.pod.assigned": past tense; never renamed
	Writer []state.Service // who may write it
	Stamp  state.StampKind // the stamp that every batch with this event must bear; state.NoSet where no set is decided
}

// StampedBy says that stamps hold the kind that the type demands.
func (i Info) StampedBy(stamps []state.Stamp) bool {
	return i.Stamp == state.NoSet || slices.ContainsFunc(stamps, func(s state.Stamp) bool { return s.Kind == i.Stamp })
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
