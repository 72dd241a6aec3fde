package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
)

// api answers every request of s with handle until the test ends.
func api(t *testing.T, s *natstest.Server, handle wire.Handler) {
	t.Helper()
	nc := s.Connect()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := wire.Serve(ctx, nc, wire.Service{Subject: "*.api.*.*.*.*", Limit: 8, Handle: handle}); !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	listening(t, nc)
}

// listening waits until the one subscription of nc is known to the server.
func listening(t *testing.T, nc *wire.Conn) {
	t.Helper()
	for nc.NumSubscriptions() == 0 {
		runtime.Gosched()
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

var web = state.ObjectRef{Resource: scheme.Pods, Namespace: "my.shop", Name: "web"}

func scheduler(t *testing.T, s *natstest.Server) *client.Client {
	t.Helper()
	return client.ForService(s.Connect(), state.Scheduler)
}

// asked is a request as the api hears it.
type asked struct {
	Target wire.Target
	Client client.Request
}

func TestRequests(t *testing.T) {
	s := natstest.Run(t)
	heard := make(chan asked, 1)
	api(t, s, func(_ context.Context, in *wire.Incoming) error {
		target, err := wire.ParseAPISubject(in.Subject)
		if err != nil {
			return err
		}
		a := asked{Target: target}
		if err := json.Unmarshal(in.Body, &a.Client); err != nil {
			return err
		}
		heard <- a
		if target.Verb == client.VerbList {
			return in.Piece([]byte(`{"meta":{}}`), true)
		}
		return in.Answer([]byte(`{"objects":[{"kind":"Pod"}],"warnings":["w"],"nats":"here","metadata":{"name":"web"}}`))
	})
	c := scheduler(t, s)
	objects := []json.RawMessage{json.RawMessage(`{"kind":"Pod"}`)}
	stamp := &client.Stamp{Kind: state.StampOwner, ID: "u1", Revision: 7}
	answer := &client.Answer{Objects: objects, Warnings: []string{"w"}}
	target := func(verb, resource, namespace string) wire.Target {
		return wire.Target{From: wire.FromServices, Identity: "scheduler", Verb: verb, Resource: resource, Namespace: namespace}
	}
	tests := []struct {
		name string
		call func(context.Context) (any, error)
		want asked
		got  any
	}{
		{
			name: "get", call: func(ctx context.Context) (any, error) {
				raw, err := c.Get(ctx, web, metav1.GetOptions{ResourceVersion: "5"})
				return len(raw) > 0, err
			},
			want: asked{target("get", scheme.Pods, "my.shop"), client.Request{Name: "web", Options: json.RawMessage(`{"resourceVersion":"5"}`)}}, got: true,
		},
		{
			name: "get into", call: func(ctx context.Context) (any, error) {
				var pod corev1.Pod
				err := c.GetInto(ctx, web, &pod)
				return pod.Name, err
			},
			want: asked{target("get", scheme.Pods, "my.shop"), client.Request{Name: "web", Options: json.RawMessage(`{}`)}}, got: "web",
		},
		{
			name: "list", call: func(ctx context.Context) (any, error) {
				return c.List(ctx, scheme.Pods, wire.Any, metav1.ListOptions{LabelSelector: "a=b", Limit: 5})
			},
			want: asked{target("list", scheme.Pods, ""), client.Request{Options: json.RawMessage(`{"labelSelector":"a=b","limit":5}`)}}, got: &client.List{},
		},
		{
			name: "create", call: func(ctx context.Context) (any, error) {
				return c.Create(ctx, scheme.Pods, "d", client.Request{Objects: objects, Stamp: stamp}, metav1.CreateOptions{FieldManager: "m"})
			},
			want: asked{target("create", scheme.Pods, "d"), client.Request{Objects: objects, Stamp: stamp, Options: json.RawMessage(`{"fieldManager":"m"}`)}}, got: answer,
		},
		{
			name: "update", call: func(ctx context.Context) (any, error) {
				return c.Update(ctx, scheme.Pods, "d", client.Request{Objects: objects, Subresource: client.Status}, metav1.UpdateOptions{DryRun: []string{"All"}})
			},
			want: asked{target("update", scheme.Pods, "d"), client.Request{Objects: objects, Subresource: "status", Options: json.RawMessage(`{"dryRun":["All"]}`)}}, got: answer,
		},
		{
			name: "delete", call: func(ctx context.Context) (any, error) {
				return c.Delete(ctx, web, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
			},
			want: asked{target("delete", scheme.Pods, "my.shop"), client.Request{Name: "web", Options: json.RawMessage(`{"gracePeriodSeconds":0}`)}}, got: answer,
		},
		{
			name: "info", call: func(ctx context.Context) (any, error) { return c.Info(ctx) },
			want: asked{target("info", "", ""), client.Request{}}, got: &client.Info{NATS: "here"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.call(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, <-heard); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.got, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorsArriveAsStatus(t *testing.T) {
	s := natstest.Run(t)
	pods := schema.GroupResource{Resource: "pods"}
	sent := make(chan error, 1)
	api(t, s, func(context.Context, *wire.Incoming) error { return <-sent })
	c := scheduler(t, s)
	calls := map[string]func(context.Context) error{
		"get": func(ctx context.Context) error { _, err := c.Get(ctx, web, metav1.GetOptions{}); return err },
		"list": func(ctx context.Context) error {
			_, err := c.All(ctx, scheme.Pods, "d", metav1.ListOptions{})
			return err
		},
		"watch": func(ctx context.Context) error {
			return c.Watch(ctx, scheme.Pods, "d", metav1.ListOptions{}, func(client.WatchEvent) error { return nil })
		},
		"delete":  func(ctx context.Context) error { _, err := c.Delete(ctx, web, metav1.DeleteOptions{}); return err },
		"session": func(ctx context.Context) error { _, err := c.Session(ctx, client.VerbExec, web, nil); return err },
	}
	for verb, call := range calls {
		for _, tt := range []struct {
			send error
			is   func(error) bool
		}{
			{apierrors.NewNotFound(pods, "web"), apierrors.IsNotFound},
			{apierrors.NewForbidden(pods, "web", errors.New("no")), apierrors.IsForbidden},
			{apierrors.NewConflict(pods, "web", errors.New("moved")), func(err error) bool {
				return apierrors.IsConflict(err) && errors.Is(err, store.ErrConflict)
			}},
			{store.ErrExpired, func(err error) bool { return errors.Is(err, client.ErrExpired) && apierrors.IsResourceExpired(err) }},
			{store.ErrUnavailable, func(err error) bool { return errors.Is(err, client.ErrUnavailable) }}, // answered: not asked again
		} {
			sent <- tt.send
			err := call(t.Context())
			status, ok := errors.AsType[*wire.StatusError](err)
			if !ok || !tt.is(err) || status.Error() != tt.send.Error() {
				t.Errorf("%s: %v arrived as %v", verb, tt.send, err)
			}
		}
	}
}

func TestAnswersThatCannotBeRead(t *testing.T) {
	s := natstest.Run(t)
	api(t, s, func(_ context.Context, in *wire.Incoming) error {
		if strings.Contains(in.Subject, "."+client.VerbList+".") {
			return in.Piece([]byte("{"), true)
		}
		return in.Answer([]byte("{"))
	})
	c := scheduler(t, s).Within(10 * time.Second)
	for name, call := range map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := c.Create(ctx, scheme.Pods, "d", client.Request{}, metav1.CreateOptions{})
			return err
		},
		"info":     func(ctx context.Context) error { _, err := c.Info(ctx); return err },
		"get into": func(ctx context.Context) error { return c.GetInto(ctx, web, &corev1.Pod{}) },
		"session":  func(ctx context.Context) error { _, err := c.Session(ctx, client.VerbExec, web, nil); return err },
		"list": func(ctx context.Context) error {
			_, err := c.List(ctx, scheme.Pods, "d", metav1.ListOptions{})
			return err
		},
	} {
		if err := call(t.Context()); err == nil || errors.Is(err, client.ErrUnavailable) {
			t.Errorf("%s = %v, want what is wrong with the answer", name, err)
		}
	}
	if _, err := c.Create(t.Context(), scheme.Pods, "d", client.Request{Objects: []json.RawMessage{[]byte("{")}}, metav1.CreateOptions{}); err == nil {
		t.Error("a request that is no JSON was sent")
	}
}

// A request that is too large is refused at once: no further attempt would make it smaller.
func TestOversizedRequestIsRefused(t *testing.T) {
	s := natstest.Run(t)
	api(t, s, func(_ context.Context, in *wire.Incoming) error { return in.Answer(nil) })
	c := scheduler(t, s).Within(10 * time.Second)
	_, err := c.Create(t.Context(), scheme.Pods, "d", client.Request{Manifest: strings.Repeat("x", 9<<20)}, metav1.CreateOptions{})
	if err == nil || errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), "maximum payload") {
		t.Errorf("Create = %v, want that it is too large", err)
	}
	if _, err := c.List(t.Context(), scheme.Pods, "d", metav1.ListOptions{LabelSelector: strings.Repeat("x", 9<<20)}); err == nil || !strings.Contains(err.Error(), "maximum payload") {
		t.Errorf("List = %v, want that it is too large", err)
	}
}

// An answer that is too large arrives as an error, not as silence.
func TestOversizedAnswerIsAnError(t *testing.T) {
	s := natstest.Run(t)
	api(t, s, func(_ context.Context, in *wire.Incoming) error { return in.Answer(make([]byte, 9<<20)) })
	if _, err := scheduler(t, s).Within(5*time.Second).Get(t.Context(), web, metav1.GetOptions{}); !apierrors.IsInternalError(err) {
		t.Errorf("Get = %v, want an internal error", err)
	}
}

// However often a command is sent again, it is one command: its id, its cause and its body stay.
func TestResentCommandIsTheSame(t *testing.T) {
	nc := natstest.Run(t).Connect()
	cause := events.Meta{Correlation: "the command that began it", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	c := client.ForService(nc, state.Controller).Because(cause)
	sub, err := nc.SubscribeSync("c.api.controller.create.>")
	if err != nil {
		t.Fatal(err)
	}
	type heard struct{ ID, Correlation, Trace, Body string }
	var all []heard
	done := make(chan error, 1)
	go func() {
		_, err := c.Create(t.Context(), scheme.Pods, "d", client.Request{Name: "x"}, metav1.CreateOptions{})
		done <- err
	}()
	for i := range 4 {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		in := wire.NewIncoming(m.Subject, m.Header, m.Data, nil)
		all = append(all, heard{in.ID, in.Correlation, in.Trace, string(in.Body)})
		m.Header.Set("Status", "503") // as the server says that nobody listens
		m.Data = nil
		if i == 3 {
			m.Header.Del("Status")
			m.Header.Set("Millrace-Answer", in.ID)
			m.Data = []byte("{}")
		}
		if err := m.RespondMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if all[0].ID == "" || all[0].Correlation != cause.Correlation || all[0].Trace != cause.Trace {
		t.Errorf("sent as %+v, because of %+v", all[0], cause)
	}
	for _, again := range all[1:] {
		if diff := cmp.Diff(all[0], again); diff != "" {
			t.Errorf("sent again (-first +again):\n%s", diff)
		}
	}
}

// A list that breaks off is read again from its beginning: no item is missing and none stands twice.
func TestBrokenListIsReadAgain(t *testing.T) {
	s := natstest.Run(t)
	attempts := 0 // one after the other
	api(t, s, func(_ context.Context, in *wire.Incoming) error {
		other := *in
		err := in.Piece([]byte(`{"item":"a"}`+"\n"+`{"item":"b"}`+"\n"), false)
		if attempts++; attempts < 3 {
			return errors.Join(err, other.Piece([]byte(`{"item":"c"}`), false)) // numbered as the first: the second is missing
		}
		return errors.Join(err, in.Piece([]byte(`{"item":"c"}`+"\n"+`{"meta":{"resourceVersion":"9","continue":"more"}}`), true))
	})
	list, err := scheduler(t, s).List(t.Context(), scheme.Pods, "d", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := &client.List{
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more"},
		Items:    []json.RawMessage{[]byte(`"a"`), []byte(`"b"`), []byte(`"c"`)},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAllReadsEveryPage(t *testing.T) {
	s := natstest.Run(t)
	pages := map[string]string{
		"":   `{"item":1}` + "\n" + `{"meta":{"resourceVersion":"5","continue":"p2"}}`,
		"p2": `{"item":2}` + "\n" + `{"meta":{"resourceVersion":"5","continue":"p3"}}`,
		"p3": `{"meta":{"resourceVersion":"5"}}`,
	}
	api(t, s, func(_ context.Context, in *wire.Incoming) error {
		var r client.Request
		var o metav1.ListOptions
		if err := errors.Join(json.Unmarshal(in.Body, &r), json.Unmarshal(r.Options, &o)); err != nil {
			return err
		}
		if o.Limit != 1 || o.LabelSelector != "a" {
			return fmt.Errorf("page %q is asked for with %s", o.Continue, r.Options)
		}
		return in.Piece([]byte(pages[o.Continue]), true)
	})
	list, err := scheduler(t, s).All(t.Context(), scheme.Pods, wire.Any, metav1.ListOptions{Limit: 1, LabelSelector: "a"})
	if err != nil {
		t.Fatal(err)
	}
	want := &client.List{ListMeta: metav1.ListMeta{ResourceVersion: "5"}, Items: []json.RawMessage{[]byte("1"), []byte("2")}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// watched serves watches of numbered events, each beginning behind the version asked for and ending as end says.
func watched(t *testing.T, s *natstest.Server, last int, end func(from int, in *wire.Incoming, stream *wire.Stream)) {
	t.Helper()
	streams := wire.NewStreams("api-1")
	nc := s.Connect()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := streams.Serve(ctx, nc, "c"); !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	listening(t, nc)
	api(t, s, func(ctx context.Context, in *wire.Incoming) error {
		if !strings.Contains(in.Subject, "."+client.VerbWatch+".") {
			return nil
		}
		var r client.Request
		var o metav1.ListOptions
		if err := errors.Join(json.Unmarshal(in.Body, &r), json.Unmarshal(r.Options, &o)); err != nil {
			return err
		}
		from, err := state.ParseRevision(o.ResourceVersion)
		if err != nil {
			return err
		}
		first := *in
		ctx, stream := streams.Open(ctx, in, "scheduler")
		for i := int(from) + 1; i <= min(int(from)+2, last); i++ {
			line := fmt.Sprintf(`{"type":"MODIFIED","object":%d}`+"\n", i)
			if err := stream.Send(ctx, []byte(line)); err != nil {
				stream.Close(err)
				return nil
			}
		}
		end(int(from), &first, stream)
		return nil
	})
}

// A watch that breaks says so, and whoever goes on from the last version it has seen misses nothing and sees nothing twice.
func TestWatchIsResumed(t *testing.T) {
	s := natstest.Run(t)
	const last = 9
	watched(t, s, last, func(from int, in *wire.Incoming, stream *wire.Stream) {
		if from+2 >= last {
			stream.Close(nil)
			return
		}
		if err := in.Piece([]byte(`{"type":"MODIFIED","object":0}`), false); err != nil { // a number that has been: one is missing
			t.Error(err)
		}
		stream.Close(nil)
	})
	c := scheduler(t, s)
	var seen []string
	from := "0"
	for tries := 0; ; tries++ {
		err := c.Watch(t.Context(), scheme.Pods, "d", metav1.ListOptions{ResourceVersion: from}, func(e client.WatchEvent) error {
			seen = append(seen, e.Type+string(e.Object))
			from = string(e.Object)
			return nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, client.ErrUnavailable) || tries > last {
			t.Fatalf("Watch = %v, want that it broke off", err)
		}
	}
	var want []string
	for i := range last {
		want = append(want, fmt.Sprint("MODIFIED", i+1))
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatchEnds(t *testing.T) {
	s := natstest.Run(t)
	watched(t, s, 2, func(_ int, _ *wire.Incoming, stream *wire.Stream) { stream.Close(store.ErrExpired) })
	c := scheduler(t, s)
	o := metav1.ListOptions{ResourceVersion: "0"}
	events := 0
	if err := c.Watch(t.Context(), scheme.Pods, "d", o, func(client.WatchEvent) error { events++; return nil }); !errors.Is(err, client.ErrExpired) || events != 2 {
		t.Errorf("Watch = %v after %d events, want that the version is too old after 2", err, events)
	}
	enough := errors.New("enough")
	if err := c.Watch(t.Context(), scheme.Pods, "d", o, func(client.WatchEvent) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Watch = %v, want what take returned", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Watch(ctx, scheme.Pods, "d", o, func(client.WatchEvent) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v, want the end of its context", err)
	}
}

func TestSession(t *testing.T) {
	s := natstest.Run(t)
	nc := s.Connect()
	api(t, s, func(ctx context.Context, in *wire.Incoming) error {
		var r client.Request
		if err := json.Unmarshal(in.Body, &r); err != nil {
			return err
		}
		kubelet, err := wire.AcceptSession(context.WithoutCancel(ctx), nc, "n1.x", *r.Session)
		if err != nil {
			return err
		}
		if err := in.AnswerJSON(client.SessionAnswer{Node: "n1.x"}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(kubelet.Writer(wire.Stdout), "%s of %s: %s", client.VerbLog, r.Name, r.Options)
		kubelet.Close(err)
		return nil
	})
	session, err := scheduler(t, s).Session(t.Context(), client.VerbLog, web, &corev1.PodLogOptions{Container: "c"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(session.Reader(wire.Stdout))
	if err != nil || string(got) != `log of web: {"container":"c"}` {
		t.Errorf("read %q, %v", got, err)
	}
	if err := session.Wait(); err != nil {
		t.Errorf("Wait = %v", err)
	}
}

// A session that was refused leaves no subscription behind.
func TestRefusedSessionIsClosed(t *testing.T) {
	s := natstest.Run(t)
	api(t, s, func(context.Context, *wire.Incoming) error { return store.ErrNotFound })
	nc := s.Connect()
	c := client.ForService(nc, state.Scheduler)
	if c.Identity() != "scheduler" {
		t.Errorf("Identity = %q", c.Identity())
	}
	if _, err := c.Get(t.Context(), web, metav1.GetOptions{}); !errors.Is(err, store.ErrNotFound) { // makes the subscription for answers
		t.Fatal(err)
	}
	before := nc.NumSubscriptions()
	if _, err := c.Session(t.Context(), client.VerbExec, web, nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Session = %v", err)
	}
	if after := nc.NumSubscriptions(); after != before {
		t.Errorf("%d subscriptions, %d before", after, before)
	}
}
