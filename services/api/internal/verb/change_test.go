package verb

import (
	"testing"
	"testing/synctest"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/services/api/internal/apitest"
)

// A change replaces what its decision was made on, even if the view has moved on meanwhile: the write then loses, as it must.
func TestP1_PutReplacesWhatWasSeen(t *testing.T) {
	for _, obj := range []scheme.Object{
		apitest.ConfigMap("x"), apitest.Secret("x"), apitest.Namespace("x"), objtest.Node("x").Obj(), objtest.Pod("x").Obj(),
	} {
		ref := state.RefOf(obj)
		t.Run(ref.Resource, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apitest.New(t, view.Config{})
				v := New(Deps{View: s.View, Sealer: s.Sealer})
				live := s.Put(t, apitest.ConfigMap("earlier"), obj)
				for name, seen := range map[string]*view.Record{"nothing": nil, "a tombstone": {Revision: 1, Removed: true}} {
					w := &write{batch: &events.Batch{}}
					if err := v.put(w, seen, nil, obj); err != nil {
						t.Fatal(err)
					}
					if got := w.batch.Entries[0]; got.Key != state.ObjectKey(ref) || got.Replaces >= live {
						t.Errorf("creation over %s: %s replaces revision %d, which nobody saw", name, got.Key, got.Replaces)
					}
				}
			})
		})
	}
}
