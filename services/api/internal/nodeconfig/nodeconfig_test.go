package nodeconfig_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/nodeconfig"
)

// api is one replica that answers nodes, over a bucket in memory.
type api struct {
	*apitest.State
	t     *testing.T
	nodes *nodeconfig.Config
}

// inBubble runs a test against a replica with the nodes n1 and n2. Time is virtual.
func inBubble(t *testing.T, test func(t *testing.T, a *api)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		digests := nodeconfig.NewDigests()
		s := apitest.New(t, view.Config{
			Indexes: []view.Index{nodeconfig.Index}, Subscribers: []view.Subscriber{digests.Changed}, Loaded: digests.Loaded,
		})
		a := &api{State: s, t: t, nodes: &nodeconfig.Config{View: s.View, Sealer: s.Sealer, Digests: digests}}
		a.Put(t, objtest.Node("n1").Obj(), objtest.Node("n2").Obj())
		test(t, a)
	})
}

// subject is where a request of a node arrives.
func subject(what, node string) string { return wire.FromNodes + "." + wire.NodeSubject(what, node) }

// snapshot asks for one and gives its pieces too.
func (a *api) snapshot(node string, r any) (s state.Snapshot, pieces [][]byte) {
	a.t.Helper()
	answer := apitest.Do(a.t.Context(), a.nodes.Snapshot, apitest.Call{Subject: subject(wire.NodeSnapshot, node), Body: r})
	if answer.Err != nil {
		a.t.Fatal(answer.Err)
	}
	for _, piece := range answer.Pieces {
		if err := s.Append(piece); err != nil {
			a.t.Fatal(err)
		}
	}
	slices.SortFunc(s.Entries, func(a, b state.FeedEntry) int { return cmp.Compare(a.Key, b.Key) })
	return s, answer.Pieces
}

// entries are what the store holds of these keys.
func (a *api) entries(keys ...state.Key) (entries []state.FeedEntry) {
	a.t.Helper()
	slices.Sort(keys)
	for _, key := range keys {
		e, err := a.Store.Read(a.t.Context(), key)
		if err != nil {
			a.t.Fatal(err)
		}
		entries = append(entries, state.FeedEntry{Key: key, Revision: e.Revision, Body: e.Body})
	}
	return entries
}

func order(node, pod string) state.Key { return state.OrderKey(node, metav1.NamespaceDefault, pod) }

// putKey writes a key as another service does; routes are the controller's.
func (a *api) putKey(key state.Key, body string) {
	a.t.Helper()
	a.Fresh(a.t)
	b := events.Repaired.Batch(events.Meta{Source: apitest.Source})
	b.Add(state.Change{Key: key, Replaces: a.View.Revision(key), Body: []byte(body), Remove: body == ""})
	messages, err := b.Messages("controller-1", time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.Store.Write(a.t.Context(), messages); err != nil {
		a.t.Fatal(err)
	}
	a.Fresh(a.t)
}

func remove(t *testing.T, a *api, pod string) {
	t.Helper()
	changes, err := state.PodChange(a.View, a.Pod(pod).DeepCopy(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := events.PodDeleted.Batch(events.Meta{Source: apitest.Source})
	b.Add(changes...)
	if _, err := a.Writer.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	a.Fresh(t)
}

func TestSnapshotHoldsWhatBelongsToTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Node("n1.example.com").Obj(), apitest.Namespace("other"),
			objtest.Pod("a").Node("n1").Obj(), objtest.Pod("b").Node("n1").Obj(), objtest.Pod("removed").Node("n1").Obj(),
			objtest.Pod("c").Node("n2").Obj(), objtest.Pod("d").Node("n1.example.com").Obj(), objtest.Pod("pending").Obj(),
			objtest.Pod("a").Namespace("other").Node("n1").Obj(), apitest.Secret("s", "k", "v"))
		a.putKey(state.RouteKey("default", "web", 0), `{}`)
		a.putKey(state.Epoch, `{"server":"memory-0"}`)
		remove(t, a, "removed")
		for node, keys := range map[string][]state.Key{
			"n1":             {order("n1", "a"), order("n1", "b"), state.OrderKey("n1", "other", "a")},
			"n2":             {order("n2", "c")},
			"n1.example.com": {order("n1.example.com", "d")},
			"n":              nil,
			"n3":             nil,
		} {
			got, _ := a.snapshot(node, nil)
			want := state.Snapshot{Revision: a.View.Position(), Epoch: a.View.Revision(state.Epoch), Entries: a.entries(keys...)}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("snapshot of %s (-want +got):\n%s", node, diff)
			}
		}
	})
}

func TestSnapshotOfRoutes(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("a").Node("n1").Obj())
		web, db := state.RouteKey("default", "web", 0), state.RouteKey("default", "db", 1)
		for _, key := range []state.Key{web, db, state.RouteKey("default", "removed", 0)} {
			a.putKey(key, fmt.Sprintf("%q", key))
		}
		a.putKey(state.RouteKey("default", "removed", 0), "")
		got, _ := a.snapshot("n1", state.SnapshotRequest{Routes: true})
		if diff := gocmp.Diff(a.entries(web, db), got.Entries); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
	})
}

// A snapshot is made from a view that shows whatever was acknowledged before the question (P5): a node that asks because it missed
// something must find it there.
func TestP5_SnapshotIsNotOlderThanItsQuestion(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		release := a.Store.Hold()
		written, err := a.Writer.Put(t.Context(), a.Batch(t, objtest.Pod("a").Node("n1").Obj()))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, release)
		got, _ := a.snapshot("n1", nil)
		if diff := gocmp.Diff(a.entries(order("n1", "a")), got.Entries); diff != "" || got.Revision < written.Max() {
			t.Errorf("snapshot at %d of what was written at %d (-want +got):\n%s", got.Revision, written.Max(), diff)
		}
	})
}

// A snapshot that does not fit into one message comes in pieces; each says what all of them stand for.
func TestSnapshotComesInPieces(t *testing.T) {
	const half = wire.PieceSize / 2
	tests := []struct {
		name       string
		sizes      []int // about, of the orders
		wantPieces int
	}{
		{"nothing", nil, 1},
		{"one that is small", []int{1}, 1},
		{"two that fit", []int{half / 2, half / 2}, 1},
		{"three of which two fit", []int{half - 4<<10, half - 4<<10, half - 4<<10}, 2},
		{"six in pairs", []int{half - 4<<10, half - 4<<10, half - 4<<10, half - 4<<10, half - 4<<10, half - 4<<10}, 3},
		{"one that is larger than a piece", []int{3 * wire.PieceSize}, 1},
		{"two that are larger than a piece", []int{2 * wire.PieceSize, 2 * wire.PieceSize}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				var keys []state.Key
				for i, size := range tt.sizes {
					name := fmt.Sprint("p", i)
					a.Put(t, objtest.Pod(name).Node("n1").Annotation("pad", strings.Repeat("x", size)).Obj())
					keys = append(keys, order("n1", name))
				}
				got, pieces := a.snapshot("n1", nil)
				if len(pieces) != tt.wantPieces {
					t.Errorf("%d pieces, want %d", len(pieces), tt.wantPieces)
				}
				if diff := gocmp.Diff(sums(a.entries(keys...)), sums(got.Entries)); diff != "" {
					t.Errorf("entries (-want +got):\n%s", diff)
				}
				for i, piece := range pieces {
					var s state.Snapshot
					if err := json.Unmarshal(piece, &s); err != nil || s.Revision != a.View.Position() {
						t.Errorf("piece %d stands for %d, %v; want %d", i, s.Revision, err, a.View.Position())
					}
				}
				last := 0
				for m := range apitest.Stream(t.Context(), t, a.nodes.Snapshot, apitest.Call{Subject: subject(wire.NodeSnapshot, "n1")}) {
					if last++; m.Last != (last == len(pieces)) {
						t.Errorf("piece %d of %d says that it is the last: %v", last, len(pieces), m.Last)
					}
				}
			})
		})
	}
}

// sums tells large entries apart.
func sums(entries []state.FeedEntry) (sums []string) {
	for _, e := range entries {
		sums = append(sums, fmt.Sprintf("%s at %d: %x", e.Key, e.Revision, sha256.Sum256(e.Body)))
	}
	return sums
}

// refers is a pod of n1 that refers to a ConfigMap or Secret in every way there is.
func refers() *corev1.Pod {
	pod := objtest.Pod("web").Node("n1").Obj()
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	c := &pod.Spec.Containers[0]
	c.EnvFrom = []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("c-from")}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local("s-from")}},
	}
	c.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local("s-key"), Key: "k"},
	}}}
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{local("s-pull")}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s-volume"}}},
		{Name: "w", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("c-volume")}}},
	}
	return pod
}

func configMap(name string) state.ObjectRef {
	return state.ObjectRef{Resource: scheme.ConfigMaps, Namespace: metav1.NamespaceDefault, Name: name}
}

func secret(name string) state.ObjectRef {
	return state.ObjectRef{Resource: scheme.Secrets, Namespace: metav1.NamespaceDefault, Name: name}
}

func (a *api) contents(node string, r state.ConfigRequest) apitest.Answer {
	return apitest.Do(a.t.Context(), a.nodes.Contents, apitest.Call{Subject: subject(wire.NodeConfig, node), Body: r})
}

func TestContentsOfWhatAnOrderRefersTo(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := refers()
		a.Put(t, apitest.ConfigMap("c-from", "k", "1"), apitest.Secret("s-from", "k", "2"), apitest.Secret("s-key", "k", "3"),
			apitest.Secret("s-pull", "k", "4"), apitest.Secret("s-volume", "k", "5"), pod) // c-volume is missing: the kubelet says so
		r := state.ConfigRequest{Namespace: "default", Pod: "web", Refs: []state.ObjectRef{
			configMap("c-from"), secret("s-from"), secret("s-key"), secret("s-pull"), secret("s-volume"), configMap("c-volume"),
		}}
		got := apitest.JSON[state.ConfigAnswer](t, a.contents("n1", r))
		var want state.ConfigAnswer
		c := apitest.ConfigMap("c-from", "k", "1")
		c.ResourceVersion = state.FormatRevision(a.View.Revision(state.ObjectKey(configMap("c-from"))))
		want.ConfigMaps = append(want.ConfigMaps, *c)
		for i, name := range []string{"s-from", "s-key", "s-pull", "s-volume"} {
			s := apitest.Secret(name, "k", fmt.Sprint(i+2))
			s.ResourceVersion = state.FormatRevision(a.View.Revision(state.ObjectKey(secret(name))))
			want.Secrets = append(want.Secrets, *s)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("contents (-want +got):\n%s", diff)
		}
	})
}

// A node reads nothing that no order of its own refers to, and one thing that it may not have spoils the whole request.
func TestContentsOfOthersAreRefused(t *testing.T) {
	const noOrder = `pods %q is forbidden: node %q has no order for it`
	elsewhere := secret("s-from")
	elsewhere.Namespace = "other"
	tests := []struct {
		name      string
		node, pod string
		ref       state.ObjectRef
		want      string
	}{
		{"a Secret that the pod does not refer to", "n1", "web", secret("s"), `secrets "s" is forbidden: no order of node "n1" refers to it`},
		{"a ConfigMap of a Secret's name", "n1", "web", configMap("s-from"), `configmaps "s-from" is forbidden: no order of node "n1" refers to it`},
		{"in another namespace", "n1", "web", elsewhere, `secrets "s-from" is forbidden: no order of node "n1" refers to it`},
		{"not a ConfigMap or Secret", "n1", "web", state.ObjectRef{Resource: scheme.Nodes, Name: "n1"}, `nodes "n1" is forbidden: no order of node "n1" refers to it`},
		{"of a pod of another node", "n2", "web", secret("s-from"), fmt.Sprintf(noOrder, "web", "n2")},
		{"of a pod that no node has", "n1", "pending", secret("s-from"), fmt.Sprintf(noOrder, "pending", "n1")},
		{"of a pod that is gone", "n1", "gone", secret("s-from"), fmt.Sprintf(noOrder, "gone", "n1")},
		{"of no pod", "n1", "", secret("s-from"), `pods is forbidden: node "n1" has no order for it`},
	}
	inBubble(t, func(t *testing.T, a *api) {
		pending, gone := refers(), refers()
		pending.Name, pending.Spec.NodeName, gone.Name = "pending", "", "gone"
		a.Put(t, apitest.Namespace("other"), apitest.Secret("s-from", "k", "v"), apitest.Secret("s", "k", "v"), refers(), pending, gone)
		remove(t, a, "gone")
		for _, tt := range tests {
			r := state.ConfigRequest{Namespace: "default", Pod: tt.pod, Refs: []state.ObjectRef{secret("s-from"), tt.ref}}
			answer := a.contents(tt.node, r)
			apitest.WantStatus(t, answer.Err, metav1.StatusReasonForbidden, tt.want)
			if len(answer.Pieces) > 0 {
				t.Errorf("%s: it was refused and answered %s", tt.name, bytes.Join(answer.Pieces, nil))
			}
		}
	})
}

// A request names the order that the node has: a replica that has not seen it does not judge yet (P21).
func TestP21_ContentsAwaitTheOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, apitest.Secret("s-from", "k", "v"))
		release := a.Store.Hold()
		written, err := a.Writer.Put(t.Context(), a.Batch(t, refers()))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, release)
		r := state.ConfigRequest{Namespace: "default", Pod: "web", Order: written.Max(), Refs: []state.ObjectRef{secret("s-from")}}
		got := apitest.JSON[state.ConfigAnswer](t, a.contents("n1", r))
		if len(got.Secrets) != 1 || string(got.Secrets[0].Data["k"]) != "v" {
			t.Errorf("contents %+v, want the Secret", got)
		}
	})
}

func TestP21_ContentsOfAnOrderThatDoesNotCome(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, refers())
		began := time.Now()
		r := state.ConfigRequest{Namespace: "default", Pod: "web", Order: a.View.Position() + 1000}
		err := a.contents("n1", r).Err
		if err == nil || wire.StatusOf(err).Reason != metav1.StatusReasonServiceUnavailable {
			t.Errorf("contents: %v, want ServiceUnavailable", err)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("answered after %s, want 5s", waited)
		}
	})
}

// What the node's order no longer refers to is no longer the node's to read.
func TestContentsFollowTheOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := refers()
		a.Put(t, apitest.Secret("s-from", "k", "v"), pod)
		pod.Spec.Containers[0].EnvFrom = nil
		a.Put(t, pod)
		r := state.ConfigRequest{Namespace: "default", Pod: "web", Refs: []state.ObjectRef{secret("s-from")}}
		apitest.WantStatus(t, a.contents("n1", r).Err, metav1.StatusReasonForbidden, `secrets "s-from" is forbidden: no order of node "n1" refers to it`)
	})
}

// A Secret that cannot be opened is an error, not a Secret that is missing: the kubelet must not start a pod without it.
func TestContentsThatCannotBeOpened(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, refers())
		a.putKey(state.ObjectKey(secret("s-from")), `{"v":1,"key":"AAAA","data":"AAAA"}`)
		r := state.ConfigRequest{Namespace: "default", Pod: "web", Refs: []state.ObjectRef{secret("s-from")}}
		if err := a.contents("n1", r).Err; err == nil || !strings.Contains(err.Error(), "sealed under another master key") {
			t.Errorf("contents: %v, want it to say what is wrong", err)
		}
	})
}

func (a *api) heartbeat(node string, h state.Heartbeat) state.Beat {
	a.t.Helper()
	return apitest.JSON[state.Beat](a.t, apitest.Do(a.t.Context(), a.nodes.Heartbeat, apitest.Call{Subject: subject(wire.NodeHeartbeat, node), Body: h}))
}

func (a *api) ack(node string) state.Beat {
	a.t.Helper()
	return apitest.JSON[state.Beat](a.t, apitest.Do(a.t.Context(), a.nodes.Ack, apitest.Call{Subject: subject(wire.NodeAck, node), Body: struct{}{}}))
}

// digest is what a node or proxy that holds exactly these entries computes.
func digest(entries []state.FeedEntry) (d state.Digest) {
	for _, e := range entries {
		d.Add(e.Key, e.Revision)
	}
	return d
}

// A sign of life is answered with the digest of what the node should hold and the revision that it stands for (P20).
func TestP20_HeartbeatNamesWhatTheNodeShouldHold(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("a").Node("n1").Obj(), objtest.Pod("b").Node("n1").Obj(), objtest.Pod("c").Node("n2").Obj())
		a.putKey(state.Epoch, `{"server":"memory-0"}`)
		check := func(what, node string, keys ...state.Key) {
			t.Helper()
			want := state.Beat{Digest: digest(a.entries(keys...)), Revision: a.View.Position(), Epoch: a.View.Revision(state.Epoch)}
			if diff := gocmp.Diff(want, a.heartbeat(node, state.Heartbeat{UID: types.UID("uid-" + node)})); diff != "" {
				t.Errorf("%s: beat of %s (-want +got):\n%s", what, node, diff)
			}
		}
		check("at first", "n1", order("n1", "a"), order("n1", "b"))
		check("at first", "n2", order("n2", "c"))
		a.Put(t, objtest.Pod("a").Node("n1").Label("app", "a").Obj())
		check("an order has changed", "n1", order("n1", "a"), order("n1", "b"))
		remove(t, a, "a")
		check("an order is gone", "n1", order("n1", "b"))
		remove(t, a, "c")
		check("none is left", "n2")
		a.Put(t, objtest.Pod("c").Node("n2").Obj())
		check("one has come back", "n2", order("n2", "c"))
	})
}

func TestP20_AckNamesTheRoutes(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		web, db := state.RouteKey("default", "web", 0), state.RouteKey("default", "db", 0)
		check := func(what string, keys ...state.Key) {
			t.Helper()
			want := state.Beat{Digest: digest(a.entries(keys...)), Revision: a.View.Position(), Epoch: a.View.Revision(state.Epoch)}
			if diff := gocmp.Diff(want, a.ack("n1")); diff != "" {
				t.Errorf("%s: beat (-want +got):\n%s", what, diff)
			}
		}
		a.Put(t, objtest.Pod("a").Node("n1").Obj()) // an order is no route
		a.putKey(state.Epoch, `{"server":"memory-0"}`)
		check("none")
		a.putKey(web, `"1"`)
		a.putKey(db, `"1"`)
		check("two", web, db)
		a.putKey(web, `"2"`)
		check("one has changed", web, db)
		a.putKey(web, "")
		check("one is gone", db)
	})
}

// Whatever is written, removed and lost, and however often the view starts anew, the digest is that of a fresh snapshot.
func TestP20_DigestIsThatOfTheSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		rapid.Check(inside{t}, func(r *rapid.T) {
			for range rapid.IntRange(1, 6).Draw(r, "steps") {
				switch rapid.SampledFrom([]string{"put", "put", "remove", "route", "lose"}).Draw(r, "step") {
				case "put":
					pod := objtest.Pod(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "pod"))
					if had := a.Pod(pod.Obj().Name); had != nil {
						pod.Node(had.Spec.NodeName)
					} else {
						pod.Node(rapid.SampledFrom([]string{"n1", "n2"}).Draw(r, "node"))
					}
					a.Put(t, pod.Label("l", rapid.StringMatching(`[a-z]`).Draw(r, "label")).Obj())
				case "remove":
					if name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "pod"); a.Pod(name) != nil {
						remove(t, a, name)
					}
				case "route":
					key := state.RouteKey("default", "web", rapid.IntRange(0, 2).Draw(r, "shard"))
					a.putKey(key, rapid.SampledFrom([]string{`"1"`, `"2"`, ""}).Draw(r, "route"))
				case "lose":
					a.Store.Reset(rapid.IntRange(0, 2).Draw(r, "lost"))
					apitest.Elapse(time.Second) // the view begins anew
				}
				a.Fresh(t)
			}
			for _, node := range []string{"n1", "n2"} {
				s, _ := a.snapshot(node, nil)
				beat := a.heartbeat(node, state.Heartbeat{})
				if diff := gocmp.Diff(state.Beat{Digest: digest(s.Entries), Revision: s.Revision}, state.Beat{Digest: beat.Digest, Revision: beat.Revision}); diff != "" {
					r.Fatalf("beat of %s (-snapshot +beat):\n%s", node, diff)
				}
			}
			s, _ := a.snapshot("n1", state.SnapshotRequest{Routes: true})
			if diff := gocmp.Diff(digest(s.Entries), a.ack("n1").Digest); diff != "" {
				r.Fatalf("routes (-snapshot +beat):\n%s", diff)
			}
		})
	})
}

// inside is a test inside a bubble as rapid takes it, which would ask a *testing.T for its deadline outside.
type inside struct{ testing.TB }

// A kubelet may go on only as the Node it is and only if none has started after it (P18).
func TestP18_HeartbeatRefuses(t *testing.T) {
	const gone, superseded = "the node is gone", "another kubelet has started under this name"
	tests := []struct {
		name string
		node string
		beat state.Heartbeat
		want string
	}{
		{"as it was taken", "n1", state.Heartbeat{UID: "uid-n1", Start: 3}, ""},
		{"it has just started and not yet reported", "n1", state.Heartbeat{UID: "uid-n1", Start: 4}, ""},
		{"another has started after it", "n1", state.Heartbeat{UID: "uid-n1", Start: 2}, superseded},
		{"another Node has its name", "n1", state.Heartbeat{UID: "another", Start: 3}, gone},
		{"it does not know who it is", "n1", state.Heartbeat{Start: 3}, gone},
		{"no Node has its name", "n3", state.Heartbeat{UID: "uid-n3", Start: 1}, gone},
		{"its Node has not reported", "n2", state.Heartbeat{UID: "uid-n2"}, ""},
	}
	inBubble(t, func(t *testing.T, a *api) {
		node := a.Node("n1").DeepCopy()
		b := a.Batch(t, node)
		b.Entries[0].Report = state.FormatReport(state.Report{Start: 3, Counter: 1})
		if _, err := a.Writer.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		a.Fresh(t)
		for _, tt := range tests {
			if got := a.heartbeat(tt.node, tt.beat).Refused; got != tt.want {
				t.Errorf("%s: refused %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}

// A kubelet that is refused ends: a replica that has not heard of its Node yet catches up first.
func TestP18_HeartbeatAtAReplicaThatIsBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		release := a.Store.Hold()
		if _, err := a.Writer.Put(t.Context(), a.Batch(t, objtest.Node("n3").Obj())); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, release)
		if got := a.heartbeat("n3", state.Heartbeat{UID: "uid-n3"}).Refused; got != "" {
			t.Errorf("refused: %s", got)
		}
	})
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		for what, handle := range map[string]wire.Handler{
			wire.NodeSnapshot: a.nodes.Snapshot, wire.NodeConfig: a.nodes.Contents, wire.NodeHeartbeat: a.nodes.Heartbeat, wire.NodeAck: a.nodes.Ack,
		} {
			calls := []apitest.Call{{Subject: "u." + wire.NodeSubject(what, "n1"), Body: []byte("{}")}}
			if what != wire.NodeAck { // what it says is the controller's to read
				calls = append(calls, apitest.Call{Subject: subject(what, "n1"), Body: []byte("x")})
			}
			for _, call := range calls {
				err := apitest.Do(t.Context(), handle, call).Err
				if err == nil || wire.StatusOf(err).Reason != metav1.StatusReasonBadRequest {
					t.Errorf("%s on %s: %v, want BadRequest", call.Body, call.Subject, err)
				}
			}
		}
	})
}
