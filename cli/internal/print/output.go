package print

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Formats that take a template: behind "=", or from --template.
const (
	JSONPath          = "jsonpath"
	JSONPathAsJSON    = "jsonpath-as-json"
	JSONPathFile      = "jsonpath-file"
	GoTemplate        = "go-template"
	GoTemplateFile    = "go-template-file"
	Template          = "template"     // [GoTemplate]
	TemplateFile      = "templatefile" // [GoTemplateFile]
	CustomColumns     = "custom-columns"
	CustomColumnsFile = "custom-columns-file"
)

// Templates are the formats that take a template which stands for the whole output, in the order of kubectl's help.
func Templates() []string {
	return []string{GoTemplate, GoTemplateFile, Template, TemplateFile, JSONPath, JSONPathAsJSON, JSONPathFile}
}

// Output is how objects are shown: what -o and the flags beside it say.
type Output struct {
	Flag      string   // -o, as it was written
	Formats   []string // the formats that the command has
	NoHeaders bool     // custom columns without their names

	// Format is the one of Formats that was asked for, or [Table]. Parse sets it.
	Format string

	template     string // as it was written; after Parse: what the file contains that it names
	allowMissing bool
}

// AddFlags defines -o, --template and --allow-missing-template-keys.
func (o *Output) AddFlags(flags *pflag.FlagSet) {
	usage := fmt.Sprintf("Output format. One of: (%s).", strings.Join(o.Formats, ", "))
	if slices.Contains(o.Formats, CustomColumns) {
		usage += " See custom columns [https://kubernetes.io/docs/reference/kubectl/#custom-columns], golang template " +
			"[http://golang.org/pkg/text/template/#pkg-overview] and jsonpath template [https://kubernetes.io/docs/reference/kubectl/jsonpath/]."
	}
	flags.StringVarP(&o.Flag, "output", "o", "", usage)
	flags.StringVar(&o.template, "template", "", "Template string or path to template file to use when -o=go-template, -o=go-template-file. "+
		"The template format is golang templates [http://golang.org/pkg/text/template/#pkg-overview].")
	flags.BoolVar(&o.allowMissing, "allow-missing-template-keys", true, "If true, ignore any errors in templates when a field or map key is missing in the template. "+
		"Only applies to golang and jsonpath output formats.")
}

// Parse finds the format and its template, which may be in a file.
func (o *Output) Parse() error {
	format := o.Flag
	name, behind, found := strings.Cut(format, "=")
	switch {
	case o.template == "" && found && o.has(name) && takesTemplate(name):
		format, o.template = name, behind
	case o.template != "" && format == "":
		format = GoTemplate
	}
	if !takesTemplate(format) || !o.has(format) {
		var err error
		o.Format, err = ParseFormat(format, slices.Sorted(slices.Values(o.Formats))...)
		return err
	}
	o.Format = format
	switch {
	case o.template == "" && o.InColumns():
		return errors.New("custom-columns format specified but no custom columns given")
	case o.template == "":
		return errors.New("template format specified but no template given")
	case !strings.HasSuffix(format, "file"):
		return nil
	}
	text, err := os.ReadFile(o.template)
	switch {
	case err != nil && o.InColumns():
		return fmt.Errorf("error reading template %s, %w", o.template, err)
	case err != nil:
		return fmt.Errorf("error reading --template %s, %w", o.template, err)
	}
	o.template = string(text)
	return nil
}

// Templated says that a template chooses what is shown of each object.
func (o *Output) Templated() bool { return takesTemplate(o.Format) }

// InColumns says that objects are shown in columns that the user has chosen.
func (o *Output) InColumns() bool { return o.Format == CustomColumns || o.Format == CustomColumnsFile }

func (o *Output) has(format string) bool { return slices.Contains(o.Formats, format) }

func takesTemplate(format string) bool {
	return format == CustomColumns || format == CustomColumnsFile || slices.Contains(Templates(), format)
}

// Encoder writes values in the format, which is neither a table nor names. The error is what is wrong with the template.
func (o *Output) Encoder(out io.Writer) (Encoder, error) {
	switch o.Format {
	case JSONPath, JSONPathFile, JSONPathAsJSON:
		return newPathEncoder(out, o.template, o.allowMissing, o.Format == JSONPathAsJSON)
	case GoTemplate, GoTemplateFile, Template, TemplateFile:
		return newTemplateEncoder(out, o.template, o.allowMissing)
	case CustomColumns, CustomColumnsFile:
		parse := parseColumns
		if o.Format == CustomColumnsFile {
			parse = parseColumnsFile
		}
		columns, err := parse(out, o.template)
		if err != nil {
			return nil, err
		}
		columns.noNames = o.NoHeaders
		return columns, nil
	default:
		return NewEncoder(out, o.Format), nil
	}
}
