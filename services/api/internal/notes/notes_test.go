package notes

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
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
