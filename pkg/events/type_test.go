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
			stamp := state.StampKey(info.Stamp, "x")
			if info.Stamp == state.StampScheduler {
				stamp = state.StampKey(info.Stamp, state.TheScheduler)
			}
			if info.Stamp != state.NoSet && !service.MayWrite(stamp) {
				t.Errorf("type %s needs %s, which the table of writers does not grant %s", info.Name, stamp, service)
			}
		}
		known := func(rule state.StampRule) bool { return rule.Kind == info.Stamp }
		if info.Stamp != state.NoSet && !slices.ContainsFunc(state.Stamps, known) {
			t.Errorf("type %s needs a stamp of kind %q, which the table of stamps does not have", info.Name, info.Stamp)
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

func TestStampedBy(t *testing.T) {
	node, owner := state.Stamp{Kind: state.StampNode, ID: "n1"}, state.Stamp{Kind: state.StampOwner, ID: "u"}
	tests := []struct {
		name   string
		info   events.Info
		stamps []state.Stamp
		want   bool
	}{
		{"no set", events.PodReported.Info(), nil, true},
		{"no set, a stamp all the same", events.PodReported.Info(), []state.Stamp{owner}, true},
		{"its stamp", events.PodAssigned.Info(), []state.Stamp{owner, node}, true},
		{"another's stamp", events.PodAssigned.Info(), []state.Stamp{owner}, false},
		{"no stamp", events.PodAssigned.Info(), nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.info.StampedBy(tt.stamps); got != tt.want {
				t.Errorf("StampedBy(%v) = %v, want %v", tt.stamps, got, tt.want)
			}
		})
	}
}

func TestWrittenBy(t *testing.T) {
	if !events.PodAssigned.Info().WrittenBy(state.Scheduler) || events.PodAssigned.Info().WrittenBy(state.API) {
		t.Error("only the scheduler assigns")
	}
}
