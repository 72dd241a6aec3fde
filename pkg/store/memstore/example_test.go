package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
)

// written are the messages of a batch that writes one ConfigMap over the revision replaces.
func written(replaces uint64, body string) []events.Message {
	b := events.ConfigWritten.Batch(events.Meta{Source: "/millrace/example"})
	key := state.ObjectKey(state.ObjectRef{Resource: "configmaps", Namespace: "shop", Name: "settings"})
	b.Add(state.Change{Key: key, Replaces: replaces, Body: []byte(body)})
	messages, err := b.Messages("example", time.Time{})
	if err != nil {
		panic(err)
	}
	return messages
}

// A write names the revision it replaces; whoever comes too late is refused, reads again and decides again.
func ExampleStore() {
	ctx := context.Background()
	s := memstore.New(nil)
	first, err := s.Write(ctx, written(0, `{"data":{"colour":"red"}}`)) // 0: the key must not exist
	fmt.Println(first, err)
	second, err := s.Write(ctx, written(first, `{"data":{"colour":"blue"}}`))
	fmt.Println(second, err)
	_, err = s.Write(ctx, written(first, `{"data":{"colour":"green"}}`))
	fmt.Println(errors.Is(err, store.ErrConflict), err)
	newest, err := s.Read(ctx, state.ObjectKey(state.ObjectRef{Resource: "configmaps", Namespace: "shop", Name: "settings"}))
	fmt.Println(newest.Revision, string(newest.Body), err)
	// Output:
	// 1 <nil>
	// 2 <nil>
	// true conflict: a key is at revision 2
	// 2 {"data":{"colour":"blue"}} <nil>
}

// A test decides what goes wrong: here the acknowledgement of a write is lost, so that its writer must read back what became
// of it before anything else.
func ExampleStore_SetFault() {
	ctx := context.Background()
	s := memstore.New(nil)
	s.SetFault(func([]events.Message) memstore.Fault { return memstore.LostAck })
	messages := written(0, "{}")
	_, err := s.Write(ctx, messages)
	fmt.Println(err)
	stored, err := s.Read(ctx, messages[0].Key)
	fmt.Println(err, stored.Header.Get("ce-id") == messages[0].Header.Get("ce-id"))
	// Output:
	// outcome unknown
	// <nil> true
}
