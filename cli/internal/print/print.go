// Package print shows objects: as tables with kubectl's columns, as YAML or JSON, or as names.
//
// What the table of a kind looks like is one entry in [kinds], with a function that makes the cells of a row of one object.
package print

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The ways to show objects. The empty one is a table, or a sentence on what was done.
const (
	Table = ""
	Wide  = "wide"
	JSON  = "json"
	YAML  = "yaml"
	Name  = "name"
)

// ParseFormat reads the flag -o, which may be one of allowed, in alphabetical order.
func ParseFormat(text string, allowed ...string) (string, error) {
	format := strings.ToLower(text)
	if format == Table || slices.Contains(allowed, format) {
		return format, nil
	}
	return "", fmt.Errorf("unable to match a printer suitable for the output format %q, allowed formats are: %s", text, strings.Join(allowed, ","))
}

// Encoder writes values one after the other.
type Encoder interface{ Encode(value any) error }

// NewEncoder writes values in a format: [JSON] or [YAML].
func NewEncoder(out io.Writer, format string) Encoder {
	if format == JSON {
		return jsonEncoder{out}
	}
	return &yamlEncoder{out: out}
}

type jsonEncoder struct{ out io.Writer }

func (e jsonEncoder) Encode(value any) error {
	body, err := json.MarshalIndent(value, "", "    ")
	if err != nil {
		return err
	}
	_, err = e.out.Write(append(body, '\n'))
	return err
}

type yamlEncoder struct {
	out     io.Writer
	printed bool
}

func (e *yamlEncoder) Encode(value any) error {
	body, err := yaml.Marshal(value)
	if err != nil {
		return err
	}
	if e.printed {
		body = append([]byte("---\n"), body...)
	}
	e.printed = true
	_, err = e.out.Write(body)
	return err
}

// ListOf is a List of objects, as kubectl shows several.
func ListOf(objects []map[string]any) map[string]any {
	items := make([]any, len(objects))
	for i, o := range objects {
		items[i] = o
	}
	return map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""}, "items": items}
}

// OmitManagedFields drops the record of who manages which field, which is long and seldom wanted.
func OmitManagedFields(object map[string]any) {
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
}
