package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"millrace.dev/cli/internal/failure"
	"millrace.dev/pkg/scheme"
)

// Documents reads the objects that the files of a query hold, lists taken apart, in order. What cannot be read is missing and the
// error says why; the rest is there.
func (q *Query) Documents() ([]*Object, error) {
	paths, err := q.Files.paths()
	if err != nil {
		return nil, err
	}
	selector, err := labels.Parse(q.Labels)
	if err != nil {
		return nil, fmt.Errorf("the provided selector %q is not valid: %w", q.Labels, err)
	}
	var objects []*Object
	var errs []error
	for _, path := range paths {
		source, text, err := q.Files.read(path, q.In)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, d := range split(text) {
			found, err := d.objects(source)
			for _, o := range found {
				if selector.Matches(o.labels) {
					errs = append(errs, q.place(o.Object))
					objects = append(objects, o.Object)
				}
			}
			errs = append(errs, err)
		}
	}
	if err := failure.Join(errs...); err != nil {
		// A manifest in the wrong namespace must not be sent into another.
		objects = slices.DeleteFunc(objects, func(o *Object) bool { return q.misplaced(o) })
		return objects, err
	}
	return objects, nil
}

// misplaced says that an object names another namespace than the only one that the command may touch.
func (q *Query) misplaced(o *Object) bool {
	return q.Enforce && !o.Kind.ClusterScoped && o.Namespace != q.Namespace
}

// place puts an object into the namespace of the query if it names none.
func (q *Query) place(o *Object) error {
	switch {
	case o.Kind.ClusterScoped:
		o.Namespace = ""
		return nil
	case o.Namespace != "":
		if q.misplaced(o) {
			return fmt.Errorf("the namespace from the provided object %q does not match the namespace %q. You must pass '--namespace=%s' to perform this operation.",
				o.Namespace, q.Namespace, o.Namespace)
		}
		return nil
	}
	o.Namespace = q.Namespace
	content, err := o.Content()
	if err != nil {
		return err
	}
	metadata, ok := content["metadata"].(map[string]any)
	if !ok {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	metadata["namespace"] = q.Namespace
	o.Raw, err = json.Marshal(content)
	return err
}

// document is one document of a file.
type document struct {
	text string
	line int // at which it begins, counted from 0
}

// split takes the text of a file apart: JSON documents that stand one after the other, or YAML documents between lines of three
// dashes.
func split(text string) []document {
	if trimmed := strings.TrimLeft(text, " \t\r\n"); strings.HasPrefix(trimmed, "{") {
		if documents, ok := splitJSON(text); ok {
			return documents
		}
	}
	var documents []document
	begin, first := 0, 0 // of the document that is being read
	at, line := 0, 0
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, "---"); ok {
			if rest = strings.TrimSpace(rest); rest == "" || rest[0] == '#' {
				documents = append(documents, document{text: text[begin:at], line: first})
				begin, first = at+len(l), line+1
			}
		}
		at += len(l)
		line++
	}
	return append(documents, document{text: text[begin:], line: first})
}

// splitJSON takes JSON documents apart; false: the text is no JSON, only something that begins like it.
func splitJSON(text string) ([]document, bool) {
	decoder := json.NewDecoder(strings.NewReader(text))
	var documents []document
	for begin := 0; ; {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return documents, true
		}
		if err != nil {
			return nil, false
		}
		end := int(decoder.InputOffset())
		documents = append(documents, document{text: text[begin:end], line: strings.Count(text[:begin], "\n")})
		begin = end
	}
}

// labelled is an object with the labels that a selector looks at.
type labelled struct {
	*Object
	labels labels.Set
}

// objects reads the objects of a document: none if it is empty, several if it is a list.
func (d document) objects(source string) ([]labelled, error) {
	raw, err := yaml.YAMLToJSON([]byte(strings.Repeat("\n", d.line) + d.text))
	if err != nil {
		return nil, fmt.Errorf("error parsing %s: error converting YAML to JSON: %w", source, err)
	}
	if bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	var m meta
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("unable to decode %q: %w", source, err)
	}
	if m.Items != nil && strings.HasSuffix(m.Kind, "List") {
		return items(source, &m)
	}
	o, err := identify(source, raw, &m)
	if err != nil {
		return nil, err
	}
	o.text, o.line = d.text, d.line
	return []labelled{{o, m.Metadata.Labels}}, nil
}

// items are the objects of a list. Those of a list of one kind need not say of which.
func items(source string, list *meta) ([]labelled, error) {
	var objects []labelled
	var errs []error
	for _, raw := range list.Items {
		var m meta
		if err := json.Unmarshal(raw, &m); err != nil {
			errs = append(errs, fmt.Errorf("unable to decode %q: %w", source, err))
			continue
		}
		if one := strings.TrimSuffix(list.Kind, "List"); m.Kind == "" && one != "" {
			var content map[string]any
			if err := kjson.Unmarshal(raw, &content); err != nil {
				return nil, err
			}
			m.APIVersion, m.Kind = list.APIVersion, one
			content["apiVersion"], content["kind"] = m.APIVersion, m.Kind
			var err error
			if raw, err = json.Marshal(content); err != nil {
				return nil, err
			}
		}
		o, err := identify(source, raw, &m)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		objects = append(objects, labelled{o, m.Metadata.Labels})
	}
	return objects, failure.Join(errs...)
}

// identify finds the kind of an object.
func identify(source string, raw json.RawMessage, m *meta) (*Object, error) {
	switch {
	case m.Kind == "":
		return nil, fmt.Errorf("unable to decode %q: Object 'Kind' is missing in '%s'", source, raw)
	case m.APIVersion == "":
		return nil, fmt.Errorf("unable to decode %q: Object 'apiVersion' is missing in '%s'", source, raw)
	}
	gv, err := schema.ParseGroupVersion(m.APIVersion)
	if err != nil {
		return nil, fmt.Errorf("unable to decode %q: %w", source, err)
	}
	kind, ok := scheme.ByGVK(gv.WithKind(m.Kind))
	if !ok {
		return nil, fmt.Errorf("resource mapping not found for name: %q namespace: %q from %q: %w\nensure CRDs are installed first",
			m.Metadata.Name, m.Metadata.Namespace, source, &scheme.UnservedError{GVK: gv.WithKind(m.Kind)})
	}
	return &Object{Kind: kind, Namespace: m.Metadata.Namespace, Name: m.Metadata.Name, Raw: raw, Source: source}, nil
}
