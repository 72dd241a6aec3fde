package authz_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
	"millrace.dev/services/api/internal/authz"
)

func kind(t testing.TB, resource string) *scheme.Kind {
	t.Helper()
	k, ok := scheme.ByResource(resource)
	if !ok {
		t.Fatalf("%s is not served", resource)
	}
	return k
}

func TestAllow(t *testing.T) {
	user := func(identity, verb string) authz.Request {
		return authz.Request{From: wire.FromUsers, Identity: identity, Verb: verb, Kind: kind(t, scheme.Pods), Namespace: "shop", Name: "web"}
	}
	service := func(identity, verb string) authz.Request {
		r := user(identity, verb)
		r.From = wire.FromServices
		return r
	}
	cluster := func(r authz.Request) authz.Request {
		r.Kind, r.Namespace, r.Name = nil, "", ""
		return r
	}
	at := func(r authz.Request, resource, namespace, name string) authz.Request {
		r.Kind, r.Namespace, r.Name = kind(t, resource), namespace, name
		return r
	}
	const pods = `pods "web" is forbidden: User %q cannot %s resource "pods" in API group "" in the namespace "shop"`
	tests := []struct {
		name string
		r    authz.Request
		want string // of the refusal; empty: it is allowed
	}{
		{"an admin reads", user("admin", client.VerbGet), ""},
		{"an admin runs a command", user("admin", client.VerbExec), ""},
		{"an admin asks for the cluster", cluster(user("admin", client.VerbInfo)), ""},
		{"the other admin", user("root", client.VerbDelete), ""},
		{"a user", user("eve", client.VerbGet), fmt.Sprintf(pods, "eve", "get")},
		{"nobody", user("", client.VerbGet), fmt.Sprintf(pods, "", "get")},
		{"a user whose name begins as an admin's", user("administrator", client.VerbGet), fmt.Sprintf(pods, "administrator", "get")},
		{"a user called as a service", user("controller", client.VerbGet), fmt.Sprintf(pods, "controller", "get")},
		{"a service called as an admin", service("admin", client.VerbGet), fmt.Sprintf(pods, "admin", "get")},
		{"a node", authz.Request{From: wire.FromNodes, Identity: "admin", Verb: client.VerbGet, Kind: kind(t, scheme.Pods), Namespace: "shop", Name: "web"}, fmt.Sprintf(pods, "admin", "get")},
		{"the controller reads", service("controller", client.VerbList), ""},
		{"the controller changes a Secret", at(service("controller", client.VerbUpdate), scheme.Secrets, "shop", "s"), ""},
		{"the controller runs a command", service("controller", client.VerbExec), fmt.Sprintf(pods, "controller", "exec")},
		{"the controller reads a log", service("controller", client.VerbLog), fmt.Sprintf(pods, "controller", "log")},
		{"the controller asks for the cluster", cluster(service("controller", client.VerbInfo)), `forbidden: User "controller" cannot ask for info of the cluster`},
		{"the scheduler", service("scheduler", client.VerbGet), fmt.Sprintf(pods, "scheduler", "get")},
		{
			"at the cluster's scope", at(user("eve", client.VerbDelete), scheme.Nodes, "", "n1"),
			`nodes "n1" is forbidden: User "eve" cannot delete resource "nodes" in API group "" at the cluster scope`,
		},
		{
			"of no name", at(user("eve", client.VerbList), scheme.ConfigMaps, "shop", ""),
			`configmaps is forbidden: User "eve" cannot list resource "configmaps" in API group "" in the namespace "shop"`,
		},
	}
	a := authz.New("admin", "root")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := a.Allow(tt.r)
			if tt.want != "" {
				apitest.WantStatus(t, err, metav1.StatusReasonForbidden, tt.want)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// Whoever is no admin of the users' account and no service with rights of its own may do nothing at all.
func TestStrangersMayDoNothing(t *testing.T) {
	a, kinds := authz.New("admin"), []*scheme.Kind{nil, kind(t, scheme.Pods), kind(t, scheme.Secrets)}
	rapid.Check(t, func(t *rapid.T) {
		r := authz.Request{
			From:      rapid.SampledFrom([]string{wire.FromUsers, wire.FromServices, wire.FromNodes, "", "x"}).Draw(t, "from"),
			Identity:  rapid.OneOf(rapid.SampledFrom([]string{"admin", "controller", "scheduler", "*", ""}), rapid.String()).Draw(t, "identity"),
			Verb:      rapid.OneOf(rapid.SampledFrom([]string{client.VerbGet, client.VerbCreate, client.VerbInfo, "*"}), rapid.String()).Draw(t, "verb"),
			Kind:      rapid.SampledFrom(kinds).Draw(t, "kind"),
			Namespace: rapid.String().Draw(t, "namespace"),
		}
		known := r.From == wire.FromUsers && r.Identity == "admin" || r.From == wire.FromServices && r.Identity == "controller"
		if err := a.Allow(r); err == nil && !known {
			t.Fatalf("Allow(%+v) = nil", r)
		}
	})
}

func TestNobodyIsAdminByDefault(t *testing.T) {
	for _, identity := range []string{"admin", ""} {
		r := authz.Request{From: wire.FromUsers, Identity: identity, Verb: client.VerbGet, Kind: kind(t, scheme.Pods)}
		if authz.New().Allow(r) == nil {
			t.Errorf("%q may read although nobody was named", identity)
		}
	}
}

func TestActor(t *testing.T) {
	for want, r := range map[string]authz.Request{
		"user:eve":          {From: wire.FromUsers, Identity: "eve"},
		"user:controller":   {From: wire.FromUsers, Identity: "controller"},
		"system:controller": {From: wire.FromServices, Identity: "controller"},
	} {
		if got := r.Actor(); got != want {
			t.Errorf("Actor of %+v = %q, want %q", r, got, want)
		}
	}
}
