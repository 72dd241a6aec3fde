package resource

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/cli/internal/failure"
)

// brief is an object in one word.
func brief(objects []*Object) []string {
	var words []string
	for _, o := range objects {
		words = append(words, o.Kind.Plural+"/"+o.Namespace+"/"+o.Name)
	}
	return words
}

func TestSelectByArguments(t *testing.T) {
	for _, c := range []struct {
		name       string
		query      Query
		wantNamed  []string
		wantSets   []string
		wantSingle bool
		wantErr    string
	}{
		{name: "nothing", wantErr: "You must provide one or more resources by argument or filename."},
		{name: "type and name", query: Query{Args: []string{"po", "web"}}, wantNamed: []string{"pods/ns/web"}, wantSingle: true},
		{name: "type and names", query: Query{Args: []string{"Pod", "a", "b"}}, wantNamed: []string{"pods/ns/a", "pods/ns/b"}},
		{name: "version and group", query: Query{Args: []string{"pods.v1.", "a"}}, wantNamed: []string{"pods/ns/a"}, wantSingle: true},
		{name: "no namespace", query: Query{Args: []string{"node", "n1"}}, wantNamed: []string{"nodes//n1"}, wantSingle: true},
		{name: "pairs", query: Query{Args: []string{"pod/a", "cm/b"}}, wantNamed: []string{"pods/ns/a", "configmaps/ns/b"}},
		{name: "types and names", query: Query{Args: []string{"po,cm", "a", "b"}}, wantNamed: []string{"pods/ns/a", "pods/ns/b", "configmaps/ns/a", "configmaps/ns/b"}},
		{name: "mixed forms", query: Query{Args: []string{"pod", "cm/b"}}, wantErr: "there is no need to specify a resource type as a separate argument"},
		{name: "two slashes", query: Query{Args: []string{"pod/a/b"}}, wantErr: "may not have more than one slash"},
		{name: "no name behind the slash", query: Query{Args: []string{"pod/"}}, wantErr: "must have a single resource and name"},
		{name: "unknown type", query: Query{Args: []string{"foos.example.com"}}, wantErr: `the server doesn't have a resource type "foos"`},
		{name: "unknown type in a pair", query: Query{Args: []string{"foo/a"}}, wantErr: `the server doesn't have a resource type "foo"`},
		{name: "type alone", query: Query{Args: []string{"pods"}}, wantErr: "resource(s) were provided, but no name was specified"},
		{name: "type alone means all", query: Query{Args: []string{"pods"}, Everything: true}, wantSets: []string{"pods/ns"}},
		{name: "--all", query: Query{Args: []string{"pods"}, All: true}, wantSets: []string{"pods/ns"}},
		{name: "selector", query: Query{Args: []string{"pods,nodes,po"}, Labels: "a=b"}, wantSets: []string{"pods/ns", "nodes/"}},
		{name: "all namespaces", query: Query{Args: []string{"pods"}, Everything: true, AllNamespaces: true}, wantSets: []string{"pods/"}},
		{name: "category", query: Query{Args: []string{"all"}, Everything: true}, wantSets: []string{"pods/ns"}},
		{name: "name and selector", query: Query{Args: []string{"pods", "a"}, Labels: "a=b"}, wantErr: "name cannot be provided when a selector is specified"},
		{name: "pair and selector", query: Query{Args: []string{"pods/a"}, Labels: "a=b"}, wantErr: "selectors and the all flag cannot be used when passing resource/name arguments"},
		{name: "selector alone", query: Query{Labels: "a=b"}, wantErr: "at least one resource must be specified to use a selector"},
		{name: "name in all namespaces", query: Query{Args: []string{"pods", "a"}, AllNamespaces: true}, wantErr: "a resource cannot be retrieved by name across all namespaces"},
		{name: "one type only", query: Query{Args: []string{"pods,cm"}, Everything: true, One: true}, wantErr: "you may only specify a single resource type"},
		{name: "one type only, by name", query: Query{Args: []string{"pods/a", "cm/a"}, One: true}, wantErr: "you may only specify a single resource type"},
		{name: "files and types", query: Query{Args: []string{"pods"}, Files: Filenames{Names: []string{"f"}}}, wantErr: "you may not specify resource arguments as well"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.query.Namespace = "ns"
			s, err := c.query.Select()
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("Select: %v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var sets []string
			for _, set := range s.Sets {
				sets = append(sets, set.Kind.Plural+"/"+set.Namespace)
			}
			if diff := cmp.Diff([][]string{c.wantNamed, c.wantSets}, [][]string{brief(s.Named), sets}); diff != "" {
				t.Errorf("Select (-want +got):\n%s", diff)
			}
			if s.Single != c.wantSingle {
				t.Errorf("Single = %v", s.Single)
			}
		})
	}
}

const manifests = `# the first is a comment
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {tier: one}}
--- # and so is this

apiVersion: v1
kind: Pod
metadata:
  name: b
  namespace: team
---
---
apiVersion: v1
kind: Namespace
metadata: {name: c, namespace: wrong}
`

func TestDocuments(t *testing.T) {
	list := `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}},{"apiVersion":"v1","kind":"Node","metadata":{"name":"b"}}]}`
	for _, c := range []struct {
		name    string
		text    string
		query   Query
		want    []string
		wantErr string
	}{
		{name: "nothing", text: "\n---\n# nothing\n"},
		{name: "several", text: manifests, want: []string{"configmaps/ns/a", "pods/team/b", "namespaces//c"}},
		{name: "selector", text: manifests, query: Query{Labels: "tier=one"}, want: []string{"configmaps/ns/a"}},
		{
			name: "other namespace is refused", text: manifests, query: Query{Enforce: true}, want: []string{"configmaps/ns/a", "namespaces//c"},
			wantErr: `the namespace from the provided object "team" does not match the namespace "ns". You must pass '--namespace=team' to perform this operation.`,
		},
		{name: "list", text: list, want: []string{"pods/ns/a", "nodes//b"}},
		{name: "JSON after JSON", text: list + "\n" + `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"z"}}`, want: []string{"pods/ns/a", "nodes//b", "pods/ns/z"}},
		{name: "list of one kind", text: "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: a}}]", want: []string{"pods/ns/a"}},
		{name: "YAML that begins like JSON", text: "{apiVersion: v1, kind: Pod, metadata: {name: a}}", want: []string{"pods/ns/a"}},
		{name: "byte order mark", text: "\ufeffapiVersion: v1\nkind: Pod\nmetadata: {name: a}", want: []string{"pods/ns/a"}},
		{name: "generated name", text: "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}", want: []string{"pods/ns/"}},
		{name: "no kind", text: "a: b", wantErr: `unable to decode "STDIN": Object 'Kind' is missing in '{"a":"b"}'`},
		{name: "no version", text: "kind: Pod", wantErr: `unable to decode "STDIN": Object 'apiVersion' is missing in '{"kind":"Pod"}'`},
		{name: "no object", text: "- a", wantErr: `unable to decode "STDIN"`},
		{
			name: "unknown kind beside a known one", text: "apiVersion: v1\nkind: Pot\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}",
			want: []string{"pods/ns/a"}, wantErr: `resource mapping not found for name: "x" namespace: "" from "STDIN": no matches for kind "Pot" in version "v1"`,
		},
		{name: "line of a fault", text: manifests + "---\na: b\nc: [\n", want: []string{"configmaps/ns/a", "pods/team/b", "namespaces//c"}, wantErr: "error parsing STDIN: error converting YAML to JSON: yaml: line 20:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.query.Files, c.query.In, c.query.Namespace = Filenames{Names: []string{"-"}}, strings.NewReader(c.text), "ns"
			got, err := c.query.Documents()
			if (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("Documents: %v, want %q", err, c.wantErr)
			}
			if diff := cmp.Diff(c.want, brief(got)); diff != "" {
				t.Errorf("Documents (-want +got):\n%s", diff)
			}
		})
	}
}

func TestManifestKeepsItsLines(t *testing.T) {
	q := Query{Files: Filenames{Names: []string{"-"}}, In: strings.NewReader(manifests), Namespace: "ns"}
	objects, err := q.Documents()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(manifests, "\n")
	for _, o := range objects {
		for i, line := range strings.Split(o.Manifest(), "\n") {
			if strings.TrimSpace(line) != "" && line != lines[i] {
				t.Errorf("%s: line %d is %q, in the file %q", o, i+1, line, lines[i])
			}
		}
	}
}

func TestPlacedInNamespace(t *testing.T) {
	q := Query{Files: Filenames{Names: []string{"-"}}, In: strings.NewReader("apiVersion: v1\nkind: Pod\nmetadata: {name: a, generation: 9007199254740993}"), Namespace: "ns"}
	objects, err := q.Documents()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"v1","kind":"Pod","metadata":{"generation":9007199254740993,"name":"a","namespace":"ns"}}`
	if got := string(objects[0].Raw); got != want {
		t.Errorf("placed object:\n%s\nwant\n%s", got, want)
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.json", "c.txt", "sub/d.yml", "empty/e.txt"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		files   Filenames
		want    []string
		wantErr string
	}{
		{name: "file whatever its name", files: Filenames{Names: []string{dir + "/c.txt", "-"}}, want: []string{"c.txt", "-"}},
		{name: "directory", files: Filenames{Names: []string{dir}}, want: []string{"a.json", "b.yaml"}},
		{name: "tree", files: Filenames{Names: []string{dir}, Recursive: true}, want: []string{"a.json", "b.yaml", "sub/d.yml"}},
		{name: "pattern", files: Filenames{Names: []string{dir + "/*.yaml"}}, want: []string{"b.yaml"}},
		{name: "absent", files: Filenames{Names: []string{"/no/such"}}, wantErr: `the path "/no/such" does not exist`},
		{name: "nothing to read", files: Filenames{Names: []string{dir + "/empty"}}, wantErr: "recognized file extensions are [.json .yaml .yml]"},
		{name: "input twice", files: Filenames{Names: []string{"-", "-"}}, wantErr: "standard input cannot be used for multiple arguments"},
		{name: "URL", files: Filenames{Names: []string{"https://x/y.yaml"}}, wantErr: "reading manifests from a URL is not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.files.paths()
			if (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("paths: %v, want %q", err, c.wantErr)
			}
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], dir+"/")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryFaultIsTold(t *testing.T) {
	q := Query{Files: Filenames{Names: []string{"-"}}, In: strings.NewReader("a: b\n---\nc: d\n"), Namespace: "ns"}
	_, err := q.Documents()
	if list, ok := err.(failure.ListError); !ok || len(list) != 2 { //nolint:errorlint // the list itself
		t.Errorf("Documents: %v", err)
	}
}
