package verb_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/apitest"
)

func TestCreateGivesWhatWasStored(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		got := object[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"v"}}`))
		if got.UID == "" || got.ResourceVersion == "" || got.ResourceVersion == "0" {
			t.Errorf("uid %q, resourceVersion %q; want both", got.UID, got.ResourceVersion)
		}
		same(t, "namespace", "default", got.Namespace)
		same(t, "creationTimestamp", time.Now().Truncate(time.Second).UTC(), got.CreationTimestamp.UTC())
		read := apitest.JSON[*corev1.ConfigMap](t, a.get(scheme.ConfigMaps, "default", "c"))
		same(t, "get after create", got, read)
	})
}

// What only the system says of a new object is not taken from its creator.
func TestCreateIgnoresWhatIsTheSystems(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		pod := objtest.Pod("web").Phase(corev1.PodRunning).Obj()
		pod.UID, pod.Generation, pod.CreationTimestamp = "mine", 7, metav1.Unix(1, 0)
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = new(metav1.Unix(2, 0)), new(int64(3))
		pod.Status.PodIP = "10.0.0.1"
		got := object[*corev1.Pod](t, a.create(scheme.Pods, "default", pod))
		if got.UID == "mine" || got.DeletionTimestamp != nil || got.DeletionGracePeriodSeconds != nil || got.CreationTimestamp.Unix() == 1 {
			t.Errorf("metadata of its creator was taken: %+v", got.ObjectMeta)
		}
		same(t, "generation", int64(1), got.Generation)
		same(t, "status", corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort}, got.Status)
	})
}

func TestCreateManyIsAllOrNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		got := objects[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("a"), apitest.ConfigMap("b")))
		if len(got) != 2 || got[0].Name != "a" || got[1].Name != "b" || got[0].ResourceVersion == got[1].ResourceVersion {
			t.Errorf("created %v, want a and b in their order, each at its own revision", got)
		}
		answer := a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("c"), apitest.ConfigMap("b"))
		apitest.WantStatus(t, answer.Err, metav1.StatusReasonAlreadyExists, `configmaps "b" already exists`)
		a.wantGone(scheme.ConfigMaps, "default", "c")
	})
}

// A set of mixed kinds names neither a resource nor a namespace: each object says where it belongs.
func TestCreateMixedKinds(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		elsewhere := apitest.Secret("s", "k", "v")
		elsewhere.Namespace = "other"
		nowhere := apitest.ConfigMap("c")
		nowhere.Namespace = ""
		if answer := a.create(wire.Any, wire.Any, elsewhere, nowhere, apitest.Namespace("new")); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		for _, ref := range []state.ObjectRef{
			{Resource: scheme.Secrets, Namespace: "other", Name: "s"},
			{Resource: scheme.ConfigMaps, Namespace: "default", Name: "c"},
			{Resource: scheme.Namespaces, Name: "new"},
		} {
			if answer := a.get(ref.Resource, ref.Namespace, ref.Name); answer.Err != nil {
				t.Errorf("get %s: %v", ref, answer.Err)
			}
		}
	})
}

func TestCreateTheSameNameTwiceInOneRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		answer := a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("a"), apitest.ConfigMap("a"))
		apitest.WantStatus(t, answer.Err, metav1.StatusReasonAlreadyExists, `configmaps "a" already exists`)
		a.wantGone(scheme.ConfigMaps, "default", "a")
	})
}

func TestCreateGeneratesNames(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		seen := map[string]bool{}
		document := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"web-"}}`
		for _, c := range objects[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", document, document, document)) {
			if !strings.HasPrefix(c.Name, "web-") || len(c.Name) != len("web-")+5 || seen[c.Name] {
				t.Errorf("generated the name %q", c.Name)
			}
			seen[c.Name] = true
		}
	})
}

// A name that is given counts, even beside generateName: what was read from the cluster has both.
func TestCreateWithBothNamesMakesNoSecondObject(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		document := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web-x","generateName":"web-"}}`
		same(t, "name", "web-x", object[*corev1.ConfigMap](t, a.create(scheme.ConfigMaps, "default", document)).Name)
		apitest.WantStatus(t, a.create(scheme.ConfigMaps, "default", document).Err, metav1.StatusReasonAlreadyExists, `configmaps "web-x" already exists`)
	})
}

func TestCreateDryRunWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		before := a.View.Position()
		options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		got := object[*corev1.Pod](t, a.write(client.VerbCreate, scheme.Pods, "default", options, objtest.Pod("web").Obj()))
		if got.UID == "" || got.ResourceVersion != "" || got.Status.Phase != corev1.PodPending {
			t.Errorf("uid %q, resourceVersion %q, phase %q; want what would be, at no revision", got.UID, got.ResourceVersion, got.Status.Phase)
		}
		a.wantGone(scheme.Pods, "default", "web")
		same(t, "position", before, a.View.Position())
		options.DryRun = []string{"Some"}
		apitest.WantStatus(t, a.write(client.VerbCreate, scheme.Pods, "default", options, objtest.Pod("web").Obj()).Err, metav1.StatusReasonInvalid,
			`CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"`)
	})
}

func TestCreateRefuses(t *testing.T) {
	versioned := apitest.ConfigMap("c")
	versioned.ResourceVersion = "5"
	foreign := apitest.ConfigMap("c")
	foreign.Namespace = "other"
	homeless := apitest.ConfigMap("c")
	homeless.Namespace = "gone"
	tests := []struct {
		name        string
		resource    string
		namespace   string
		document    any
		wantReason  metav1.StatusReason
		wantMessage string
	}{
		{
			"what is there", scheme.Namespaces, "", apitest.Namespace("default"),
			metav1.StatusReasonAlreadyExists, `namespaces "default" already exists`,
		},
		{
			"a namespace that is not there", scheme.ConfigMaps, "gone", homeless,
			metav1.StatusReasonNotFound, `namespaces "gone" not found`,
		},
		{
			"another namespace than the request's", scheme.ConfigMaps, "default", foreign,
			metav1.StatusReasonBadRequest, "the namespace of the provided object does not match the namespace sent on the request",
		},
		{
			"another kind than the request's", scheme.Pods, "default", apitest.ConfigMap("c"),
			metav1.StatusReasonBadRequest, `ConfigMap in version "v1" cannot be handled as a Pod`,
		},
		{
			"a resourceVersion", scheme.ConfigMaps, "default", versioned,
			metav1.StatusReasonBadRequest, "resourceVersion should not be set on objects to be created",
		},
		{
			"no name at all", scheme.ConfigMaps, "default", `{"apiVersion":"v1","kind":"ConfigMap"}`,
			metav1.StatusReasonInvalid, `ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required`,
		},
		{
			"an unknown field, and names the one that was meant", scheme.Pods, "default",
			`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"contaners":[]}}`,
			metav1.StatusReasonBadRequest,
			`Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.contaners" (did you mean "containers"?)`,
		},
		{
			"a field at fault, by its path", scheme.Pods, "default",
			`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}}`,
			metav1.StatusReasonInvalid, `Pod "p" is invalid: spec.containers[0].image: Required value`,
		},
		{
			"a pod for a node that is not there", scheme.Pods, "default", objtest.Pod("p").Node("n9").Obj(),
			metav1.StatusReasonForbidden, `pods "p" is forbidden: node "n9" does not exist`,
		},
		{
			"events, which nodes and services tell", scheme.Events, "default",
			`{"apiVersion":"v1","kind":"Event","metadata":{"name":"e","namespace":"default"},"involvedObject":{"namespace":"default"}}`,
			metav1.StatusReasonMethodNotAllowed, `create is not supported on resources of kind "events"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				apitest.WantStatus(t, a.create(tt.resource, tt.namespace, tt.document).Err, tt.wantReason, tt.wantMessage)
			})
		})
	}
}

func TestCreateWithoutAnObject(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		apitest.WantStatus(t, a.create(scheme.Pods, "default").Err, metav1.StatusReasonBadRequest, "the request brings no object")
	})
}

func TestCreateFieldValidation(t *testing.T) {
	const document = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"dta":{"k":"v"},"data":{"k":"v"}}`
	tests := []struct {
		validation   string
		wantCreated  bool
		wantWarnings []string
	}{
		{metav1.FieldValidationStrict, false, nil},
		{"", false, nil},
		{metav1.FieldValidationWarn, true, []string{`unknown field "dta" (did you mean "data"?)`}},
		{metav1.FieldValidationIgnore, true, nil},
	}
	for _, tt := range tests {
		t.Run("validation "+tt.validation, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				answer := a.write(client.VerbCreate, scheme.ConfigMaps, "default", metav1.CreateOptions{FieldValidation: tt.validation}, document)
				if created := answer.Err == nil; created != tt.wantCreated {
					t.Fatalf("create = %v, want created %v", answer.Err, tt.wantCreated)
				}
				if tt.wantCreated {
					same(t, "warnings", tt.wantWarnings, apitest.JSON[client.Answer](t, answer).Warnings)
					same(t, "data", map[string]string{"k": "v"}, apitest.JSON[*corev1.ConfigMap](t, a.get(scheme.ConfigMaps, "default", "c")).Data)
				}
			})
		})
	}
}

// A person's own document is read as it is written, so that complaints fit it.
func TestCreateFromAManifest(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		request := client.Request{Manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}\n"}
		got := object[*corev1.ConfigMap](t, a.ask(client.VerbCreate, wire.Any, "other", request))
		same(t, "namespace and data", []string{"other", "v"}, []string{got.Namespace, got.Data["k"]})
	})
}

// A pod may name its node: its order comes with it, and the node's stamp moves, for it is an addition to what runs there (P9).
func TestP9_CreateOnANodeMovesItsStampAndOrders(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		before := a.View.Stamp(state.StampNode, "n1").Revision
		pod := object[*corev1.Pod](t, a.create(scheme.Pods, "default", objtest.Pod("web").Node("n1").Obj()))
		a.Fresh(t)
		if now := a.View.Stamp(state.StampNode, "n1").Revision; now <= before {
			t.Errorf("stamp of the node is at %d, as before (%d)", now, before)
		}
		order := a.Order(t, "n1", "web")
		if order == nil || order.Pod.UID != pod.UID {
			t.Errorf("order %+v, want one for uid %s", order, pod.UID)
		}
	})
}

// What another replica has answered counts, whether or not our view shows it yet: no refusal rests on what has gone.
func TestCreateAfterADeletionThatTheViewDoesNotShow(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		other := a.second()
		a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("x"))
		other.Fresh(t)
		release := a.Store.Hold()
		if answer := other.delete(scheme.ConfigMaps, "default", "x", metav1.DeleteOptions{}); answer.Err != nil {
			t.Fatalf("delete: %v", answer.Err)
		}
		created := make(chan apitest.Answer)
		go func() { created <- a.create(scheme.ConfigMaps, "default", apitest.ConfigMap("x", "new", "yes")) }()
		synctest.Wait()
		release()
		same(t, "data", map[string]string{"new": "yes"}, object[*corev1.ConfigMap](t, <-created).Data)
	})
}

// Who creates in a namespace while it begins to end loses, however late the write is made (P9): the namespace's stamp has moved.
func TestP9_CreateLosesAgainstTheEndOfItsNamespace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		other := a.second()
		a.Writes.Before(func() {
			if answer := other.delete(scheme.Namespaces, "", "default", metav1.DeleteOptions{}); answer.Err == nil {
				t.Error("the namespace default was deleted")
			}
			if answer := other.delete(scheme.Namespaces, "", "other", metav1.DeleteOptions{}); answer.Err != nil {
				t.Errorf("delete the namespace: %v", answer.Err)
			}
		})
		c := apitest.ConfigMap("c")
		c.Namespace = "other"
		apitest.WantStatus(t, a.create(scheme.ConfigMaps, "other", c).Err, metav1.StatusReasonForbidden,
			`configmaps "c" is forbidden: unable to create new content in namespace other because it is being terminated`)
		a.wantGone(scheme.ConfigMaps, "other", "c")
	})
}

// Likewise who creates on a node that is being removed.
func TestP9_CreateLosesAgainstTheRemovalOfItsNode(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		other := a.second()
		a.Writes.Before(func() {
			if answer := other.delete(scheme.Nodes, "", "n1", metav1.DeleteOptions{}); answer.Err != nil {
				t.Errorf("delete the node: %v", answer.Err)
			}
		})
		apitest.WantStatus(t, a.create(scheme.Pods, "default", objtest.Pod("web").Node("n1").Obj()).Err, metav1.StatusReasonForbidden,
			`pods "web" is forbidden: node "n1" does not exist`)
		a.wantGone(scheme.Pods, "default", "web")
	})
}

func TestCreateInATerminatingNamespace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *api) {
		if answer := a.delete(scheme.Namespaces, "", "other", metav1.DeleteOptions{}); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		object := apitest.ConfigMap("c")
		object.Namespace = "other"
		err := a.create(scheme.ConfigMaps, "other", object).Err
		apitest.WantStatus(t, err, metav1.StatusReasonForbidden,
			`configmaps "c" is forbidden: unable to create new content in namespace other because it is being terminated`)
		same(t, "causes", []metav1.StatusCause{{
			Type: corev1.NamespaceTerminatingCause, Message: "namespace other is being terminated", Field: "metadata.namespace",
		}}, wire.StatusOf(err).Details.Causes)
	})
}

// However many create the same name at once, at two replicas whose views are behind: one wins, and nobody overwrites him.
func TestP2_OfManyCreatorsExactlyOneWins(t *testing.T) {
	for _, kind := range []struct {
		resource string
		named    func(name string) scheme.Object
	}{
		{scheme.ConfigMaps, func(name string) scheme.Object { return apitest.ConfigMap(name) }},
		{scheme.Pods, func(name string) scheme.Object { return objtest.Pod(name).Obj() }},
	} {
		t.Run(kind.resource, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *api) {
				const names, creators = 40, 6
				replicas := []*api{a, a.second()}
				for n := range names {
					name := fmt.Sprint("o", n)
					created := make(chan types.UID, creators)
					var wg sync.WaitGroup
					for i := range creators {
						wg.Go(func() {
							answer := replicas[i%2].create(kind.resource, "default", kind.named(name))
							if answer.Err == nil {
								created <- metaOf(t, answer).UID
							} else {
								apitest.WantStatus(t, answer.Err, metav1.StatusReasonAlreadyExists, fmt.Sprintf("%s %q already exists", kind.resource, name))
							}
						})
					}
					wg.Wait()
					close(created)
					if len(created) != 1 {
						t.Fatalf("%d creators of %s won", len(created), name)
					}
					same(t, "uid", <-created, apitest.JSON[metav1.PartialObjectMetadata](t, a.get(kind.resource, "default", name)).UID)
				}
			})
		})
	}
}
