package print

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// pathEncoder shows values by a JSONPath template. Nothing stands between two values.
type pathEncoder struct {
	out                  io.Writer
	text                 string
	allowMissing, asJSON bool
}

func newPathEncoder(out io.Writer, text string, allowMissing, asJSON bool) (Encoder, error) {
	e := &pathEncoder{out: out, text: text, allowMissing: allowMissing, asJSON: asJSON}
	if _, err := e.parse(); err != nil {
		return nil, fmt.Errorf("error parsing jsonpath %s, %w", text, err)
	}
	return e, nil
}

func (e *pathEncoder) parse() (*jsonpath.JSONPath, error) {
	path, err := parsePath(e.text)
	if err != nil {
		return nil, err
	}
	path.AllowMissingKeys(e.allowMissing)
	path.EnableJSONOutput(e.asJSON)
	return path, nil
}

func (e *pathEncoder) Encode(value any) error {
	path, err := e.parse() // anew for each value: a template with a range can be executed only once
	if err != nil {
		return err
	}
	if err := path.Execute(e.out, value); err != nil {
		return fmt.Errorf("error executing jsonpath %q: Error executing template: %w. Printing more information for debugging the template:\n"+
			"\ttemplate was:\n\t\t%s\n\tobject given to jsonpath engine was:\n\t\t%#v\n\n", e.text, err, e.text, value)
	}
	return nil
}

// parsePath reads a JSONPath template, such as "{.metadata.name}". Keys that are missing are no error.
func parsePath(text string) (*jsonpath.JSONPath, error) {
	path := jsonpath.New("out").AllowMissingKeys(true)
	if err := path.Parse(text); err != nil {
		return nil, err
	}
	return path, nil
}

var errNoPath = errors.New("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'")

// completePath makes a JSONPath template of the path of a field as people write it: "a.b", ".a.b", "{a.b}" or "{.a.b}".
func completePath(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	inner := text
	if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
		inner = text[1 : len(text)-1]
	}
	inner = strings.TrimPrefix(inner, ".")
	if inner == "" || strings.ContainsAny(inner, "{}") {
		return "", errNoPath
	}
	return "{." + inner + "}", nil
}
