package resource

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/failure"
	"millrace.dev/pkg/client"
)

// DefaultChunk is how many objects are read at once unless the user says otherwise, as in kubectl.
const DefaultChunk = 500

// Read gets the objects that are named and lists the sets, in the order in which they were asked for. What could not be read is
// missing, and the error says why.
func (s *Selection) Read(ctx context.Context, c *client.Client) ([]*Object, error) {
	var objects []*Object
	var errs []error
	for _, o := range s.Named {
		raw, err := c.Get(ctx, o.Ref(), metav1.GetOptions{})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		read := *o
		read.Raw = raw
		objects = append(objects, &read)
	}
	for _, set := range s.Sets {
		found, _, err := s.List(ctx, c, set)
		if err != nil {
			errs = append(errs, err)
		}
		objects = append(objects, found...)
	}
	return objects, failure.Join(errs...)
}

// List reads a set, and the version that it stands for.
func (s *Selection) List(ctx context.Context, c *client.Client, set Set) ([]*Object, string, error) {
	options := s.Options()
	options.Limit = s.query.Chunk
	list, err := c.All(ctx, set.Kind.Resource(), set.Namespace, options)
	if err != nil {
		return nil, "", err
	}
	objects := make([]*Object, 0, len(list.Items))
	for _, raw := range list.Items {
		o, err := Of(set.Kind, raw)
		if err != nil {
			return nil, "", err
		}
		objects = append(objects, o)
	}
	return objects, list.ResourceVersion, nil
}

// Options are the selectors of the query, for a list or a watch of its sets.
func (s *Selection) Options() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: s.query.Labels, FieldSelector: s.query.Fields}
}
