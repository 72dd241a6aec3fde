// Package follow keeps a command up with objects as they change. A watch that breaks off is taken up where it ended; one whose
// place has expired begins with a new list, and what was missed in between is told as events all the same.
package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/state"
)

const (
	pauseFirst = 50 * time.Millisecond
	pauseMost  = 2 * time.Second
)

// Event is one change of an object, which is as it then was.
type Event struct {
	Type   watch.EventType // Added, Modified or Deleted
	Object *resource.Object
}

// Follower follows a set of objects.
type Follower struct {
	Client  *client.Client
	Set     resource.Set
	Options metav1.ListOptions // the selectors
	// Lost is told when the watch broke off and will be taken up again; nil: nobody is.
	Lost func(error)
}

// List reads the objects of the set, and the version at which they were so.
func (f *Follower) List(ctx context.Context) ([]*resource.Object, string, error) {
	options := f.Options
	options.Limit = resource.DefaultChunk
	list, err := f.Client.All(ctx, f.Set.Kind.Resource(), f.Set.Namespace, options)
	if err != nil {
		return nil, "", err
	}
	objects := make([]*resource.Object, len(list.Items))
	for i, raw := range list.Items {
		if objects[i], err = resource.Of(f.Set.Kind, raw); err != nil {
			return nil, "", err
		}
	}
	return objects, list.ResourceVersion, nil
}

// Run calls take with every change after version, at which known were the objects of the set, until ctx ends, take fails, or the
// api refuses.
func (f *Follower) Run(ctx context.Context, known []*resource.Object, version string, take func(Event) error) error {
	r := &run{Follower: f, version: version, known: map[state.ObjectRef]*resource.Object{}, take: take}
	for _, o := range known {
		r.known[o.Ref()] = o
	}
	for pause := pauseFirst; ; {
		before := r.version
		err := r.watch(ctx)
		if r.version != before {
			pause = pauseFirst
		}
		if errors.Is(err, client.ErrExpired) {
			err = r.listAgain(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.taken != nil:
			return r.taken
		case err != nil && !errors.Is(err, client.ErrUnavailable):
			return err
		case err != nil && f.Lost != nil:
			f.Lost(err)
		}
		if !clock.Pause(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, pauseMost)
	}
}

// run is a Follower at work.
type run struct {
	*Follower
	version string
	known   map[state.ObjectRef]*resource.Object
	take    func(Event) error
	taken   error // what take failed with
}

func (r *run) watch(ctx context.Context) error {
	options := r.Options
	options.ResourceVersion, options.AllowWatchBookmarks = r.version, true
	return r.Client.Watch(ctx, r.Set.Kind.Resource(), r.Set.Namespace, options, func(e client.WatchEvent) error {
		var meta metav1.PartialObjectMetadata
		if err := json.Unmarshal(e.Object, &meta); err != nil {
			return fmt.Errorf("read watch: %w", err)
		}
		r.version = meta.ResourceVersion
		if e.Type == string(watch.Bookmark) {
			return nil
		}
		o, err := resource.Of(r.Set.Kind, e.Object)
		if err != nil {
			return err
		}
		return r.tell(watch.EventType(e.Type), o)
	})
}

func (r *run) tell(typ watch.EventType, o *resource.Object) error {
	if typ == watch.Deleted {
		delete(r.known, o.Ref())
	} else {
		r.known[o.Ref()] = o
	}
	r.taken = r.take(Event{Type: typ, Object: o})
	return r.taken
}

// listAgain tells what has changed since the last event, as far as a list shows it.
func (r *run) listAgain(ctx context.Context) error {
	objects, now, err := r.List(ctx)
	if err != nil {
		return err
	}
	live := map[state.ObjectRef]bool{}
	var events []Event
	for _, o := range objects {
		live[o.Ref()] = true
		had := r.known[o.Ref()]
		switch {
		case had == nil:
			events = append(events, Event{watch.Added, o})
		case identity(had) != identity(o):
			events = append(events, Event{watch.Deleted, had}, Event{watch.Added, o})
		case version(had) != version(o):
			events = append(events, Event{watch.Modified, o})
		}
	}
	for ref, had := range r.known {
		if !live[ref] {
			events = append(events, Event{watch.Deleted, had})
		}
	}
	for _, e := range events {
		if err := r.tell(e.Type, e.Object); err != nil {
			return err
		}
	}
	r.version = now
	return nil
}

func metadata(o *resource.Object) (meta metav1.PartialObjectMetadata) {
	_ = json.Unmarshal(o.Raw, &meta) // it was read before
	return meta
}

func identity(o *resource.Object) types.UID { return metadata(o).UID }
func version(o *resource.Object) string     { return metadata(o).ResourceVersion }

// errGone ends the watch of [Gone].
var errGone = errors.New("gone")

// Gone waits until the object with this uid is no longer there. The error is the end of ctx, or what the api refused.
func Gone(ctx context.Context, c *client.Client, o *resource.Object, uid types.UID) error {
	raw, err := c.Get(ctx, o.Ref(), metav1.GetOptions{})
	switch {
	case failure.IsNotFound(err):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	seen, err := resource.Of(o.Kind, raw)
	if err != nil {
		return err
	}
	if identity(seen) != uid {
		return nil
	}
	f := &Follower{Client: c, Set: resource.Set{Kind: o.Kind, Namespace: o.Namespace}, Options: ByName(o.Name)}
	err = f.Run(ctx, []*resource.Object{seen}, version(seen), func(e Event) error {
		if e.Type == watch.Deleted || identity(e.Object) != uid {
			return errGone
		}
		return nil
	})
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// ByName selects the object called name.
func ByName(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
}
