package describe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"

	"millrace.dev/pkg/scheme"
)

// tellEvents writes what happened to an object, oldest first, if that is wanted.
func (d *describer) tellEvents(ctx context.Context, w *writer, obj scheme.Object) error {
	if !d.events {
		return nil
	}
	about := fields.Set{"involvedObject.name": obj.GetName(), "involvedObject.namespace": obj.GetNamespace()}
	if kind, ok := scheme.Of(obj); ok {
		about["involvedObject.kind"] = kind.Name
	}
	if _, node := obj.(*corev1.Node); !node { // what speaks of its own node may not know which uid it has
		about["involvedObject.uid"] = string(obj.GetUID())
	}
	events, err := list[corev1.Event](ctx, d, scheme.Events, obj.GetNamespace(), about.AsSelector().String())
	if err != nil {
		return err
	}
	if len(events) == 0 {
		w.field(0, "Events", none)
		return nil
	}
	slices.SortStableFunc(events, func(a, b corev1.Event) int {
		return cmp.Or(a.LastTimestamp.Compare(b.LastTimestamp.Time), a.EventTime.Compare(b.EventTime.Time))
	})
	w.flush()
	w.line(0, "Events:")
	w.line(1, "Type\tReason\tAge\tFrom\tMessage")
	w.line(1, "----\t------\t----\t----\t-------")
	for i := range events {
		e := &events[i]
		message := strings.TrimSpace(e.Message)
		if e.InvolvedObject.FieldPath != "" {
			message = e.InvolvedObject.FieldPath + ": " + message
		}
		w.line(1, "%v\t%v\t%s\t%v\t%v", e.Type, e.Reason, w.interval(e), cmp.Or(e.Source.Component, e.ReportingController), message)
	}
	return nil
}

// interval is when an event happened, and of one that happened again, how often since when.
func (w *writer) interval(e *corev1.Event) string {
	first := e.EventTime.Time
	if first.IsZero() {
		first = e.FirstTimestamp.Time
	}
	switch {
	case e.Series != nil:
		return fmt.Sprintf("%s (x%d over %s)", w.age(e.Series.LastObservedTime.Time), e.Series.Count, w.age(first))
	case e.Count > 1:
		return fmt.Sprintf("%s (x%d over %s)", w.age(e.LastTimestamp.Time), e.Count, w.age(first))
	default:
		return w.age(first)
	}
}
