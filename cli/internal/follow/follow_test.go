package follow

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/cli/internal/fakeapi"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
)

func pod(name, uid, note string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), Annotations: map[string]string{"note": note}}}
}

// told collects what a follower tells.
type told struct {
	mu     sync.Mutex
	events []string
	lost   int
}

func (l *told) take(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, string(e.Type)+" "+e.Object.Name)
	return nil
}

func (l *told) losing(error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
}

func (l *told) has(events ...string) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Join(l.events, ", ") == strings.Join(events, ", ")
	}
}

func connect(t *testing.T, api *fakeapi.API) *client.Client {
	t.Helper()
	f, _, _ := api.Factory()
	c, err := f.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pods() resource.Set {
	kind, _ := scheme.ByResource(scheme.Pods)
	return resource.Set{Kind: kind}
}

// start follows all pods from what there is now, and returns what is told.
func start(t *testing.T, api *fakeapi.API) *told {
	t.Helper()
	c := connect(t, api)
	list, err := c.All(t.Context(), scheme.Pods, "", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var known []*resource.Object
	for _, raw := range list.Items {
		o, err := resource.Of(pods().Kind, raw)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, o)
	}
	l := &told{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		f := &Follower{Client: c, Set: pods(), Lost: l.losing}
		if err := f.Run(ctx, known, list.ResourceVersion, l.take); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return l
}

func TestRun(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("before", "1", ""))
	l := start(t, api)
	api.Put(pod("a", "2", ""))
	api.Put(pod("a", "2", "changed"))
	api.Remove(pod("before", "1", ""))
	fakeapi.Await(t, "events", l.has("ADDED a", "MODIFIED a", "DELETED before"))
}

func TestRunTakesUpWhatBrokeOff(t *testing.T) {
	api := fakeapi.Start(t)
	api.Fail("watch", scheme.Pods, apierrors.NewServiceUnavailable("away"))
	l := start(t, api)
	fakeapi.Await(t, "a lost watch", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.lost > 0 })
	api.Put(pod("a", "1", ""))
	api.Fail("watch", scheme.Pods, nil)
	fakeapi.Await(t, "events", l.has("ADDED a"))
}

func TestRunTellsWhatItMissed(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("same", "1", ""), pod("changed", "2", ""), pod("replaced", "3", ""), pod("gone", "4", ""))
	api.Fail("watch", scheme.Pods, apierrors.NewServiceUnavailable("away"))
	l := start(t, api)
	fakeapi.Await(t, "a lost watch", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.lost > 0 })
	api.Put(pod("changed", "2", "yes"), pod("replaced", "5", ""), pod("new", "6", ""))
	api.Remove(pod("gone", "4", ""))
	api.Expire()
	api.Fail("watch", scheme.Pods, nil)
	fakeapi.Await(t, "events", l.has("MODIFIED changed", "DELETED replaced", "ADDED replaced", "ADDED new", "DELETED gone"))
	api.Put(pod("later", "7", ""))
	fakeapi.Await(t, "events", l.has("MODIFIED changed", "DELETED replaced", "ADDED replaced", "ADDED new", "DELETED gone", "ADDED later"))
}

func TestRunEnds(t *testing.T) {
	api := fakeapi.Start(t)
	api.Put(pod("a", "1", ""))
	c := connect(t, api)
	enough := errors.New("enough")
	f := &Follower{Client: c, Set: pods()}
	if err := f.Run(t.Context(), nil, "", func(Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Run whose taker fails: %v", err)
	}
	api.Fail("watch", scheme.Pods, apierrors.NewForbidden(schema.GroupResource{Resource: scheme.Pods}, "", errors.New("no")))
	if err := f.Run(t.Context(), nil, "", func(Event) error { return nil }); !apierrors.IsForbidden(err) {
		t.Errorf("Run that is refused: %v", err)
	}
}

func TestGone(t *testing.T) {
	api := fakeapi.Start(t)
	c := connect(t, api)
	o := &resource.Object{Kind: pods().Kind, Namespace: "default", Name: "a"}
	wait := func(uid types.UID) chan error {
		done := make(chan error, 1)
		go func() { done <- Gone(t.Context(), c, o, uid) }()
		return done
	}
	if err := <-wait("1"); err != nil {
		t.Errorf("one that was never there: %v", err)
	}
	api.Put(pod("a", "1", ""))
	if err := <-wait("0"); err != nil {
		t.Errorf("one that was replaced before: %v", err)
	}
	removed := wait("1")
	fakeapi.Await(t, "a watch", func() bool { return len(api.Requests("watch")) == 1 })
	api.Put(pod("a", "1", "still there"))
	select {
	case err := <-removed:
		t.Fatalf("Gone returned while the object was there: %v", err)
	default:
	}
	api.Remove(pod("a", "1", ""))
	if err := <-removed; err != nil {
		t.Errorf("one that is removed: %v", err)
	}
	api.Put(pod("a", "2", ""))
	replaced := wait("2")
	fakeapi.Await(t, "a watch", func() bool { return len(api.Requests("watch")) == 2 })
	api.Put(pod("a", "3", ""))
	if err := <-replaced; err != nil {
		t.Errorf("one that is replaced: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Gone(ctx, c, o, "3"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that stays: %v", err)
	}
}
