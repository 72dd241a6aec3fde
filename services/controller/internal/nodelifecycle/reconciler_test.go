package nodelifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/memstore"
	"millrace.dev/pkg/view"
	"millrace.dev/services/controller/internal/apitest"
)

// world is nodes that send heartbeats, and the controllers that hear them.
type world struct {
	t testing.TB
	*apitest.API
	mu          sync.Mutex
	hearts      map[string]state.Heartbeat // by node: what it sends every four seconds
	controllers map[*controller]bool
}

// controller is one process with the reconciler.
type controller struct {
	*Reconciler
	queue         *reconcile.Queue
	deaf          bool
	interruptions uint64
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, API: apitest.New(t), hearts: map[string]state.Heartbeat{}, controllers: map[*controller]bool{}}
	w.Start(func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.NewTimer(4 * time.Second).C:
				w.pulse()
			}
		}
	})
	return w
}

// pulse has every node that lives heard by every controller that hears.
func (w *world) pulse() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, h := range w.hearts {
		for c := range w.controllers {
			if !c.deaf && c.Beats.Hear(name, h, time.Now()) {
				c.queue.Add(reconcile.Key{Name: name})
			}
		}
	}
}

// join makes a node as it is when its machine has just shown itself, and has it send heartbeats.
func (w *world) join(name string) {
	w.t.Helper()
	w.joinSilently(name, types.UID("uid-"+name))
	w.live(name, state.Heartbeat{UID: types.UID("uid-" + name), Start: 1, Ready: true})
}

// joinSilently makes a node of which nothing has been heard yet.
func (w *world) joinSilently(name string, uid types.UID) {
	w.t.Helper()
	node := objtest.Node(name).Taint(corev1.TaintNodeNotReady, "", corev1.TaintEffectNoSchedule).Obj()
	node.UID, node.CreationTimestamp = uid, metav1.Now()
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse}}
	w.Put(node)
}

func (w *world) live(name string, h state.Heartbeat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hearts[name] = h
}

func (w *world) die(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.hearts, name)
}

// begin starts a controller over s, which may be the bucket itself; end is its death.
func (w *world) begin(s store.Store) (c *controller, end func()) {
	w.t.Helper()
	c = &controller{queue: reconcile.NewQueue("node")}
	v, writer := w.View(s, view.Config{Subscribers: []view.Subscriber{func(_, after *view.Record) {
		if after.Ref.Resource == scheme.Nodes {
			c.queue.Add(reconcile.Key{Name: after.Ref.Name})
		}
	}}})
	c.Reconciler = &Reconciler{
		View: v, Writer: writer, API: w.API, Beats: NewBeats(time.Now()), Source: "/controller", Now: time.Now,
		Link: func() (bool, uint64) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return !c.deaf, c.interruptions
		},
	}
	w.mu.Lock()
	w.controllers[c] = true
	w.mu.Unlock()
	stop := w.Start(func(ctx context.Context) error { return c.queue.Run(ctx, c, 2, reconcile.NewMeters(nil)) })
	return c, func() {
		w.mu.Lock()
		delete(w.controllers, c)
		w.mu.Unlock()
		stop()
	}
}

// cut takes the controller's connection away for a while.
func (w *world) cut(c *controller, d time.Duration) {
	w.mu.Lock()
	c.deaf = true
	w.mu.Unlock()
	<-time.NewTimer(d).C // virtual
	w.mu.Lock()
	c.deaf = false
	c.interruptions++
	w.mu.Unlock()
}

// status is a node's condition Ready and its taints, in words.
func (w *world) status(name string) string {
	w.t.Helper()
	node := w.Node(name)
	if node == nil {
		return "gone"
	}
	text := "-"
	if c := podinfo.NodeCondition(node.Status.Conditions, corev1.NodeReady); c != nil {
		text = fmt.Sprintf("%s %s", c.Status, c.Reason)
	}
	for _, t := range node.Spec.Taints {
		text += fmt.Sprintf(", %s:%s", t.Key, t.Effect)
	}
	return text
}

const (
	isReady   = "True KubeletReady"
	isSilent  = "Unknown NodeStatusUnknown, node.kubernetes.io/unreachable:NoSchedule"
	isUnready = "False KubeletNotReady, node.kubernetes.io/not-ready:NoSchedule"
	isNew     = "-, node.kubernetes.io/not-ready:NoSchedule"
)

func (w *world) want(name, want string) {
	w.t.Helper()
	if got := w.status(name); got != want {
		w.t.Errorf("%s is %q, want %q", name, got, want)
	}
}

// until is when the status of a node first is want, looked at every 100 ms, at most an hour from now.
func (w *world) until(name, want string) time.Duration {
	w.t.Helper()
	for began := time.Now(); time.Since(began) < time.Hour; apitest.Elapse(100 * time.Millisecond) {
		if w.status(name) == want {
			return time.Since(began)
		}
	}
	w.t.Fatalf("%s is %q after an hour, want %q", name, w.status(name), want)
	return 0
}

// bubble is a test in virtual time with one node that is ready.
func bubble(t *testing.T, test func(*testing.T, *world, *controller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join("n1")
		c, _ := w.begin(w)
		if took := w.until("n1", isReady); took > 5*time.Second {
			t.Errorf("a node is ready %v after it joined", took)
		}
		test(t, w, c)
	})
}

func (w *world) last() uint64 {
	w.t.Helper()
	p, err := w.Last(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Sequence
}

func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *controller) {
		asked := len(w.Asked())
		w.die("n1")
		if took := w.until("n1", isSilent); took < Grace-4*time.Second || took > Grace+time.Second {
			t.Errorf("a silent node is found out after %v, want about %v", took, Grace)
		}
		if got := w.Asked()[asked:]; len(got) != 1 {
			t.Errorf("asked %v, want one update: the taints follow from the node as the condition left it", got)
		}
		since := podinfo.NodeCondition(w.Node("n1").Status.Conditions, corev1.NodeReady).LastTransitionTime
		apitest.Elapse(time.Hour)
		w.want("n1", isSilent)
		if got := podinfo.NodeCondition(w.Node("n1").Status.Conditions, corev1.NodeReady).LastTransitionTime; !got.Equal(&since) {
			t.Errorf("it is silent since %v, then since %v", since, got)
		}
		w.live("n1", state.Heartbeat{UID: "uid-n1", Start: 2, Ready: true})
		if took := w.until("n1", isReady); took > 5*time.Second {
			t.Errorf("a node is ready %v after it came back", took)
		}
		if c := podinfo.NodeCondition(w.Node("n1").Status.Conditions, corev1.NodeMemoryPressure); c == nil {
			t.Error("a condition that is the kubelet's is lost")
		}
	})
}

func TestUnreadyNode(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *controller) {
		w.live("n1", state.Heartbeat{UID: "uid-n1", Start: 1, Message: "container runtime is down"})
		if took := w.until("n1", isUnready); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := podinfo.NodeCondition(w.Node("n1").Status.Conditions, corev1.NodeReady).Message; got != "container runtime is down" {
			t.Errorf("message is %q", got)
		}
		w.die("n1")
		w.until("n1", isSilent)
		w.live("n1", state.Heartbeat{UID: "uid-n1", Start: 1, Ready: true})
		w.until("n1", isReady)
	})
}

// Idle means idle: nodes that live cause no write.
func TestLiveNodesCauseNoWrites(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *controller) {
		before, asked := w.last(), len(w.Asked())
		apitest.Elapse(6 * time.Hour)
		w.want("n1", isReady)
		if w.last() != before || len(w.Asked()) != asked {
			t.Errorf("in six hours %d revisions were written and %v asked", w.last()-before, w.Asked()[asked:])
		}
	})
}

// A controller that starts has heard nobody: it blames no node for that. Who was silent before it is found out in its time.
func TestRestartCondemnsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join("live")
		w.join("dead")
		_, end := w.begin(w)
		w.until("live", isReady)
		w.until("dead", isReady)
		end()
		w.die("dead")
		apitest.Elapse(time.Hour)
		before := w.last()
		_, end = w.begin(w)
		defer end()
		apitest.Elapse(Grace - time.Second)
		if w.last() != before {
			t.Errorf("within the first %v: live is %q, dead is %q", Grace, w.status("live"), w.status("dead"))
		}
		apitest.Elapse(2 * time.Second)
		w.want("live", isReady)
		w.want("dead", isSilent)
	})
}

// Leadership that comes late: heartbeats were heard all the time, but the clock of silence starts with it.
func TestLeadershipStartsTheClock(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, c *controller) {
		w.die("n1")
		apitest.Elapse(Grace - 5*time.Second)
		c.Beats.Lead(time.Now())
		if took := w.until("n1", isSilent); took < Grace || took > Grace+time.Second {
			t.Errorf("a node that fell silent before is found out after %v, want %v", took, Grace)
		}
	})
}

// A controller that is cut off hears nobody: however long that lasts, and however it falls between the looks, no node is blamed.
func TestCutOffCondemnsNobody(t *testing.T) {
	for _, d := range []time.Duration{time.Second, Grace - 2*time.Second, Grace - 500*time.Millisecond, Grace, Grace + time.Second, 2 * Grace, time.Hour} {
		t.Run(d.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world, c *controller) {
				for range 4 { // at different distances from the last heartbeat
					before := w.last()
					w.cut(c, d)
					apitest.Elapse(13 * time.Second)
					if w.last() != before {
						t.Errorf("a node that lives became %q for a while", w.status("n1"))
					}
				}
				w.die("n1")
				if took := w.until("n1", isSilent); took > 2*Grace {
					t.Errorf("a node that fell silent afterwards is found out after %v", took)
				}
			})
		})
	}
}

// Killed between the two writes: the condition is there and the taint is not. Whoever comes next sees that.
func TestKilledBetweenConditionAndTaint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join("n1")
		_, end := w.begin(w)
		w.until("n1", isReady)
		w.SetFault(func(string) apitest.Fault { return apitest.Refuse })
		w.die("n1")
		w.until("n1", "Unknown NodeStatusUnknown")
		end()
		w.SetFault(nil)
		w.begin(w)
		if took := w.until("n1", isSilent); took > Grace+time.Second {
			t.Errorf("the taint is there after %v", took)
		}
	})
}

// What others do to a node between the reading and the writing is not undone.
func TestChangesOfOthersAreNotLost(t *testing.T) {
	gpu := corev1.Taint{Key: "gpu", Value: "true", Effect: corev1.TaintEffectNoSchedule}
	addTaint := func(w *world) {
		n := w.Node("n1")
		n.Spec.Taints = append(n.Spec.Taints, gpu)
		w.Put(n)
	}
	tests := []struct {
		name string
		// conditionWrite and taintRequest are done before the controller's write of the condition and its request.
		conditionWrite, taintRequest func(*world)
	}{
		{name: "before the condition is written", conditionWrite: addTaint},
		{name: "between condition and taint", taintRequest: addTaint},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.join("n1")
				armed := false
				once := func(do func(*world)) {
					if armed && do != nil {
						armed = false
						do(w)
					}
				}
				w.begin(&apitest.Interposed{Store: w, Before: func(m []events.Message) error {
					if m[0].Header.Get("ce-type") == events.NodeReadiness.Name {
						once(tt.conditionWrite)
					}
					return nil
				}})
				w.until("n1", isReady)
				w.SetFault(func(string) apitest.Fault {
					once(tt.taintRequest)
					return apitest.OK
				})
				armed = true
				w.die("n1")
				apitest.Elapse(time.Minute)
				want := []corev1.Taint{gpu, {Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule}}
				got := w.Node("n1").Spec.Taints
				for i := range got {
					got[i].TimeAdded = nil
				}
				if diff := cmp.Diff(want, got); diff != "" || armed {
					t.Errorf("taints (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A taint that comes as soon as the condition is written, before the controller looks at the node again.
func TestTaintBehindTheCondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join("n1")
		s := &behind{Store: w.Store}
		w.begin(s)
		w.until("n1", isReady)
		s.after = func() {
			n := w.Node("n1")
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "gpu", Effect: corev1.TaintEffectNoSchedule})
			w.Put(n)
			apitest.Elapse(time.Millisecond) // the controller's view shows it
		}
		w.die("n1")
		apitest.Elapse(time.Minute)
		if !slices.ContainsFunc(w.Node("n1").Spec.Taints, func(t corev1.Taint) bool { return t.Key == "gpu" }) {
			t.Errorf("the node is %q: somebody's taint is lost", w.status("n1"))
		}
	})
}

// behind is a store after whose next write of a node's readiness the test does something.
type behind struct {
	store.Store
	after func()
}

func (b *behind) Write(ctx context.Context, m []events.Message) (uint64, error) {
	first, err := b.Store.Write(ctx, m)
	if after := b.after; after != nil && m[0].Header.Get("ce-type") == events.NodeReadiness.Name {
		b.after = nil
		after()
	}
	return first, err
}

// Woken late with an old plan: the node is gone, or another has its name.
func TestLateRiserLoses(t *testing.T) {
	tests := []struct {
		name string
		then func(*world)
		want string
	}{
		{name: "the node is gone", then: func(w *world) { w.Remove(state.ObjectRef{Resource: scheme.Nodes, Name: "n1"}) }, want: "gone"},
		{name: "another has its name", then: func(w *world) {
			w.Remove(state.ObjectRef{Resource: scheme.Nodes, Name: "n1"})
			w.Put(objtest.Node("n1").Obj())
		}, want: isReady},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world, c *controller) {
				old, _ := view.As[*corev1.Node](c.View.Object(state.ObjectRef{Resource: scheme.Nodes, Name: "n1"}))
				p := makePlan(old, heard{known: true, silent: true}, time.Now())
				tt.then(w)
				if err := c.putCondition(t.Context(), old, p.condition); !errors.Is(err, store.ErrConflict) {
					t.Errorf("the condition of an old plan = %v, want a conflict", err)
				}
				if err := c.putTaints(t.Context(), old, p.taints); !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("the taints of an old plan = %v, want a conflict", err)
				}
				apitest.Elapse(time.Second)
				if got := w.status("n1"); got != tt.want {
					t.Errorf("the node is %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// A machine that joins again under its old name is another node: what the old one said does not count.
func TestAnotherNodeOfThatName(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *controller) {
		w.Remove(state.ObjectRef{Resource: scheme.Nodes, Name: "n1"})
		w.joinSilently("n1", "second") // the old kubelet still beats
		apitest.Elapse(Grace - 2*time.Second)
		w.want("n1", isNew)
		w.live("n1", state.Heartbeat{UID: "second", Start: 1, Ready: true})
		if took := w.until("n1", isReady); took > 5*time.Second {
			t.Errorf("it is ready after %v", took)
		}
	})
}

// A node that joins is given the time to send its first heartbeat, however long the controller has been deciding.
func TestNewNodeIsNotCondemned(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *controller) {
		apitest.Elapse(time.Hour)
		w.joinSilently("n2", "uid-n2")
		before := w.last()
		apitest.Elapse(Grace - time.Second)
		if w.last() != before {
			t.Errorf("the node is %q before it could be heard", w.status("n2"))
		}
		apitest.Elapse(3 * time.Second)
		w.want("n2", isSilent)
	})
}

// The report that the node's revision stands for must survive the controller's write, or an older one would be taken again (P17).
func TestP17_ReportNumberSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.join("n1")
		key := state.ObjectKey(state.ObjectRef{Resource: scheme.Nodes, Name: "n1"})
		change, err := state.ObjectChange(w.Node("n1"), w.Revision(key))
		if err != nil {
			t.Fatal(err)
		}
		change.Report = state.FormatReport(state.Report{Start: 7, Counter: 3})
		b := events.NodeReported.Batch(events.Meta{Source: "/test"})
		b.Add(change)
		messages, err := b.Messages("test", time.Now())
		if err == nil {
			_, err = w.Write(t.Context(), messages)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.begin(w)
		w.until("n1", isReady)
		if got := w.Report(key); got != "7.3" {
			t.Errorf("the newest report is %q, want 7.3", got)
		}
	})
}

// Whatever nodes do, whatever writes and requests fail, and however often controllers die: once nothing changes any more, each node's
// condition and taint say what its heartbeats do.
func TestReconcileProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"live", "die", "unready", "kill", "wait", "long"}), 1, 10).Draw(rt, "steps")
		writes := rapid.SliceOfN(rapid.SampledFrom([]memstore.Fault{memstore.OK, memstore.Conflict, memstore.LostAck, memstore.LostSend}), 0, 10).Draw(rt, "writes")
		requests := rapid.SliceOfN(rapid.SampledFrom([]apitest.Fault{apitest.OK, apitest.Refuse, apitest.Lose}), 0, 10).Draw(rt, "requests")
		got, want := "", ""
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.join("n1")
			w.Store.SetFault(func(m []events.Message) memstore.Fault {
				if len(writes) == 0 || m[0].Header.Get("ce-type") != events.NodeReadiness.Name {
					return memstore.OK
				}
				f := writes[0]
				writes = writes[1:]
				return f
			})
			w.SetFault(func(string) apitest.Fault {
				if len(requests) == 0 {
					return apitest.OK
				}
				f := requests[0]
				requests = requests[1:]
				return f
			})
			_, end := w.begin(w)
			want = isReady
			for _, step := range steps {
				switch step {
				case "live":
					w.live("n1", state.Heartbeat{UID: "uid-n1", Ready: true})
					want = isReady
				case "die":
					w.die("n1")
					want = isSilent
				case "unready":
					w.live("n1", state.Heartbeat{UID: "uid-n1", Message: "x"})
					want = isUnready
				case "kill":
					end()
					_, end = w.begin(w)
				case "wait":
					apitest.Elapse(5 * time.Second)
				case "long":
					apitest.Elapse(time.Minute)
				}
			}
			apitest.Elapse(3 * time.Minute)
			got = w.status("n1")
		})
		if got != want {
			rt.Fatalf("the node is %q, want %q", got, want)
		}
	})
}
