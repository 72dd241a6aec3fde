package notes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/services/api/internal/apitest"
)

func deliver(t *testing.T, n *Notes, name string, sequence uint64) {
	t.Helper()
	body, err := json.Marshal(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	if err != nil {
		t.Fatal(err)
	}
	n.Deliver("", sequence, time.Now(), body)
}

// TestNothingIsMissedBehindAList: whoever lists and then follows from the revision of the list is told every later note, the very
// first one too.
func TestNothingIsMissedBehindAList(t *testing.T) {
	n := New(time.Now)
	for sequence, name := range []string{"first", "second"} {
		_, revision := n.List(scheme.Events, "")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := n.Await(ctx, revision); err != nil {
			t.Fatalf("the revision of a list is not reached: %v", err)
		}
		cursor, err := n.From(scheme.Events, revision)
		if err != nil {
			t.Fatal(err)
		}
		deliver(t, n, name, uint64(sequence+1))
		changes, err := cursor.Next(ctx)
		if err != nil || len(changes) != 1 || changes[0].After.Ref.Name != name {
			t.Errorf("behind the list: %+v, %v", changes, err)
		}
	}
	if list, revision := n.List(scheme.Events, "default"); len(list) != 2 || list[1].Revision != revision {
		t.Errorf("%d notes at %d", len(list), revision)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := n.Await(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a note that is not there yet: %v", err)
	}
}

// told delivers a note of the namespace shop that was told at a time.
func told(t *testing.T, n *Notes, name string, sequence uint64, at time.Time) {
	t.Helper()
	body, err := json.Marshal(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Message: fmt.Sprint(sequence)})
	if err != nil {
		t.Fatal(err)
	}
	n.Deliver("", sequence, at, body)
}

func names(n *Notes, namespace string) (names []string) {
	list, _ := n.List(scheme.Events, namespace)
	for _, r := range list {
		names = append(names, r.Ref.Namespace+"/"+r.Ref.Name)
	}
	return names
}

// A note is served for an hour after it was last told, and no longer, whether another comes or not.
func TestNotesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(time.Now)
		ref := func(name string) state.ObjectRef {
			return state.ObjectRef{Resource: scheme.Events, Namespace: "shop", Name: name}
		}
		told(t, n, "once", 1, time.Now())
		told(t, n, "again", 2, time.Now())
		apitest.Elapse(30 * time.Minute)
		told(t, n, "again", 3, time.Now())
		apitest.Elapse(30 * time.Minute)
		if diff := cmp.Diff([]string{"shop/again", "shop/once"}, names(n, "")); diff != "" {
			t.Errorf("after an hour (-want +got):\n%s", diff)
		}
		apitest.Elapse(time.Second)
		if n.Get(ref("once")) != nil || n.Get(ref("again")) == nil {
			t.Error("a second later the one that was told once is there, or the other is not")
		}
		if diff := cmp.Diff([]string{"shop/again"}, names(n, "")); diff != "" {
			t.Errorf("a second later (-want +got):\n%s", diff)
		}
		apitest.Elapse(30 * time.Minute)
		if got := names(n, ""); got != nil {
			t.Errorf("half an hour later: %v, want none", got)
		}
		if _, position := n.List(scheme.Events, ""); position != n.Position() || position != 4 {
			t.Errorf("position %d, want 4 still", position)
		}
	})
}

func TestNotesAreListedInOrder(t *testing.T) {
	n := New(time.Now)
	deliver(t, n, "b", 1)
	told(t, n, "c", 2, time.Now())
	told(t, n, "a", 3, time.Now())
	deliver(t, n, "a", 4)
	n.Deliver("", 5, time.Now(), []byte("no note"))
	if diff := cmp.Diff([]string{"default/a", "default/b", "shop/a", "shop/c"}, names(n, "")); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"shop/a", "shop/c"}, names(n, "shop")); diff != "" {
		t.Errorf("of shop (-want +got):\n%s", diff)
	}
}

// What a reader gets of a note bears the revision that he can watch from.
func TestNoteAsReadersGetIt(t *testing.T) {
	n := New(time.Now)
	told(t, n, "a", 7, time.Now())
	r := n.Get(state.ObjectRef{Resource: scheme.Events, Namespace: "shop", Name: "a"})
	obj, err := n.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := n.JSON(r)
	if err != nil {
		t.Fatal(err)
	}
	var event corev1.Event
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	if got := []string{event.Message, event.ResourceVersion, obj.GetResourceVersion()}; !slices.Equal(got, []string{"7", "8", "8"}) {
		t.Errorf("message, version, version when decoded: %v, want 7, 8, 8", got)
	}
	if got := n.Position(); got != 8 {
		t.Errorf("position %d behind the note with version 8", got)
	}
}

// A list can be had as it was, and a note that was told again is followed as a change of it.
func TestNotesAreFollowedAndRewound(t *testing.T) {
	n := New(time.Now)
	told(t, n, "a", 1, time.Now())
	then, revision := n.List(scheme.Events, "shop")
	told(t, n, "b", 2, time.Now())
	told(t, n, "a", 3, time.Now())
	now, position := n.List(scheme.Events, "shop")
	was, err := n.Rewind(scheme.Events, "shop", now, position, revision)
	if err != nil || !slices.Equal(was, then) {
		t.Errorf("rewound: %v, %v; want %v", was, err, then)
	}
	cursor, err := n.From(scheme.Events, revision)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := cursor.Next(t.Context())
	if err != nil || len(changes) != 2 || changes[0].Before != nil || changes[1].Before != then[0] {
		t.Errorf("changes %+v, %v; want a new one and one told again", changes, err)
	}
}
