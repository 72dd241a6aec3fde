// Package note tells what is worth telling but is no state: that an image was pulled, that a pod does not fit. Notes become
// core/v1 Events. They are not durable and may be lost; nothing may depend on them.
package note

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

// Subjects of the stream NOTES: note.<namespace>.<name of the event>.
const Subjects = "note.>"

// Subject is where the event called name lies in the stream.
func Subject(namespace, name string) string {
	return strings.Join([]string{"note", state.EncodeToken(namespace), state.EncodeToken(name)}, ".")
}

// remembered is how many different notes a Noter counts; the least recently told is forgotten first.
const remembered = 4096

// Noter tells notes for one component. The same note told again counts up instead of standing twice. Safe for concurrent use;
// a nil *Noter tells nobody.
type Noter struct {
	component, host string
	publish         func(event *corev1.Event, body []byte) error

	mu     sync.Mutex
	told   map[string]*list.Element
	recent *list.List // of *corev1.Event
}

// New makes a Noter; publish sends one event on its way.
func New(component, host string, publish func(*corev1.Event, []byte) error) *Noter {
	return &Noter{component: component, host: host, publish: publish, told: map[string]*list.Element{}, recent: list.New()}
}

// Normal tells that something went as it should. reason is one word in CamelCase, the message a sentence.
func (n *Noter) Normal(about scheme.Object, reason, format string, args ...any) {
	n.tell(about, "", corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...))
}

// Warning tells that something went wrong.
func (n *Noter) Warning(about scheme.Object, reason, format string, args ...any) {
	n.tell(about, "", corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...))
}

// Container tells something about one container of a pod.
func (n *Noter) Container(pod *corev1.Pod, container, typ, reason, message string) {
	n.tell(pod, "spec.containers{"+container+"}", typ, reason, message)
}

func (n *Noter) tell(about scheme.Object, path, typ, reason, message string) {
	if n == nil {
		return
	}
	event, body, err := n.event(about, path, typ, reason, message)
	if err == nil {
		err = n.publish(event, body)
	}
	if err != nil {
		slog.Debug("note was not told", "component", "note", "reason", reason, "name", about.GetName(), "err", err)
	}
}

func (n *Noter) event(about scheme.Object, path, typ, reason, message string) (*corev1.Event, []byte, error) {
	kind, ok := scheme.Of(about)
	if !ok {
		return nil, nil, fmt.Errorf("no kind for %T", about)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%s\x00%s", n.component, about.GetUID(), path, typ, reason, message))
	key := hex.EncodeToString(sum[:8])
	now := metav1.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.told[key]; ok {
		event := *e.Value.(*corev1.Event)
		event.Count++
		event.LastTimestamp = now
		e.Value = &event
		n.recent.MoveToFront(e)
		body, err := json.Marshal(&event)
		return &event, body, err
	}
	namespace := about.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	event := &corev1.Event{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: about.GetName() + "." + key, CreationTimestamp: now},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: kind.APIVersion(), Kind: kind.Name, Namespace: about.GetNamespace(), Name: about.GetName(),
			UID: about.GetUID(), ResourceVersion: about.GetResourceVersion(), FieldPath: path,
		},
		Reason: reason, Message: message, Type: typ, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source:              corev1.EventSource{Component: n.component, Host: n.host},
		ReportingController: n.component, ReportingInstance: n.host,
	}
	n.told[key] = n.recent.PushFront(event)
	if n.recent.Len() > remembered {
		oldest := n.recent.Remove(n.recent.Back()).(*corev1.Event)
		delete(n.told, oldest.Name[strings.LastIndexByte(oldest.Name, '.')+1:])
	}
	body, err := json.Marshal(event)
	return event, body, err
}

// Publisher sends a message on its way without waiting. A *wire.Conn is one.
type Publisher interface {
	Publish(subject string, body []byte) error
}

// ToStream publishes notes to the stream itself, for the services of the control plane.
func ToStream(to Publisher) func(*corev1.Event, []byte) error {
	return func(event *corev1.Event, body []byte) error {
		return to.Publish(Subject(event.Namespace, event.Name), body)
	}
}
