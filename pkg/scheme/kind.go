// Package scheme lists the kinds that the cluster serves: their names, scope, short names and how they decode.
//
// It owns the vocabulary and nothing else: what a kind defaults to, allows and does is decided by the api's registry and the
// controllers. Everything here is fixed when the process starts and safe for concurrent use.
package scheme

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Object is any Kubernetes object with metadata.
type Object interface {
	metav1.Object
	runtime.Object
}

// Kind describes one kind that the cluster serves.
type Kind struct {
	Group, Version string   // "apps", "v1"; the core group is empty
	Name           string   // "Deployment"
	Plural         string   // "deployments"
	Singular       string   // "deployment"
	Short          []string // "deploy"
	Categories     []string // "all"
	ClusterScoped  bool     // true: the kind has no namespace
	New            func() Object
}

// The resources that code refers to by name.
const (
	Pods       = "pods"
	Nodes      = "nodes"
	Namespaces = "namespaces"
	ConfigMaps = "configmaps"
	Secrets    = "secrets"
	Events     = "events"
)

var kinds = []*Kind{
	{Version: "v1", Name: "ConfigMap", Plural: ConfigMaps, Short: []string{"cm"}, New: func() Object { return &corev1.ConfigMap{} }},
	{Version: "v1", Name: "Event", Plural: Events, Short: []string{"ev"}, New: func() Object { return &corev1.Event{} }},
	{Version: "v1", Name: "Namespace", Plural: Namespaces, Short: []string{"ns"}, ClusterScoped: true, New: func() Object { return &corev1.Namespace{} }},
	{Version: "v1", Name: "Node", Plural: Nodes, Short: []string{"no"}, ClusterScoped: true, New: func() Object { return &corev1.Node{} }},
	{Version: "v1", Name: "Pod", Plural: Pods, Short: []string{"po"}, Categories: []string{"all"}, New: func() Object { return &corev1.Pod{} }},
	{Version: "v1", Name: "Secret", Plural: Secrets, New: func() Object { return &corev1.Secret{} }},
}

var byResource, byGVK = index(kinds)

func index(kinds []*Kind) (map[string]*Kind, map[schema.GroupVersionKind]*Kind) {
	resources, gvks := map[string]*Kind{}, map[schema.GroupVersionKind]*Kind{}
	for _, k := range kinds {
		if k.Singular == "" {
			k.Singular = strings.ToLower(k.Name)
		}
		resources[k.Resource()] = k
		gvks[k.GVK()] = k
	}
	return resources, gvks
}

// Resource is the plural with its group, the way it stands in keys and subjects: "pods", "deployments.apps".
func (k *Kind) Resource() string {
	if k.Group == "" {
		return k.Plural
	}
	return k.Plural + "." + k.Group
}

// GVK is the kind's group, version and name.
func (k *Kind) GVK() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Name}
}

// APIVersion is the group and version as manifests write it: "v1", "apps/v1".
func (k *Kind) APIVersion() string { return k.GVK().GroupVersion().String() }

// All lists every kind, ordered by resource.
func All() []*Kind {
	all := slices.Clone(kinds)
	slices.SortFunc(all, func(a, b *Kind) int { return strings.Compare(a.Resource(), b.Resource()) })
	return all
}

// ByResource finds the kind of a resource as [Kind.Resource] prints it.
func ByResource(resource string) (*Kind, bool) {
	k, ok := byResource[resource]
	return k, ok
}

// ByGVK finds the kind that a manifest names.
func ByGVK(gvk schema.GroupVersionKind) (*Kind, bool) {
	k, ok := byGVK[gvk]
	return k, ok
}

// Of finds the kind of a typed object by its Go type, whatever its TypeMeta says.
func Of(obj Object) (*Kind, bool) {
	gvks, _, err := goTypes.ObjectKinds(obj)
	if err != nil || len(gvks) == 0 {
		return nil, false
	}
	return ByGVK(gvks[0])
}

// Lookup finds the kinds that a word of a user names: plural, singular, short name, kind name, any of them with ".group" or
// ".version.group" behind it, or a category such as "all". Unknown words give an empty list.
func Lookup(word string) []*Kind {
	word = strings.ToLower(word)
	name, group, grouped := strings.Cut(word, ".")
	var found []*Kind
	for _, k := range All() {
		switch {
		case !grouped && slices.Contains(k.Categories, word):
			found = append(found, k)
		case !k.named(name):
		case !grouped || group == k.Group || group == k.Version+"."+k.Group || (k.Group == "" && group == k.Version):
			found = append(found, k)
		}
	}
	return found
}

func (k *Kind) named(word string) bool {
	return word == k.Plural || word == k.Singular || word == strings.ToLower(k.Name) || slices.Contains(k.Short, word)
}
