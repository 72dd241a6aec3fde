package verb_test

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
)

func TestRequestsThatAreNone(t *testing.T) {
	unserved := "the server could not find the requested resource"
	tests := []struct {
		name        string
		call        apitest.Call
		wantReason  metav1.StatusReason
		wantMessage string
	}{
		{
			"an unknown verb", call("explode", scheme.Pods, "default", client.Request{}),
			metav1.StatusReasonMethodNotAllowed, `explode is not supported on resources of kind "pods"`,
		},
		{"a verb without its resource", call(client.VerbGet, wire.Any, "default", client.Request{}), metav1.StatusReasonBadRequest, "get needs a resource"},
		{"an unknown verb without a resource", call("explode", wire.Any, "", client.Request{}), metav1.StatusReasonBadRequest, "explode needs a resource"},
		{"an unknown resource", call(client.VerbGet, "gadgets", "default", client.Request{}), metav1.StatusReasonNotFound, unserved},
		{
			"a subject that is too short",
			apitest.Call{Subject: "u.api.admin.get.pods", Foreign: true},
			metav1.StatusReasonBadRequest, `subject "u.api.admin.get.pods" is no request`,
		},
		{
			"a subject that is too long",
			apitest.Call{Subject: "u.api.admin.get.pods.default.web", Foreign: true},
			metav1.StatusReasonBadRequest, `subject "u.api.admin.get.pods.default.web" is no request`,
		},
		{
			"an identity that is encoded in another way",
			apitest.Call{Subject: "u.api.=61dmin.get.pods.default", Foreign: true},
			metav1.StatusReasonBadRequest, `subject "u.api.=61dmin.get.pods.default": token "=61dmin": bad escape at byte 0`,
		},
		{
			"a body that is no JSON",
			apitest.Call{Subject: call(client.VerbGet, scheme.Pods, "default", client.Request{}).Subject, Body: []byte("x"), Foreign: true},
			metav1.StatusReasonBadRequest, "the body of the request cannot be read: invalid character 'x' looking for beginning of value",
		},
	}
	inBubble(t, func(t *testing.T, a *api) {
		for _, tt := range tests {
			answer := a.do(tt.call)
			apitest.WantStatus(t, answer.Err, tt.wantReason, tt.wantMessage)
			if len(answer.Pieces) > 0 {
				t.Errorf("%s: answered %s", tt.name, answer.Pieces)
			}
		}
	})
}

// A user's subject counts only if the server itself brought the request from the users' account: inside its own account the control
// plane could be made to publish it.
func TestForgedUserIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		c := call(client.VerbDelete, scheme.Pods, "default", client.Request{Name: "web"})
		a.Put(t, objtest.Pod("web").Obj())
		c.Foreign = false
		apitest.WantStatus(t, a.do(c).Err, metav1.StatusReasonBadRequest, "a user's request that did not come through the users' account")
		if a.Pod("web") == nil {
			t.Error("it was carried out")
		}
	})
}

// Who asks is what the subject says, whatever stands in the body, and so it stands in the event.
func TestIdentityIsThatOfTheSubject(t *testing.T) {
	c := apitest.ConfigMap("c", "k", "v")
	body := client.Request{
		Objects: []json.RawMessage{raw(t, c)},
		Session: &wire.Offer{Identity: "admin"},
	}
	tests := []struct {
		name, prefix, identity string
		wantActor              string // empty: it is refused
	}{
		{"an admin", "u.", "admin", "user:admin"},
		{"somebody else", "u.", "eve", ""},
		{"a user called as the controller", "u.", "controller", ""},
		{"the controller", "c.", "controller", "system:controller"},
		{"a service called as the admin", "c.", "admin", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				subject := wire.API{Prefix: tt.prefix, Identity: tt.identity}.Subject(client.VerbCreate, scheme.ConfigMaps, "default")
				answer := a.do(apitest.Call{Subject: subject, Body: body, Foreign: tt.prefix == "u."})
				a.Fresh(t)
				record := a.View.Object(state.RefOf(c))
				if tt.wantActor == "" {
					if answer.Err == nil || wire.StatusOf(answer.Err).Reason != metav1.StatusReasonForbidden || record != nil {
						t.Errorf("create: %v, and there is %v; want Forbidden and nothing", answer.Err, record)
					}
					return
				}
				if answer.Err != nil || record == nil || record.Actor != tt.wantActor {
					t.Errorf("create: %v, record %+v; want it by %s", answer.Err, record, tt.wantActor)
				}
			})
		})
	}
}

// Whoever may do nothing learns nothing: neither what there is nor what is wrong with his document.
func TestStrangersLearnNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		a.Put(t, objtest.Pod("web").Node("n1").Obj(), apitest.Secret("s", "k", "v"))
		for _, verb := range []string{
			client.VerbGet, client.VerbList, client.VerbWatch, client.VerbCreate, client.VerbUpdate, client.VerbDelete, client.VerbExec, client.VerbLog,
		} {
			for _, name := range []string{"web", "absent"} {
				r := client.Request{Name: name, Objects: []json.RawMessage{raw(t, `{"kind":"Pod","apiVersion":"v1","nonsense":1}`)}}
				subject := wire.API{Prefix: "u.", Identity: "eve"}.Subject(verb, scheme.Pods, "default")
				answer := a.do(apitest.Call{Subject: subject, Body: r, Foreign: true})
				if answer.Err == nil || wire.StatusOf(answer.Err).Reason != metav1.StatusReasonForbidden || len(answer.Pieces) > 0 {
					t.Errorf("%s %s: %s, %v; want Forbidden", verb, name, answer.Pieces, answer.Err)
				}
			}
		}
		if got := a.Pod("web"); got == nil || got.Status.Phase != corev1.PodPending {
			t.Errorf("the pod is now %+v", got)
		}
	})
}
