package verb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/authz"
	"millrace.dev/services/api/internal/notes"
	"millrace.dev/services/api/internal/verb"
	"millrace.dev/services/api/internal/watch"
)

// api is one replica of the api over a bucket in memory.
type api struct {
	*apitest.State
	t     *testing.T
	verbs *verb.Verbs
	notes *notes.Notes
	nodes *kubelets
}

// inBubble runs a test against an api with the namespaces default and other and the node n1. Time is virtual, and whatever
// still runs when the test is over fails it.
func inBubble(t *testing.T, test func(t *testing.T, a *api)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hub := watch.New()
		a := &api{t: t, notes: notes.New(time.Now), nodes: &kubelets{}, State: apitest.New(t, observed(hub))}
		a.serve(hub)
		a.Put(t, apitest.Namespace("default"), apitest.Namespace("other"), objtest.Node("n1").Obj())
		test(t, a)
	})
}

// inside is a test inside a bubble as rapid takes it, which would ask a *testing.T for its deadline outside.
type inside struct{ testing.TB }

func observed(hub *watch.Hub) view.Config {
	return view.Config{Subscribers: []view.Subscriber{hub.Changed}, Loaded: hub.Loaded}
}

func (a *api) serve(hub *watch.Hub) {
	a.verbs = verb.New(verb.Deps{
		View: a.View, Writer: a.Writer, Hub: hub, Notes: a.notes, Sealer: a.Sealer, Authz: authz.New("admin"),
		Streams: wire.NewStreams("api-1"), Nodes: a.nodes, Source: apitest.Source, Now: time.Now,
		Info: func(context.Context) (*client.Info, error) { return &client.Info{NATS: "nats://test"}, nil },
	})
}

// second is another replica over the same bucket.
func (a *api) second() *api {
	a.t.Helper()
	hub := watch.New()
	b := &api{t: a.t, notes: a.notes, nodes: a.nodes, State: a.Replica(a.t, "api-2", observed(hub))}
	b.serve(hub)
	return b
}

// kubelets is what the api reaches of nodes: it remembers what was announced.
type kubelets struct {
	mu        sync.Mutex
	announced []announcement
	fail      error
}

type announcement struct {
	Node    string
	Request state.SessionRequest
}

// Announce implements [verb.Nodes].
func (k *kubelets) Announce(_ context.Context, node string, r state.SessionRequest) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	k.announced = append(k.announced, announcement{node, r})
	return nil
}

// call is a request of the admin.
func call(verb, resource, namespace string, r client.Request) apitest.Call {
	return apitest.Call{Subject: wire.API{Prefix: "u.", Identity: "admin"}.Subject(verb, resource, namespace), Body: r, Foreign: true}
}

func (a *api) do(c apitest.Call) apitest.Answer { return apitest.Do(a.t.Context(), a.verbs.Handle, c) }

func (a *api) stream(c apitest.Call) <-chan apitest.Message {
	a.t.Helper()
	return apitest.Stream(a.t.Context(), a.t, a.verbs.Handle, c)
}

func (a *api) ask(verb, resource, namespace string, r client.Request) apitest.Answer {
	return a.do(call(verb, resource, namespace, r))
}

// raw is a document as it stands in a request.
func raw(t testing.TB, document any) json.RawMessage {
	t.Helper()
	if text, ok := document.(string); ok {
		return json.RawMessage(text)
	}
	body, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// write asks to create or update objects: Go values, or JSON as text.
func (a *api) write(verb, resource, namespace string, options any, objects ...any) apitest.Answer {
	a.t.Helper()
	r := client.Request{Options: raw(a.t, options)}
	for _, o := range objects {
		r.Objects = append(r.Objects, raw(a.t, o))
	}
	return a.ask(verb, resource, namespace, r)
}

func (a *api) create(resource, namespace string, objects ...any) apitest.Answer {
	a.t.Helper()
	return a.write(client.VerbCreate, resource, namespace, metav1.CreateOptions{}, objects...)
}

func (a *api) update(resource, namespace string, objects ...any) apitest.Answer {
	a.t.Helper()
	return a.write(client.VerbUpdate, resource, namespace, metav1.UpdateOptions{}, objects...)
}

// causeFields are the fields at fault that an error names.
func causeFields(err error) (fields []string) {
	if err == nil || wire.StatusOf(err).Details == nil {
		return nil
	}
	for _, cause := range wire.StatusOf(err).Details.Causes {
		fields = append(fields, cause.Field)
	}
	return fields
}

func (a *api) updateStatus(resource, namespace string, object any) apitest.Answer {
	a.t.Helper()
	return a.ask(client.VerbUpdate, resource, namespace, client.Request{Subresource: client.Status, Objects: []json.RawMessage{raw(a.t, object)}})
}

func (a *api) delete(resource, namespace, name string, options metav1.DeleteOptions) apitest.Answer {
	a.t.Helper()
	return a.ask(client.VerbDelete, resource, namespace, client.Request{Name: name, Options: raw(a.t, options)})
}

func (a *api) get(resource, namespace, name string) apitest.Answer {
	return a.ask(client.VerbGet, resource, namespace, client.Request{Name: name})
}

// list is one page, as names with their namespace in front if all were asked for.
func (a *api) list(resource, namespace string, options metav1.ListOptions) (names []string, meta metav1.ListMeta, err error) {
	a.t.Helper()
	answer := a.ask(client.VerbList, resource, namespace, client.Request{Options: raw(a.t, options)})
	for line := range bytes.Lines(bytes.Join(answer.Pieces, nil)) {
		var item client.ListLine
		if err := json.Unmarshal(line, &item); err != nil {
			a.t.Fatalf("line %s of a list: %v", line, err)
		}
		if item.Meta != nil {
			meta = *item.Meta
			continue
		}
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(item.Item, &o); err != nil {
			a.t.Fatal(err)
		}
		if namespace == wire.Any && o.Namespace != "" {
			o.Name = o.Namespace + "/" + o.Name
		}
		names = append(names, o.Name)
	}
	return names, meta, answer.Err
}

// objects are what a create, update or delete answered.
func objects[T scheme.Object](t testing.TB, a apitest.Answer) []T {
	t.Helper()
	answer := apitest.JSON[client.Answer](t, a)
	list := make([]T, len(answer.Objects))
	for i, body := range answer.Objects {
		if err := json.Unmarshal(body, &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// object is the only object of an answer.
func object[T scheme.Object](t testing.TB, a apitest.Answer) T {
	t.Helper()
	list := objects[T](t, a)
	if len(list) != 1 {
		t.Fatalf("%d objects in the answer, want 1", len(list))
	}
	return list[0]
}

// metaOf is the metadata of the only object of an answer.
func metaOf(t testing.TB, a apitest.Answer) metav1.ObjectMeta {
	t.Helper()
	answer := apitest.JSON[client.Answer](t, a)
	if len(answer.Objects) != 1 {
		t.Fatalf("%d objects in the answer, want 1", len(answer.Objects))
	}
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(answer.Objects[0], &meta); err != nil {
		t.Fatal(err)
	}
	return meta.ObjectMeta
}

func same[T any](t testing.TB, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantGone demands that neither the api nor the bucket has an object.
func (a *api) wantGone(resource, namespace, name string) {
	a.t.Helper()
	if answer := a.get(resource, namespace, name); !errors.Is(statusError(answer.Err), errNotFound) {
		a.t.Errorf("get %s %s/%s = %s, %v; want NotFound", resource, namespace, name, bytes.Join(answer.Pieces, nil), answer.Err)
	}
}

var errNotFound = errors.New("not found")

// statusError is errNotFound if that is how the error arrives.
func statusError(err error) error {
	if err != nil && wire.StatusOf(err).Reason == metav1.StatusReasonNotFound {
		return errNotFound
	}
	return err
}
