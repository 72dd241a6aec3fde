package verb

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// get answers with one object.
func (v *Verbs) get(ctx context.Context, r *request) error {
	if err := v.Authz.Allow(r.asked()); err != nil {
		return err
	}
	ref, err := r.ref()
	if err != nil {
		return err
	}
	var o metav1.GetOptions
	if err := r.options(&o); err != nil {
		return err
	}
	source := v.source(r.kind)
	if err := catchUp(ctx, source, o.ResourceVersion); err != nil {
		return err
	}
	record := source.Get(ref)
	if record == nil {
		return errNotFound(r.kind, ref.Name)
	}
	body, err := source.JSON(record)
	if err != nil {
		return err
	}
	return r.in.Answer(body)
}
