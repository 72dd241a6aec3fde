package state_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace.dev/pkg/state"
)

func ExampleObjectKey() {
	fmt.Println(state.ObjectKey(state.ObjectRef{Resource: "deployments.apps", Namespace: "shop", Name: "web_1.v2"}))
	fmt.Println(state.ObjectKey(state.ObjectRef{Resource: "nodes", Name: "n1"}))
	fmt.Println(state.ObjectKey(state.ObjectRef{Resource: "secrets", Namespace: "shop", Name: "db"}))
	// Output:
	// object.deployments_apps.shop.web=5F1_v2
	// object.nodes.=.n1
	// sealed.secrets.shop.db
}

// The stored form of every kind of key: a change here breaks every bucket there is.
func TestKeyGolden(t *testing.T) {
	tests := []struct {
		got  state.Key
		want string
	}{
		{state.OrderKey("n1", "shop", "web-1"), "edge.order.n1.shop.web-1"},
		{state.RouteKey("shop", "web", 2), "edge.route.shop.web.2"},
		{state.StampKey(state.StampNode, "node-1.example.com"), "stamp.node.node-1_example_com"},
		{state.ClaimKey(state.ClaimPodCIDR, "10.244.1.0/24"), "claim.podcidr.10_244_1_0=2F24"},
		{state.DoneKey("abc"), "done.abc"},
		{state.BeatKey("api-1", 0), "beat.api-1.0"},
		{state.Epoch, "epoch"},
	}
	for _, tt := range tests {
		if string(tt.got) != tt.want {
			t.Errorf("got key %q, want %q", tt.got, tt.want)
		}
		if err := tt.got.Valid(); err != nil {
			t.Error(err)
		}
	}
}

func TestTokenProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9._=-]{0,20}`)).Draw(t, "text")
		checkToken(t, text)
	})
}

func FuzzToken(f *testing.F) {
	for _, seed := range []string{"", "a.b_c", "=", "=5F", "a\x00ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkToken(t, text)
		// The other direction: whatever decodes is what encoding makes, so no two tokens mean the same.
		if decoded, err := state.DecodeToken(text); err == nil && state.EncodeToken(decoded) != text {
			t.Fatalf("token %q decodes to %q, which encodes to %q", text, decoded, state.EncodeToken(decoded))
		}
	})
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func checkToken(t fataler, text string) {
	token := state.EncodeToken(text)
	if token == "" || strings.ContainsAny(token, " .*>\t\r\n\x00") {
		t.Fatalf("EncodeToken(%q) = %q is no legal token", text, token)
	}
	decoded, err := state.DecodeToken(token)
	if err != nil || decoded != text {
		t.Fatalf("DecodeToken(EncodeToken(%q)) = %q, %v", text, decoded, err)
	}
}

func TestObjectKeyProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := state.ObjectRef{
			Resource:  rapid.SampledFrom([]string{"pods", "secrets", "deployments.apps"}).Draw(t, "resource"),
			Namespace: rapid.String().Draw(t, "namespace"), Name: rapid.String().Draw(t, "name"),
		}
		got, ok := state.ParseObjectKey(state.ObjectKey(want))
		if !ok || got != want {
			t.Fatalf("ParseObjectKey(ObjectKey(%v)) = %v, %v", want, got, ok)
		}
	})
}

func TestParseRefusesForeignKeys(t *testing.T) {
	for _, key := range []state.Key{"", "object", "object.pods.a", "object.pods.a.b.c", "stamp.node.n1", "object.pods.a.b c", "object.pods..b"} {
		if ref, ok := state.ParseObjectKey(key); ok {
			t.Errorf("ParseObjectKey(%q) = %v", key, ref)
		}
	}
}
