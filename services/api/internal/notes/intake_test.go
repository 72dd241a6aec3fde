package notes_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/note"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/notes"
)

// published is one message to the stream of notes.
type published struct {
	Subject string
	Event   corev1.Event
}

// inBubble runs a test against what takes the notes of nodes: n1 and n2, each with a pod; one of n1's is gone.
func inBubble(t *testing.T, test func(t *testing.T, tell func(subject string, body any) ([]published, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := apitest.New(t, view.Config{})
		s.Put(t, objtest.Node("n1").Obj(), objtest.Node("n2").Obj(), objtest.Pod("web").Node("n1").Obj(), objtest.Pod("db").Node("n2").Obj(),
			objtest.Pod("pending").Obj(), objtest.Pod("gone").Node("n1").Obj())
		changes, err := state.PodChange(s.View, s.Pod("gone").DeepCopy(), nil)
		if err != nil {
			t.Fatal(err)
		}
		b := events.PodDeleted.Batch(events.Meta{Source: apitest.Source})
		b.Add(changes...)
		if _, err := s.Writer.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		s.Fresh(t)
		test(t, func(subject string, body any) (told []published, err error) {
			in := &notes.Intake{View: s.View, Publish: func(subject string, body []byte) error {
				var event corev1.Event
				err := json.Unmarshal(body, &event)
				told = append(told, published{subject, event})
				return err
			}}
			err = apitest.Do(t.Context(), in.Handle, apitest.Call{Subject: subject, Body: body}).Err
			return told, err
		})
	})
}

// fromN1 is where what n1 tells arrives.
var fromN1 = wire.FromNodes + "." + wire.NodeSubject(wire.NodeNote, "n1", "x")

func about(kind, namespace, name string, uid types.UID) *corev1.Event {
	at := namespace
	if at == "" {
		at = metav1.NamespaceDefault
	}
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: at, Name: name + ".1"},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name, UID: uid},
		Reason:         "Pulled", Message: "m", Source: corev1.EventSource{Component: "kubelet", Host: "forged"}, ReportingInstance: "forged",
	}
}

// What a node tells of itself and of its pods, those that are gone too, is passed on under its own name.
func TestNodeSpeaksAboutItselfAndItsPods(t *testing.T) {
	inBubble(t, func(t *testing.T, tell func(string, any) ([]published, error)) {
		for _, event := range []*corev1.Event{
			about("Node", "", "n1", "uid-n1"), about("Pod", "default", "web", "uid-web"), about("Pod", "default", "gone", "uid-gone"),
		} {
			told, err := tell(fromN1, event)
			if err != nil {
				t.Errorf("about %s: %v", event.InvolvedObject.Name, err)
			}
			want := *event
			want.Source.Host, want.ReportingInstance = "n1", "n1"
			if diff := cmp.Diff([]published{{note.Subject("default", event.Name), want}}, told); diff != "" {
				t.Errorf("about %s (-want +got):\n%s", event.InvolvedObject.Name, diff)
			}
		}
	})
}

func TestNodeSpeaksAboutNothingElse(t *testing.T) {
	elsewhere := about("Pod", "default", "web", "uid-web")
	elsewhere.Namespace = "kube-system"
	another := about("Pod", "default", "web", "uid-web")
	another.Name = "db.1"
	itself := about("Node", "", "n1", "uid-n1")
	itself.Namespace = "kube-system"
	tests := []struct {
		name  string
		event *corev1.Event
	}{
		{"about another node", about("Node", "", "n2", "uid-n2")},
		{"about a pod of another node", about("Pod", "default", "db", "uid-db")},
		{"about a pod that no node has", about("Pod", "default", "pending", "uid-pending")},
		{"about another pod of its pod's name", about("Pod", "default", "web", "another")},
		{"about no such pod", about("Pod", "default", "absent", "uid-absent")},
		{"about a pod of a namespace of that name", about("Pod", "other", "web", "uid-web")},
		{"about something else of its own name", about("Secret", "default", "n1", "uid-n1")},
		{"about nothing", about("", "", "", "")},
		{"in another namespace than its pod's", elsewhere},
		{"about itself in a namespace of others", itself},
		{"in the place of a note about a pod of another node", another},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, tell func(string, any) ([]published, error)) {
				told, err := tell(fromN1, tt.event)
				apitest.WantStatus(t, err, metav1.StatusReasonForbidden,
					`events "`+tt.event.Name+`" is forbidden: node "n1" may speak only about itself and its pods`)
				if len(told) > 0 {
					t.Errorf("it was refused and told: %+v", told)
				}
			})
		})
	}
}

func TestNotesThatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, tell func(string, any) ([]published, error)) {
		for subject, body := range map[string]any{fromN1: []byte("x"), "u.note.n1.x": about("Node", "", "n1", "")} {
			if _, err := tell(subject, body); err == nil || wire.StatusOf(err).Reason != metav1.StatusReasonBadRequest {
				t.Errorf("%s: %v, want BadRequest", subject, err)
			}
		}
	})
}

// A note that cannot be passed on is the node's to tell again.
func TestNoteThatIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apitest.New(t, view.Config{})
		away := errors.New("not connected")
		in := &notes.Intake{View: s.View, Publish: func(string, []byte) error { return away }}
		if err := apitest.Do(t.Context(), in.Handle, apitest.Call{Subject: fromN1, Body: about("Node", "", "n1", "")}).Err; !errors.Is(err, away) {
			t.Errorf("Handle = %v, want %v", err, away)
		}
	})
}
