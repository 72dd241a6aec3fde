package state_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

// A stored body has no resourceVersion; whoever reads it gets the revision as one.
func ExampleDecode() {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", ResourceVersion: "41"}}
	body, err := state.Encode(pod)
	if err != nil {
		panic(err)
	}
	var read corev1.Pod
	if err := state.Decode(body, 42, &read); err != nil {
		panic(err)
	}
	fmt.Println(read.Name, read.ResourceVersion)
	// Output: web 42
}

func TestEncodeAndDecodeEveryKind(t *testing.T) {
	for _, kind := range scheme.All() {
		t.Run(kind.Resource(), func(t *testing.T) {
			obj := kind.New()
			obj.SetName("a")
			obj.SetResourceVersion("41")
			body, err := state.Encode(obj)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(body), "resourceVersion") || obj.GetResourceVersion() != "41" {
				t.Errorf("Encode gives %s and leaves the object at %q, want none in the body, 41 in the object", body, obj.GetResourceVersion())
			}
			read := kind.New()
			if err := state.Decode(body, 42, read); err != nil {
				t.Fatal(err)
			}
			if read.GetName() != "a" || read.GetResourceVersion() != "42" {
				t.Errorf("read back %s at %s, want a at 42", read.GetName(), read.GetResourceVersion())
			}
			shown := kind.New()
			if err := json.Unmarshal(state.Versioned(body, 42), shown); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(read, shown); diff != "" {
				t.Errorf("Versioned shows another object than Decode (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeSaysWhatItCannotRead(t *testing.T) {
	if err := state.Decode([]byte(`{"metadata":7}`), 1, &corev1.Pod{}); err == nil || !strings.Contains(err.Error(), "*v1.Pod") {
		t.Errorf("Decode of a damaged body = %v, want an error that names the type", err)
	}
}

func TestVersioned(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"named", `{"kind":"Pod","metadata":{"name":"a"}}`, `{"kind":"Pod","metadata":{"resourceVersion":"7","name":"a"}}`},
		{"empty metadata", `{"metadata":{},"spec":{}}`, `{"metadata":{"resourceVersion":"7"},"spec":{}}`},
		{"metadata inside", `{"metadata":{"name":"a"},"spec":{"template":{"metadata":{"name":"b"}}}}`, `{"metadata":{"resourceVersion":"7","name":"a"},"spec":{"template":{"metadata":{"name":"b"}}}}`},
		{"no metadata", `{"a":1}`, `{"a":1}`},
		{"nothing", ``, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(tt.body)
			if got := state.Versioned(body, 7); string(got) != tt.want || string(body) != tt.body {
				t.Errorf("Versioned(%s) = %s, want %s; the body itself is now %s", tt.body, got, tt.want, body)
			}
		})
	}
}

// P17: a report is older if its kubelet started earlier, or counted less since the same start.
func TestP17_ReportsHaveAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) state.Report {
			return state.Report{Start: rapid.Uint64Range(0, 3).Draw(t, label), Counter: rapid.Uint64Range(0, 3).Draw(t, label)}
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		if a.Before(a) {
			t.Fatalf("%v is before itself", a)
		}
		if a != b && a.Before(b) == b.Before(a) {
			t.Fatalf("of %v and %v not exactly one is before the other", a, b)
		}
		if a.Before(b) && b.Before(c) && !a.Before(c) {
			t.Fatalf("%v is before %v, that before %v, but %v is not before %v", a, b, c, a, c)
		}
		if a.Start < b.Start && !a.Before(b) {
			t.Fatalf("%v is not before %v, of a later start", a, b)
		}
	})
}

func TestParseReport(t *testing.T) {
	for _, r := range []state.Report{{}, {Start: 1}, {Start: 3, Counter: 14}, {Start: math.MaxUint64, Counter: math.MaxUint64}} {
		if got := state.ParseReport(state.FormatReport(r)); got != r {
			t.Errorf("ParseReport(%q) = %v, want %v", state.FormatReport(r), got, r)
		}
	}
	for _, text := range []string{"", "3", "3.", ".14", "3.14.1", "3.14 ", "-3.14", "+3.14", "3.x", "3.14x", "18446744073709551616.0"} {
		if got := state.ParseReport(text); got != (state.Report{}) {
			t.Errorf("ParseReport(%q) = %v, want the number before all others", text, got)
		}
	}
}

func TestParseRevision(t *testing.T) {
	for _, revision := range []uint64{0, 1, math.MaxUint64} {
		if got, err := state.ParseRevision(state.FormatRevision(revision)); err != nil || got != revision {
			t.Errorf("ParseRevision(%q) = %d, %v; want %d", state.FormatRevision(revision), got, err, revision)
		}
	}
	if got, err := state.ParseRevision(""); err != nil || got != 0 {
		t.Errorf("ParseRevision of nothing = %d, %v; want 0", got, err)
	}
	for _, text := range []string{"-1", "1.5", "0x10", " 1", "18446744073709551616", "latest"} {
		if got, err := state.ParseRevision(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("ParseRevision(%q) = %d, %v; want an error that names it", text, got, err)
		}
	}
}

func TestRefOf(t *testing.T) {
	tests := []struct {
		obj  scheme.Object
		want string
	}{
		{objtest.Pod("web").Namespace("shop").Obj(), "pods/shop/web"},
		{objtest.Node("n1").Obj(), "nodes/n1"},
	}
	for _, tt := range tests {
		if got := state.RefOf(tt.obj).String(); got != tt.want {
			t.Errorf("RefOf = %s, want %s", got, tt.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("RefOf of a type that is not served did not panic")
		}
	}()
	state.RefOf(&metav1.PartialObjectMetadata{})
}

// P22, for the kinds without orders.
func TestP22_ObjectChangeRemovesWhatNothingHolds(t *testing.T) {
	deleted := &metav1.Time{Time: time.Unix(1, 0)}
	configMap := func(m metav1.ObjectMeta) scheme.Object { return &corev1.ConfigMap{ObjectMeta: m} }
	tests := []struct {
		name string
		obj  scheme.Object
		want bool
	}{
		{"alive", configMap(metav1.ObjectMeta{Name: "a"}), false},
		{"alive with a finalizer", configMap(metav1.ObjectMeta{Name: "a", Finalizers: []string{"x"}}), false},
		{"marked and held", configMap(metav1.ObjectMeta{Name: "a", DeletionTimestamp: deleted, Finalizers: []string{"x"}}), false},
		{"marked", configMap(metav1.ObjectMeta{Name: "a", DeletionTimestamp: deleted}), true},
		{"namespace that is not empty", &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: "a", DeletionTimestamp: deleted}, Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}},
		}, false},
		{"namespace that has been emptied", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", DeletionTimestamp: deleted}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := state.ObjectChange(tt.obj, 7)
			if err != nil || c.Remove != tt.want || c.Replaces != 7 || c.Key != state.ObjectKey(state.RefOf(tt.obj)) || len(c.Body) == 0 {
				t.Errorf("ObjectChange = %+v, %v; want the whole object over 7, removed: %v", c, err, tt.want)
			}
		})
	}
}

// P3: a tombstone bears the last object.
func TestP3_RemovalBearsTheLastBody(t *testing.T) {
	last := objtest.Node("n1").Label("a", "b").Obj()
	last.ResourceVersion = "7"
	c, err := state.Removal(last)
	if err != nil {
		t.Fatal(err)
	}
	var body corev1.Node
	if err := state.Decode(c.Body, 7, &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(last, &body); diff != "" || !c.Remove || c.Replaces != 7 {
		t.Errorf("Removal = %+v, and its body differs from the object (-want +got):\n%s", c, diff)
	}
	last.ResourceVersion = "x"
	if c, err := state.Removal(last); err == nil {
		t.Errorf("Removal at revision x = %+v, want an error", c)
	}
}

// P7 rests on this: a view that was current within half a tombstone's life sees every removal.
func TestP3_TombstonesLiveAnHour(t *testing.T) {
	if state.TombstoneTTL != time.Hour {
		t.Errorf("tombstones live %v, want an hour: what resumes, resends and rebuilds is measured by it", state.TombstoneTTL)
	}
}
