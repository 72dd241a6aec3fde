package events_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

var update = flag.Bool("update", false, "rewrite the golden files: only for new event types and new optional fields")

const golden = "testdata/wire"

// TestWireGolden holds what readers of each event type rely on: its key, its headers and its body. A body only ever gains
// optional fields; whatever else changes here is a new type.
func TestWireGolden(t *testing.T) {
	var names []string
	for _, info := range events.Catalogue() {
		names = append(names, info.Name+".txt")
		t.Run(info.Name, func(t *testing.T) {
			file := filepath.Join(golden, info.Name+".txt")
			got := onTheWire(t, sample(t, info))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("this breaks readers of %s (-want +got):\n%s", info.Name, diff)
			}
		})
	}
	files, err := os.ReadDir(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, f.Name()) {
			t.Errorf("this breaks readers of %s: the catalogue has it no more", strings.TrimSuffix(f.Name(), ".txt"))
		}
	}
}

// onTheWire is a batch as readers get it, with the headers in the order of their names.
func onTheWire(t *testing.T, b *events.Batch) string {
	t.Helper()
	messages, err := b.Messages("process-1", time.Date(2026, 1, 2, 4, 4, 5, 6, time.FixedZone("CET", 3600)))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&text, "%s replaces %d", m.Key.Subject(), m.Replaces)
		if m.Remove {
			text.WriteString(", removes")
		}
		if m.TTL > 0 {
			fmt.Fprintf(&text, ", lives %v", m.TTL)
		}
		text.WriteString("\n")
		for _, key := range slices.Sorted(maps.Keys(m.Header)) {
			fmt.Fprintf(&text, "%s: %s\n", key, strings.Join(m.Header[key], ", "))
		}
		fmt.Fprintf(&text, "\n%s\n\n", m.Body)
	}
	return text.String()
}

// sample is a batch with one event of the type, and the stamp that it needs.
func sample(t *testing.T, info events.Info) *events.Batch {
	t.Helper()
	b := &events.Batch{ID: "01J0000000000000000000000A", Meta: events.Meta{
		Source: "/millrace/process-1", Actor: "user:alice", Correlation: "01J0000000000000000000000B",
		Causation: "01J0000000000000000000000C-1", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}}
	b.AddAs(info, sampleChanges(t, info)...)
	ended := strings.HasSuffix(info.Name, ".deleted")
	for _, kind := range info.Stamps {
		id := "n1"
		if kind == state.StampScheduler {
			id = state.TheScheduler
		}
		b.Stamps = append(b.Stamps, state.Stamp{Kind: kind, ID: id, Revision: 6, End: ended, Data: []byte(`{"any":"thing"}`)})
	}
	return b
}

func sampleChanges(t *testing.T, info events.Info) []state.Change {
	t.Helper()
	kind := strings.Split(info.Name, ".")[2]
	switch info.Name {
	case events.ConfigAnnounced.Name:
		order := state.Change{
			Key: state.OrderKey("n1", "default", "web"), Replaces: 7,
			Body: []byte(`{"pod":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}},"config":{"configmaps/a":5},"released":true,"finished":true}`),
		}
		if _, err := state.DecodeOrder(order.Body); err != nil {
			t.Fatal(err)
		}
		return []state.Change{order}
	case events.StampMoved.Name:
		return []state.Change{{Key: state.StampKey(state.StampNode, "n1"), Replaces: 7, Body: []byte(`{"by":"process-1","batch":"01J"}`)}}
	case events.ClaimTaken.Name:
		return []state.Change{{Key: state.ClaimKey(state.ClaimPodCIDR, "10.244.1.0/24"), Body: []byte(`{"resource":"nodes","name":"n1"}`)}}
	case events.Beat.Name:
		return []state.Change{{Key: state.BeatKey("process-1", 0), Replaces: 7, Body: []byte("{}"), TTL: state.TombstoneTTL}}
	case events.EpochBegun.Name:
		return []state.Change{{Key: state.Epoch, Replaces: 7, Body: []byte(`{"server":"NABC","torn":false}`)}}
	case events.Repaired.Name:
		return []state.Change{{Key: state.OrderKey("n1", "default", "web"), Replaces: 7, Body: []byte(`{}`), Remove: true}}
	case events.PodAssigned.Name, events.PodUpdated.Name:
		return assigned(t, objtest.Pod("web").Node("n1"))
	case events.PodDeleting.Name:
		return assigned(t, objtest.Pod("web").Node("n1").Deleting(time.Unix(0, 0)))
	}
	obj, ok := map[string]scheme.Object{
		"pod": objtest.Pod("web").Obj(), "node": objtest.Node("n1").Obj(),
		"namespace": &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
		"config": &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}, Data: map[string]string{"key": "value"},
		},
	}[kind]
	if !ok {
		t.Fatalf("no sample of the body of %s", info.Name)
	}
	c, err := state.ObjectChange(obj, 7)
	if err != nil {
		t.Fatal(err)
	}
	c.Remove, c.Report = strings.HasSuffix(info.Name, ".deleted"), "3.14"
	return []state.Change{c}
}

// assigned is a pod that has a node, and the order that follows from it.
func assigned(t *testing.T, pod *objtest.PodBuilder) []state.Change {
	t.Helper()
	before := objtest.Pod("web").Obj()
	before.ResourceVersion = "7"
	changes, err := state.PodChange(nothingSeen{}, before, pod.Obj())
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// nothingSeen is an empty bucket.
type nothingSeen struct{}

func (nothingSeen) Revision(state.Key) uint64 { return 0 }
func (nothingSeen) Body(state.Key) []byte     { return nil }
func (nothingSeen) Report(state.Key) string   { return "" }
