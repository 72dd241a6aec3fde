package verb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// watched is a watch and what it has told.
type watched struct {
	t        *testing.T
	cancel   context.CancelCauseFunc
	messages <-chan apitest.Message
	last     *apitest.Message // how it ended
	versions []string         // of the events that were told last
}

// errLeft is why a watcher leaves.
var errLeft = errors.New("the watcher has left")

func (a *api) watch(resource, namespace string, options metav1.ListOptions) *watched {
	a.t.Helper()
	ctx, cancel := context.WithCancelCause(a.t.Context())
	a.t.Cleanup(func() { cancel(errLeft) })
	c := call(client.VerbWatch, resource, namespace, client.Request{Options: raw(a.t, options)})
	return &watched{t: a.t, cancel: cancel, messages: apitest.Stream(ctx, a.t, a.verbs.Handle, c)}
}

// told is all that the watch has told since it was last asked: "ADDED a", with the namespace if it is not default.
func (w *watched) told() (events []string) {
	w.t.Helper()
	synctest.Wait()
	w.versions = nil
	for {
		select {
		case m, open := <-w.messages:
			switch {
			case !open:
				return events
			case m.Failed, m.Last:
				w.last = &m
				continue
			}
			for line := range bytes.Lines(m.Body) {
				var event struct {
					Type   string
					Object metav1.PartialObjectMetadata
				}
				if err := json.Unmarshal(line, &event); err != nil {
					w.t.Fatalf("event %s: %v", line, err)
				}
				name := event.Object.Name
				if event.Object.Namespace != "" && event.Object.Namespace != "default" {
					name = event.Object.Namespace + "/" + name
				}
				events = append(events, event.Type+" "+name)
				w.versions = append(w.versions, event.Object.ResourceVersion)
			}
		default:
			return events
		}
	}
}

// ended is the error that the watch told last; nil if it ended well.
func (w *watched) ended() error {
	w.t.Helper()
	w.told()
	switch {
	case w.last == nil:
		w.t.Fatal("the watch has not ended")
		return nil
	case w.last.Last:
		return nil
	}
	var status metav1.Status
	if err := json.Unmarshal(w.last.Body, &status); err != nil {
		w.t.Fatal(err)
	}
	return &wire.StatusError{StatusError: apierrors.StatusError{ErrStatus: status}}
}

func TestWatchTellsWhatThereIsThenChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		elsewhere := apitest.ConfigMap("c")
		elsewhere.Namespace = "other"
		a.Put(t, apitest.ConfigMap("a"), apitest.ConfigMap("b"), apitest.Secret("s"), elsewhere)
		w := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{})
		same(t, "at first", []string{"ADDED a", "ADDED b"}, w.told())
		at := a.Put(t, apitest.ConfigMap("a", "k", "v"))
		same(t, "after a change", []string{"MODIFIED a"}, w.told())
		same(t, "its version", []string{state.FormatRevision(at)}, w.versions)
		elsewhere.Data = map[string]string{"k": "v"}
		a.Put(t, elsewhere, apitest.Secret("s", "k", "v"))
		same(t, "after changes elsewhere", nil, w.told())
		a.delete(scheme.ConfigMaps, "default", "b", metav1.DeleteOptions{})
		same(t, "after a removal", []string{"DELETED b"}, w.told())
		a.Fresh(t)
		same(t, "the version of the removal", []string{state.FormatRevision(a.View.Position())}, w.versions)
	})
}

func TestWatchOfAllNamespaces(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		w := a.watch(scheme.ConfigMaps, wire.Any, metav1.ListOptions{})
		same(t, "at first", nil, w.told())
		c := apitest.ConfigMap("c")
		c.Namespace = "other"
		a.Put(t, c, apitest.ConfigMap("c"))
		same(t, "told", []string{"ADDED other/c", "ADDED c"}, w.told())
	})
}

// A watch of a Secret tells it opened, before and after.
func TestWatchOpensSecrets(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		labelled := apitest.Secret("s", "k", "v")
		labelled.Labels = map[string]string{"app": "web"}
		w := a.watch(scheme.Secrets, "default", metav1.ListOptions{LabelSelector: "app=web", FieldSelector: "type=Opaque"})
		same(t, "at first", nil, w.told())
		a.Put(t, labelled)
		same(t, "added", []string{"ADDED s"}, w.told())
		a.delete(scheme.Secrets, "default", "s", metav1.DeleteOptions{})
		same(t, "removed", []string{"DELETED s"}, w.told())
	})
}

// What begins to match a selector is ADDED, what ceases to is DELETED, whatever happened to it otherwise.
func TestWatchWithSelectors(t *testing.T) {
	web := func(name string) *objtest.PodBuilder { return objtest.Pod(name).Label("app", "web") }
	tests := []struct {
		name    string
		options metav1.ListOptions
		before  *corev1.Pod // nil: there is none
		after   *corev1.Pod // nil: it is deleted
		want    []string
	}{
		{"created in", metav1.ListOptions{LabelSelector: "app=web"}, nil, web("p").Obj(), []string{"ADDED p"}},
		{"created out", metav1.ListOptions{LabelSelector: "app=web"}, nil, objtest.Pod("p").Obj(), nil},
		{"moves in", metav1.ListOptions{LabelSelector: "app=web"}, objtest.Pod("p").Obj(), web("p").Obj(), []string{"ADDED p"}},
		{"moves out", metav1.ListOptions{LabelSelector: "app=web"}, web("p").Obj(), objtest.Pod("p").Obj(), []string{"DELETED p"}},
		{"stays in", metav1.ListOptions{LabelSelector: "app=web"}, web("p").Obj(), web("p").Label("v", "2").Obj(), []string{"MODIFIED p"}},
		{"stays out", metav1.ListOptions{LabelSelector: "app=web"}, objtest.Pod("p").Obj(), objtest.Pod("p").Label("v", "2").Obj(), nil},
		{"deleted in", metav1.ListOptions{LabelSelector: "app=web"}, web("p").Obj(), nil, []string{"DELETED p"}},
		{"deleted out", metav1.ListOptions{LabelSelector: "app=web"}, objtest.Pod("p").Obj(), nil, nil},
		{"gets a node", metav1.ListOptions{FieldSelector: "spec.nodeName=n1"}, web("p").Obj(), web("p").Node("n1").Obj(), []string{"ADDED p"}},
		{"ends", metav1.ListOptions{FieldSelector: "status.phase=Pending"}, web("p").Obj(), web("p").Phase(corev1.PodFailed).Obj(), []string{"DELETED p"}},
		{"another by name", metav1.ListOptions{FieldSelector: "metadata.name=q"}, web("p").Obj(), web("p").Label("v", "2").Obj(), nil},
		{"becomes another object", metav1.ListOptions{LabelSelector: "app=web"}, web("p").Obj(), web("p").UID("new").Obj(), []string{"DELETED p", "ADDED p"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				if tt.before != nil {
					a.Put(t, tt.before)
				}
				tt.options.ResourceVersion = state.FormatRevision(a.View.Position())
				w := a.watch(scheme.Pods, "default", tt.options)
				same(t, "at first", nil, w.told())
				if tt.after != nil {
					a.Put(t, tt.after)
				} else {
					a.delete(scheme.Pods, "default", "p", metav1.DeleteOptions{})
				}
				same(t, "told", tt.want, w.told())
			})
		})
	}
}

// What leaves a selector is told as it was when it last matched, at the revision at which it left.
func TestWatchTellsWhatLeftAsItWas(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("p").Label("app", "web").Obj())
		options := metav1.ListOptions{LabelSelector: "app=web", ResourceVersion: state.FormatRevision(a.View.Position())}
		stream := a.stream(call(client.VerbWatch, scheme.Pods, "default", client.Request{Options: raw(t, options)}))
		at := a.Put(t, objtest.Pod("p").Label("app", "db").Obj())
		event := apitest.JSON[client.WatchEvent](t, apitest.Answer{Pieces: [][]byte{(<-stream).Body}})
		var pod corev1.Pod
		if err := json.Unmarshal(event.Object, &pod); err != nil {
			t.Fatal(err)
		}
		same(t, "event", []string{"DELETED", "web", state.FormatRevision(at)}, []string{event.Type, pod.Labels["app"], pod.ResourceVersion})
	})
}

// Whoever resumes from the last version that he has seen misses nothing and hears nothing twice, wherever he broke off.
func TestWatchResumesAnywhere(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		rapid.Check(inside{t}, func(r *rapid.T) {
			list, meta, err := a.list(scheme.ConfigMaps, "default", metav1.ListOptions{})
			if err != nil {
				r.Fatal(err)
			}
			known := map[string]bool{}
			for _, name := range list {
				known[name] = true
			}
			version := meta.ResourceVersion
			for range rapid.IntRange(1, 4).Draw(r, "watches") {
				w := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{ResourceVersion: version})
				for range rapid.IntRange(0, 6).Draw(r, "changes") {
					name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "name")
					if rapid.Bool().Draw(r, "remove") {
						a.delete(scheme.ConfigMaps, "default", name, metav1.DeleteOptions{})
					} else {
						a.Put(t, apitest.ConfigMap(name))
					}
				}
				told := w.told()
				seen := rapid.IntRange(0, len(told)).Draw(r, "seen") // the rest is lost with the connection
				for i, event := range told[:seen] {
					typ, name, _ := strings.Cut(event, " ")
					if known[name] == (typ == "ADDED") {
						r.Fatalf("told %s when known were %v", event, known)
					}
					known[name] = typ != "DELETED"
					version = w.versions[i]
				}
				w.cancel(errLeft)
			}
			w := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{ResourceVersion: version})
			for _, event := range w.told() {
				typ, name, _ := strings.Cut(event, " ")
				known[name] = typ != "DELETED"
			}
			w.cancel(errLeft)
			now, _, err := a.list(scheme.ConfigMaps, "default", metav1.ListOptions{})
			if err != nil {
				r.Fatal(err)
			}
			for _, name := range []string{"a", "b", "c"} {
				if known[name] != slices.Contains(now, name) {
					r.Fatalf("the watches say %v, the list says %v", known, now)
				}
			}
		})
	})
}

func TestWatchOfAVersionThatIsTooOld(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		old := a.Put(t, apitest.ConfigMap("a"))
		a.Put(t, apitest.ConfigMap("b"))
		late := a.second() // its window begins here
		err := late.ask(client.VerbWatch, scheme.ConfigMaps, "default", client.Request{
			Options: raw(t, metav1.ListOptions{ResourceVersion: state.FormatRevision(old)}),
		}).Err
		apitest.WantStatus(t, err, metav1.StatusReasonExpired, fmt.Sprintf("too old resource version: %d", old))
		same(t, "code", int32(410), wire.StatusOf(err).Code)
	})
}

// The view starts anew, so that the window may have a gap: the watch says so instead of being silent.
func TestWatchEndsWhenTheWindowBreaks(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		w := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{})
		w.told()
		a.Store.Reset(0)
		apitest.Elapse(time.Second)
		a.Fresh(t)
		if err := w.ended(); !errors.Is(err, store.ErrExpired) {
			t.Errorf("the watch ended with %v, want ErrExpired", err)
		}
	})
}

// A watcher of a replica that stops is told to go on with another.
func TestWatchEndsWhenTheReplicaStops(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		w := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{})
		w.told()
		w.cancel(errors.New("told to stop"))
		if err := w.ended(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("the watch ended with %v, want ErrUnavailable", err)
		}
	})
}

func TestWatchEndsAtItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		w := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{TimeoutSeconds: new(int64(7))})
		endless := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{TimeoutSeconds: new(int64(0))})
		apitest.Elapse(6 * time.Second)
		w.told()
		if w.last != nil {
			t.Fatal("the watch ended too early")
		}
		apitest.Elapse(2 * time.Second)
		if err := w.ended(); err != nil {
			t.Errorf("the watch ended with %v, want nothing", err)
		}
		if endless.told(); endless.last != nil {
			t.Error("a watch of no time, which is any time, has ended")
		}
	})
}

// Bookmarks tell how far a watch is even if nothing that it selects has changed: who resumes from one is not too old.
func TestWatchBookmarks(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		begin := state.FormatRevision(a.View.Position())
		w := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{ResourceVersion: begin, LabelSelector: "app=web", AllowWatchBookmarks: true})
		silent := a.watch(scheme.ConfigMaps, "default", metav1.ListOptions{ResourceVersion: begin})
		at := a.Put(t, apitest.Secret("s"))
		apitest.Elapse(10*time.Second + time.Millisecond)
		same(t, "after 10 s", []string{"BOOKMARK "}, w.told())
		same(t, "its version", []string{state.FormatRevision(at)}, w.versions)
		same(t, "who did not ask for bookmarks hears", nil, silent.told())
		for range 12 { // the kind is busy, but with what this watch does not select
			a.Put(t, apitest.ConfigMap("c", "at", time.Now().String()))
			apitest.Elapse(time.Second)
		}
		same(t, "while others change", []string{"BOOKMARK "}, w.told())
		if got, err := state.ParseRevision(w.versions[0]); err != nil || got <= at {
			t.Errorf("the bookmark says %d, as before the changes", got)
		}
	})
}

func TestWatchSendInitialEvents(t *testing.T) {
	notOlder := metav1.ResourceVersionMatchNotOlderThan
	tests := []struct {
		name    string
		options metav1.ListOptions
		want    []string
	}{
		{"yes", metav1.ListOptions{SendInitialEvents: new(true), ResourceVersionMatch: notOlder, AllowWatchBookmarks: true}, []string{"ADDED a", "BOOKMARK "}},
		{"yes, from a version", metav1.ListOptions{SendInitialEvents: new(true), ResourceVersionMatch: notOlder, ResourceVersion: "1"}, []string{"ADDED a", "BOOKMARK "}},
		{"no", metav1.ListOptions{SendInitialEvents: new(false), ResourceVersionMatch: notOlder}, nil},
		{"no, from anything", metav1.ListOptions{SendInitialEvents: new(false), ResourceVersionMatch: notOlder, ResourceVersion: "0"}, nil},
		{"not said", metav1.ListOptions{}, []string{"ADDED a"}},
		{"not said, from anything", metav1.ListOptions{ResourceVersion: "0"}, []string{"ADDED a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				a.Put(t, apitest.ConfigMap("a"))
				w := a.watch(scheme.ConfigMaps, "default", tt.options)
				same(t, "at first", tt.want, w.told())
				a.Put(t, apitest.ConfigMap("b"))
				same(t, "then", []string{"ADDED b"}, w.told())
			})
		})
	}
}

func TestWatchMarksTheEndOfTheInitialEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		options := metav1.ListOptions{SendInitialEvents: new(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}
		stream := a.stream(call(client.VerbWatch, scheme.ConfigMaps, "default", client.Request{Options: raw(t, options)}))
		event := apitest.JSON[client.WatchEvent](t, apitest.Answer{Pieces: [][]byte{(<-stream).Body}})
		var mark corev1.ConfigMap
		if err := json.Unmarshal(event.Object, &mark); err != nil {
			t.Fatal(err)
		}
		same(t, "the mark", []string{"BOOKMARK", "ConfigMap", "true", state.FormatRevision(a.View.Position())},
			[]string{event.Type, mark.Kind, mark.Annotations[metav1.InitialEventsAnnotationKey], mark.ResourceVersion})
	})
}

func TestWatchRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		tests := []struct {
			options     metav1.ListOptions
			wantReason  metav1.StatusReason
			wantMessage string
		}{
			{metav1.ListOptions{FieldSelector: "spec.image=x"}, metav1.StatusReasonBadRequest, "field label not supported: spec.image"},
			{metav1.ListOptions{ResourceVersion: "x"}, metav1.StatusReasonBadRequest, `resourceVersion "x" is not a revision`},
			{
				metav1.ListOptions{SendInitialEvents: new(true)},
				metav1.StatusReasonInvalid,
				`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan`,
			},
		}
		for _, tt := range tests {
			apitest.WantStatus(t, a.ask(client.VerbWatch, scheme.Pods, "default", client.Request{Options: raw(t, tt.options)}).Err, tt.wantReason, tt.wantMessage)
		}
	})
}

// A watch that has nothing to say gives a sign of life; one whose receiver is silent ends by itself, and leaves nothing behind.
func TestWatchHeartbeatAndSilentReceiver(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		stream := a.stream(call(client.VerbWatch, scheme.Pods, "default", client.Request{}))
		began := time.Now()
		beats := 0
		for m := range stream { // until the handler returns
			if len(m.Body) > 0 || m.Failed || m.Last {
				t.Errorf("told %s", m.Body)
			}
			beats++
		}
		if took := time.Since(began); took != 30*time.Second || beats < 2 {
			t.Errorf("it ended after %s with %d signs of life, want 30 s and at least 2", took, beats)
		}
	})
}

// Notes are watched like any other kind.
func TestWatchEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		tell := func(sequence uint64, count int32) {
			a.notes.Deliver("", sequence, time.Now(), raw(t, corev1.Event{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}, ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "default"}, Count: count,
			}))
		}
		tell(1, 1)
		w := a.watch(scheme.Events, "default", metav1.ListOptions{})
		same(t, "at first", []string{"ADDED e"}, w.told())
		tell(2, 2)
		same(t, "told again", []string{"MODIFIED e"}, w.told())
	})
}
