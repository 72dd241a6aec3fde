package events_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
)

// irregular are the facts whose names are no participles in "ed"; types are never renamed. A new type takes none of these
// but the participles.
var irregular = []string{"written", "taken", "begun", "deleting", "unschedulable", "readiness", "beat"}

func TestCatalogue(t *testing.T) {
	name := regexp.MustCompile(`^dev\.millrace\.[a-z]+\.([a-z]+)$`)
	services := []state.Service{state.API, state.Scheduler, state.Controller}
	seen := map[string]bool{}
	for _, info := range events.Catalogue() {
		parts := name.FindStringSubmatch(info.Name)
		switch {
		case parts == nil:
			t.Errorf("type %q is not named dev.millrace.<kind>.<fact>", info.Name)
		case !strings.HasSuffix(parts[1], "ed") && !slices.Contains(irregular, parts[1]):
			t.Errorf("type %s is not in the past tense", info.Name)
		case seen[info.Name]:
			t.Errorf("type %s stands twice in the catalogue", info.Name)
		}
		seen[info.Name] = true
		if len(info.Writer) == 0 {
			t.Errorf("type %s has no writing service", info.Name)
		}
		for _, service := range info.Writer {
			if !slices.Contains(services, service) {
				t.Errorf("type %s is written by %q, which writes no state", info.Name, service)
			}
			for _, kind := range info.Stamps {
				stamp := state.StampKey(kind, "x")
				if kind == state.StampScheduler {
					stamp = state.StampKey(kind, state.TheScheduler)
				}
				if !service.MayWrite(stamp) {
					t.Errorf("type %s needs %s, which the table of writers does not grant %s", info.Name, stamp, service)
				}
			}
		}
		for _, kind := range info.Stamps {
			known := func(rule state.StampRule) bool { return rule.Kind == kind }
			if !slices.ContainsFunc(state.Stamps, known) {
				t.Errorf("type %s needs a stamp of kind %q, which the table of stamps does not have", info.Name, kind)
			}
		}
	}
}

// Whatever a sample event of a type writes, the services that may write the type may write the key.
func TestWritersMayWriteTheirEvents(t *testing.T) {
	for _, info := range events.Catalogue() {
		for _, c := range sampleChanges(t, info) {
			for _, service := range info.Writer {
				if !service.MayWrite(c.Key) {
					t.Errorf("%s may write events of type %s, but not %s", service, info.Name, c.Key)
				}
			}
		}
	}
}

// Every event type that the package declares is in the catalogue, and its comment is a contract.
func TestEveryTypeIsInTheCatalogue(t *testing.T) {
	var declared []string
	for _, spec := range typeDeclarations(t) {
		literal := spec.Values[0].(*ast.CompositeLit)
		declared = append(declared, nameField(literal))
		for _, part := range []string{"Body:", "Readers:", "Delivered twice", "issed"} {
			if !strings.Contains(spec.Doc.Text(), part) {
				t.Errorf("the comment of %s does not say %q", spec.Names[0], part)
			}
		}
	}
	var listed []string
	for _, info := range events.Catalogue() {
		listed = append(listed, info.Name)
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("declared are\n%s\nin the catalogue are\n%s", strings.Join(declared, "\n"), strings.Join(listed, "\n"))
	}
}

// typeDeclarations are the variables of the package that hold a Type.
func typeDeclarations(t *testing.T) []*ast.ValueSpec {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []*ast.ValueSpec
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			general, ok := d.(*ast.GenDecl)
			if !ok || general.Tok != token.VAR {
				continue
			}
			for _, s := range general.Specs {
				if spec := s.(*ast.ValueSpec); holdsType(spec) {
					if spec.Doc == nil {
						spec.Doc = general.Doc
					}
					found = append(found, spec)
				}
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("no event type is declared")
	}
	return found
}

func holdsType(spec *ast.ValueSpec) bool {
	if len(spec.Values) != 1 {
		return false
	}
	literal, ok := spec.Values[0].(*ast.CompositeLit)
	if !ok {
		return false
	}
	generic, ok := literal.Type.(*ast.IndexExpr)
	if !ok {
		return false
	}
	name, ok := generic.X.(*ast.Ident)
	return ok && name.Name == "Type"
}

func nameField(literal *ast.CompositeLit) string {
	for _, e := range literal.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok && pair.Key.(*ast.Ident).Name == "Name" {
			return strings.Trim(pair.Value.(*ast.BasicLit).Value, `"`)
		}
	}
	return ""
}

func TestLacks(t *testing.T) {
	node, scheduler := state.Stamp{Kind: state.StampNode, ID: "n1"}, state.Stamp{Kind: state.StampScheduler, ID: state.TheScheduler}
	owner := state.Stamp{Kind: state.StampOwner, ID: "u"}
	pod := state.ObjectKey(state.ObjectRef{Resource: "pods", Namespace: "d", Name: "p"})
	order, elsewhere := state.OrderKey("n1", "d", "p"), state.OrderKey("n1.b", "d", "p")
	tests := []struct {
		name   string
		info   events.Info
		key    state.Key
		stamps []state.Stamp
		want   string
	}{
		{"no set", events.PodReported.Info(), pod, nil, ""},
		{"no set, a stamp all the same", events.PodReported.Info(), pod, []state.Stamp{owner}, ""},
		{"all its stamps", events.PodAssigned.Info(), order, []state.Stamp{owner, node, scheduler}, ""},
		{"one of its stamps", events.PodAssigned.Info(), pod, []state.Stamp{node}, "a stamp of kind scheduler"},
		{"another of its stamps", events.PodAssigned.Info(), pod, []state.Stamp{scheduler}, "a stamp of kind node"},
		{"stamp of another node", events.PodAssigned.Info(), elsewhere, []state.Stamp{node, scheduler}, "the stamp of the node of " + string(elsewhere)},
		{"no stamp", events.PodAssigned.Info(), pod, nil, "a stamp of kind node"},
		{"created on no node", events.PodCreated.Info(), pod, nil, ""},
		{"created on a node", events.PodCreated.Info(), order, []state.Stamp{node}, ""},
		{"created on a node without its stamp", events.PodCreated.Info(), order, []state.Stamp{owner}, "the stamp of the node of " + string(order)},
		{"order of an old pod", events.PodUpdated.Info(), order, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.info.Lacks(tt.key, tt.stamps); got != tt.want {
				t.Errorf("Lacks(%s, %v) = %q, want %q", tt.key, tt.stamps, got, tt.want)
			}
		})
	}
}

func TestWrittenBy(t *testing.T) {
	if !events.PodAssigned.Info().WrittenBy(state.Scheduler) || events.PodAssigned.Info().WrittenBy(state.API) {
		t.Error("only the scheduler assigns")
	}
}
