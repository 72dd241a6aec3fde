package arch

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	mostLines     = 900
	mostTestLines = 1200
)

func TestFileSizes(t *testing.T) {
	report(t, checkSizes(files(t)))
	wantProblems(t, checkSizes([]source{
		{"pkg/a.go", strings.Repeat("\n", mostLines)},
		{"pkg/b.go", strings.Repeat("\n", mostLines+1)},
		{"pkg/b_test.go", strings.Repeat("\n", mostTestLines+1)},
	}),
		"pkg/b.go has 901 lines, more than 900: split it by what its parts are about",
		"pkg/b_test.go has 1201 lines, more than 1200: split it by what its parts are about",
	)
}

func checkSizes(sources []source) (problems []string) {
	for _, s := range sources {
		most := mostLines
		if s.isTest() {
			most = mostTestLines
		}
		if lines := strings.Count(s.text, "\n"); lines > most {
			problems = append(problems, fmt.Sprintf("%s has %d lines, more than %d: split it by what its parts are about", s.path, lines, most))
		}
	}
	return problems
}

// mostExceptions is how many findings of linters may be waived in code that is no test. It only ever goes down.
const mostExceptions = 2

func TestExceptions(t *testing.T) {
	report(t, checkExceptions(files(t), mostExceptions))
	sample := []source{
		{"pkg/a.go", "package a\n\nfunc f() {\n\tg() //nolint:errcheck // it cannot fail\n}\n"},
		{"pkg/a_test.go", "package a\n\nfunc f() {\n\tg() //nolint:errcheck // it cannot fail\n}\n"},
	}
	wantProblems(t, checkExceptions(sample, 1))
	wantProblems(t, checkExceptions(sample, 0),
		"1 findings of linters are waived by nolint, more than 0: handle the error or restructure the code; the limit does not go up")
}

func checkExceptions(sources []source, most int) (problems []string) {
	count := 0
	for _, s := range sources {
		if s.isTest() {
			continue
		}
		_, file, err := s.parse()
		if err != nil {
			continue // the compiler says so
		}
		for _, group := range file.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//nolint") {
					count++
				}
			}
		}
	}
	if count > most {
		problems = append(problems, fmt.Sprintf("%d findings of linters are waived by nolint, more than %d: handle the error or restructure "+
			"the code; the limit does not go up", count, most))
	}
	return problems
}

func TestNothingSleeps(t *testing.T) {
	report(t, checkSleeps(files(t)))
	wantProblems(t, checkSleeps([]source{
		{"pkg/a.go", "package a\n\nimport \"time\"\n\n// f does not call time.Sleep.\nfunc f() { time.Sleep(time.Second) }\n"},
		{"pkg/b_test.go", "package a\n\nimport clock \"time\"\n\nvar f = clock.Sleep\n"},
		{"pkg/c.go", "package a\n\nimport \"example.org/time\"\n\nvar f = time.Sleep\n"},
	}),
		"pkg/a.go:6: time.Sleep: wait for a state, or with clock.Pause, which ends with its context",
		"pkg/b_test.go:5: time.Sleep: wait for a state, or with clock.Pause, which ends with its context",
	)
}

func checkSleeps(sources []source) (problems []string) {
	for _, s := range sources {
		for _, line := range uses(&s, "time", "Sleep") {
			problems = append(problems, fmt.Sprintf("%s:%d: time.Sleep: wait for a state, or with clock.Pause, which ends with its context", s.path, line))
		}
	}
	return problems
}

// uses are the lines at which a file refers to a name of a package.
func uses(s *source, imported, name string) (lines []int) {
	set, file, err := s.parse()
	if err != nil {
		return nil // the compiler says so
	}
	local := ""
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil && path == imported {
			local = imported[strings.LastIndex(imported, "/")+1:]
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != name {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == local {
			lines = append(lines, set.Position(selector.Pos()).Line)
		}
		return true
	})
	return lines
}

func TestNothingSkipsInSilence(t *testing.T) {
	report(t, checkSkips(files(t)))
	wantProblems(t, checkSkips([]source{
		{"pkg/need/need.go", "package need\n\nimport \"testing\"\n\nfunc f(t testing.TB) { t.Skip(\"because\") }\n"},
		{"pkg/a_test.go", "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Skipf(\"because\") }\n"},
		{"pkg/b_test.go", "package a\n\nimport \"testing\"\n\nfunc TestB(b *testing.T) { b.SkipNow() }\n"},
		{"pkg/scanner.go", "package a\n\nfunc f(s scanner) { s.Skip() }\n"},
	}),
		"pkg/a_test.go:5: a test skips by itself: ask package need, which says why and fails where the need is promised",
		"pkg/b_test.go:5: a test skips by itself: ask package need, which says why and fails where the need is promised",
	)
}

func checkSkips(sources []source) (problems []string) {
	for _, s := range sources {
		if strings.HasPrefix(s.path, "pkg/need/") || !strings.Contains(s.text, `"testing"`) {
			continue
		}
		for _, line := range skips(&s) {
			problems = append(problems, fmt.Sprintf("%s:%d: a test skips by itself: ask package need, which says why and fails where the need is promised", s.path, line))
		}
	}
	return problems
}

// skips are the lines of calls that skip a test.
func skips(s *source) (lines []int) {
	set, file, err := s.parse()
	if err != nil {
		return nil // the compiler says so
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, selector.Sel.Name) {
			lines = append(lines, set.Position(call.Pos()).Line)
		}
		return true
	})
	return lines
}

// mayPurge are the files that may name what P4 forbids, and why.
var mayPurge = []string{
	"pkg/auth/role.go", // refuses it to every credential
}

// P4: nothing asks for a roll-up and nothing is purged. The lease bucket takes markers of the server's own.
func TestP4_NothingIsRolledUpOrPurged(t *testing.T) {
	report(t, checkPurges(files(t)))
	wantProblems(t, checkPurges([]source{
		{"pkg/a.go", "package a\n\nvar h = \"Nats-Rollup\"\n"},
		{"pkg/b.go", "package a\n\nimport \"github.com/nats-io/nats.go/jetstream\"\n\nfunc f(s jetstream.Stream) { s.Purge(ctx) }\n"},
		{"pkg/e.go", "package a\n\nfunc f(c config) { c.Purge() }\n"},
		{"pkg/c_test.go", "package a\n\nvar h = \"Nats-Rollup\"\n"},
		{"pkg/d.go", "package a\n\n// Nats-Rollup is never used.\nvar h = \"KV-Operation\"\n"},
	}),
		"pkg/a.go:3: Nats-Rollup: a roll-up or a purge stalls the stream for every consumer; remove keys with a tombstone that has a time to live (P4)",
		"pkg/b.go:5: Purge: a roll-up or a purge stalls the stream for every consumer; remove keys with a tombstone that has a time to live (P4)",
	)
}

func checkPurges(sources []source) (problems []string) {
	for _, s := range sources {
		if s.supports() || slices.Contains(mayPurge, s.path) {
			continue
		}
		speaksNATS := strings.Contains(s.text, `"github.com/nats-io/nats.go`)
		set, file, err := s.parse()
		if err != nil {
			continue // the compiler says so
		}
		ast.Inspect(file, func(n ast.Node) bool {
			what := ""
			switch n := n.(type) {
			case *ast.BasicLit:
				for _, word := range []string{"Nats-Rollup", "STREAM.PURGE"} {
					if strings.Contains(n.Value, word) {
						what = word
					}
				}
			case *ast.SelectorExpr:
				if speaksNATS && slices.Contains([]string{"Purge", "PurgeStream", "PurgeDeletes", "MsgRollup"}, n.Sel.Name) {
					what = n.Sel.Name
				}
			}
			if what != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: a roll-up or a purge stalls the stream for every consumer; remove keys with a "+
					"tombstone that has a time to live (P4)", s.path, set.Position(n.Pos()).Line, what))
			}
			return true
		})
	}
	return problems
}
