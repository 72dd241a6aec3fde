package logs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/cli/internal/fakeapi"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/wire"
)

// pod is one whose containers run, each for the first time.
func pod(name, app string, containers ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{"app": app}}}
	p.Status.Phase = corev1.PodRunning
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c})
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
	return p
}

func waiting(p *corev1.Pod) *corev1.Pod {
	p.Status.ContainerStatuses = nil
	p.Status.Phase = corev1.PodPending
	return p
}

// kubelets is an api whose kubelets write for each container what texts say of "pod/container", and then what a test adds.
type kubelets struct {
	*fakeapi.API
	t     *testing.T
	texts map[string]string

	mu     sync.Mutex
	asked  []string // "pod/container", in the order of the requests
	option []corev1.PodLogOptions
	more   map[string]chan string // what is written while a log is followed
}

func start(t *testing.T, texts map[string]string) *kubelets {
	k := &kubelets{API: fakeapi.Start(t), t: t, texts: texts, more: map[string]chan string{}}
	k.Serve(k.serve)
	return k
}

func (k *kubelets) serve(ctx context.Context, s fakeapi.Session) {
	var o corev1.PodLogOptions
	if err := json.Unmarshal(s.Options, &o); err != nil {
		k.t.Error(err)
	}
	key := s.Pod.Name + "/" + o.Container
	k.mu.Lock()
	k.asked, k.option = append(k.asked, key), append(k.option, o)
	more := k.channel(key)
	k.mu.Unlock()
	w := s.Writer(wire.Stdout)
	io.WriteString(w, k.texts[key]) //nolint:errcheck // the client may be gone
	gone := make(chan struct{})
	go func() {
		s.Wait() //nolint:errcheck // how it ended does not matter
		close(gone)
	}()
	for o.Follow {
		select {
		case <-ctx.Done():
			return
		case <-gone:
			return
		case text := <-more:
			if text == "" {
				o.Follow = false
				break
			}
			io.WriteString(w, text) //nolint:errcheck // the client may be gone
		}
	}
	w.Close() //nolint:errcheck // the client may be gone
	if reason, failed := strings.CutPrefix(k.texts[key], "fail: "); failed {
		s.Close(errors.New(reason))
	}
}

// channel is where more of a log comes from. Caller holds mu.
func (k *kubelets) channel(key string) chan string {
	if k.more[key] == nil {
		k.more[key] = make(chan string)
	}
	return k.more[key]
}

// write adds to a log that is followed; nothing ends it.
func (k *kubelets) write(key, text string) {
	k.mu.Lock()
	c := k.channel(key)
	k.mu.Unlock()
	select {
	case c <- text:
	case <-k.t.Context().Done():
	}
}

func (k *kubelets) requests() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.asked)
}

func populated(t *testing.T) *kubelets {
	k := start(t, map[string]string{
		"web/app": "one\ntwo\n", "two/a": "from a\n", "two/b": "from b\n", "two/first": "from first\n", "bad/app": "fail: the log is gone",
		"x-1/app": "x1\n", "x-2/app": "x2\n",
	})
	two := pod("two", "two", "a", "b")
	two.Spec.InitContainers = []corev1.Container{{Name: "first"}}
	k.Put(pod("web", "web", "app"), two, pod("bad", "bad", "app"), pod("x-1", "x", "app"), pod("x-2", "x", "app"), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm"}})
	return k
}

const notCalledSo = "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command\nSee 'millrace logs -h' for help and examples\n"

func TestLogs(t *testing.T) {
	for _, c := range []struct {
		name      string
		args      []string
		want      fakeapi.Result
		wantAsked []string
	}{
		{name: "only container", args: []string{"web"}, want: fakeapi.Result{Out: "one\ntwo\n"}, wantAsked: []string{"web/app"}},
		{name: "type and name", args: []string{"pod/web", "--prefix"}, want: fakeapi.Result{Out: "[pod/web/app] one\n[pod/web/app] two\n"}, wantAsked: []string{"web/app"}},
		{name: "first of several", args: []string{"two"}, want: fakeapi.Result{Out: "from a\n", Err: "Defaulted container \"a\" out of: a, b, first (init)\n"}, wantAsked: []string{"two/a"}},
		{name: "named", args: []string{"two", "-c", "first"}, want: fakeapi.Result{Out: "from first\n"}, wantAsked: []string{"two/first"}},
		{name: "named behind the pod", args: []string{"two", "b"}, want: fakeapi.Result{Out: "from b\n"}, wantAsked: []string{"two/b"}},
		{
			name: "all containers", args: []string{"two", "--all-containers", "--prefix"}, wantAsked: []string{"two/first", "two/a", "two/b"},
			want: fakeapi.Result{Out: "[pod/two/first] from first\n[pod/two/a] from a\n[pod/two/b] from b\n"},
		},
		{name: "selector", args: []string{"-l", "app=x"}, want: fakeapi.Result{Out: "x1\nx2\n"}, wantAsked: []string{"x-1/app", "x-2/app"}},
		{name: "selector of none", args: []string{"-l", "app=z"}, want: fakeapi.Result{Err: "No resources found in default namespace.\n"}},
		{name: "kubelet fails", args: []string{"bad"}, want: fakeapi.Result{Out: "fail: the log is gone", Err: "error: the log is gone\n", Code: 1}, wantAsked: []string{"bad/app"}},
		{name: "errors ignored", args: []string{"bad", "--ignore-errors"}, want: fakeapi.Result{Out: "fail: the log is goneerror: the log is gone\n"}, wantAsked: []string{"bad/app"}},
		{name: "no pod", args: []string{"nope"}, want: fakeapi.Result{Err: "error: error from server (NotFound): pods \"nope\" not found in namespace \"default\"\n", Code: 1}},
		{name: "no such container", args: []string{"two", "-c", "z"}, want: fakeapi.Result{Err: "error: container z is not valid for pod two out of: a, b, first (init)\n", Code: 1}},
		{name: "no logs", args: []string{"cm/cm"}, want: fakeapi.Result{Err: "error: cannot get the logs from *v1.ConfigMap: selector for *v1.ConfigMap not implemented\n", Code: 1}},
		{name: "no target", want: fakeapi.Result{Err: notCalledSo, Code: 1}},
		{name: "too many targets", args: []string{"a", "b", "c"}, want: fakeapi.Result{Err: notCalledSo, Code: 1}},
		{name: "selector and pod", args: []string{"a", "-l", "b"}, want: fakeapi.Result{Err: "error: only a selector (-l) or a POD name is allowed\nSee 'millrace logs -h' for help and examples\n", Code: 1}},
		{name: "container twice", args: []string{"a", "b", "-c", "b"}, want: fakeapi.Result{Err: "error: only one of -c or an inline [CONTAINER] arg is allowed\n", Code: 1}},
		{name: "one of all", args: []string{"a", "-c", "b", "--all-containers"}, want: fakeapi.Result{Err: "error: --all-containers=true should not be specified with container name b\n", Code: 1}},
		{name: "two times", args: []string{"a", "--since=1s", "--since-time=2026-01-01T00:00:00Z"}, want: fakeapi.Result{Err: "error: at most one of `sinceTime` or `sinceSeconds` may be specified\n", Code: 1}},
		{name: "limit", args: []string{"a", "--limit-bytes=-1"}, want: fakeapi.Result{Err: "error: --limit-bytes must be greater than 0\n", Code: 1}},
		{name: "since", args: []string{"a", "--since=-1s"}, want: fakeapi.Result{Err: "error: --since must be greater than 0\n", Code: 1}},
		{name: "tail", args: []string{"a", "--tail=-2"}, want: fakeapi.Result{Err: "error: --tail must be greater than or equal to -1\n", Code: 1}},
		{
			name: "too many to follow", args: []string{"-f", "-l", "app=x", "--max-log-requests=1"}, want: fakeapi.Result{
				Code: 1,
				Err:  "error: you are attempting to follow 2 log streams, but maximum allowed concurrency is 1, use --max-log-requests to increase the limit\n",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := populated(t)
			if diff := cmp.Diff(c.want, k.Run(New, "", append([]string{"logs"}, c.args...)...)); diff != "" {
				t.Errorf("logs %v (-want +got):\n%s", c.args, diff)
			}
			if diff := cmp.Diff(c.wantAsked, k.requests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		args []string
		want corev1.PodLogOptions
	}{
		{args: []string{"web"}, want: corev1.PodLogOptions{Container: "app"}},
		{args: []string{"-l", "app=web"}, want: corev1.PodLogOptions{Container: "app", TailLines: new(int64(10))}},
		{args: []string{"-l", "app=web", "--tail=-1"}, want: corev1.PodLogOptions{Container: "app"}},
		{args: []string{"web", "--tail=0", "-p", "--timestamps"}, want: corev1.PodLogOptions{Container: "app", TailLines: new(int64(0)), Previous: true, Timestamps: true}},
		{args: []string{"web", "--since=90s", "--limit-bytes=5"}, want: corev1.PodLogOptions{Container: "app", SinceSeconds: new(int64(90)), LimitBytes: new(int64(5))}},
	} {
		k := populated(t)
		k.Run(New, "", append([]string{"logs"}, c.args...)...)
		if diff := cmp.Diff([]corev1.PodLogOptions{c.want}, k.option); diff != "" {
			t.Errorf("logs %v (-want +got):\n%s", c.args, diff)
		}
	}
	k := populated(t)
	k.Run(New, "", "logs", "web", "--since-time=2026-05-01T12:00:00Z")
	if got := k.option[0].SinceTime; got == nil || !got.Time.Equal(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("--since-time: %v", got)
	}
}

// TestFollowShowsWhatComes: the beginnings of lines too, if there is only one log.
func TestFollowShowsWhatComes(t *testing.T) {
	k := populated(t)
	r := k.Begin(New, nil, "logs", "-f", "web")
	k.write("web/app", "thr")
	fakeapi.Await(t, "a part of a line", func() bool { return r.Out.String() == "one\ntwo\nthr" })
	k.write("web/app", "ee\n")
	k.write("web/app", "")
	if code := r.Wait(); code != 0 || r.Out.String() != "one\ntwo\nthree\n" {
		t.Errorf("exit code %d, %q, %q", code, r.Out.String(), r.Err.String())
	}
}

// TestFollowKeepsLinesWhole: those of several containers are not mingled.
func TestFollowKeepsLinesWhole(t *testing.T) {
	k := start(t, nil)
	k.Put(pod("two", "two", "a", "b"))
	r := k.Begin(New, nil, "logs", "-f", "two", "--all-containers", "--prefix")
	k.write("two/a", "be")
	k.write("two/b", "b goes on\n")
	fakeapi.Await(t, "a line", func() bool { return strings.Contains(r.Out.String(), "[pod/two/b] b goes on\n") })
	k.write("two/a", "gun\n")
	fakeapi.Await(t, "the other line", func() bool { return strings.Contains(r.Out.String(), "[pod/two/a] begun\n") })
	for _, c := range []string{"two/a", "two/b"} {
		k.write(c, "")
	}
	if code := r.Wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, r.Err.String())
	}
}

// TestFollowWaitsForTheContainer: a container that has not started yet is waited for.
func TestFollowWaitsForTheContainer(t *testing.T) {
	k := start(t, map[string]string{"late/app": "hello\n"})
	k.Put(waiting(pod("late", "late", "app")))
	r := k.Begin(New, nil, "logs", "-f", "late")
	fakeapi.Await(t, "a watch", func() bool { return len(k.Requests("watch")) == 1 })
	if got := k.requests(); len(got) > 0 {
		t.Fatalf("the log was asked for before the container started: %v", got)
	}
	k.Put(pod("late", "late", "app"))
	k.write("late/app", "")
	if code := r.Wait(); code != 0 || r.Out.String() != "hello\n" {
		t.Errorf("exit code %d, %q, %q", code, r.Out.String(), r.Err.String())
	}
}

// TestFollowGivesUpWaiting: then the api says what the container waits for.
func TestFollowGivesUpWaiting(t *testing.T) {
	k := start(t, nil)
	k.Put(waiting(pod("late", "late", "app")))
	k.Fail("log", scheme.Pods, apierrors.NewBadRequest(`container "app" in pod "late" is waiting to start: ContainerCreating`))
	got := k.Run(New, "", "logs", "-f", "late", "--pod-running-timeout=100ms")
	want := fakeapi.Result{Err: "Error from server (BadRequest): container \"app\" in pod \"late\" is waiting to start: ContainerCreating\n", Code: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFollowTakesInLaterPods: pods that are made later are followed from their first line, and so is a container that starts again.
func TestFollowTakesInLaterPods(t *testing.T) {
	k := populated(t)
	r := k.Begin(New, nil, "logs", "-f", "-l", "app=x", "--prefix")
	fakeapi.Await(t, "the first pods", func() bool { return len(k.requests()) == 2 })
	k.Put(waiting(pod("x-3", "x", "app")))
	k.Put(pod("x-3", "x", "app"))
	fakeapi.Await(t, "the later pod", func() bool { return slices.Contains(k.requests(), "x-3/app") })
	k.write("x-3/app", "later\n")
	fakeapi.Await(t, "its line", func() bool { return strings.Contains(r.Out.String(), "[pod/x-3/app] later\n") })

	k.write("x-1/app", "") // its container ends, and starts again
	again := pod("x-1", "x", "app")
	again.Status.ContainerStatuses[0].RestartCount = 1
	k.Put(again)
	fakeapi.Await(t, "the container that starts again", func() bool { return len(k.requests()) == 4 })

	k.mu.Lock()
	for i, o := range k.option {
		if first := i < 2; (o.TailLines != nil) != first {
			t.Errorf("%s: lines of the tail %v", k.asked[i], o.TailLines)
		}
	}
	k.mu.Unlock()

	for _, name := range []string{"x-1", "x-2", "x-3"} { // everything ends for good
		p := pod(name, "x", "app")
		p.Status.Phase = corev1.PodSucceeded
		if name == "x-1" {
			p.Status.ContainerStatuses[0].RestartCount = 1
		}
		k.Put(p)
		k.write(name+"/app", "")
	}
	if code := r.Wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, r.Err.String())
	}
}

// TestFollowHasRoomForSoMany: a later pod waits until another has ended.
func TestFollowHasRoomForSoMany(t *testing.T) {
	k := populated(t)
	r := k.Begin(New, nil, "logs", "-f", "-l", "app=x", "--max-log-requests=2")
	fakeapi.Await(t, "the first pods", func() bool { return len(k.requests()) == 2 })
	k.Put(pod("x-3", "x", "app"))
	fakeapi.Await(t, "a warning", func() bool {
		return strings.Contains(r.Err.String(), "Warning: 2 log streams are followed already: pod x-3 waits")
	})
	if got := len(k.requests()); got != 2 {
		t.Errorf("%d logs are followed", got)
	}
	k.write("x-2/app", "")
	fakeapi.Await(t, "the later pod", func() bool { return len(k.requests()) == 3 })
	r.Stop()
}

// TestFollowEndsWithItsFirstFailure: unless failures are ignored.
func TestFollowEndsWithItsFirstFailure(t *testing.T) {
	k := populated(t)
	k.Put(pod("bad", "x", "app"))
	r := k.Begin(New, nil, "logs", "-f", "-l", "app=x")
	k.write("bad/app", "")
	if code := r.Wait(); code != 1 || !strings.HasSuffix(r.Err.String(), "error: the log is gone\n") {
		t.Errorf("exit code %d: %s", code, r.Err.String())
	}
}
