// Package resource finds out which objects a person means, by type and name, by selector or by files, and reads them.
//
// Of a manifest it reads only what the way to the api needs: kind, namespace and name. The text itself goes to the api as it was
// written, so that what is wrong with it is said in the words and lines of its author.
package resource

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	kjson "k8s.io/apimachinery/pkg/util/json"

	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
)

// Object is one object as a command meets it.
type Object struct {
	Kind      *scheme.Kind
	Namespace string // empty: its kind has none
	Name      string // empty: the api makes one
	Raw       json.RawMessage
	Source    string // the file that it was written in; empty: none

	text string // as it was written; empty: only Raw is known
	line int    // of the file, at which text begins, counted from 0
}

// Ref names the object to the api.
func (o *Object) Ref() state.ObjectRef {
	return state.ObjectRef{Resource: o.Kind.Resource(), Namespace: o.Namespace, Name: o.Name}
}

// Manifest is the object as it was written, with its lines where they are in their file.
func (o *Object) Manifest() string {
	if o.text == "" {
		return string(o.Raw)
	}
	return strings.Repeat("\n", o.line) + o.text
}

// Content is the object as plain maps and lists; whole numbers are int64.
func (o *Object) Content() (map[string]any, error) {
	var content map[string]any
	if err := kjson.Unmarshal(o.Raw, &content); err != nil {
		return nil, fmt.Errorf("read %s: %w", o, err)
	}
	return content, nil
}

// Typed is the object in the Go type of its kind.
func (o *Object) Typed() (scheme.Object, error) {
	typed := o.Kind.New()
	if err := json.Unmarshal(o.Raw, typed); err != nil {
		return nil, fmt.Errorf("read %s: %w", o, err)
	}
	return typed, nil
}

// String is the object as kubectl names it: "pod/web", "deployment.apps/web".
func (o *Object) String() string { return KindName(o.Kind) + "/" + cmp.Or(o.Name, "<unknown>") }

// KindName is a kind as kubectl writes it before names: "pod", "deployment.apps".
func KindName(kind *scheme.Kind) string {
	name := strings.ToLower(kind.Name)
	if kind.Group != "" {
		name += "." + kind.Group
	}
	return name
}

// meta is what is read of every object.
type meta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace string            `json:"namespace"`
		Name      string            `json:"name"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

// Of is an object of a kind as the api gave it.
func Of(kind *scheme.Kind, raw json.RawMessage) (*Object, error) {
	var m meta
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w", kind.Plural, err)
	}
	return &Object{Kind: kind, Namespace: m.Metadata.Namespace, Name: m.Metadata.Name, Raw: raw}, nil
}
