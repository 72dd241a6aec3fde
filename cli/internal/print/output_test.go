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
	return append(Templates(), CustomColumns, CustomColumnsFile, JSON, YAML, Name, Wide)
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
				"custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,wide,yaml",
		},
		{
			name: "two templates", args: []string{"-o", "jsonpath={.x}", "--template", "{.y}"},
			wantError: `unable to match a printer suitable for the output format "jsonpath={.x}", allowed formats are: ` +
				"custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,wide,yaml",
		},
		{name: "format without template", args: []string{"-o", "yaml", "--template", "{.x}"}, values: []any{map[string]any{"a": "b"}}, want: "a: b\n"},
	})
}

func TestGoTemplate(t *testing.T) {
	a, b := pod("a", container("c"), container("d")), pod("b", container("e"))
	tiny := map[string]any{"kind": "Pod"}
	const tinyMore = "Printing more information for debugging the template:\n\ttemplate was:\n\t\t%s\n\traw data was:\n\t\t{\"kind\":\"Pod\"}\n" +
		"\tobject given to template engine was:\n\t\tmap[kind:Pod]\n\n"
	checkEncodings(t, map[string]string{"template": "{{.kind}}\n"}, []encoding{
		{name: "one", args: []string{"-o", "go-template={{.metadata.name}}"}, values: []any{a}, want: "a"},
		{name: "every object of a watch", args: []string{"-o", "template={{.metadata.name}}"}, values: []any{a, b}, want: "ab"},
		{
			name: "list", args: []string{"-o", `go-template={{.kind}}{{range .items}} {{.metadata.name}}{{range $i, $c := .spec.containers}}-{{$i}}{{$c.name}}{{end}}{{end}}`},
			values: []any{ListOf([]map[string]any{a, b})}, want: "List a-0c-1d b-0e",
		},
		{name: "number, truth", args: []string{"-o", "go-template={{if .spec.hostNetwork}}{{.spec.priority}}{{end}}"}, values: []any{a}, want: "9007199254740993"},
		{name: "template alone", args: []string{"--template", "{{.kind}}"}, values: []any{a}, want: "Pod"},
		{name: "template beside it", args: []string{"-o", "go-template", "--template={{.kind}}"}, values: []any{a}, want: "Pod"},
		{name: "file", args: []string{"-o", "go-template-file=$DIR/template"}, values: []any{a}, want: "Pod\n"},
		{name: "file by the older word", args: []string{"-o", "templatefile", "--template=$DIR/template"}, values: []any{a}, want: "Pod\n"},
		{name: "what exists", args: []string{"-o", `go-template={{exists . "metadata" "labels" "a.b/c"}} {{exists . "spec" "containers" 1 "name"}}`}, values: []any{a}, want: "true true"},
		{
			name: "what does not", values: []any{a}, want: "false false false false",
			args: []string{"-o", `go-template={{exists . "metadata" "x" "y"}} {{exists . "spec" "containers" 2}} {{exists . "kind" 0.5}} {{exists . "spec" "containers" "0"}}`},
		},
		{name: "base64", args: []string{"-o", `go-template={{base64decode "aHVudGVyMg=="}}`}, values: []any{tiny}, want: "hunter2"},
		{name: "absent", args: []string{"-o", "go-template={{.absent}}"}, values: []any{tiny}, want: "<no value>"},
		{
			name: "absent, strictly", args: []string{"-o", "go-template={{.kind}}{{.absent}}", "--allow-missing-template-keys=false"}, values: []any{tiny},
			want: `PodError executing template: template: output:1:11: executing "output" at <.absent>: map has no entry for key "absent". ` +
				strings.Replace(tinyMore, "%s", "{{.kind}}{{.absent}}", 1),
			wantError: `error executing template "{{.kind}}{{.absent}}": template: output:1:11: executing "output" at <.absent>: map has no entry for key "absent"`,
		},
		{
			name: "no base64", args: []string{"-o", `go-template={{base64decode "!"}}`}, values: []any{tiny},
			want: `Error executing template: template: output:1:2: executing "output" at <base64decode "!">: error calling base64decode: base64 decode failed: illegal base64 data at input byte 0. ` +
				strings.Replace(tinyMore, "%s", `{{base64decode "!"}}`, 1),
			wantError: `error executing template "{{base64decode \"!\"}}": template: output:1:2: executing "output" at <base64decode "!">: ` +
				"error calling base64decode: base64 decode failed: illegal base64 data at input byte 0",
		},
		{name: "unclosed", args: []string{"-o", "go-template={{.x"}, wantError: "error parsing template {{.x, template: output:1: unclosed action"},
		{name: "no template", args: []string{"-o", "go-template="}, wantError: "template format specified but no template given"},
		{name: "no file", args: []string{"-o", "go-template-file=$DIR/none"}, wantError: "error reading --template $DIR/none, open $DIR/none: no such file or directory"},
	})
}

func TestCustomColumns(t *testing.T) {
	a, b := pod("a", container("c"), container("d")), pod("b-with-a-long-name", container("e"))
	text := map[string]any{"data": map[string]any{"f": "one\ntwo\tthree\n"}, "kind": "ConfigMap"}
	files := map[string]string{
		"columns": "NAME           KIND\nmetadata.name  {.kind}\n", "empty": "", "names": "NAME KIND\n", "uneven": "NAME KIND\n.kind", "bad": "NAME\n.a{\n",
	}
	checkEncodings(t, files, []encoding{
		{name: "one", args: []string{"-o", "custom-columns=NAME:.metadata.name,C:.spec.containers[0].name"}, values: []any{a}, want: "NAME   C\na      c\n"},
		{
			name: "list", args: []string{"-o", "custom-columns=NAME:{.metadata.name},CONTAINERS:spec.containers[*].name,X:.x"}, values: []any{ListOf([]map[string]any{a, b})},
			want: "NAME                 CONTAINERS   X\na                    c,d          <none>\nb-with-a-long-name   e            <none>\n",
		},
		{
			name: "every object of a watch", args: []string{"-o", "custom-columns=NAME:.metadata.name,KIND:.kind"}, values: []any{a, b, a},
			want: "NAME   KIND\na      Pod\nb-with-a-long-name   Pod\na                    Pod\n",
		},
		{name: "nothing", args: []string{"-o", "custom-columns=NAME:.metadata.name"}, values: []any{ListOf(nil)}, want: "NAME\n"},
		{name: "no headers", args: []string{"-o", "custom-columns=NAME:.metadata.name", "--no-headers"}, values: []any{a}, want: "a\n"},
		{
			name: "map, number, truth", args: []string{"-o", "custom-columns=L:.metadata.labels,P:.spec.priority,H:.spec.hostNetwork"}, values: []any{a},
			want: "L                P                  H\nmap[a.b/c:x<y]   9007199254740993   true\n",
		},
		{name: "empty path", args: []string{"-o", "custom-columns=A:,B:.kind"}, values: []any{a}, want: "A        B\n<none>   Pod\n"},
		{name: "several lines", args: []string{"-o", "custom-columns=:.data.f", "--no-headers"}, values: []any{text}, want: "one\ntwo   three\n\n"},
		{
			name: "several lines are as wide as the last", args: []string{"-o", "custom-columns=A:.a,B:.b"}, values: []any{map[string]any{"a": "a-long-line\nx", "b": "y"}},
			want: "A     B\na-long-line\nx     y\n",
		},
		{name: "harmless", args: []string{"-o", "custom-columns=A:.a"}, values: []any{map[string]any{"a": "\x1b[31m"}}, want: "A\n^[[31m\n"},
		{name: "file", args: []string{"-o", "custom-columns-file=$DIR/columns"}, values: []any{a}, want: "NAME   KIND\na      Pod\n"},
		{name: "file without headers", args: []string{"-o", "custom-columns-file", "--template=$DIR/columns", "--no-headers"}, values: []any{a}, want: "a     Pod\n"},
		{name: "no columns", args: []string{"-o", "custom-columns="}, wantError: "custom-columns format specified but no custom columns given"},
		{name: "no path", args: []string{"-o", "custom-columns=A:.a,B"}, wantError: "unexpected custom-columns spec: B, expected <header>:<json-path-expr>"},
		{name: "bad path", args: []string{"-o", "custom-columns=A:.a["}, wantError: "unterminated array"},
		{name: "two paths", args: []string{"-o", "custom-columns=A:{.a}{.b}"}, wantError: errNoPath.Error()},
		{name: "not there", args: []string{"-o", "custom-columns=A:.spec.containers[5].name"}, values: []any{a}, wantError: "array index out of bounds: index 5, length 2"},
		{name: "no file", args: []string{"-o", "custom-columns-file=$DIR/none"}, wantError: "error reading template $DIR/none, open $DIR/none: no such file or directory"},
		{name: "empty file", args: []string{"-o", "custom-columns-file=$DIR/empty"}, wantError: "invalid template, missing header line. " + columnsFormat},
		{name: "file without paths", args: []string{"-o", "custom-columns-file=$DIR/names"}, wantError: "invalid template, missing spec line. " + columnsFormat},
		{name: "uneven file", args: []string{"-o", "custom-columns-file=$DIR/uneven"}, wantError: "number of headers (2) and field specifications (1) don't match"},
		{name: "bad path in file", args: []string{"-o", "custom-columns-file=$DIR/bad"}, wantError: errNoPath.Error()},
	})
}
