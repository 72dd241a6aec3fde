package print

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"text/template"

	"millrace.dev/cli/internal/terminal"
)

// templateEncoder shows values by a template of package text/template, with kubectl's functions. Nothing stands between two
// values.
type templateEncoder struct {
	out      io.Writer
	text     string
	template *template.Template
}

func newTemplateEncoder(out io.Writer, text string, allowMissing bool) (Encoder, error) {
	t := template.New("output").Funcs(template.FuncMap{"exists": exists, "base64decode": decodeBase64})
	if !allowMissing {
		t.Option("missingkey=error")
	}
	if _, err := t.Parse(text); err != nil {
		return nil, fmt.Errorf("error parsing template %s, %w", text, err)
	}
	return &templateEncoder{out: out, text: text, template: t}, nil
}

// Encode shows a value. As in kubectl, an error is told beside what was shown before it too, with all that may help to mend the
// template.
func (e *templateEncoder) Encode(value any) error {
	err := e.template.Execute(e.out, value)
	if err == nil {
		return nil
	}
	raw, _ := json.Marshal(value) // it came as JSON
	terminal.Tell(e.out, "Error executing template: %v. Printing more information for debugging the template:\n"+
		"\ttemplate was:\n\t\t%s\n\traw data was:\n\t\t%s\n\tobject given to template engine was:\n\t\t%+v\n\n", err, e.text, raw, value)
	return fmt.Errorf("error executing template %q: %w", e.text, err)
}

// exists says that there is something in a value at the end of a path of keys and places: exists . "metadata" "labels".
func exists(value any, path ...any) bool {
	for _, step := range path {
		switch at := step.(type) {
		case string:
			m, _ := value.(map[string]any)
			value = m[at]
		case int:
			list, _ := value.([]any)
			if at < 0 || at >= len(list) {
				return false
			}
			value = list[at]
		default:
			return false
		}
	}
	return value != nil
}

func decodeBase64(text string) (string, error) {
	body, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("base64 decode failed: %w", err)
	}
	return string(body), nil
}
