package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/natsd"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// permissions is what the signer of role grants.
func permissions(t *testing.T, a *auth.Authority, p *auth.Public, role auth.Role) jwt.Permissions {
	t.Helper()
	scope, _ := accountClaims(t, p, roles[role]).SigningKeys.GetScope(publicOf(t, a.Signers[role]))
	user, ok := scope.(*jwt.UserScope)
	if !ok {
		t.Fatalf("role %s has the scope %v", role, scope)
	}
	return user.Template.Permissions
}

// matches says that a subject lies under a filter.
func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		if token == ">" {
			return i < len(s)
		}
		if i >= len(s) || token != "*" && token != s[i] {
			return false
		}
	}
	return len(f) == len(s)
}

// What a service may publish below the bucket is the table of writers, no more and no less.
func TestPermissionsFollowTheTableOfWriters(t *testing.T) {
	a := newAuthority(t)
	p := public(t, a)
	for role, service := range map[auth.Role]state.Service{auth.RoleScheduler: state.Scheduler, auth.RoleController: state.Controller} {
		granted := map[string]bool{}
		for _, subject := range permissions(t, a, p, role).Pub.Allow {
			if strings.HasPrefix(subject, state.SubjectPrefix) {
				granted[subject] = true
			}
		}
		want := map[string]bool{}
		for _, rule := range state.Writers {
			if rule.Service == service {
				want[state.SubjectPrefix+rule.Keys] = true
			}
		}
		if diff := cmp.Diff(want, granted); diff != "" {
			t.Errorf("role %s (-want +got):\n%s", role, diff)
		}
	}
}

func TestPermissionsProperties(t *testing.T) {
	a := newAuthority(t)
	p := public(t, a)
	writers := map[auth.Role]state.Service{auth.RoleScheduler: state.Scheduler, auth.RoleController: state.Controller}
	allow := map[auth.Role]jwt.StringList{}
	for role := range writers {
		allow[role] = permissions(t, a, p, role).Pub.Allow
	}
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }
		key := rapid.OneOf(
			rapid.Just(state.Epoch),
			rapid.Custom(func(*rapid.T) state.Key {
				resource := rapid.SampledFrom([]string{"pods", "nodes", "namespaces", "secrets", "deployments.apps"}).Draw(t, "resource")
				return state.ObjectKey(state.ObjectRef{Resource: resource, Namespace: text("namespace"), Name: text("name")})
			}),
			rapid.Custom(func(*rapid.T) state.Key { return state.OrderKey(text("node"), text("namespace"), text("name")) }),
			rapid.Custom(func(*rapid.T) state.Key { return state.RouteKey(text("namespace"), text("name"), 0) }),
			rapid.Custom(func(*rapid.T) state.Key { return state.DoneKey(text("hash")) }),
			rapid.Custom(func(*rapid.T) state.Key { return state.BeatKey(text("process"), 0) }),
			rapid.Custom(func(*rapid.T) state.Key {
				kind := rapid.SampledFrom([]state.StampKind{state.StampNode, state.StampOwner, state.StampScheduler, state.StampQuota}).Draw(t, "kind")
				return state.StampKey(kind, text("id"))
			}),
		).Draw(t, "key")
		for role, service := range writers {
			granted := false
			for _, filter := range allow[role] {
				granted = granted || matches(filter, key.Subject())
			}
			if want := service.MayWrite(key); granted != want {
				t.Fatalf("%s may publish %s: %v, want %v", role, key.Subject(), granted, want)
			}
		}
	})
}

// Only the control plane reaches the stores, and nobody may destroy one.
func TestNobodyMayDestroyAStore(t *testing.T) {
	a := newAuthority(t)
	p := public(t, a)
	for role, account := range roles {
		if account != auth.CTRL {
			continue // their accounts have no JetStream: natsd's tests
		}
		pub := permissions(t, a, p, role).Pub
		for _, subject := range []string{
			"$JS.API.STREAM.DELETE.KV_state", "$JS.API.STREAM.PURGE.KV_state", "$JS.API.STREAM.MSG.DELETE.KV_state", "$SYS.REQ.SERVER.PING",
		} {
			granted := false
			for _, filter := range pub.Allow {
				granted = granted || matches(filter, subject)
			}
			for _, filter := range pub.Deny {
				granted = granted && !matches(filter, subject)
			}
			if granted {
				t.Errorf("role %s may publish %s", role, subject)
			}
		}
	}
}

// secured runs a server with the accounts of an authority.
func secured(t *testing.T) (*auth.Authority, *natstest.Server) {
	t.Helper()
	a := newAuthority(t)
	return a, natstest.Start(t, natsd.Config{
		Name: "test", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 1 << 30, Volatile: true, Auth: public(t, a),
	})
}

func connect(t *testing.T, s *natstest.Server, c auth.Credential, inbox string) *wire.Conn {
	t.Helper()
	nc, err := wire.Connect(wire.Config{URL: s.ClientURL(), Name: t.Name(), JWT: c.JWT, Seed: c.Seed, Inbox: inbox, Steady: true, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// refused says that the server has refused something about subject on nc.
func refused(t *testing.T, nc *wire.Conn, subject string) bool {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	err := nc.LastError()
	return err != nil && strings.Contains(err.Error(), `"`+subject+`"`)
}

func TestServerHoldsEveryoneToTheirOwnSubjects(t *testing.T) {
	a, s := secured(t)
	tests := []struct {
		role                   auth.Role
		name                   string
		pub, noPub, sub, noSub []string
	}{
		{
			role: auth.RoleKubelet, name: "n1.example",
			pub:   []string{"report.n1_example.pods", "hb.n1_example", "snap.n1_example", "config.n1_example", "note.n1_example.x", "session.n1_example.alice.1.down"},
			noPub: []string{"report.n2.pods", "hb.n2", "snap.n2", "config.n2", "ack.n1_example", "session.n2.alice.1.down", "api.n1_example.get.pods.d", "$KV.state.object.pods.d.a", "edge.order.n1_example.d.a"},
			sub:   []string{"edge.order.n1_example.>", "kubelet.n1_example.>", "_INBOX_n1_example.x"},
			noSub: []string{"edge.order.n2.>", "edge.order.>", "edge.route.>", "kubelet.n2.>", "kubelet.>", "_INBOX_n2.x", "_INBOX.>", ">"},
		},
		{
			role: auth.RoleProxy, name: "n1",
			pub:   []string{"ack.n1", "snap.n1"},
			noPub: []string{"ack.n2", "snap.n2", "hb.n1", "report.n1.pods"},
			sub:   []string{"edge.route.>", "_INBOX_n1p.x"},
			noSub: []string{"edge.order.n1.>", "_INBOX_n1.x", "edge.>", ">"},
		},
		{
			role: auth.RoleUser, name: "alice",
			pub:   []string{"api.alice.get.pods.d", "command.alice.x", "session.n1.alice.1.up"},
			noPub: []string{"api.bob.get.pods.d", "command.bob.x", "session.n1.bob.1.up", "c.api.alice.get.pods.d", "u.api.bob.get.pods.d", "report.n1.pods"},
			sub:   []string{"session.*.alice.1.down", "_INBOX_alice.x"},
			noSub: []string{"session.*.bob.1.down", "session.>", "_INBOX_bob.x", "api.alice.>", ">"},
		},
		{
			role: auth.RoleScheduler, name: "s1",
			pub:   []string{"$KV.state.object.pods.d.a", "$KV.state.beat.s1.0", "$KV.lease.scheduler", "note.d.x"},
			noPub: []string{"$KV.state.object.secrets.d.a", "$KV.state.claim.uid.x", "c.api.controller.get.pods.d", "u.api.alice.get.pods.d", "n.hb.n1"},
			sub:   []string{"_INBOX_s1.x"},
			noSub: []string{"_INBOX_c1.x", "u.api.>", "n.>", "$KV.state.>", ">"},
		},
		{
			role: auth.RoleController, name: "c1",
			pub:   []string{"$KV.state.edge.route.d.web.0", "c.api.controller.create.pods.d", "note.d.x"},
			noPub: []string{"$KV.state.object.pods.d.a", "$KV.state.epoch", "c.api.scheduler.get.pods.d", "kubelet.n1.log"},
			sub:   []string{"_INBOX_c1.x", "n.hb.*", "n.ack.*"},
			noSub: []string{"_INBOX_s1.x", "n.report.>", "u.>", "c.>", ">"},
		},
	}
	for _, tt := range tests {
		t.Run(string(tt.role), func(t *testing.T) {
			nc := connect(t, s, mint(t, a, tt.role, tt.name, 0), "")
			check := func(what string, subjects []string, do func(string) error, want bool) {
				for _, subject := range subjects {
					if err := do(subject); err != nil {
						t.Fatal(err)
					}
					if got := !refused(t, nc, subject); got != want {
						t.Errorf("%s may %s %s: %v, want %v", tt.name, what, subject, got, want)
					}
				}
			}
			publish := func(subject string) error { return nc.Publish(subject, nil) }
			subscribe := func(subject string) error { _, err := nc.SubscribeSync(subject); return err }
			check("publish", tt.pub, publish, true)
			check("publish", tt.noPub, publish, false)
			check("subscribe to", tt.sub, subscribe, true)
			check("subscribe to", tt.noSub, subscribe, false)
		})
	}
}

// What crosses from one account to another says where it came from.
func TestAccountsAreJoined(t *testing.T) {
	a, s := secured(t)
	api := connect(t, s, mint(t, a, auth.RoleAPI, "api", 0), "")
	kubelet := connect(t, s, mint(t, a, auth.RoleKubelet, "n1", 0), "_INBOX_n1")
	proxy := connect(t, s, mint(t, a, auth.RoleProxy, "n1", 0), "_INBOX_n1p")
	user := connect(t, s, mint(t, a, auth.RoleUser, "alice", 0), "_INBOX_alice")
	tests := []struct {
		from      *wire.Conn
		published string
		to        *wire.Conn
		heard     string
	}{
		{user, "api.alice.get.pods.d", api, "u.api.alice.get.pods.d"},
		{user, "command.alice.x", api, "u.command.alice.x"},
		{kubelet, "report.n1.pods", api, "n.report.n1.pods"},
		{kubelet, "hb.n1", api, "n.hb.n1"},
		{kubelet, "config.n1", api, "n.config.n1"},
		{kubelet, "note.n1.x", api, "n.note.n1.x"},
		{proxy, "ack.n1", api, "n.ack.n1"},
		{proxy, "snap.n1", api, "n.snap.n1"},
		{api, "edge.order.n1.d.a", kubelet, "edge.order.n1.d.a"},
		{api, "edge.route.d.web.0", proxy, "edge.route.d.web.0"},
		{api, "kubelet.n1.log", kubelet, "kubelet.n1.log"},
		{user, "session.n1.alice.1.up", kubelet, "session.n1.alice.1.up"},
		{kubelet, "session.n1.alice.1.down", user, "session.n1.alice.1.down"},
	}
	for _, tt := range tests {
		t.Run(tt.published, func(t *testing.T) {
			sub, err := tt.to.SubscribeSync(tt.heard)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(tt.to.Flush(), tt.from.Publish(tt.published, []byte("x")), tt.from.Flush()); err != nil {
				t.Fatal(err)
			}
			m, err := sub.NextMsg(5 * time.Second)
			if err != nil || m.Subject != tt.heard {
				t.Fatalf("heard %v, %v", m, err)
			}
		})
	}
}

// An answer finds its way back to who asked, into the inbox that only its credential may listen on.
func TestAnswersCrossAccounts(t *testing.T) {
	a, s := secured(t)
	api := connect(t, s, mint(t, a, auth.RoleAPI, "api", 0), "")
	for _, tt := range []struct {
		role        auth.Role
		inbox       string
		ask, listen string
	}{
		{auth.RoleUser, wire.Inbox("x.y"), "api.x_y.get.pods.d", "u.api.>"},
		{auth.RoleKubelet, wire.Inbox("x.y"), "hb.x_y", "n.hb.*"},
		{auth.RoleProxy, wire.ProxyInbox("x.y"), "ack.x_y", "n.ack.*"},
	} {
		t.Run(string(tt.role), func(t *testing.T) {
			sub, err := api.SubscribeSync(tt.listen)
			if err != nil {
				t.Fatal(err)
			}
			if err := api.Flush(); err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() {
				m, err := sub.NextMsg(5 * time.Second)
				if err == nil {
					err = m.Respond([]byte("yes"))
				}
				answered <- err
			}()
			m, err := connect(t, s, mint(t, a, tt.role, "x.y", 0), tt.inbox).Request(tt.ask, nil, 5*time.Second)
			if err := errors.Join(err, <-answered); err != nil || string(m.Data) != "yes" {
				t.Errorf("Request = %v, %v", m, err)
			}
		})
	}
}

func TestServerRefusesCredentialsThatAreOver(t *testing.T) {
	a, s := secured(t)
	c := mint(t, a, auth.RoleUser, "alice", -time.Hour)
	nc, err := wire.Connect(wire.Config{URL: s.ClientURL(), JWT: c.JWT, Seed: c.Seed, Once: true})
	if err == nil {
		nc.Close()
		t.Error("a credential that has expired is let in")
	}
}
