package verb

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"sort"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
)

// list answers with one page of objects, in pieces.
func (v *Verbs) list(ctx context.Context, r *request) error {
	if err := v.Authz.Allow(r.asked()); err != nil {
		return err
	}
	var o metav1.ListOptions
	if err := r.options(&o); err != nil {
		return err
	}
	if err := invalidList(&o, false); err != nil {
		return err
	}
	selected, err := selectorOf(r.kind, &o)
	if err != nil {
		return err
	}
	from, err := parseContinue(&o)
	if err != nil {
		return err
	}
	source := v.source(r.kind)
	records, position, err := r.records(ctx, source, &o, from)
	if err != nil {
		return err
	}
	return r.answerList(source, records, listing{selected: selected, limit: o.Limit, position: position})
}

// invalidList is the answer to options of a list or watch that contradict each other; nil if they do not.
func invalidList(o *metav1.ListOptions, watch bool) error {
	return invalidOptions("ListOptions", validation.ValidateListOptions(&internalversion.ListOptions{
		Watch: watch, ResourceVersion: o.ResourceVersion, ResourceVersionMatch: o.ResourceVersionMatch, Continue: o.Continue,
		SendInitialEvents: o.SendInitialEvents,
	}, true))
}

// records are the objects that a list is about, from the first of its page on, and the revision at which they were so: that
// of the first page, that which was asked for, or the newest.
func (r *request) records(ctx context.Context, source Source, o *metav1.ListOptions, from page) ([]*view.Record, uint64, error) {
	version := o.ResourceVersion
	exact := o.ResourceVersionMatch == metav1.ResourceVersionMatchExact || o.ResourceVersionMatch == "" && o.Limit > 0
	if o.Continue != "" {
		version, exact = from.version(), !from.Newest
	}
	if err := catchUp(ctx, source, version); err != nil {
		return nil, 0, err
	}
	resource := r.kind.Resource()
	records, position := source.List(resource, r.namespace)
	if revision, err := state.ParseRevision(version); exact && err == nil && revision > 0 {
		if records, err = source.Rewind(resource, r.namespace, records, position, revision); err != nil {
			return nil, 0, expiredList(o, from)
		}
		position = revision
	}
	if o.Continue != "" {
		records = records[sort.Search(len(records), func(i int) bool { return from.before(records[i]) }):]
	}
	return records, position, nil
}

// expiredList is the answer to a list of which the revision lies before the window, in Kubernetes' words. Whoever was about to
// continue may do so with the newest objects.
func expiredList(o *metav1.ListOptions, from page) error {
	if o.Continue == "" {
		return apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
	}
	err := apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. " +
		"You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder " +
		"of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or " +
		"deleted between the time the first chunk was returned and now may show up in the list.")
	from.Revision, from.Newest = 0, true
	err.ErrStatus.Continue = from.token()
	return err
}

// listing is what a list is to answer.
type listing struct {
	selected selector
	limit    int64
	position uint64
}

// answerList sends the selected records up to the limit, then the metadata.
func (r *request) answerList(source Source, records []*view.Record, l listing) error {
	var piece bytes.Buffer
	meta := metav1.ListMeta{ResourceVersion: state.FormatRevision(l.position)}
	var sent int64
	for i, record := range records {
		ok, err := l.selects(source, record)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if l.limit > 0 && sent == l.limit {
			meta.Continue = continueAfter(l.position, records[i-1])
			if l.selected.everything() {
				meta.RemainingItemCount = new(int64(len(records) - i))
			}
			break
		}
		body, err := source.JSON(record)
		if err != nil {
			return err
		}
		if piece.Len()+len(body) > wire.PieceSize && piece.Len() > 0 {
			if err := r.in.Piece(piece.Bytes(), false); err != nil {
				return err
			}
			piece.Reset()
		}
		piece.WriteString(`{"item":`)
		piece.Write(body)
		piece.WriteString("}\n")
		sent++
	}
	last, err := json.Marshal(client.ListLine{Meta: &meta})
	if err != nil {
		return err
	}
	piece.Write(last)
	return r.in.Piece(piece.Bytes(), true)
}

func (l *listing) selects(source Source, record *view.Record) (bool, error) {
	if l.selected.everything() {
		return true, nil
	}
	obj, err := source.Open(record)
	if err != nil {
		return false, err
	}
	return l.selected.matches(obj), nil
}

// page is where the next page of a list begins.
type page struct {
	Revision  uint64 `json:"rv,omitempty"`
	Newest    bool   `json:"newest,omitempty"` // instead of Revision: whatever there is
	Namespace string `json:"ns,omitempty"`
	Name      string `json:"name"`
}

// version is the resourceVersion that the page's objects are of.
func (p page) version() string {
	if p.Newest {
		return ""
	}
	return state.FormatRevision(p.Revision)
}

// before says that r comes behind the page's last object.
func (p page) before(r *view.Record) bool {
	if r.Ref.Namespace != p.Namespace {
		return r.Ref.Namespace > p.Namespace
	}
	return r.Ref.Name > p.Name
}

// token is the page as clients carry it.
func (p page) token() string {
	token, err := json.Marshal(p)
	if err != nil {
		panic(err) // two strings and a number
	}
	return base64.RawURLEncoding.EncodeToString(token)
}

func continueAfter(revision uint64, last *view.Record) string {
	return page{Revision: revision, Namespace: last.Ref.Namespace, Name: last.Ref.Name}.token()
}

func parseContinue(o *metav1.ListOptions) (p page, err error) {
	if o.Continue == "" {
		return page{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(o.Continue)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	switch {
	case err != nil || p.Newest == (p.Revision > 0):
		return page{}, apierrors.NewBadRequest("invalid continue token: continue key is not valid")
	case o.ResourceVersion != "" && o.ResourceVersion != "0":
		return page{}, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
	}
	return p, nil
}
