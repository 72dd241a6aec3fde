package state_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
)

// P20: a digest tells whether two sets of (key, revision) are equal, in whatever order they came about.
func TestP20_DigestTellsSetsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) map[state.Key]uint64 {
			return rapid.MapOf(rapid.SampledFrom([]state.Key{"a", "b", "ab", "c"}), rapid.Uint64Range(1, 3)).Draw(t, label)
		}
		a, b := draw("a"), draw("b")
		digest := func(set map[state.Key]uint64, through map[state.Key]uint64) (d state.Digest) {
			for key, revision := range through { // what was there before and has been replaced
				d.Add(key, revision)
			}
			for key, revision := range set {
				d.Add(key, revision)
			}
			for key, revision := range through {
				d.Remove(key, revision)
			}
			return d
		}
		if got := digest(a, b); got != digest(a, nil) || got.Count != len(a) {
			t.Fatalf("digest of %v reached through %v is %v, want %v", a, b, got, digest(a, nil))
		}
		if (digest(a, nil) == digest(b, nil)) != cmp.Equal(a, b) {
			t.Fatalf("digests of %v and %v are %v and %v", a, b, digest(a, nil), digest(b, nil))
		}
	})
}

// Nodes of one version speak to a control plane of another: the digest of a set never changes.
func TestDigestGolden(t *testing.T) {
	var d state.Digest
	d.Add(state.OrderKey("n1", "default", "web"), 42)
	d.Add(state.RouteKey("default", "web", 0), 7)
	if want := (state.Digest{Count: 2, Hash: 11645484120088582818}); d != want {
		t.Errorf("digest = %+v, want %+v: this makes every node ask for snapshots without end", d, want)
	}
}

func TestSnapshotArrivesInPieces(t *testing.T) {
	entry := func(name string, revision uint64) state.FeedEntry {
		return state.FeedEntry{Key: state.OrderKey("n1", "d", name), Revision: revision, Body: json.RawMessage(`{"pod":{}}`)}
	}
	whole := state.Snapshot{Revision: 9, Epoch: 2, Entries: []state.FeedEntry{entry("a", 4), entry("b", 9), entry("c", 5)}}
	var got state.Snapshot
	for _, entries := range [][]state.FeedEntry{whole.Entries[:2], whole.Entries[2:], nil} {
		piece, err := json.Marshal(state.Snapshot{Revision: 9, Epoch: 2, Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Append(piece); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(whole, got); diff != "" {
		t.Errorf("snapshot put together from its pieces (-want +got):\n%s", diff)
	}
	if err := got.Append([]byte(`{"entries":7}`)); err == nil {
		t.Error("a damaged piece was taken")
	}
}

// What nodes and the control plane send each other: a change here breaks nodes of another version.
func TestNodeWireGolden(t *testing.T) {
	tests := []struct {
		name  string
		value any
		want  string
	}{
		{"node report", state.NodeReport{Report: state.Report{Start: 3, Counter: 1}, UID: "u", Labels: map[string]string{"a": "b"}}, `{"report":{"Start":3,"Counter":1},"uid":"u","labels":{"a":"b"},"status":`},
		{"node answer", state.NodeAnswer{Node: objtest.Node("n1").Obj()}, `{"node":{"kind":"Node"`},
		{"pod reports", state.PodReports{Start: 3, UID: "u", Pods: []state.PodReport{
			{Namespace: "d", Name: "p", UID: "v", Order: 7, Counter: 9, Status: corev1.PodStatus{Phase: corev1.PodRunning}, Stopped: true},
		}}, `{"start":3,"uid":"u","pods":[{"namespace":"d","name":"p","uid":"v","order":7,"counter":9,"status":{"phase":"Running"},"stopped":true}]}`},
		{"outcomes", state.PodOutcomes{Outcomes: []state.Outcome{state.Accepted, state.Gone, state.Retry}}, `{"outcomes":["accepted","gone","retry"]}`},
		{"heartbeat", state.Heartbeat{UID: "u", Start: 3, Message: "disk"}, `{"uid":"u","start":3,"ready":false,"message":"disk"}`},
		{"beat", state.Beat{Digest: state.Digest{Count: 1, Hash: 2}, Revision: 3, Epoch: 4, Refused: "no"}, `{"digest":{"count":1,"hash":2},"revision":3,"epoch":4,"refused":"no"}`},
		{"snapshot request", state.SnapshotRequest{Routes: true}, `{"routes":true}`},
		{"snapshot", state.Snapshot{Revision: 9, Epoch: 2, Entries: []state.FeedEntry{{Key: "k", Revision: 9, Removed: true}}}, `{"revision":9,"epoch":2,"entries":[{"key":"k","revision":9,"removed":true}]}`},
		{"config request", state.ConfigRequest{Namespace: "d", Pod: "p", Order: 7, Refs: []state.ObjectRef{{Resource: "secrets", Namespace: "d", Name: "s"}}}, `{"namespace":"d","pod":"p","order":7,"refs":[{"resource":"secrets","namespace":"d","name":"s"}]}`},
		{"config answer", state.ConfigAnswer{}, `{}`},
		{"session", state.SessionRequest{Verb: "exec", Namespace: "d", Pod: "p", UID: "u", Options: json.RawMessage(`{}`), ID: "i", Secret: "s", Identity: "alice"}, `{"verb":"exec","namespace":"d","pod":"p","uid":"u","options":{},"id":"i","secret":"s","identity":"alice"}`},
		{"stamp", state.StampBody{By: "p", Batch: "b", Data: json.RawMessage(`1`)}, `{"by":"p","batch":"b","data":1}`},
		{"epoch", state.EpochBody{Server: "s", Torn: true}, `{"server":"s","torn":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := json.Marshal(tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(body), tt.want) || (strings.HasSuffix(tt.want, "}") && string(body) != tt.want) {
				t.Errorf("this breaks nodes of another version:\n%s\nwant\n%s", body, tt.want)
			}
		})
	}
}
