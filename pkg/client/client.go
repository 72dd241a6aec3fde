// Package client is a typed client of the api on top of wire: one method a verb, retried while the api is away, with the
// id of the command kept so that nothing is done twice.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// Client speaks to the api under one identity. Safe for concurrent use.
type Client struct {
	nc       *wire.Conn
	api      wire.API
	cause    events.Meta
	patience time.Duration
}

// ForUser makes the client of a person or of the CLI, whose credential bears the name identity.
func ForUser(nc *wire.Conn, identity string) *Client {
	return &Client{nc: nc, api: wire.API{Identity: identity}}
}

// ForService makes the client of a service of the control plane.
func ForService(nc *wire.Conn, service state.Service) *Client {
	return &Client{nc: nc, api: wire.API{Prefix: wire.FromServices + ".", Identity: string(service)}}
}

// Because gives a client whose requests are caused by what cause says.
func (c *Client) Because(cause events.Meta) *Client {
	because := *c
	because.cause = cause
	return &because
}

// Within gives a client that gives a request up, with [ErrUnavailable], when nobody has answered it after d. A list is given up
// when no page of it has begun by then; watches and sessions last as long as their context.
func (c *Client) Within(d time.Duration) *Client {
	within := *c
	within.patience = d
	return &within
}

// bounded is ctx until the client's patience ends.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.patience <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.patience, errPatience)
}

// Identity is the name under which the client speaks.
func (c *Client) Identity() string { return c.api.Identity }

func (c *Client) call(verb, resource, namespace string, r Request) (wire.Call, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return wire.Call{}, fmt.Errorf("%s %s: %w", verb, resource, err)
	}
	return wire.Call{
		Subject: c.api.Subject(verb, resource, namespace), Body: body, ID: events.NewID(),
		Correlation: c.cause.Correlation, Trace: c.cause.Trace,
	}, nil
}

// Do makes a request with any verb and returns the body of the answer. An error that the api answered is a
// [*wire.StatusError].
func (c *Client) Do(ctx context.Context, verb, resource, namespace string, r Request) ([]byte, error) {
	call, err := c.call(verb, resource, namespace, r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	return wire.Do(ctx, c.nc, call)
}

func options(o any) json.RawMessage {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("client: options that cannot be encoded: %v", err)) // our own plain structs
	}
	return raw
}

// Get reads one object as JSON.
func (c *Client) Get(ctx context.Context, ref state.ObjectRef, o metav1.GetOptions) (json.RawMessage, error) {
	return c.Do(ctx, VerbGet, ref.Resource, ref.Namespace, Request{Name: ref.Name, Options: options(o)})
}

// GetInto reads one object into obj.
func (c *Client) GetInto(ctx context.Context, ref state.ObjectRef, obj scheme.Object) error {
	raw, err := c.Get(ctx, ref, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, obj)
}

// List reads one page of a resource; namespace [wire.Any] means all.
func (c *Client) List(ctx context.Context, resource, namespace string, o metav1.ListOptions) (*List, error) {
	call, err := c.call(VerbList, resource, namespace, Request{Options: options(o)})
	if err != nil {
		return nil, err
	}
	list := &List{}
	patience, cancel := c.bounded(ctx) // bounds how long the list is asked for, not how long it takes to arrive
	defer cancel()
	var unread []error // no further attempt: it could not be read if it came again
	err = wire.Retry(patience, func() error {
		*list = List{}
		err := wire.Pieces(ctx, c.nc, call, func(piece []byte) error {
			err := list.take(piece)
			if err != nil {
				unread = append(unread, err)
			}
			return err
		})
		if len(unread) > 0 {
			return nil
		}
		return err
	})
	if err := errors.Join(append(unread, err)...); err != nil {
		return nil, err
	}
	return list, nil
}

// take reads one piece of a list: lines of JSON, an item each; the last piece begins with a line of metadata.
func (l *List) take(piece []byte) error {
	for line := range bytes.Lines(piece) {
		var item ListLine
		if err := json.Unmarshal(line, &item); err != nil {
			return fmt.Errorf("read list: %w", err)
		}
		if item.Meta != nil {
			l.ListMeta = *item.Meta
		} else {
			l.Items = append(l.Items, bytes.Clone(item.Item))
		}
	}
	return nil
}

// ListLine is one line of the answer to a list: an item, or at last the metadata.
type ListLine struct {
	Item json.RawMessage  `json:"item,omitempty"`
	Meta *metav1.ListMeta `json:"meta,omitempty"`
}

// All reads every page of a resource.
func (c *Client) All(ctx context.Context, resource, namespace string, o metav1.ListOptions) (*List, error) {
	whole := &List{}
	for {
		page, err := c.List(ctx, resource, namespace, o)
		if err != nil {
			return nil, err
		}
		whole.Items = append(whole.Items, page.Items...)
		whole.ListMeta = metav1.ListMeta{ResourceVersion: page.ResourceVersion}
		if page.Continue == "" {
			return whole, nil
		}
		o.Continue = page.Continue
	}
}

// Watch hands on every event of a resource from o.ResourceVersion on, until ctx ends, take fails, or the api ends the watch:
// with store.ErrExpired if the version is too old, with store.ErrUnavailable if the connection broke; the caller then
// begins again from the last version it has seen.
func (c *Client) Watch(ctx context.Context, resource, namespace string, o metav1.ListOptions, take func(WatchEvent) error) error {
	call, err := c.call(VerbWatch, resource, namespace, Request{Options: options(o)})
	if err != nil {
		return err
	}
	return wire.Follow(ctx, c.nc, c.api, call, func(piece []byte) error {
		for line := range bytes.Lines(piece) {
			var event WatchEvent
			if err := json.Unmarshal(line, &event); err != nil {
				return fmt.Errorf("read watch: %w", err)
			}
			if err := take(event); err != nil {
				return err
			}
		}
		return nil
	})
}

// Create creates objects, all or none, in namespace; it returns them as they were stored.
func (c *Client) Create(ctx context.Context, resource, namespace string, r Request, o metav1.CreateOptions) (*Answer, error) {
	r.Options = options(o)
	return c.answer(ctx, VerbCreate, resource, namespace, r)
}

// Update replaces objects, all or none. An object with a resourceVersion is replaced only at that version.
func (c *Client) Update(ctx context.Context, resource, namespace string, r Request, o metav1.UpdateOptions) (*Answer, error) {
	r.Options = options(o)
	return c.answer(ctx, VerbUpdate, resource, namespace, r)
}

// Delete asks for the end of an object and returns it as it is then.
func (c *Client) Delete(ctx context.Context, ref state.ObjectRef, o metav1.DeleteOptions) (*Answer, error) {
	return c.answer(ctx, VerbDelete, ref.Resource, ref.Namespace, Request{Name: ref.Name, Options: options(o)})
}

func (c *Client) answer(ctx context.Context, verb, resource, namespace string, r Request) (*Answer, error) {
	body, err := c.Do(ctx, verb, resource, namespace, r)
	if err != nil {
		return nil, err
	}
	var a Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("read answer to %s: %w", verb, err)
	}
	return &a, nil
}

// Session begins a byte stream with the kubelet of a pod: exec or log. ctx bounds the whole session.
func (c *Client) Session(ctx context.Context, verb string, pod state.ObjectRef, o any) (*wire.Session, error) {
	session, offer, err := wire.NewSession(ctx, c.nc, c.api.Identity)
	if err != nil {
		return nil, err
	}
	body, err := c.Do(ctx, verb, pod.Resource, pod.Namespace, Request{Name: pod.Name, Options: options(o), Session: &offer})
	if err != nil {
		session.Close(nil)
		return nil, err
	}
	var answer SessionAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		session.Close(nil)
		return nil, fmt.Errorf("read answer to %s: %w", verb, err)
	}
	if err := session.Start(answer.Node, offer); err != nil {
		return nil, errors.Join(fmt.Errorf("begin session with node %s: %w", answer.Node, err), session.Wait())
	}
	return session, nil
}

// Info asks what the cluster says about itself.
func (c *Client) Info(ctx context.Context) (*Info, error) {
	body, err := c.Do(ctx, VerbInfo, wire.Any, wire.Any, Request{})
	if err != nil {
		return nil, err
	}
	var info Info
	if err := json.Unmarshal(body, &info); err != nil {
		return nil, fmt.Errorf("read answer to info: %w", err)
	}
	return &info, nil
}
