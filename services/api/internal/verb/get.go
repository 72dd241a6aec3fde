package verb

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/state"
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

// catchUp makes a source as fresh as a resourceVersion demands: "" everything acknowledged so far, "0" anything, otherwise
// not older than that.
func catchUp(ctx context.Context, source Source, resourceVersion string) error {
	switch resourceVersion {
	case "":
		return source.Fresh(ctx)
	case "0":
		return nil
	}
	revision, err := state.ParseRevision(resourceVersion)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return source.Await(ctx, revision)
}
