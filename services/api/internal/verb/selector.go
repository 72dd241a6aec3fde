package verb

import (
	"cmp"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"millrace.dev/pkg/scheme"
)

// selector says which objects a list or watch is about.
type selector struct {
	labels labels.Selector
	fields fields.Selector
}

func selectorOf(kind *scheme.Kind, o *metav1.ListOptions) (selector, error) {
	l, err := labels.Parse(o.LabelSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest(err.Error())
	}
	f, err := fields.ParseSelector(o.FieldSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest(err.Error())
	}
	known := fieldsOf(kind.New())
	for _, requirement := range f.Requirements() {
		if !known.Has(requirement.Field) {
			return selector{}, apierrors.NewBadRequest(unknownField(kind, requirement.Field))
		}
	}
	return selector{labels: l, fields: f}, nil
}

// unknownField is Kubernetes' sentence, which is another for kinds that have no fields of their own to select by.
func unknownField(kind *scheme.Kind, field string) string {
	if kind.Resource() == scheme.ConfigMaps {
		return fmt.Sprintf("%q is not a known field selector: only %q, %q", field, "metadata.name", "metadata.namespace")
	}
	return fmt.Sprintf("field label not supported: %s", field)
}

// everything says that no object need be decoded to know that it is selected.
func (s selector) everything() bool { return s.labels.Empty() && s.fields.Empty() }

func (s selector) matches(obj scheme.Object) bool {
	return (s.labels.Empty() || s.labels.Matches(labels.Set(obj.GetLabels()))) && (s.fields.Empty() || s.fields.Matches(fieldsOf(obj)))
}

// fieldsOf gives the fields that a kind can be selected by: those of Kubernetes.
func fieldsOf(obj scheme.Object) fields.Set {
	set := fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()}
	switch o := obj.(type) {
	case *corev1.Pod:
		set["spec.nodeName"] = o.Spec.NodeName
		set["spec.restartPolicy"] = string(o.Spec.RestartPolicy)
		set["spec.schedulerName"] = o.Spec.SchedulerName
		set["spec.serviceAccountName"] = o.Spec.ServiceAccountName
		set["spec.hostNetwork"] = strconv.FormatBool(o.Spec.HostNetwork)
		set["status.phase"] = string(o.Status.Phase)
		set["status.podIP"] = o.Status.PodIP
		set["status.nominatedNodeName"] = o.Status.NominatedNodeName
	case *corev1.Node:
		delete(set, "metadata.namespace")
		set["spec.unschedulable"] = strconv.FormatBool(o.Spec.Unschedulable)
	case *corev1.Namespace:
		delete(set, "metadata.namespace")
		set["status.phase"] = string(o.Status.Phase)
	case *corev1.Secret:
		set["type"] = string(o.Type)
	case *corev1.Event:
		set["involvedObject.kind"] = o.InvolvedObject.Kind
		set["involvedObject.namespace"] = o.InvolvedObject.Namespace
		set["involvedObject.name"] = o.InvolvedObject.Name
		set["involvedObject.uid"] = string(o.InvolvedObject.UID)
		set["involvedObject.apiVersion"] = o.InvolvedObject.APIVersion
		set["involvedObject.resourceVersion"] = o.InvolvedObject.ResourceVersion
		set["involvedObject.fieldPath"] = o.InvolvedObject.FieldPath
		set["reason"] = o.Reason
		set["reportingComponent"] = o.ReportingController
		set["source"] = cmp.Or(o.Source.Component, o.ReportingController)
		set["type"] = o.Type
	}
	return set
}
