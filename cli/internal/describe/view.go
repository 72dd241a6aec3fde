package describe

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
)

// describer describes objects.
type describer struct {
	api    *client.Client
	now    func() time.Time
	chunk  int64
	events bool // are told at the end
}

// view tells what there is to tell of one kind, events included.
type view func(ctx context.Context, d *describer, w *writer, o *resource.Object) error

// views tell of each kind; those without an entry are told field by field.
var views = map[string]view{
	scheme.ConfigMaps: of(describeConfigMap),
	scheme.Namespaces: of(describeNamespace),
	scheme.Nodes:      of(describeNode),
	scheme.Pods:       of(describePod),
	scheme.Secrets:    of(describeSecret),
}

// of makes a view of a function over the kind's own Go type.
func of[T scheme.Object](tell func(ctx context.Context, d *describer, w *writer, obj T) error) view {
	return func(ctx context.Context, d *describer, w *writer, o *resource.Object) error {
		obj, err := o.Typed()
		if err != nil {
			return err
		}
		return tell(ctx, d, w, obj.(T))
	}
}

// describe is everything that is known of an object.
func (d *describer) describe(ctx context.Context, o *resource.Object) (string, error) {
	tell, ok := views[o.Kind.Resource()]
	if !ok {
		tell = describeFields
	}
	w := newWriter(d.now())
	if err := tell(ctx, d, w, o); err != nil {
		return "", err
	}
	return w.String(), nil
}

// head writes what every kind begins with.
func head(w *writer, obj metav1.Object) {
	w.field(0, "Name", obj.GetName())
	w.field(0, "Namespace", obj.GetNamespace())
	w.pairs(0, "Labels", obj.GetLabels())
	w.annotations(obj.GetAnnotations())
}

// list reads all objects of a resource that a selector lets through.
func list[T any](ctx context.Context, d *describer, resource, namespace, fields string) ([]T, error) {
	found, err := d.api.All(ctx, resource, namespace, metav1.ListOptions{FieldSelector: fields, Limit: d.chunk})
	if err != nil {
		return nil, err
	}
	objects := make([]T, len(found.Items))
	for i, raw := range found.Items {
		if err := json.Unmarshal(raw, &objects[i]); err != nil {
			return nil, fmt.Errorf("read %s: %w", resource, err)
		}
	}
	return objects, nil
}

func describeConfigMap(ctx context.Context, d *describer, w *writer, m *corev1.ConfigMap) error {
	head(w, m)
	w.line(0, "\nData\n====")
	for key, value := range sorted(m.Data) {
		w.line(0, "%s:\n----\n%s\n", key, value)
	}
	w.line(0, "\nBinaryData\n====")
	for key, value := range sorted(m.BinaryData) {
		w.line(0, "%s: %d bytes", key, len(value))
	}
	w.line(0, "")
	return d.tellEvents(ctx, w, m)
}

// describeSecret tells how much a secret holds, never what.
func describeSecret(_ context.Context, _ *describer, w *writer, s *corev1.Secret) error {
	head(w, s)
	w.line(0, "\nType:\t%s", s.Type)
	w.line(0, "\nData\n====")
	for key, value := range sorted(s.Data) {
		w.line(0, "%s:\t%d bytes", key, len(value))
	}
	return nil
}

func describeNamespace(_ context.Context, _ *describer, w *writer, n *corev1.Namespace) error {
	w.field(0, "Name", n.Name)
	w.pairs(0, "Labels", n.Labels)
	w.annotations(n.Annotations)
	w.field(0, "Status", n.Status.Phase)
	if len(n.Status.Conditions) == 0 {
		return nil
	}
	w.line(0, "Conditions:")
	w.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage")
	w.line(1, "----\t------\t------------------\t------\t-------")
	for _, c := range n.Status.Conditions {
		w.line(1, "%v\t%v\t%s\t%v\t%v", c.Type, c.Status, date(c.LastTransitionTime.Time), c.Reason, c.Message)
	}
	return nil
}
