package verb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kwatch "k8s.io/apimachinery/pkg/watch"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/watch"
)

// bookmarkEvery is how often a watch that asked for bookmarks is told how far it is.
const bookmarkEvery = 10 * time.Second

// watch answers with every change of a resource, as a stream that ends with its receiver.
func (v *Verbs) watch(ctx context.Context, r *request) error {
	if err := v.Authz.Allow(r.asked()); err != nil {
		return err
	}
	var o metav1.ListOptions
	if err := r.options(&o); err != nil {
		return err
	}
	if err := invalidList(&o, true); err != nil {
		return err
	}
	selected, err := selectorOf(r.kind, &o)
	if err != nil {
		return err
	}
	w := &watcher{source: v.source(r.kind), kind: r.kind, namespace: r.namespace, selected: selected, options: &o}
	cursor, err := w.begin(ctx)
	if err != nil {
		return err
	}
	if o.TimeoutSeconds != nil && *o.TimeoutSeconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(*o.TimeoutSeconds)*time.Second, errTimeOver)
		defer cancel()
	}
	ctx, w.stream = v.Streams.Open(ctx, r.in, r.target.Identity)
	w.stream.Close(w.run(ctx, cursor))
	return nil
}

// watcher is one watch.
type watcher struct {
	source    Source
	kind      *scheme.Kind
	namespace string
	selected  selector
	options   *metav1.ListOptions
	stream    *wire.Stream
	initial   []*view.Record // to be told as ADDED before anything else
	position  uint64         // that initial stands for
}

// begin finds the place to watch from: the version that the caller has seen, or what there is now.
func (w *watcher) begin(ctx context.Context) (*watch.Cursor, error) {
	version := w.options.ResourceVersion
	if err := catchUp(ctx, w.source, version); err != nil {
		return nil, err
	}
	anything := version == "" || version == "0"
	initial := anything
	if told := w.options.SendInitialEvents; told != nil {
		initial = *told
	}
	switch {
	case initial:
		w.initial, w.position = w.source.List(w.kind.Resource(), w.namespace)
		return w.from(w.position)
	case anything:
		return w.from(w.source.Position())
	}
	revision, err := state.ParseRevision(version)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return w.from(revision)
}

func (w *watcher) from(revision uint64) (*watch.Cursor, error) {
	cursor, err := w.source.From(w.kind.Resource(), revision)
	if err != nil {
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d", revision))
	}
	return cursor, nil
}

// run tells what there is, then every change, until ctx ends (nil: at the time that the caller asked for).
func (w *watcher) run(ctx context.Context, cursor *watch.Cursor) error {
	if err := w.tellInitial(ctx); err != nil {
		return over(ctx, err)
	}
	bookmark := time.Now().Add(bookmarkEvery)
	for {
		waiting, cancel := context.WithDeadlineCause(ctx, bookmark, errBookmark)
		changes, err := cursor.Next(waiting)
		cancel()
		switch {
		case err == nil:
			err = w.tell(ctx, changes)
		case ctx.Err() == nil && errors.Is(err, errBookmark):
			err = nil
		case errors.Is(err, store.ErrExpired):
			err = apierrors.NewResourceExpired("the watch fell behind the window of changes; list again")
		}
		if err == nil && !time.Now().Before(bookmark) {
			bookmark = time.Now().Add(bookmarkEvery)
			err = w.tellBookmark(ctx, cursor.Reached(), nil)
		}
		if err != nil {
			return over(ctx, err)
		}
	}
}

// Why a watch stops waiting for changes. Their own errors, because that of a deadline may tell of a time that was over elsewhere.
var (
	errBookmark = errors.New("it is time for a bookmark")
	errTimeOver = errors.New("the time of the watch is over")
)

// over is the error that a watch ends with: none if its time is over; if this replica stops, one that says to go on with another.
func over(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil {
		return err
	}
	if errors.Is(cause, errTimeOver) {
		return nil
	}
	return unavailable(cause)
}

func (w *watcher) tellInitial(ctx context.Context) error {
	var piece bytes.Buffer
	for _, record := range w.initial {
		l := listing{selected: w.selected}
		ok, err := l.selects(w.source, record)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		body, err := w.source.JSON(record)
		if err != nil {
			return err
		}
		if err := w.write(ctx, &piece, kwatch.Added, body); err != nil {
			return err
		}
	}
	w.initial = nil
	if err := w.flush(ctx, &piece); err != nil {
		return err
	}
	if w.options.SendInitialEvents != nil && *w.options.SendInitialEvents {
		return w.tellBookmark(ctx, w.position, map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return nil
}

// tell tells changes as a watch with this selector sees them.
func (w *watcher) tell(ctx context.Context, changes []watch.Change) error {
	var piece bytes.Buffer
	for _, c := range changes {
		if w.namespace != "" && c.After.Ref.Namespace != w.namespace {
			continue
		}
		told, err := w.seen(c)
		if err != nil {
			return err
		}
		for _, event := range told {
			if err := w.write(ctx, &piece, event.typ, event.body); err != nil {
				return err
			}
		}
	}
	return w.flush(ctx, &piece)
}

type told struct {
	typ  kwatch.EventType
	body []byte
}

// seen turns one change into what the selector lets through: an object that begins to match is ADDED, one that ceases to is
// DELETED, and one whose uid changed is DELETED and ADDED.
func (w *watcher) seen(c watch.Change) ([]told, error) {
	before, err := w.selects(c.Before)
	if err != nil {
		return nil, err
	}
	after, err := w.selects(c.After)
	if err != nil {
		return nil, err
	}
	switch {
	case before != nil && after != nil && before.GetUID() == after.GetUID():
		return w.told(c, kwatch.Modified)
	case before != nil && after != nil:
		return w.told(c, kwatch.Deleted, kwatch.Added)
	case after != nil:
		return w.told(c, kwatch.Added)
	case before != nil:
		return w.told(c, kwatch.Deleted)
	default:
		return nil, nil
	}
}

// selects is the object of a record if it is live and selected; nil otherwise.
func (w *watcher) selects(r *view.Record) (scheme.Object, error) {
	if r == nil || r.Removed {
		return nil, nil
	}
	obj, err := w.source.Open(r)
	if err != nil || !w.selected.matches(obj) {
		return nil, err
	}
	return obj, nil
}

func (w *watcher) told(c watch.Change, types ...kwatch.EventType) ([]told, error) {
	var events []told
	for _, typ := range types {
		record := c.After
		if typ == kwatch.Deleted {
			// The object as it last was, under the revision at which it went.
			record = &view.Record{Key: c.Before.Key, Ref: c.Before.Ref, Body: c.Before.Body, Revision: c.Revision}
		}
		body, err := w.source.JSON(record)
		if err != nil {
			return nil, err
		}
		events = append(events, told{typ, body})
	}
	return events, nil
}

func (w *watcher) tellBookmark(ctx context.Context, revision uint64, annotations map[string]string) error {
	if !w.options.AllowWatchBookmarks && annotations == nil {
		return nil
	}
	obj := w.kind.New()
	obj.GetObjectKind().SetGroupVersionKind(w.kind.GVK())
	obj.SetResourceVersion(state.FormatRevision(revision))
	obj.SetAnnotations(annotations)
	body, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	var piece bytes.Buffer
	if err := w.write(ctx, &piece, kwatch.Bookmark, body); err != nil {
		return err
	}
	return w.flush(ctx, &piece)
}

// write adds one event to a piece, sending the piece when it is full.
func (w *watcher) write(ctx context.Context, piece *bytes.Buffer, typ kwatch.EventType, body []byte) error {
	if piece.Len() > 0 && piece.Len()+len(body) > wire.PieceSize {
		if err := w.flush(ctx, piece); err != nil {
			return err
		}
	}
	// A client.WatchEvent, put together by hand: the body is JSON already, and as large as a pod.
	fmt.Fprintf(piece, `{"type":%q,"object":`, typ)
	piece.Write(body)
	piece.WriteString("}\n")
	return nil
}

func (w *watcher) flush(ctx context.Context, piece *bytes.Buffer) error {
	if piece.Len() == 0 {
		return nil
	}
	body := bytes.Clone(piece.Bytes())
	piece.Reset()
	return w.stream.Send(ctx, body)
}
