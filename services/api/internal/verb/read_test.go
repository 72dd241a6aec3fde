package verb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
)

func TestGet(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		at := a.Put(t, apitest.Secret("s", "password", "xyzzy"))
		got := apitest.JSON[*corev1.Secret](t, a.get(scheme.Secrets, "default", "s"))
		same(t, "data", "xyzzy", string(got.Data["password"]))
		same(t, "resourceVersion", state.FormatRevision(at), got.ResourceVersion)
		if body := a.View.Body(state.ObjectKey(state.RefOf(got))); bytes.Contains(body, []byte("password")) {
			t.Errorf("the bucket holds the Secret as %s", body)
		}
		apitest.WantStatus(t, a.get(scheme.Secrets, "other", "s").Err, metav1.StatusReasonNotFound, `secrets "s" not found`)
		apitest.WantStatus(t, a.get(scheme.Pods, "default", "web").Err, metav1.StatusReasonNotFound, `pods "web" not found`)
		apitest.WantStatus(t, a.get(scheme.Pods, "default", "").Err, metav1.StatusReasonBadRequest, "name must be provided")
		apitest.WantStatus(t, a.get(scheme.Pods, "", "web").Err, metav1.StatusReasonBadRequest,
			"an empty namespace may not be set when a resource name is provided")
		if answer := a.get(scheme.Nodes, "default", "n1"); answer.Err != nil { // a namespace that the kind does not have
			t.Error(answer.Err)
		}
	})
}

// A read that demands nothing newer than what was acknowledged waits for it, however far the view is behind.
func TestReadsSeeWhatWasAcknowledged(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		writer := a.second()
		release := a.Store.Hold() // no view sees what follows
		if _, err := writer.Writer.Put(t.Context(), writer.Batch(t, apitest.ConfigMap("late"))); err != nil {
			t.Fatal(err)
		}
		old := a.ask(client.VerbGet, scheme.ConfigMaps, "default", client.Request{Name: "late", Options: raw(t, metav1.GetOptions{ResourceVersion: "0"})})
		apitest.WantStatus(t, old.Err, metav1.StatusReasonNotFound, `configmaps "late" not found`)
		done := make(chan apitest.Answer, 1)
		go func() { done <- a.get(scheme.ConfigMaps, "default", "late") }()
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("the newest was read from a view that does not have it")
		}
		release()
		if answer := <-done; answer.Err != nil {
			t.Error(answer.Err)
		}
	})
}

// Nobody has given out that revision: the answer comes after a moment, and the request does not wait for ever.
func TestReadsOfARevisionToCome(t *testing.T) {
	verbs := []struct {
		verb    string
		options any
	}{
		{client.VerbGet, metav1.GetOptions{ResourceVersion: "99999"}},
		{client.VerbList, metav1.ListOptions{ResourceVersion: "99999"}},
		{client.VerbWatch, metav1.ListOptions{ResourceVersion: "99999"}},
	}
	for _, tt := range verbs {
		t.Run(tt.verb, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				began, current := time.Now(), a.View.Position()
				err := a.ask(tt.verb, scheme.Pods, "default", client.Request{Name: "web", Options: raw(t, tt.options)}).Err
				apitest.WantStatus(t, err, metav1.StatusReasonTimeout,
					fmt.Sprintf("Timeout: Too large resource version: 99999, current: %d", current))
				same(t, "cause", metav1.CauseTypeResourceVersionTooLarge, wire.StatusOf(err).Details.Causes[0].Type)
				same(t, "waited", 3*time.Second, time.Since(began))
			})
		})
	}
}

// A view that starts anew shows a mixture; even a read that is content with anything waits until it is whole (P5).
func TestP5_NoReadFromAViewThatIsNotExact(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, apitest.ConfigMap("a"))
		release := a.Store.Hold()
		a.Store.Reset(0) // another server instance: the view begins again, and sees nothing
		apitest.Elapse(time.Second)
		done := make(chan error, 1)
		go func() {
			names, meta, err := a.list(scheme.ConfigMaps, "default", metav1.ListOptions{ResourceVersion: "0"})
			if err == nil && (len(names) != 1 || meta.ResourceVersion == "0") {
				err = fmt.Errorf("listed %v at %s", names, meta.ResourceVersion)
			}
			done <- err
		}()
		synctest.Wait()
		if len(done) > 0 {
			t.Fatalf("answered from a view that is not exact: %v", <-done)
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Who asks while this replica stops is told to ask another.
func TestReadsWhileStopping(t *testing.T) {
	for _, verb := range []string{client.VerbGet, client.VerbList, client.VerbWatch} {
		for _, version := range []string{"", "99999"} {
			t.Run(verb+" "+version, func(t *testing.T) {
				inBubble(t, func(t *testing.T, a *api) {
					release := a.Store.Hold()
					defer release()
					if _, err := a.Writer.Put(t.Context(), a.Batch(t, apitest.ConfigMap("late"))); err != nil {
						t.Fatal(err)
					}
					ctx, stop := context.WithCancelCause(t.Context())
					done := make(chan error, 1)
					go func() {
						request := client.Request{Name: "late", Options: raw(t, metav1.ListOptions{ResourceVersion: version})}
						done <- apitest.Do(ctx, a.verbs.Handle, call(verb, scheme.ConfigMaps, "default", request)).Err
					}()
					synctest.Wait()
					stop(errors.New("told to stop"))
					if err := <-done; !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%s = %v, want ErrUnavailable", verb, err)
					}
				})
			})
		}
	}
}

func TestListSelects(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t,
			objtest.Pod("a").Label("app", "web").Node("n1").Phase(corev1.PodRunning).Obj(), objtest.Pod("b").Label("app", "web").Obj(),
			objtest.Pod("c").Label("app", "db").Obj(), objtest.Pod("a").Namespace("other").UID("a2").Label("app", "web").Obj(),
			apitest.ConfigMap("k"))
		tests := []struct {
			name      string
			resource  string
			namespace string
			options   metav1.ListOptions
			want      []string
		}{
			{"all of a namespace, by name", scheme.Pods, "default", metav1.ListOptions{}, []string{"a", "b", "c"}},
			{"all namespaces, by namespace and name", scheme.Pods, wire.Any, metav1.ListOptions{}, []string{"default/a", "default/b", "default/c", "other/a"}},
			{"a namespace that is not there", scheme.Pods, "gone", metav1.ListOptions{}, nil},
			{"cluster-scoped", scheme.Nodes, wire.Any, metav1.ListOptions{}, []string{"n1"}},
			{"by label", scheme.Pods, "default", metav1.ListOptions{LabelSelector: "app=web"}, []string{"a", "b"}},
			{"by a set of labels", scheme.Pods, "default", metav1.ListOptions{LabelSelector: "app in (web,db),app!=db"}, []string{"a", "b"}},
			{"by the absence of a label", scheme.Pods, "default", metav1.ListOptions{LabelSelector: "!app"}, nil},
			{"by name", scheme.Pods, wire.Any, metav1.ListOptions{FieldSelector: "metadata.name=a"}, []string{"default/a", "other/a"}},
			{"by namespace", scheme.Pods, wire.Any, metav1.ListOptions{FieldSelector: "metadata.namespace=other"}, []string{"other/a"}},
			{"by node", scheme.Pods, wire.Any, metav1.ListOptions{FieldSelector: "spec.nodeName=n1"}, []string{"default/a"}},
			{"by phase, negated", scheme.Pods, "default", metav1.ListOptions{FieldSelector: "status.phase!=Running"}, []string{"b", "c"}},
			{"by label and field", scheme.Pods, "default", metav1.ListOptions{LabelSelector: "app=web", FieldSelector: "spec.nodeName="}, []string{"b"}},
		}
		for _, tt := range tests {
			got, meta, err := a.list(tt.resource, tt.namespace, tt.options)
			if err != nil || meta.ResourceVersion != state.FormatRevision(a.View.Position()) {
				t.Errorf("%s: %v, resourceVersion %s at position %d", tt.name, err, meta.ResourceVersion, a.View.Position())
			}
			same(t, tt.name, tt.want, got)
		}
	})
}

func TestListRefuses(t *testing.T) {
	tests := []struct {
		name        string
		resource    string
		options     metav1.ListOptions
		wantReason  metav1.StatusReason
		wantMessage string
	}{
		{
			"a field that pods cannot be selected by", scheme.Pods,
			metav1.ListOptions{FieldSelector: "spec.image=x"},
			metav1.StatusReasonBadRequest, "field label not supported: spec.image",
		},
		{
			"a field of a kind that has none", scheme.ConfigMaps,
			metav1.ListOptions{FieldSelector: "data=x"},
			metav1.StatusReasonBadRequest, `"data" is not a known field selector: only "metadata.name", "metadata.namespace"`,
		},
		{
			"the namespace of what has none", scheme.Nodes,
			metav1.ListOptions{FieldSelector: "metadata.namespace=x"},
			metav1.StatusReasonBadRequest, "field label not supported: metadata.namespace",
		},
		{
			"a label selector that is none", scheme.Pods,
			metav1.ListOptions{LabelSelector: "a in"},
			metav1.StatusReasonBadRequest, "unable to parse requirement: found '' expected: '('",
		},
		{
			"a field selector that is none", scheme.Pods,
			metav1.ListOptions{FieldSelector: "a"},
			metav1.StatusReasonBadRequest, "invalid selector: 'a'; can't understand 'a'",
		},
		{
			"a resourceVersion that is none", scheme.Pods,
			metav1.ListOptions{ResourceVersion: "x"},
			metav1.StatusReasonBadRequest, `resourceVersion "x" is not a revision`,
		},
		{
			"a continue token of somebody else", scheme.Pods,
			metav1.ListOptions{Continue: "abc"},
			metav1.StatusReasonBadRequest, "invalid continue token: continue key is not valid",
		},
		{
			"a match without a version", scheme.Pods,
			metav1.ListOptions{ResourceVersionMatch: metav1.ResourceVersionMatchExact},
			metav1.StatusReasonInvalid,
			`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided`,
		},
		{
			"initial events, which are a watch's", scheme.Pods,
			metav1.ListOptions{SendInitialEvents: new(true)},
			metav1.StatusReasonInvalid, `ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				_, _, err := a.list(tt.resource, wire.Any, tt.options)
				apitest.WantStatus(t, err, tt.wantReason, tt.wantMessage)
			})
		})
	}
}

// Pages belong together: whatever changes between them, they are the list as it was when the first was made.
func TestListPagesAreOfOneMoment(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		for _, name := range []string{"a", "c", "e", "g"} {
			a.Put(t, apitest.ConfigMap(name))
		}
		first, meta, err := a.list(scheme.ConfigMaps, "default", metav1.ListOptions{Limit: 2})
		if err != nil || meta.Continue == "" {
			t.Fatalf("first page: %v, continue %q", err, meta.Continue)
		}
		same(t, "first page", []string{"a", "c"}, first)
		same(t, "remaining", new(int64(2)), meta.RemainingItemCount)
		began := meta.ResourceVersion
		a.Put(t, apitest.ConfigMap("b"), apitest.ConfigMap("d"), apitest.ConfigMap("g", "k", "changed"))
		if answer := a.delete(scheme.ConfigMaps, "default", "e", metav1.DeleteOptions{}); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		second, meta, err := a.list(scheme.ConfigMaps, "default", metav1.ListOptions{Limit: 2, Continue: meta.Continue})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "second page", []string{"e", "g"}, second)
		same(t, "end", []string{began, ""}, []string{meta.ResourceVersion, meta.Continue})
	})
}

func TestListPagesEndWithTheLastThatIsSelected(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		for _, name := range []string{"a", "b", "c", "d"} {
			c := apitest.ConfigMap(name)
			c.Labels = map[string]string{"half": fmt.Sprint(name < "c")}
			a.Put(t, c)
		}
		got, meta, err := a.list(scheme.ConfigMaps, "default", metav1.ListOptions{LabelSelector: "half=true", Limit: 2})
		if err != nil || meta.Continue != "" || meta.RemainingItemCount != nil {
			t.Errorf("list = %v, continue %q, remaining %v; want the end", err, meta.Continue, meta.RemainingItemCount)
		}
		same(t, "page", []string{"a", "b"}, got)
	})
}

// However the pages are cut and whatever happens meanwhile, together they are the list of the first page's revision.
func TestListPagesProperties(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		rapid.Check(inside{t}, func(r *rapid.T) {
			change := func() {
				namespace := rapid.SampledFrom([]string{"default", "other"}).Draw(r, "namespace")
				c := apitest.ConfigMap(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(r, "name"))
				c.Namespace = namespace
				if rapid.Bool().Draw(r, "remove") {
					a.delete(scheme.ConfigMaps, namespace, c.Name, metav1.DeleteOptions{})
				} else {
					a.Put(t, c)
				}
			}
			for range 5 {
				change()
			}
			want, begin, err := a.list(scheme.ConfigMaps, wire.Any, metav1.ListOptions{})
			if err != nil {
				r.Fatal(err)
			}
			options := metav1.ListOptions{ResourceVersion: begin.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact}
			var got []string
			for {
				change()
				options.Limit = rapid.Int64Range(1, 4).Draw(r, "limit")
				page, meta, err := a.list(scheme.ConfigMaps, wire.Any, options)
				if err != nil || meta.ResourceVersion != begin.ResourceVersion {
					r.Fatalf("page: %v, resourceVersion %s, want %s", err, meta.ResourceVersion, begin.ResourceVersion)
				}
				got = append(got, page...)
				if meta.Continue == "" {
					break
				}
				options = metav1.ListOptions{Continue: meta.Continue}
			}
			same(t, "pages", want, got)
		})
	})
}

// A page of a list that began before the window of this replica cannot be had any more; who wants may go on with what there is.
func TestListContinueExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		for _, name := range []string{"a", "b", "c"} {
			a.Put(t, apitest.ConfigMap(name))
		}
		_, meta, err := a.list(scheme.ConfigMaps, "default", metav1.ListOptions{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		exact := metav1.ListOptions{ResourceVersion: meta.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact}
		a.Put(t, apitest.ConfigMap("d"))
		late := a.second() // its window begins after the first page
		_, _, err = late.list(scheme.ConfigMaps, "default", metav1.ListOptions{Limit: 1, Continue: meta.Continue})
		if status := wire.StatusOf(err); status.Reason != metav1.StatusReasonExpired || status.Code != 410 ||
			!strings.HasPrefix(status.Message, "The provided continue parameter is too old to display a consistent list result.") {
			t.Fatalf("continue = %v, want Expired", err)
		}
		names, rest, err := late.list(scheme.ConfigMaps, "default", metav1.ListOptions{Continue: wire.StatusOf(err).Continue})
		if err != nil || rest.ResourceVersion != state.FormatRevision(a.View.Position()) {
			t.Errorf("the rest, inconsistently: %v at %s", err, rest.ResourceVersion)
		}
		same(t, "the rest, inconsistently", []string{"b", "c", "d"}, names)
		_, _, err = late.list(scheme.ConfigMaps, "default", exact)
		apitest.WantStatus(t, err, metav1.StatusReasonExpired, "The resourceVersion for the provided list is too old.")
		both := metav1.ListOptions{ResourceVersion: "1", Continue: meta.Continue}
		_, _, err = a.list(scheme.ConfigMaps, "default", both)
		apitest.WantStatus(t, err, metav1.StatusReasonBadRequest, "specifying resource version is not allowed when using continue")
	})
}

// A version says how old a list may be; with Exact, or with pages, how old it is.
func TestListResourceVersion(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		then := a.Put(t, apitest.ConfigMap("a"))
		now := a.Put(t, apitest.ConfigMap("b"))
		version := state.FormatRevision(then)
		tests := []struct {
			name    string
			options metav1.ListOptions
			want    []string
			wantAt  uint64
		}{
			{"at least", metav1.ListOptions{ResourceVersion: version}, []string{"a", "b"}, now},
			{"at least, said", metav1.ListOptions{ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}, []string{"a", "b"}, now},
			{"exactly", metav1.ListOptions{ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchExact}, []string{"a"}, then},
			{"a page of it", metav1.ListOptions{ResourceVersion: version, Limit: 5}, []string{"a"}, then},
			{"anything", metav1.ListOptions{ResourceVersion: "0"}, []string{"a", "b"}, now},
			{"a page of anything", metav1.ListOptions{ResourceVersion: "0", Limit: 5}, []string{"a", "b"}, now},
		}
		for _, tt := range tests {
			got, meta, err := a.list(scheme.ConfigMaps, "default", tt.options)
			if err != nil || meta.ResourceVersion != state.FormatRevision(tt.wantAt) {
				t.Errorf("%s: %v at %s, want %d", tt.name, err, meta.ResourceVersion, tt.wantAt)
			}
			same(t, tt.name, tt.want, got)
		}
	})
}

// A long list comes in pieces that each fit into a message.
func TestListInPieces(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		const count = 5
		for i := range count {
			a.Put(t, apitest.ConfigMap(fmt.Sprint("c", i), "k", strings.Repeat("x", wire.PieceSize/2)))
		}
		answer := a.ask(client.VerbList, scheme.ConfigMaps, "default", client.Request{})
		if len(answer.Pieces) < count/2 {
			t.Errorf("%d pieces", len(answer.Pieces))
		}
		items := 0
		for _, piece := range answer.Pieces {
			if len(piece) > wire.PieceSize+1024 {
				t.Errorf("a piece of %d bytes", len(piece))
			}
			for line := range bytes.Lines(piece) {
				var item client.ListLine
				if err := json.Unmarshal(line, &item); err != nil {
					t.Fatal(err)
				}
				if item.Meta == nil {
					items++
				}
			}
		}
		same(t, "items", count, items)
	})
}

// Events are read like any other kind, but lie beside the state.
func TestEventsAreRead(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		for i, reason := range []string{"Pulled", "Started"} {
			event := corev1.Event{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}, ObjectMeta: metav1.ObjectMeta{Name: "web." + reason, Namespace: "default"},
				InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web"}, Reason: reason, ReportingController: "kubelet",
			}
			a.notes.Deliver("", uint64(i+1), time.Now(), raw(t, event))
		}
		names, meta, err := a.list(scheme.Events, "default", metav1.ListOptions{FieldSelector: "involvedObject.name=web,reason=Pulled,source=kubelet"})
		if err != nil || meta.ResourceVersion != state.FormatRevision(a.notes.Position()) {
			t.Errorf("list = %v at %s", err, meta.ResourceVersion)
		}
		same(t, "events", []string{"web.Pulled"}, names)
		same(t, "reason", "Started", apitest.JSON[corev1.Event](t, a.get(scheme.Events, "default", "web.Started")).Reason)
		apitest.WantStatus(t, a.delete(scheme.Events, "default", "web.Started", metav1.DeleteOptions{}).Err,
			metav1.StatusReasonMethodNotAllowed, `delete is not supported on resources of kind "events"`)
	})
}
