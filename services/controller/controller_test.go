package controller

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/reconcile"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/controller/internal/apitest"
	"millrace.dev/services/controller/internal/nodelifecycle"
)

// due collects the keys that come due, as "queue key".
type due struct {
	*queues
	mu   sync.Mutex
	keys []string
}

// newDue makes queues whose reconcilers only note what they are called with.
func newDue(t *testing.T, a *apitest.API) *due {
	t.Helper()
	d := &due{queues: &queues{
		nodes: reconcile.NewQueue("node"), pods: reconcile.NewQueue("podgc"), namespaces: reconcile.NewQueue("namespace"),
		configs: reconcile.NewQueue("configrevision"),
	}}
	for name, q := range map[string]*reconcile.Queue{"node": d.nodes, "podgc": d.pods, "namespace": d.namespaces, "config": d.configs} {
		a.Start(func(ctx context.Context) error {
			return q.Run(ctx, noting(func(k reconcile.Key) {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.keys = append(d.keys, name+" "+k.String())
			}), 1, reconcile.NewMeters(nil))
		})
	}
	return d
}

type noting func(reconcile.Key)

func (n noting) Reconcile(_ context.Context, k reconcile.Key) error {
	n(k)
	return nil
}

// want checks what has come due since it was called last, in any order, each once.
func (d *due) want(t *testing.T, what string, want ...string) {
	t.Helper()
	apitest.Elapse(time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.keys)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Compact(d.keys)); diff != "" {
		t.Errorf("%s: due (-want +got):\n%s", what, diff)
	}
	d.keys = nil
}

func configMap(namespace, name, content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"k": content},
	}
}

// user is a pod that reads the ConfigMap settings.
func user(name, node string) *corev1.Pod {
	c := corev1.Container{Name: "app", EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
	}}}}
	return objtest.Pod(name).Container(c).Node(node).Obj()
}

func TestWhatAChangeMakesDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		d := newDue(t, a)
		v, _ := a.View(a, view.Config{Subscribers: []view.Subscriber{d.changed}})
		node := state.ObjectRef{Resource: scheme.Nodes, Name: "n1"}
		a.Put(objtest.Node("n1").Obj())
		d.want(t, "a node joins", "node n1")
		a.Remove(node)
		d.want(t, "a node goes: its pods are orphans", "node n1", "podgc n1")
		a.Put(&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "default"}})
		d.want(t, "a namespace", "namespace default")
		a.Put(configMap("default", "settings", "1"))
		d.want(t, "a ConfigMap", "config default/configmaps/settings")
		a.Put(user("waits", ""))
		d.want(t, "a pod without a node", "podgc default/waits")
		a.Put(user("runs", "n1"))
		d.want(t, "a pod with an order, whose writer may not have known the newest ConfigMap (P21)", "podgc default/runs", "config default/configmaps/settings")
		a.Remove(state.ObjectRef{Resource: scheme.Pods, Namespace: "default", Name: "runs"})
		d.want(t, "a pod goes: its namespace may be empty", "podgc default/runs", "namespace default")
		a.Remove(state.ObjectRef{Resource: scheme.ConfigMaps, Namespace: "default", Name: "settings"})
		d.want(t, "a ConfigMap goes", "config default/configmaps/settings", "namespace default")
		d.all(v)
		d.want(t, "this process begins to decide", "namespace default", "podgc default/waits")
	})
}

// Whoever takes over does not wait for the next change of anything.
func TestEverythingIsDueAtTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		a.Put(objtest.Node("n1").Obj())
		a.Put(&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "default"}})
		a.Put(configMap("default", "other", "1"))
		a.Put(user("runs", "n1"))
		a.Put(user("orphan", "gone"))
		v, _ := a.View(a, view.Config{})
		d := newDue(t, a)
		d.all(v)
		d.want(t, "all", "node n1", "namespace default", "config default/configmaps/other", "config default/configmaps/settings",
			"podgc default/runs", "podgc default/orphan")
	})
}

func TestHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := apitest.New(t)
		d := newDue(t, a)
		beats := nodelifecycle.NewBeats(time.Now())
		send := func(subject string, h any) {
			t.Helper()
			body, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			hear(wire.NewIncoming(subject, nil, body, nil), beats, d.nodes)
		}
		subject := wire.FromNodes + "." + wire.NodeSubject(wire.NodeHeartbeat, "n.1")
		send(subject, state.Heartbeat{UID: "u", Ready: true})
		d.want(t, "the first heartbeat", "node n.1")
		send(subject, state.Heartbeat{UID: "u", Ready: true})
		d.want(t, "the next")
		send(subject, state.Heartbeat{UID: "u"})
		d.want(t, "one that says something new", "node n.1")
		send(subject, "nonsense")
		send("hb.n1", state.Heartbeat{})
		send(wire.FromNodes+"."+wire.NodeSubject(wire.NodeReport, "n2"), state.Heartbeat{})
		d.want(t, "what is no heartbeat")
	})
}

func TestConfig(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil || !c.Lease || c.Base() != &c.Common {
		t.Errorf("the default %+v is %v", c, err)
	}
	c.NATS = ""
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "nats") {
		t.Errorf("Validate without an address = %v", err)
	}
}
