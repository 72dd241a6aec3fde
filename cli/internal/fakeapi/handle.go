package fakeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// handle is a [wire.Handler] for everything.
func (a *API) handle(ctx context.Context, in *wire.Incoming) error {
	target, err := wire.ParseAPISubject(wire.FromUsers + "." + in.Subject)
	if err != nil {
		return err
	}
	r := Request{Verb: target.Verb, Resource: target.Resource, Namespace: target.Namespace}
	if r.Verb == "flow" {
		return nil // acknowledgements of streams
	}
	if err := json.Unmarshal(in.Body, &r.Request); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	a.mu.Lock()
	a.requests = append(a.requests, r)
	failure := a.failures[r.Verb+" "+r.Resource]
	a.mu.Unlock()
	if failure != nil {
		return failure
	}
	switch r.Verb {
	case client.VerbGet:
		return a.get(in, r)
	case client.VerbList:
		return a.list(in, r)
	case client.VerbWatch:
		return a.watch(ctx, in, r)
	case client.VerbCreate:
		return a.create(in, r)
	case client.VerbDelete:
		return a.delete(in, r)
	case client.VerbExec, client.VerbLog:
		return a.session(ctx, in, r)
	case client.VerbInfo:
		return in.AnswerJSON(client.Info{
			Server: json.RawMessage(`{"version":"v0.9.0","goVersion":"go1","platform":"linux/amd64","kubernetes":"v1.37"}`), NATS: "nats://10.0.0.1:4222",
			Components: []client.Component{{Name: "api-1", Kind: "api", Healthy: true}, {Name: "scheduler-1", Kind: "scheduler", Leader: true, Message: "behind"}},
		})
	default:
		return apierrors.NewBadRequest("the fake does not know the verb " + r.Verb)
	}
}

func (r Request) ref() state.ObjectRef {
	return state.ObjectRef{Resource: r.Resource, Namespace: r.Namespace, Name: r.Name}
}

func (a *API) get(in *wire.Incoming, r Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.find(r.ref())
	if o == nil {
		return notFound(r.ref())
	}
	return in.Answer(o.raw)
}

// selected says that a list or watch with options is about an object.
func selected(r Request, o metav1.ListOptions, ref state.ObjectRef, raw json.RawMessage) (bool, error) {
	if ref.Resource != r.Resource || r.Namespace != "" && r.Namespace != ref.Namespace {
		return false, nil
	}
	byLabel, err := labels.Parse(o.LabelSelector)
	if err != nil {
		return false, apierrors.NewBadRequest(err.Error())
	}
	byField, err := fields.ParseSelector(o.FieldSelector)
	if err != nil {
		return false, apierrors.NewBadRequest(err.Error())
	}
	var content map[string]any
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &content); err != nil {
		return false, err
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return false, err
	}
	set := fields.Set{}
	for _, requirement := range byField.Requirements() {
		set[requirement.Field] = text(content, requirement.Field)
	}
	return byLabel.Matches(labels.Set(meta.Labels)) && byField.Matches(set), nil
}

// text is the value at a path of names between dots.
func text(value any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		m, _ := value.(map[string]any)
		value = m[name]
	}
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

func (a *API) list(in *wire.Incoming, r Request) error {
	var o metav1.ListOptions
	if err := json.Unmarshal(r.Options, &o); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	from, _ := strconv.Atoi(o.Continue) // "": 0
	meta := metav1.ListMeta{ResourceVersion: strconv.Itoa(a.revision)}
	var lines []byte
	var sent int64
	for i, object := range a.objects {
		ok, err := selected(r, o, object.ref, object.raw)
		if err != nil {
			return err
		}
		if !ok || i < from {
			continue
		}
		if o.Limit > 0 && sent == o.Limit {
			meta.Continue = strconv.Itoa(i)
			break
		}
		sent++
		lines = fmt.Appendf(lines, "{\"item\":%s}\n", object.raw)
	}
	last, err := json.Marshal(client.ListLine{Meta: &meta})
	if err != nil {
		return err
	}
	return in.Piece(append(lines, last...), true)
}

func (a *API) watch(ctx context.Context, in *wire.Incoming, r Request) error {
	var o metav1.ListOptions
	if err := json.Unmarshal(r.Options, &o); err != nil {
		return err
	}
	seen, _ := strconv.Atoi(o.ResourceVersion) // "": 0
	for {
		a.mu.Lock()
		changes, moved := slices.Clone(a.log), a.moved
		a.mu.Unlock()
		for _, c := range changes {
			switch {
			case c.typ == "" && seen < c.revision:
				return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d", seen))
			case c.typ == "" || c.revision <= seen:
				continue
			}
			ok, err := selected(r, o, c.ref, c.raw)
			if err != nil {
				return err
			}
			if ok {
				if err := in.Piece(fmt.Appendf(nil, "{\"type\":%q,\"object\":%s}\n", c.typ, c.raw), false); err != nil {
					return err
				}
			}
			seen = c.revision
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}

func (a *API) create(in *wire.Incoming, r Request) error {
	obj, kind, err := scheme.Decode([]byte(r.Manifest))
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if !kind.ClusterScoped && obj.GetNamespace() == "" {
		obj.SetNamespace(r.Namespace)
	}
	if obj.GetName() == "" {
		obj.SetName(obj.GetGenerateName() + "xyz")
	}
	obj.SetUID(types.UID("uid-of-" + obj.GetName()))
	var o metav1.CreateOptions
	if err := json.Unmarshal(r.Options, &o); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.find(state.RefOf(obj)) != nil {
		return apierrors.NewAlreadyExists(schema.GroupResource{Group: kind.Group, Resource: kind.Plural}, obj.GetName())
	}
	answer := client.Answer{}
	if o.FieldValidation == metav1.FieldValidationWarn {
		answer.Warnings = []string{`unknown field "spec.foo"`}
	}
	raw, err := json.Marshal(obj)
	if len(o.DryRun) == 0 {
		raw, err = a.put(obj)
	}
	if err != nil {
		return err
	}
	answer.Objects = []json.RawMessage{raw}
	return in.AnswerJSON(answer)
}

// delete takes an object away, unless a finalizer holds it: then the test removes it.
func (a *API) delete(in *wire.Incoming, r Request) error {
	var o metav1.DeleteOptions
	if err := json.Unmarshal(r.Options, &o); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	object := a.find(r.ref())
	if object == nil {
		return notFound(r.ref())
	}
	raw := object.raw
	switch {
	case len(o.DryRun) > 0:
	case len(object.obj.GetFinalizers()) > 0:
		now := metav1.Now()
		object.obj.SetDeletionTimestamp(&now)
		marked, err := a.put(object.obj)
		if err != nil {
			return err
		}
		raw = marked
	default:
		a.remove(r.ref())
	}
	return in.AnswerJSON(client.Answer{Objects: []json.RawMessage{raw}})
}

func (a *API) session(ctx context.Context, in *wire.Incoming, r Request) error {
	a.mu.Lock()
	pod, serve := a.find(r.ref()), a.sessions
	a.mu.Unlock()
	switch {
	case pod == nil:
		return notFound(r.ref())
	case serve == nil:
		return apierrors.NewServiceUnavailable("no kubelet serves sessions")
	}
	s, err := wire.AcceptSession(ctx, a.nc, node, *r.Session)
	if err != nil {
		return err
	}
	a.wg.Go(func() {
		serve(ctx, Session{Session: s, Verb: r.Verb, Pod: r.ref(), Options: r.Options})
		s.Close(nil)
	})
	return in.AnswerJSON(client.SessionAnswer{Node: node})
}
