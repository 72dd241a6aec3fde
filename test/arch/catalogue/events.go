// Package catalogue writes the documents that follow from the code: the event types and the meters. What it cannot read there,
// or what lacks an explanation, is an error: a document is whole or it is not written.
package catalogue

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
)

// declared says that the documents are not written by hand.
const declared = "<!-- Written by make gen. Change the code instead. -->\n\n"

// contract is what the comment of an event type says.
type contract struct {
	info        events.Info
	declaration string // the name of its variable
	says        string
	body        string
	readers     string
	twice       string // what a reader does when it comes twice
	missed      string // and when it does not come
	keys        []string
}

// moreKeys are keys that events of a type also have, beside those of its golden file.
var moreKeys = map[string][]string{
	events.PodCreated.Name:    {"`edge.order.<node>.<namespace>.<pod>`, if the pod names its node"},
	events.PodDeleted.Name:    {"`edge.order.<node>.<namespace>.<pod>`, if the pod had a node"},
	events.ConfigWritten.Name: {"`sealed.secrets.<namespace>.<name>`"},
	events.ConfigDeleted.Name: {"`sealed.secrets.<namespace>.<name>`"},
	events.Repaired.Name:      {"`claim.<kind>.<value>`", "`stamp.<kind>.<id>`"},
}

// headers are those of an event, with their meaning.
var headers = map[string]string{
	"ce-specversion":     "always 1.0",
	"ce-id":              "the id of the batch, and behind a dash the number of the message in it; the first has none. Made before the write, so that one with an unknown outcome can be recognised",
	"ce-type":            "one of the types below",
	"ce-source":          "the process that wrote it: `/millrace/` and its name",
	"ce-subject":         "the key in the bucket",
	"ce-time":            "when the process made it, by its own clock",
	"ce-datacontenttype": "always application/json",
	"ce-actor":           "extension: whose wish it was: `user:<name>`, `system:node:<name>`, `system:api`, `system:scheduler`, `system:controller`",
	"ce-correlationid":   "extension: the id of the user's command that began it all",
	"ce-causationid":     "extension: the id of the event reacted to",
	"ce-traceparent":     "extension: the trace context of W3C",
	"ce-prevrevision":    "extension: the revision of the key that this one replaced. In the history a gap between it and the revision before is a lost revision",
	"ce-report":          "extension, on pods and nodes: the number of the newest report of the node that the revision reflects, `<start>.<counter>`",
}

// Events is docs/events.md, from the sources below root.
func Events(root string) (string, error) {
	contracts, err := contracts(root)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(declared + "# Events\n\nEvery revision of a key in the bucket is a CloudEvent in binary mode: the message on subject\n" +
		"`" + state.SubjectPrefix + "<key>` has the headers of the event, and its body is the object. Nothing else publishes events: writing the\n" +
		"revision is the event. The server republishes `edge.>` to the nodes, and the stream `EVENTS` keeps what lies under `object.` as\n" +
		"`events.<resource>.<namespace>.<name>`.\n\nA removal is an event too: its body is the object as it last was, and the header `KV-Operation` says DEL.\n\n" +
		"Readers look at the newest revision and take a message as a hint. A message may come twice, or never: the bucket keeps one revision\na key, and one that was replaced quickly may be skipped.\n\n## Headers\n\n| header | meaning |\n|---|---|\n")
	used, err := constants(root)
	if err != nil {
		return "", err
	}
	for _, header := range used {
		meaning, ok := headers[header]
		if !ok {
			return "", fmt.Errorf("header %s of pkg/events/header.go has no meaning: add it to headers in test/arch/catalogue/events.go", header)
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", header, meaning)
	}
	b.WriteString("\n## Types\n\n| type | written by | stamps in its batch |\n|---|---|---|\n")
	for _, c := range contracts {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", c.info.Name, anchor(c.info.Name), writers(c.info), stamps(c.info))
	}
	for _, c := range contracts {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", c.info.Name, c.says)
		fmt.Fprintf(&b, "- Keys: %s\n", strings.Join(c.keys, "; "))
		fmt.Fprintf(&b, "- Written by: %s\n", writers(c.info))
		for _, kind := range c.info.Stamps {
			fmt.Fprintf(&b, "- Its batch must bear a stamp of kind `%s`\n", kind)
		}
		if c.info.Orders {
			b.WriteString("- If it makes an order, its batch must bear the stamp of that node\n")
		}
		for _, part := range []struct{ name, text string }{
			{"Body", c.body}, {"Readers", c.readers}, {"Delivered twice", c.twice}, {"Missed", c.missed},
		} {
			fmt.Fprintf(&b, "- %s: %s\n", part.name, part.text)
		}
		fmt.Fprintf(&b, "- Declared as `events.%s`; on the wire: `pkg/events/testdata/wire/%s.txt`\n", c.declaration, c.info.Name)
	}
	return b.String(), nil
}

// anchor is the fragment that renderers of Markdown make of a heading.
func anchor(heading string) string { return strings.ReplaceAll(heading, ".", "") }

func writers(info events.Info) string {
	names := make([]string, len(info.Writer))
	for i, service := range info.Writer {
		names[i] = string(service)
	}
	return strings.Join(names, ", ")
}

func stamps(info events.Info) string {
	if len(info.Stamps) == 0 {
		return "–"
	}
	kinds := make([]string, len(info.Stamps))
	for i, kind := range info.Stamps {
		kinds[i] = "`" + string(kind) + "`"
	}
	return strings.Join(kinds, ", ")
}

// contracts reads the comment of every type of the catalogue, ordered by name.
func contracts(root string) ([]contract, error) {
	declarations, err := declarations(filepath.Join(root, "pkg/events"))
	if err != nil {
		return nil, err
	}
	var all []contract
	for _, info := range events.Catalogue() {
		d, ok := declarations[info.Name]
		if !ok {
			return nil, fmt.Errorf("%s is in the catalogue, but no variable of pkg/events declares it", info.Name)
		}
		c, err := readContract(d.variable, d.comment)
		if err != nil {
			return nil, err
		}
		c.info = info
		if c.keys, err = keys(root, info.Name); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b contract) int { return strings.Compare(a.info.Name, b.info.Name) })
	return all, nil
}

type declaration struct{ variable, comment string }

// declarations are the event types that a folder declares, by their names.
func declarations(folder string) (map[string]declaration, error) {
	found := map[string]declaration{}
	parsed, err := parseFolder(folder)
	if err != nil {
		return nil, err
	}
	for _, file := range parsed {
		for _, d := range file.Decls {
			general, ok := d.(*ast.GenDecl)
			if !ok || general.Tok != token.VAR {
				continue
			}
			for _, spec := range general.Specs {
				if value, ok := spec.(*ast.ValueSpec); ok && typeName(value) != "" {
					found[typeName(value)] = declaration{variable: value.Names[0].Name, comment: general.Doc.Text() + value.Doc.Text()}
				}
			}
		}
	}
	return found, nil
}

// typeName is the Name of a declared Type; "" if the variable is none.
func typeName(value *ast.ValueSpec) string {
	if len(value.Values) != 1 {
		return ""
	}
	literal, ok := value.Values[0].(*ast.CompositeLit)
	if !ok {
		return ""
	}
	if generic, ok := literal.Type.(*ast.IndexExpr); !ok || !isNamed(generic.X, "Type") {
		return ""
	}
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok && isNamed(pair.Key, "Name") {
			return text(pair.Value)
		}
	}
	return ""
}

func isNamed(e ast.Expr, name string) bool {
	identifier, ok := e.(*ast.Ident)
	return ok && identifier.Name == name
}

// text is the value of a string literal; "" if e is none.
func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return value
}

var parts = regexp.MustCompile(`(?s)^(\w+) says that (.+?)\.?\s*Body: (.+?)\s+Readers: (.+?)\s+Delivered twice(, missed)?: (.+?)\.(?:\s+Missed: (.+?)\.)?\s*$`)

// readContract takes the comment of an event type apart.
func readContract(variable, comment string) (contract, error) {
	comment = strings.Replace(comment, " says what ", " says that what ", 1)
	found := parts.FindStringSubmatch(comment)
	if found == nil {
		return contract{}, fmt.Errorf("the comment of events.%s must read: %s says that …. Body: …. Readers: …. Delivered twice: …. Missed: …", variable, variable)
	}
	c := contract{declaration: variable, says: sentence(found[2]), body: plain(found[3]), readers: plain(found[4]), twice: sentence(found[6]), missed: sentence(found[7])}
	if found[5] != "" {
		c.missed = c.twice
	}
	if c.missed == "" {
		return contract{}, fmt.Errorf("the comment of events.%s does not say what a reader does when the event is missed", variable)
	}
	return c, nil
}

var link = regexp.MustCompile(`\[([a-zA-Z.]+)\]`)

// plain puts a comment on one line, with links of doc comments as code.
func plain(comment string) string {
	return strings.TrimSuffix(link.ReplaceAllString(strings.Join(strings.Fields(comment), " "), "`$1`"), ".")
}

// sentence is [plain] with a capital and a full stop; "" stays.
func sentence(comment string) string {
	line := plain(comment)
	if line == "" {
		return ""
	}
	return strings.ToUpper(line[:1]) + line[1:] + "."
}

var message = regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(state.SubjectPrefix) + `(\S+) replaces `)

// keys are the forms of the keys that events of a type have, by the golden file of the type.
func keys(root, name string) ([]string, error) {
	body, err := os.ReadFile(filepath.Join(root, "pkg/events/testdata/wire", name+".txt"))
	if err != nil {
		return nil, err
	}
	var forms []string
	for i, found := range message.FindAllStringSubmatch(string(body), -1) {
		form := "`" + keyForm(state.Key(found[1])) + "`"
		if strings.HasPrefix(found[1], "stamp.") && i > 0 {
			continue // an event of its own
		}
		if !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	if len(forms) == 0 {
		return nil, fmt.Errorf("the golden file of %s shows no message", name)
	}
	return append(forms, moreKeys[name]...), nil
}

// keyForm is a key with names for its parts.
func keyForm(key state.Key) string {
	family, _, _ := strings.Cut(string(key), ".")
	if ref, ok := state.ParseObjectKey(key); ok {
		if ref.Namespace == "" {
			return family + "." + ref.Resource + ".=.<name>"
		}
		return family + "." + ref.Resource + ".<namespace>.<name>"
	}
	if _, _, ok := state.ParseOrderKey(key); ok {
		return "edge.order.<node>.<namespace>.<pod>"
	}
	switch family {
	case "stamp":
		return "stamp.<kind>.<id>"
	case "claim":
		return "claim.<kind>.<value>"
	case "beat":
		return "beat.<process>.<number>"
	}
	return string(key)
}

// constants are the headers of an event, in the order in which they are declared.
func constants(root string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "pkg/events/header.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if value, ok := n.(*ast.ValueSpec); ok && len(value.Values) == 1 {
			if header := text(value.Values[0]); strings.HasPrefix(header, "ce-") {
				found = append(found, header)
			}
		}
		return true
	})
	if len(found) < len(headers) {
		return nil, fmt.Errorf("pkg/events/header.go has the headers %v, and test/arch/catalogue/events.go explains %v: take off what is gone",
			found, slices.Sorted(maps.Keys(headers)))
	}
	return found, nil
}

// parseFolder reads the Go files of a folder that are no tests.
func parseFolder(folder string) ([]*ast.File, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	var parsed []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	return parsed, nil
}
