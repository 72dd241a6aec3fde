package verb

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"sort"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	selected, err := selectorOf(r.kind, &o)
	if err != nil {
		return err
	}
	from, err := parseContinue(o.Continue)
	if err != nil {
		return err
	}
	source := v.source(r.kind)
	if err := catchUp(ctx, source, o.ResourceVersion); err != nil {
		return err
	}
	records, position := source.List(r.kind.Resource(), r.namespace)
	if from.Revision > 0 {
		position = from.Revision // a page carries the first page's revision: a watch from it misses nothing
		records = records[sort.Search(len(records), func(i int) bool { return from.before(records[i]) }):]
	}
	return r.answerList(source, records, listing{selected: selected, limit: o.Limit, position: position})
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
	Revision  uint64 `json:"rv"`
	Namespace string `json:"ns"`
	Name      string `json:"name"`
}

// before says that r comes behind the page's last object.
func (p page) before(r *view.Record) bool {
	if r.Ref.Namespace != p.Namespace {
		return r.Ref.Namespace > p.Namespace
	}
	return r.Ref.Name > p.Name
}

func continueAfter(revision uint64, last *view.Record) string {
	token, err := json.Marshal(page{Revision: revision, Namespace: last.Ref.Namespace, Name: last.Ref.Name})
	if err != nil {
		panic(err) // two strings and a number
	}
	return base64.RawURLEncoding.EncodeToString(token)
}

func parseContinue(token string) (p page, err error) {
	if token == "" {
		return page{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil || p.Revision == 0 {
		return page{}, apierrors.NewBadRequest("continue key is not valid: it must be the one that the previous page gave")
	}
	return p, nil
}
