package state_test

import (
	"slices"
	"strings"
	"testing"

	"millrace.dev/pkg/state"
)

// Who may write what. Kubelet and proxy are asked too: they write nothing.
func TestMayWrite(t *testing.T) {
	const a, s, c = state.API, state.Scheduler, state.Controller
	tests := []struct {
		key  state.Key
		want []state.Service
	}{
		{podKey("web"), []state.Service{a, s}},
		{configKey("c1"), []state.Service{a}},
		{"object.podsecurity.default.x", []state.Service{a}}, // begins like pods and is none
		{state.ObjectKey(state.ObjectRef{Resource: "nodes", Name: "n1"}), []state.Service{a, c}},
		{state.ObjectKey(state.ObjectRef{Resource: "namespaces", Name: "d"}), []state.Service{a, c}},
		{state.ObjectKey(state.ObjectRef{Resource: "secrets", Namespace: "d", Name: "s"}), []state.Service{a}},
		{state.OrderKey("n1", "d", "web"), []state.Service{a, s, c}},
		{state.RouteKey("d", "web", 0), []state.Service{c}},
		{state.StampKey(state.StampNode, "n1"), []state.Service{a, s, c}},
		{state.StampKey(state.StampScheduler, state.TheScheduler), []state.Service{a, s, c}},
		{state.StampKey(state.StampOwner, "u"), []state.Service{a, c}},
		{state.StampKey(state.StampQuota, "d"), []state.Service{a, c}},
		{state.StampKey(state.StampBudget, "u"), []state.Service{a, c}},
		{state.StampKey(state.StampNamespace, "d"), []state.Service{a, c}},
		{state.ClaimKey(state.ClaimPodCIDR, "x"), []state.Service{a}},
		{state.DoneKey("x"), []state.Service{a}},
		{state.BeatKey("p", 0), []state.Service{a, s, c}},
		{state.Epoch, []state.Service{a}},
		{"epoch.more", nil},
		{"unheard.of", nil},
		{"", nil},
	}
	for _, tt := range tests {
		var got []state.Service
		for _, service := range []state.Service{a, s, c, "kubelet", "proxy", ""} {
			if service.MayWrite(tt.key) {
				got = append(got, service)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q may be written by %v, want %v", tt.key, got, tt.want)
		}
	}
}

// A row of the table is also a permission of NATS: a subject filter, whole tokens, ">" only at the end.
func TestWritersAreSubjectFilters(t *testing.T) {
	seen := map[state.WriterRule]bool{}
	for _, rule := range state.Writers {
		prefix := strings.TrimSuffix(rule.Keys, ".>")
		if err := state.Key(prefix).Valid(); err != nil {
			t.Errorf("row %+v: %v", rule, err)
		}
		if seen[rule] {
			t.Errorf("row %+v stands twice", rule)
		}
		seen[rule] = true
	}
}

// Each kind of stamp has one row that says what it guards and who must move it, and somebody may write it.
func TestStampsTable(t *testing.T) {
	kinds := []state.StampKind{
		state.StampNode, state.StampOwner, state.StampQuota, state.StampBudget, state.StampNamespace, state.StampScheduler,
	}
	var rows []state.StampKind
	for _, rule := range state.Stamps {
		rows = append(rows, rule.Kind)
		if rule.ID == "" || rule.Guards == "" || len(rule.Decides) == 0 {
			t.Errorf("row %+v leaves open what it guards", rule)
		}
		if !state.API.MayWrite(state.StampKey(rule.Kind, "x")) {
			t.Errorf("nobody may give birth to stamps of kind %s", rule.Kind)
		}
	}
	if !slices.Equal(rows, kinds) {
		t.Errorf("the table has rows for %v, want %v", rows, kinds)
	}
}

func TestStampKeyIsParsed(t *testing.T) {
	for _, id := range []string{"n1.example.com", "", "a_b", "0c6e4ca2-8e1b-4c0f-b4c4-0d2c7d3a3f3b"} {
		s := state.Stamp{Kind: state.StampNode, ID: id}
		if kind, got, ok := state.ParseStampKey(s.Key()); !ok || kind != s.Kind || got != id {
			t.Errorf("ParseStampKey(%s) = %q, %q, %v; want %q, %q", s.Key(), kind, got, ok, s.Kind, id)
		}
	}
	for _, key := range []state.Key{"stamp.node", "stamp.node.a.b", "claim.node.a", ""} {
		if kind, id, ok := state.ParseStampKey(key); ok {
			t.Errorf("ParseStampKey(%q) = %q, %q", key, kind, id)
		}
	}
}

func TestOtherKeysAreParsed(t *testing.T) {
	node, pod, ok := state.ParseOrderKey(state.OrderKey("n1.example.com", "shop", "web_1"))
	if want := (state.ObjectRef{Resource: "pods", Namespace: "shop", Name: "web_1"}); !ok || node != "n1.example.com" || pod != want {
		t.Errorf("ParseOrderKey = %q, %v, %v", node, pod, ok)
	}
	kind, value, ok := state.ParseClaimKey(state.ClaimKey(state.ClaimPodCIDR, "10.244.1.0/24"))
	if !ok || kind != state.ClaimPodCIDR || value != "10.244.1.0/24" {
		t.Errorf("ParseClaimKey = %q, %q, %v", kind, value, ok)
	}
	for _, key := range []state.Key{"edge.route.d.web.0", "edge.order.n1.d", "edge.order.n1.d.p.q", "object.pods.d.p.q", ""} {
		if node, pod, ok := state.ParseOrderKey(key); ok {
			t.Errorf("ParseOrderKey(%q) = %q, %v", key, node, pod)
		}
	}
	for _, key := range []state.Key{"claim.podcidr", "stamp.node.n1", ""} {
		if kind, value, ok := state.ParseClaimKey(key); ok {
			t.Errorf("ParseClaimKey(%q) = %q, %q", key, kind, value)
		}
	}
}

// A prefix holds the keys of its node and of no node whose name begins like it.
func TestPrefixes(t *testing.T) {
	n1, n10 := state.OrderKey("n1", "d", "p"), state.OrderKey("n10", "d", "p")
	begins := func(k, prefix state.Key) bool { return strings.HasPrefix(string(k), string(prefix)) }
	if !begins(n1, state.OrderPrefix("n1")) || begins(n10, state.OrderPrefix("n1")) {
		t.Errorf("%s holds %s: %v, %s: %v", state.OrderPrefix("n1"), n1, begins(n1, state.OrderPrefix("n1")), n10, begins(n10, state.OrderPrefix("n1")))
	}
	if !begins(n10, state.OrderPrefix("")) || begins(state.RouteKey("d", "s", 0), state.OrderPrefix("")) {
		t.Errorf("%s does not hold exactly the orders", state.OrderPrefix(""))
	}
	if !begins(state.RouteKey("d", "s", 0), state.RoutePrefix()) || begins(n1, state.RoutePrefix()) {
		t.Errorf("%s does not hold exactly the routes", state.RoutePrefix())
	}
}

func TestSubjectsOfKeys(t *testing.T) {
	if key, ok := state.KeyOfSubject(podKey("web").Subject()); !ok || key != podKey("web") {
		t.Errorf("KeyOfSubject(%s) = %q, %v", podKey("web").Subject(), key, ok)
	}
	if key, ok := state.KeyOfSubject("$KV.lease.scheduler"); ok {
		t.Errorf("KeyOfSubject of another bucket = %q", key)
	}
	if err := state.Key(strings.Repeat("a", state.MaxKeyLength)).Valid(); err != nil {
		t.Errorf("the longest key: %v", err)
	}
	if state.Key(strings.Repeat("a", state.MaxKeyLength+1)).Valid() == nil {
		t.Error("a key that is too long is valid; its control line would close the connection")
	}
}
