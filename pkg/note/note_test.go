package note_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"millrace.dev/pkg/note"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

// told is what a Noter published.
type told struct {
	mu     sync.Mutex
	events []*corev1.Event
	err    error
}

// publish checks that the body is the event and keeps it.
func (to *told) publish(event *corev1.Event, body []byte) error {
	var read corev1.Event
	if err := json.Unmarshal(body, &read); err != nil {
		return err
	}
	if read.Name != event.Name || read.Count != event.Count || read.Message != event.Message {
		return fmt.Errorf("body of %s: %s", event.Name, body)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.events = append(to.events, event)
	return to.err
}

func TestNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to told
		pod := objtest.Pod("web").Namespace("shop").UID("u1").Obj()
		pod.ResourceVersion = "7"
		note.New("kubelet", "n1", to.publish).Warning(pod, "Failed", "image %q is not there", "x")
		if len(to.events) != 1 {
			t.Fatalf("%d events, want 1", len(to.events))
		}
		got, now := to.events[0], metav1.Now()
		if !strings.HasPrefix(got.Name, "web.") {
			t.Errorf("name %q, want web.<hash>", got.Name)
		}
		want := &corev1.Event{
			TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
			ObjectMeta:     metav1.ObjectMeta{Namespace: "shop", Name: got.Name, CreationTimestamp: now},
			InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web", UID: "u1", ResourceVersion: "7"},
			Reason:         "Failed", Message: `image "x" is not there`, Type: "Warning", Count: 1, FirstTimestamp: now, LastTimestamp: now,
			Source: corev1.EventSource{Component: "kubelet", Host: "n1"}, ReportingController: "kubelet", ReportingInstance: "n1",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestNoteAboutAContainer(t *testing.T) {
	var to told
	note.New("kubelet", "n1", to.publish).Container(objtest.Pod("web").Obj(), "c", corev1.EventTypeNormal, "Pulled", "it was there")
	if got := to.events[0]; got.InvolvedObject.FieldPath != "spec.containers{c}" || got.Type != "Normal" || got.Reason != "Pulled" || got.Message != "it was there" {
		t.Errorf("event %+v", got)
	}
}

func TestNoteAboutAClusterScopedObject(t *testing.T) {
	var to told
	note.New("controller", "", to.publish).Normal(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u"}}, "Ready", "it is ready")
	if got := to.events[0]; got.Namespace != "default" || got.InvolvedObject.Namespace != "" || got.InvolvedObject.Kind != "Node" {
		t.Errorf("event in the namespace %q about %+v", got.Namespace, got.InvolvedObject)
	}
}

// The same note counts up under its first name and time, and what was published before is not changed by it.
func TestSameNoteCountsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to told
		n := note.New("kubelet", "n1", to.publish)
		began := time.Now()
		for range 3 {
			n.Normal(objtest.Pod("web").Obj(), "Pulled", "it was there")
			<-time.NewTimer(time.Minute).C
		}
		for i, e := range to.events {
			if e.Name != to.events[0].Name || e.Count != int32(i+1) {
				t.Errorf("event %d is %s with count %d", i, e.Name, e.Count)
			}
			if last := began.Add(time.Duration(i) * time.Minute); !e.FirstTimestamp.Time.Equal(began) || !e.LastTimestamp.Time.Equal(last) {
				t.Errorf("event %d: first %v, last %v; want %v and %v", i, e.FirstTimestamp, e.LastTimestamp, began, last)
			}
		}
	})
}

// Two notes share an event if, and only if, nothing that a reader tells them apart by differs.
func TestNoteProperties(t *testing.T) {
	type said struct{ name, path, typ, reason, message string }
	rapid.Check(t, func(t *rapid.T) {
		var to told
		n := note.New("kubelet", "n1", to.publish)
		counts, names := map[said]int32{}, map[string]said{}
		few := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		for i := range rapid.IntRange(1, 40).Draw(t, "notes") {
			s := said{few("name", "a", "b"), few("container", "c", "d"), few("type", "Normal", "Warning"), few("reason", "R", "S"), few("message", "m", "n")}
			n.Container(objtest.Pod(s.name).Obj(), s.path, s.typ, s.reason, s.message)
			counts[s]++
			e := to.events[i]
			if e.Count != counts[s] {
				t.Fatalf("%+v has the count %d, want %d", s, e.Count, counts[s])
			}
			if before, ok := names[e.Name]; ok && before != s {
				t.Fatalf("%+v and %+v share the event %s", before, s, e.Name)
			}
			names[e.Name] = s
		}
	})
}

// A pod that comes again under its name has another uid, and its own notes.
func TestNoteKnowsUIDs(t *testing.T) {
	var to told
	n := note.New("kubelet", "n1", to.publish)
	for _, uid := range []types.UID{"u1", "u2"} {
		n.Normal(objtest.Pod("web").UID(uid).Obj(), "Pulled", "it was there")
	}
	if to.events[0].Name == to.events[1].Name || to.events[1].Count != 1 {
		t.Errorf("the second pod's event is %s with count %d", to.events[1].Name, to.events[1].Count)
	}
}

// Only the notes told last are remembered: the rest count from 1 again.
func TestNoteForgetsTheOldest(t *testing.T) {
	const remembered = 4096
	var to told
	n := note.New("kubelet", "n1", to.publish)
	tell := func(i int) int32 {
		n.Normal(objtest.Pod(fmt.Sprint("p.", i)).Obj(), "Pulled", "it was there")
		return to.events[len(to.events)-1].Count
	}
	for i := range remembered {
		tell(i)
	}
	if got := tell(0); got != 2 { // and is now the one told last
		t.Errorf("count %d, want 2: so many are remembered", got)
	}
	tell(remembered)
	if got := tell(0); got != 3 {
		t.Errorf("count %d, want 3: it was told a moment ago", got)
	}
	if got := tell(1); got != 1 {
		t.Errorf("count %d, want 1: it was told longest ago", got)
	}
	if got := tell(3); got != 2 { // 2 went when 1 came again
		t.Errorf("count %d, want 2: only the oldest are forgotten", got)
	}
}

// Notes may be lost, and no one who tells them must care.
func TestNoteIsTakenByNobody(t *testing.T) {
	var none *note.Noter
	none.Normal(objtest.Pod("web").Obj(), "R", "m")
	none.Container(objtest.Pod("web").Obj(), "c", "Normal", "R", "m")
	to := told{err: errors.New("no connection")}
	n := note.New("kubelet", "n1", to.publish)
	n.Normal(objtest.Pod("web").Obj(), "R", "m")
	n.Normal(objtest.Pod("web").Obj(), "R", "m")
	if got := to.events[1].Count; got != 2 {
		t.Errorf("count %d, want 2: it happened twice", got)
	}
	n.Normal(unknown{objtest.Pod("web").Obj()}, "R", "m")
	if len(to.events) != 2 {
		t.Error("something of no kind was told")
	}
}

// unknown is an object that no kind describes.
type unknown struct{ scheme.Object }

func TestNotesFromManyAtOnce(t *testing.T) {
	var to told
	n := note.New("kubelet", "n1", to.publish)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				n.Normal(objtest.Pod("web").Obj(), "R", "m")
			}
		})
	}
	wg.Wait()
	seen := map[int32]bool{}
	for _, e := range to.events {
		seen[e.Count] = true
	}
	if len(seen) != 800 {
		t.Errorf("%d different counts of 800 notes", len(seen))
	}
}

// publisher keeps what was published by subject.
type publisher map[string]string

func (p publisher) Publish(subject string, body []byte) error {
	p[subject] = string(body)
	return nil
}

func TestToStream(t *testing.T) {
	p := publisher{}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "my.shop", Name: "web.0a"}}
	if err := note.ToStream(p)(event, []byte("body")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(publisher{"note.my_shop.web_0a": "body"}, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSubjectProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		namespace, name := rapid.String().Draw(t, "namespace"), rapid.String().Draw(t, "name")
		tokens := strings.Split(note.Subject(namespace, name), ".")
		if len(tokens) != 3 || tokens[0]+".>" != note.Subjects {
			t.Fatalf("Subject = %q, want one below %s", tokens, note.Subjects)
		}
		for i, want := range []string{namespace, name} {
			if got, err := state.DecodeToken(tokens[i+1]); err != nil || got != want {
				t.Fatalf("token %q reads %q, %v; want %q", tokens[i+1], got, err, want)
			}
		}
	})
}
