//go:build linux

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
	"millrace.dev/test/cluster"
)

// attacker is a connection with a credential that was stolen.
type attacker struct {
	t  *testing.T
	nc *nats.Conn
}

func steal(t *testing.T, c *cluster.Cluster, role auth.Role, name string) *attacker {
	t.Helper()
	credential, err := c.Authority().Mint(role, name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(cluster.URL, nats.UserJWTAndSeed(credential.JWT, credential.Seed), nats.CustomInboxPrefix(wire.Inbox(name)),
		nats.SetCustomDialer(c.Dialer()), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // LastError tells
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return &attacker{t: t, nc: nc}
}

// refused says whether the server has refused what was last sent about a subject. The complaint comes before the answer
// to Flush, and the connection remembers it before it reads on.
func (a *attacker) refused(subject string) bool {
	a.t.Helper()
	if err := a.nc.Flush(); err != nil {
		a.t.Fatal(err)
	}
	err := a.nc.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`)
}

func (a *attacker) mayNotHear(subjects ...string) {
	a.t.Helper()
	for _, s := range subjects {
		sub, err := a.nc.SubscribeSync(s)
		if err != nil {
			a.t.Fatalf("subscribe to %s: %v", s, err)
		}
		if !a.refused(s) {
			a.t.Errorf("may subscribe to %s", s)
		}
		sub.Unsubscribe()
	}
}

func (a *attacker) mayNotSay(subjects ...string) {
	a.t.Helper()
	for _, s := range subjects {
		a.say(s)
		if !a.refused(s) {
			a.t.Errorf("may publish on %s", s)
		}
	}
}

func (a *attacker) say(subject string) {
	a.t.Helper()
	if err := a.nc.Publish(subject, []byte("{}")); err != nil {
		a.t.Fatal(err)
	}
}

const secretAndPod = `
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: default}
stringData: {password: hunter2-hunter2}
---
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: default}
stringData: {password: another-one}
---
apiVersion: v1
kind: Pod
metadata: {name: user-of-db, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: registry.k8s.io/pause:3.10.1, env: [{name: P, valueFrom: {secretKeyRef: {name: db, key: password}}}]}
`

// A stolen node credential can neither read nor write what is not its own node's, nor can it have somebody else do so by
// naming a foreign subject as reply (docs/adr/0007-accounts-as-the-trust-boundary.md). Part of C11.
func TestAttack_StolenNode(t *testing.T) {
	c := cluster.Processes(t)
	c.Create(secretAndPod)
	c.AwaitPod("default", "user-of-db", cluster.Running, 30*time.Second)
	a := steal(t, c, auth.RoleKubelet, "n2")

	a.mayNotHear(">", "edge.>", "edge.order.>", "edge.order.n1.>", "edge.route.>", "$KV.>", "$JS.>", "$SYS.>", "_R_.>", "_INBOX.>", "_INBOX_n1.>",
		"kubelet.n1.>", "kubelet.*.>", "session.n1.>", "session.*.alice.>", "hb.>", "hb.n1", "report.>", "n.>", "u.>", "c.>", "api.>", "command.>")
	a.mayNotSay("report.n1.pods", "report.n1.node", "hb.n1", "snap.n1", "config.n1", "note.n1.x", "ack.n2", "session.n1.alice.x.down",
		"edge.order.n1.default.evil", "edge.order.n2.default.evil", "kubelet.n1.session", "$KV.state.object.pods.default.evil",
		"$KV.state.edge.order.n2.default.evil", "$JS.API.STREAM.INFO.KV_state", "$JS.API.STREAM.MSG.GET.KV_state", "$JS.API.STREAM.DELETE.KV_state",
		"$JS.API.STREAM.PURGE.KV_state", "$JS.API.CONSUMER.CREATE.KV_state.x", "$JS.API.DIRECT.GET.KV_state.x", "api.admin.get.secrets.default",
		"api.n2.get.secrets.default", "c.api.controller.delete.pods.default", "u.api.admin.get.secrets.default", "n.report.n1.pods", "$SYS.REQ.SERVER.PING")

	// What is a node's own is not refused: the checks above can fail.
	if a.say("hb.n2"); a.refused("hb.n2") {
		t.Error("may not publish its own heartbeat")
	}
	a.refusedConfig(t)
	a.forgedReport(t, c)
	a.replyAttacks(t, c)
}

// refusedConfig asks, as the node that it is, for a Secret that only another node's order refers to.
func (a *attacker) refusedConfig(t *testing.T) {
	t.Helper()
	for _, ref := range []state.ObjectRef{
		{Resource: scheme.Secrets, Namespace: "default", Name: "db"}, {Resource: scheme.Secrets, Namespace: "default", Name: "other"},
	} {
		body, err := json.Marshal(state.ConfigRequest{Namespace: "default", Pod: "user-of-db", Refs: []state.ObjectRef{ref}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := wire.Do(t.Context(), a.nc, wire.Call{Subject: wire.NodeSubject(wire.NodeConfig, "n2"), Body: body})
		if !apierrors.IsForbidden(err) {
			t.Errorf("config of %s: %s, %v; want it forbidden", ref, answer, err)
		}
		if strings.Contains(string(answer)+fmt.Sprint(err), "hunter2") {
			t.Errorf("the refusal holds the Secret: %s %v", answer, err)
		}
	}
}

// forgedReport reports, as another node, that a pod has failed.
func (a *attacker) forgedReport(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	pod := c.Pod("default", "user-of-db")
	body, err := json.Marshal(state.PodReports{Start: 99, UID: pod.UID, Pods: []state.PodReport{{
		Namespace: "default", Name: pod.Name, UID: pod.UID, Counter: 99, Stopped: true, Status: corev1.PodStatus{Phase: corev1.PodFailed},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.Do(t.Context(), a.nc, wire.Call{Subject: wire.NodeSubject(wire.NodeReport, "n2", "pods"), Body: body}); err == nil {
		t.Error("a node that never joined may report")
	}
	if missing := cluster.Running(c.Pod("default", "user-of-db")); missing != "" {
		t.Errorf("after a forged report the pod is not as it was: %s", missing)
	}
}

// replyAttacks name foreign subjects as reply of requests that are allowed: the answer lands there.
func (a *attacker) replyAttacks(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	before := c.Pod("default", "user-of-db")
	request := func(reply string) {
		m := &nats.Msg{
			Subject: wire.NodeSubject(wire.NodeSnapshot, "n2"), Reply: reply, Data: []byte("{}"),
			Header: nats.Header{"Millrace-Id": {"x"}, "Nats-Stream": {"KV_state"}, "Nats-Subject": {"$KV.state." + reply}, "Nats-Sequence": {"999999"}, "Nats-Last-Sequence": {"0"}},
		}
		if err := a.nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, reply := range []string{
		"$KV.state.object.pods.default.user-of-db", "$KV.state.sealed.secrets.default.db", "$KV.state.edge.order.n1.default.evil",
		"edge.order.n1.default.evil", "edge.order.n1.default.user-of-db", "kubelet.n1.session", "session.n1.admin.x.up", "report.n1.pods", "hb.n1",
		"$JS.API.STREAM.PURGE.KV_state", "$JS.API.STREAM.DELETE.KV_state", "api.admin.delete.pods.default", "c.api.controller.delete.pods.default",
	} {
		request(reply)
	}
	if err := a.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	// Whatever was to come has come when a request that was made later is answered.
	if _, err := wire.Do(t.Context(), a.nc, wire.Call{Subject: wire.NodeSubject(wire.NodeHeartbeat, "n2"), Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	after := c.Pod("default", "user-of-db")
	if after == nil || after.UID != before.UID || after.DeletionTimestamp != nil || cluster.Running(after) != "" {
		t.Errorf("the pod was changed: %+v", after)
	}
	if c.Pod("default", "evil") != nil {
		t.Error("a pod was made")
	}
	var secret corev1.Secret
	if err := c.GetInto(t.Context(), state.ObjectRef{Resource: scheme.Secrets, Namespace: "default", Name: "db"}, &secret); err != nil || string(secret.Data["password"]) != "hunter2-hunter2" {
		t.Errorf("the Secret was changed: %v %v", secret.Data, err)
	}
	if ids := c.Containers("default", "user-of-db"); len(ids) != 1 {
		t.Errorf("containers of the pod: %v, want one", ids)
	}
	if ids := c.Containers("default", "evil"); len(ids) != 0 {
		t.Errorf("the node runs a forged pod: %v", ids)
	}
}

// A user's credential speaks for that user alone, and the api decides what he may do.
func TestAttack_User(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode())
	c.Create(strings.Split(secretAndPod, "\n---\n")[0])
	a := steal(t, c, auth.RoleUser, "mallory")

	a.mayNotHear(">", "edge.>", "$KV.>", "$JS.>", "$SYS.>", "_R_.>", "_INBOX.>", "_INBOX_admin.>", "_INBOX_*.>", "session.*.admin.>", "session.>", "api.>",
		"u.>", "c.>", "n.>", "hb.>", "kubelet.>", "report.>")
	a.mayNotSay("api.admin.get.secrets.default", "command.admin.create", "c.api.controller.delete.pods.default", "u.api.admin.get.secrets.default",
		"$KV.state.object.pods.default.evil", "$KV.state.sealed.secrets.default.db", "$KV.lease.scheduler", "$JS.API.STREAM.INFO.KV_state",
		"$JS.API.STREAM.DELETE.KV_state", "$JS.API.CONSUMER.CREATE.KV_state.x", "edge.order.n1.default.evil", "kubelet.n1.session", "report.n1.pods",
		"hb.n1", "session.n1.admin.x.up", "note.default.x", "$SYS.REQ.SERVER.PING")

	mallory := client.ForUser(a.nc, "mallory")
	_, err := mallory.Get(t.Context(), state.ObjectRef{Resource: scheme.Secrets, Namespace: "default", Name: "db"}, metav1.GetOptions{})
	want := `secrets "db" is forbidden: User "mallory" cannot get resource "secrets" in API group "" in the namespace "default"`
	if !apierrors.IsForbidden(err) || err.Error() != want {
		t.Errorf("get: %v, want %s", err, want)
	}
	if _, err := mallory.Create(t.Context(), "", "", client.Request{Manifest: "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}"}, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("create: %v, want it forbidden", err)
	}
	a.disturb(t, c)
}

// disturb sends answers of the user's own requests into the inbox of somebody who waits for his.
func (a *attacker) disturb(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			m := &nats.Msg{
				Subject: "api.mallory.get.secrets.default", Reply: fmt.Sprintf("_INBOX_admin.%d", i%100), Data: []byte(`{"name":"x"}`),
				Header: nats.Header{"Millrace-Id": {"x"}},
			}
			if err := a.nc.PublishMsg(m); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				t.Error(err)
				return
			}
			if i%100 == 0 {
				a.nc.Flush() //nolint:errcheck // only to keep the pace
			}
		}
	})
	for range 50 {
		list, err := c.All(t.Context(), scheme.Namespaces, "", metav1.ListOptions{Limit: 2})
		if err != nil || len(list.Items) != 4 {
			t.Fatalf("list while disturbed: %d items, %v; want 4", len(list.Items), err)
		}
	}
}
