package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/scheduler/internal/framework"
)

// filter rejects nothing; it only says what frees a pod that it rejected.
type filter struct {
	name string
	by   framework.Event
}

func (f filter) Name() string { return f.name }

func (f filter) Filter(*framework.Pod, *framework.Node) framework.Verdict { return framework.Fit }

func (f filter) Frees(e framework.Event) bool { return e&f.by != 0 }

// room is freed by a pod that goes, taint by a node that changes; both by a node that joins.
const (
	room  = "room"
	taint = "taint"
)

func newQueue() *Queue {
	return New([]framework.Filter{
		filter{room, framework.PodGone | framework.NodeAdded}, filter{taint, framework.NodeChanged | framework.NodeAdded},
	})
}

func by(names ...string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set
}

func pod(name string) *framework.Pod { return framework.NewPod(objtest.Pod(name).Obj()) }

// generation is the pod with its spec changed so many times.
func generation(name string, n int64) *framework.Pod {
	p := objtest.Pod(name).Obj()
	p.Generation = n
	return framework.NewPod(p)
}

func names(pods []*framework.Pod) []string {
	list := []string{}
	for _, p := range pods {
		list = append(list, p.Name)
	}
	return list
}

func wantTake(t *testing.T, q *Queue, n int, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), names(q.Take(n))); diff != "" {
		t.Errorf("Take(%d) (-want +got):\n%s", n, diff)
	}
}

func TestTakeGivesTheMostUrgentFirst(t *testing.T) {
	created := func(b *objtest.PodBuilder, second int64) *framework.Pod {
		p := b.Obj()
		p.CreationTimestamp = metav1.Unix(second, 0)
		return framework.NewPod(p)
	}
	q := newQueue()
	for _, p := range []*framework.Pod{
		created(objtest.Pod("old"), 1), created(objtest.Pod("new"), 9), created(objtest.Pod("b"), 5), created(objtest.Pod("a"), 5),
		created(objtest.Pod("a").Namespace("zoo").UID("zoo-a"), 5), created(objtest.Pod("high").Priority(1000), 9),
		created(objtest.Pod("lowest").Priority(-2147483648), 0), created(objtest.Pod("highest").Priority(2147483647), 9),
	} {
		q.Waits(p)
	}
	want := []string{"highest", "high", "old", "a", "b", "a", "new", "lowest"}
	wantTake(t, q, 100, want...)
	wantTake(t, q, 3, want[:3]...)
	wantTake(t, q, 0)
	wantTake(t, q, 100, want...) // they stay until they leave or are rejected
}

func TestWhatFrees(t *testing.T) {
	tests := []struct {
		name     string
		rejected map[string]bool
		happened framework.Event
		want     bool
	}{
		{name: "what its filter waits for", rejected: by(room), happened: framework.PodGone, want: true},
		{name: "what another filter waits for", rejected: by(room), happened: framework.NodeChanged},
		{name: "one of its filters is enough", rejected: by(room, taint), happened: framework.NodeChanged, want: true},
		{name: "one of several events is enough", rejected: by(room), happened: framework.NodeChanged | framework.PodGone, want: true},
		{name: "nothing", rejected: by(room)},
		{name: "a filter that is not known", rejected: by("gone"), happened: framework.PodGone, want: true},
		{name: "no node rejected it: a node joins", rejected: by(), happened: framework.NodeAdded, want: true},
		{name: "no node rejected it: a pod goes", rejected: by(), happened: framework.PodGone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := newQueue()
			q.Waits(pod("a"))
			q.Reject(q.Take(1)[0], tt.rejected)
			wantTake(t, q, 1)
			q.Happened(tt.happened)
			if got := len(q.Take(1)) == 1; got != tt.want || q.Rejected("uid-a") == tt.want {
				t.Errorf("tried again: %v, want %v; put aside: %v", got, tt.want, q.Rejected("uid-a"))
			}
		})
	}
}

// What happens between Take and Reject was not in the snapshot that the pod was tried with.
func TestEventDuringACycleIsNotLost(t *testing.T) {
	q := newQueue()
	q.Waits(pod("a"))
	tried := q.Take(1)[0]
	q.Happened(framework.PodGone)
	q.Reject(tried, by(taint))
	wantTake(t, q, 1) // it waits for a taint, and none has gone
	q.Happened(framework.NodeChanged)
	tried = q.Take(1)[0]
	q.Happened(framework.NodeChanged)
	q.Reject(tried, by(taint))
	wantTake(t, q, 1, "a")
	q.Reject(q.Take(1)[0], by(taint)) // what was missed has been seen since
	wantTake(t, q, 1)
}

// A pod whose spec changes while it is tried was tried as it no longer is.
func TestChangeOfThePodDuringACycleIsNotLost(t *testing.T) {
	q := newQueue()
	q.Waits(generation("a", 1))
	tried := q.Take(1)[0]
	q.Waits(generation("a", 2)) // it tolerates more now
	q.Reject(tried, by(taint))
	if got := q.Take(1); len(got) != 1 || got[0].Generation != 2 {
		t.Errorf("Take after the change = %v, want generation 2", names(got))
	}
}

// A pod is put aside as it now is: with an older revision it could never be written.
func TestRejectKeepsTheNewestRevision(t *testing.T) {
	q := newQueue()
	q.Waits(pod("a"))
	tried := q.Take(1)[0]
	newest := pod("a")
	newest.ResourceVersion = "2"
	q.Waits(newest)
	q.Reject(tried, by(room))
	if !q.Rejected("uid-a") {
		t.Fatal("a pod of which nothing has changed that a filter reads is not put aside")
	}
	q.Happened(framework.PodGone)
	if got := q.Take(1)[0]; got != newest {
		t.Errorf("tried again is revision %q, want 2", got.ResourceVersion)
	}
}

func TestLeft(t *testing.T) {
	q := newQueue()
	q.Waits(pod("a"))
	q.Waits(pod("b"))
	b := q.Take(2)[1]
	q.Reject(b, by(room))
	q.Left("uid-a")
	q.Left("uid-b")
	q.Left("uid-never-there")
	q.Happened(framework.PodGone)
	wantTake(t, q, 9)
	q.Reject(b, by(room)) // it went while it was tried
	if q.Rejected("uid-b") {
		t.Error("a pod that has left is put aside")
	}
}

func TestWaitsAgain(t *testing.T) {
	labelled := framework.NewPod(objtest.Pod("a").Label("x", "y").Obj())
	tests := []struct {
		name string
		next *framework.Pod
		want bool // tried again
	}{
		{name: "nothing that a filter reads has changed", next: pod("a")},
		{name: "its spec has changed", next: generation("a", 1), want: true},
		{name: "its labels have changed", next: labelled, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := newQueue()
			q.Waits(pod("a"))
			q.Reject(q.Take(1)[0], by(room))
			q.Waits(tt.next)
			if got := len(q.Take(1)) == 1; got != tt.want {
				t.Fatalf("tried again: %v, want %v", got, tt.want)
			}
			q.Happened(framework.PodGone)
			if got := q.Take(1); len(got) != 1 || got[0] != tt.next {
				t.Error("the pod that is tried at last is not its newest revision")
			}
		})
	}
}

// Nobody asks the queue again and again: Wait sleeps until there is a pod.
func TestWaitSleepsUntilThereIsAPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		began := time.Now()
		waits := func(want time.Duration) {
			t.Helper()
			if err := q.Wait(t.Context()); err != nil || time.Since(began) != want {
				t.Errorf("Wait = %v after %v, want nil after %v", err, time.Since(began), want)
			}
		}
		q.Waits(pod("a"))
		waits(0)
		q.Reject(q.Take(1)[0], by(room))
		time.AfterFunc(time.Hour, func() { q.Happened(framework.NodeChanged) }) // frees nobody
		time.AfterFunc(2*time.Hour, func() { q.Happened(framework.PodGone) })
		waits(2 * time.Hour)
		waits(2 * time.Hour) // the pod is still there
		q.Left("uid-a")
		time.AfterFunc(time.Hour, func() { q.Waits(pod("b")) })
		waits(3 * time.Hour)
		q.Left("uid-b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := q.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v, want the end of its context", err)
		}
	})
}

// Whatever happens in whatever order: a pod that waits is either to be tried or put aside, one that has left is neither, and
// no pod stays aside after something that helps it.
func TestQueueProperties(t *testing.T) {
	events := []framework.Event{framework.PodGone, framework.NodeAdded, framework.NodeChanged}
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		waiting, helped := map[string]bool{}, map[string]framework.Event{}
		var tried []*framework.Pod
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "pod")
			switch rapid.SampledFrom([]string{"waits", "left", "happened", "take", "reject"}).Draw(t, "step") {
			case "waits":
				q.Waits(pod(name))
				waiting[name] = true
			case "left":
				q.Left("uid-" + name)
				delete(waiting, name)
			case "happened":
				e := rapid.SampledFrom(events).Draw(t, "event")
				q.Happened(e)
				for name := range helped {
					helped[name] |= e
				}
			case "take":
				tried = q.Take(rapid.IntRange(1, 3).Draw(t, "most"))
				clear(helped)
				for _, p := range tried {
					helped[p.Name] = 0
				}
			case "reject":
				if len(tried) == 0 {
					continue
				}
				why := rapid.SampledFrom([]string{room, taint}).Draw(t, "by")
				q.Reject(tried[0], by(why))
				if aside := q.Rejected(string(tried[0].UID)); aside && q.frees(by(why), helped[tried[0].Name]) {
					t.Fatalf("%s is put aside by %s although %b happened since it was taken", tried[0].Name, why, helped[tried[0].Name])
				}
				tried = tried[1:]
			}
			for _, name := range []string{"a", "b", "c"} {
				due, aside := q.ready["uid-"+name] != nil, q.Rejected("uid-"+name)
				if due && aside || (due || aside) != waiting[name] {
					t.Fatalf("%s waits %v, is to be tried %v, is put aside %v", name, waiting[name], due, aside)
				}
			}
		}
	})
}

func BenchmarkHappened(b *testing.B) {
	q := newQueue()
	for i := range 10_000 {
		p := pod(fmt.Sprint(i))
		q.Waits(p)
		q.Reject(p, by(taint))
	}
	for b.Loop() {
		q.Happened(framework.PodGone) // helps nobody
	}
}
