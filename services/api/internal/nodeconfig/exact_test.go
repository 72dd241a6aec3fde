package nodeconfig_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/nodeconfig"
)

// slow is a bucket whose follower is shown each revision when pass lets it.
type slow struct {
	store.Store
	pass func(store.Entry)
}

// Follow implements [store.Store].
func (s slow) Follow(ctx context.Context, after uint64, deliver func(store.Entry)) error {
	return s.Store.Follow(ctx, after, func(e store.Entry) {
		s.pass(e)
		deliver(e)
	})
}

// parent is the context that a [waited] is in all else.
type parent interface{ context.Context }

// waited calls a function whenever somebody is about to wait for its end.
type waited struct {
	parent
	call func()
}

// Done implements [context.Context].
func (w waited) Done() <-chan struct{} {
	w.call()
	return w.parent.Done()
}

// A view that was current a moment ago may have a hole when it is read: a revision that was overwritten before it could be shown.
// A snapshot made then would lack an order, and the node would end a pod (P5).
func TestP5_SnapshotHasNoHole(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		gates := map[state.Key]chan struct{}{state.ObjectKey(configMap("gate")): make(chan struct{}), order("n1", "web"): make(chan struct{})}
		s := slow{a.Store, func(e store.Entry) {
			if gate := gates[e.Key]; gate != nil {
				<-gate
			}
		}}
		v := view.New(s, view.Config{Process: "slow", Source: apitest.Source, Indexes: []view.Index{nodeconfig.Index}})
		apitest.Run(t, v.Run)
		waits := 0
		ctx := waited{t.Context(), func() {
			if waits++; waits != 2 { // once to ask, once for the answer
				return
			}
			synctest.Wait() // it is there
			a.Put(t, apitest.ConfigMap("gate"))
			synctest.Wait() // the follower is held there
			web := objtest.Pod("web").Node("n1")
			a.Put(t, web.Obj(), objtest.Pod("db").Node("n1").Obj(), web.Label("again", "").Obj())
			close(gates[state.ObjectKey(configMap("gate"))])
			synctest.Wait() // everything has been shown but the last revision of web, and its first is no more
			time.AfterFunc(time.Second, func() { close(gates[order("n1", "web")]) })
		}}
		nodes := &nodeconfig.Config{View: v, Sealer: a.Sealer, Digests: nodeconfig.NewDigests()}
		got := apitest.JSON[state.Snapshot](t, apitest.Do(ctx, nodes.Snapshot, apitest.Call{Subject: subject(wire.NodeSnapshot, "n1")}))
		told := map[state.Key]bool{}
		for _, e := range got.Entries {
			told[e.Key] = true
		}
		if diff := gocmp.Diff(map[state.Key]bool{order("n1", "web"): true, order("n1", "db"): true}, told); diff != "" || waits < 2 {
			t.Errorf("orders at %d (-want +got):\n%s", got.Revision, diff)
		}
	})
}
