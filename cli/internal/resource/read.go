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
		found, err := s.list(ctx, c, set)
		errs = append(errs, err)
		objects = append(objects, found...)
	}
	return objects, failure.Join(errs...)
}

func (s *Selection) list(ctx context.Context, c *client.Client, set Set) ([]*Object, error) {
	options := s.Options()
	options.Limit = s.query.Chunk
	list, err := c.All(ctx, set.Kind.Resource(), set.Namespace, options)
	if err != nil {
		return nil, err
	}
	objects := make([]*Object, len(list.Items))
	for i, raw := range list.Items {
		if objects[i], err = Of(set.Kind, raw); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// Options are the selectors of the query, for a list or a watch of its sets.
func (s *Selection) Options() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: s.query.Labels, FieldSelector: s.query.Fields}
}
