package print

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// every is all formats.
func every() []string {
	return append(Templates(), JSON, YAML, Name, Wide)
}

// encode shows values as flags say. Files of templates are in the directory $DIR.
func encode(t *testing.T, dir string, args []string, values ...any) (string, error) {
	t.Helper()
	o := &Output{Formats: every()}
	flags := pflag.NewFlagSet("get", pflag.ContinueOnError)
	o.AddFlags(flags)
	flags.BoolVar(&o.NoHeaders, "no-headers", false, "")
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$DIR", dir)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := o.Parse(); err != nil {
		return "", err
	}
	var out bytes.Buffer
	encoder, err := o.Encoder(&out)
	if err != nil {
		return "", err
	}
	for _, value := range values {
		if err := encoder.Encode(value); err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

// pod is an object as a template sees it.
func pod(name string, containers ...any) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "labels": map[string]any{"a.b/c": "x<y"}},
		"spec": map[string]any{"containers": containers, "priority": int64(9007199254740993), "hostNetwork": true},
	}
}

func container(name string) any { return map[string]any{"name": name} }

type encoding struct {
	name      string
	args      []string
	values    []any
	want      string
	wantError string
}

func checkEncodings(t *testing.T, files map[string]string, table []encoding) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			got, err := encode(t, dir, c.args, c.values...)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.args, diff)
			}
			text := ""
			if err != nil {
				text = strings.ReplaceAll(err.Error(), dir, "$DIR")
			}
			if diff := cmp.Diff(c.wantError, text); diff != "" {
				t.Errorf("%q: error (-want +got):\n%s", c.args, diff)
			}
		})
	}
}

func TestJSONPath(t *testing.T) {
	a, b := pod("a", container("c"), container("d")), pod("b", container("e"))
	both := ListOf([]map[string]any{a, b})
	checkEncodings(t, map[string]string{"path": "{.metadata.name}\n"}, []encoding{
		{name: "one", args: []string{"-o", "jsonpath={.metadata.name}"}, values: []any{a}, want: "a"},
		{name: "every object of a watch", args: []string{"-o", "jsonpath={.metadata.name}"}, values: []any{a, b}, want: "ab"},
		{name: "list", args: []string{"-o", "jsonpath={.kind} {.items[*].metadata.name}"}, values: []any{both}, want: "List a b"},
		{name: "empty list", args: []string{"-o", "jsonpath={.items[*].metadata.name}"}, values: []any{ListOf(nil)}},
		{
			name: "range, twice", args: []string{"-o", `jsonpath={range .spec.containers[*]}{.name}{"\t"}{end}{"\n"}`}, values: []any{a, b},
			want: "c\td\t\ne\t\n",
		},
		{name: "filter", args: []string{"-o", `jsonpath={.items[?(@.metadata.name=="b")].spec.containers[0].name}`}, values: []any{both}, want: "e"},
		{name: "escaped key, map", args: []string{"-o", `jsonpath={.metadata.labels.a\.b/c} {.metadata.labels}`}, values: []any{a}, want: `x<y {"a.b/c":"x\u003cy"}`},
		{name: "number, truth", args: []string{"-o", "jsonpath={.spec.priority} {.spec.hostNetwork}"}, values: []any{a}, want: "9007199254740993 true"},
		{name: "as JSON", args: []string{"-o", "jsonpath-as-json={.spec.containers[*].name}"}, values: []any{a}, want: "[\n    \"c\",\n    \"d\"\n]\n"},
		{name: "nothing as JSON", args: []string{"-o", "jsonpath-as-json={.absent}"}, values: []any{a}, want: "[]\n"},
		{name: "file", args: []string{"-o", "jsonpath-file=$DIR/path"}, values: []any{a}, want: "a\n"},
		{name: "template beside it", args: []string{"-o", "jsonpath", "--template", "{.kind}"}, values: []any{a}, want: "Pod"},
		{name: "file beside it", args: []string{"-o", "jsonpath-file", "--template", "$DIR/path"}, values: []any{a}, want: "a\n"},
		{name: "absent", args: []string{"-o", "jsonpath={.absent}"}, values: []any{a}},
		{
			name: "absent, strictly", args: []string{"-o", "jsonpath={.absent}", "--allow-missing-template-keys=false"}, values: []any{map[string]any{"kind": "Pod"}},
			wantError: "error executing jsonpath \"{.absent}\": Error executing template: absent is not found. Printing more information for debugging the template:\n" +
				"\ttemplate was:\n\t\t{.absent}\n\tobject given to jsonpath engine was:\n\t\tmap[string]interface {}{\"kind\":\"Pod\"}\n\n",
		},
		{name: "unclosed", args: []string{"-o", "jsonpath={.x"}, wantError: "error parsing jsonpath {.x, unclosed action"},
		{name: "no template", args: []string{"-o", "jsonpath"}, wantError: "template format specified but no template given"},
		{name: "empty template", args: []string{"-o", "jsonpath="}, wantError: "template format specified but no template given"},
		{
			name: "no file", args: []string{"-o", "jsonpath-file=$DIR/none"},
			wantError: "error reading --template $DIR/none, open $DIR/none: no such file or directory",
		},
		{
			name: "in capitals", args: []string{"-o", "JSONPATH={.x}"},
			wantError: `unable to match a printer suitable for the output format "JSONPATH={.x}", allowed formats are: ` +
				"go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,wide,yaml",
		},
		{
			name: "two templates", args: []string{"-o", "jsonpath={.x}", "--template", "{.y}"},
			wantError: `unable to match a printer suitable for the output format "jsonpath={.x}", allowed formats are: ` +
				"go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,wide,yaml",
		},
		{name: "format without template", args: []string{"-o", "yaml", "--template", "{.x}"}, values: []any{map[string]any{"a": "b"}}, want: "a: b\n"},
	})
}
