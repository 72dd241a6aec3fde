package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// call is a line of the listing of calls in ARCHITECTURE.md: a function and the file that declares it.
var call = regexp.MustCompile(`(?m)^[a-z ]{10}[ 0-9]*((?:[A-Za-z]+\.)?[A-Za-z]+) +([a-z0-9_/-]+\.go)\b`)

func TestCallsOfTheArchitecture(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	if found := call.FindAllStringSubmatch(text, -1); len(found) < 30 {
		t.Errorf("the listing of calls has %d lines that can be read, fewer than 30: has its form changed?", len(found))
	}
	report(t, checkCalls(text, files(t)))
	wantProblems(t, checkCalls("```text\n"+
		"api       1 Verbs.Handle      pkg/a.go      here\n"+
		"            Serve             pkg/a.go\n"+
		"          3 Verbs.gone        pkg/a.go      not here\n"+
		"            Handle            pkg/a.go      a method, not a function\n"+
		"cli         Serve             pkg/b.go\n```\n",
		[]source{{"pkg/a.go", "package a\n\nfunc (v *Verbs) Handle() {}\n\nfunc Serve() {}\n"}}),
		"ARCHITECTURE.md: pkg/a.go does not declare Verbs.gone: bring the listing of calls up to date",
		"ARCHITECTURE.md: pkg/a.go does not declare Handle: bring the listing of calls up to date",
		"ARCHITECTURE.md: pkg/b.go does not declare Serve: bring the listing of calls up to date",
	)
}

func checkCalls(text string, sources []source) (problems []string) {
	for _, found := range call.FindAllStringSubmatch(text, -1) {
		receiver, name, method := strings.Cut(found[1], ".")
		if !method {
			receiver, name = "", found[1]
		}
		declared := false
		for _, s := range sources {
			if s.path == found[2] {
				_, file, err := s.parse()
				// The listing calls a method of a verb's command by the verb: create.run.
				declared = err == nil && (declares(file, receiver, name) || declares(file, "command", name))
			}
		}
		if !declared {
			problems = append(problems, fmt.Sprintf("ARCHITECTURE.md: %s does not declare %s: bring the listing of calls up to date", found[2], found[1]))
		}
	}
	return problems
}

// path is a path of the repository between backquotes.
var inText = regexp.MustCompile("`((?:pkg|services|cli|test|docs|deploy|tools)/[A-Za-z0-9_./-]*[A-Za-z0-9_-])`")

// TestPathsInDocuments looks whether the documents name what exists.
func TestPathsInDocuments(t *testing.T) {
	exists := func(path string) bool {
		_, err := os.Stat(filepath.Join(root, path))
		return err == nil
	}
	for _, document := range documents(t) {
		report(t, checkPaths(document, read(t, document), exists))
	}
	wantProblems(t, checkPaths("README.md", "See `pkg/here`, `pkg/gone/x.go` and `pkg/...`; `pkg/here`.", func(path string) bool { return path == "pkg/here" }),
		"README.md names pkg/gone/x.go, which does not exist: name what does",
	)
}

func checkPaths(document, text string, exists func(string) bool) (problems []string) {
	for _, found := range inText.FindAllStringSubmatch(text, -1) {
		if !exists(found[1]) {
			problems = append(problems, fmt.Sprintf("%s names %s, which does not exist: name what does", document, found[1]))
		}
	}
	return problems
}

func TestRecords(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(root, "docs/adr/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]string{}
	var order []string
	for _, name := range names {
		order = append(order, filepath.Base(name))
		records[filepath.Base(name)] = read(t, "docs/adr/"+filepath.Base(name))
	}
	if len(order) == 0 {
		t.Fatal("there are no records in docs/adr")
	}
	report(t, checkRecords(order, records))
	good := "# 1. A\n\nStatus: accepted.\n\n## Context\n\n## Decision\n\n## Consequences\n"
	wantProblems(t, checkRecords([]string{"0001-a.md", "0003-b.md"}, map[string]string{
		"0001-a.md": good, "0003-b.md": strings.Replace(good, "## Decision", "## Idea", 1) + strings.Repeat("\n", 60),
	}),
		"docs/adr/0003-b.md: the record after number 1 is number 2: call it 0002-…",
		"docs/adr/0003-b.md: has no line that begins \"# 2. \"",
		"docs/adr/0003-b.md: has no line that begins \"## Decision\"",
		"docs/adr/0003-b.md: has 69 lines, more than 60: a record is one page",
	)
}

func checkRecords(order []string, records map[string]string) (problems []string) {
	for i, name := range order {
		number := i + 1
		if !strings.HasPrefix(name, fmt.Sprintf("%04d-", number)) {
			problems = append(problems, fmt.Sprintf("docs/adr/%s: the record after number %d is number %d: call it %04d-…", name, i, number, number))
		}
		for _, line := range []string{fmt.Sprintf("# %d. ", number), "Status: ", "## Context", "## Decision", "## Consequences"} {
			if !strings.Contains("\n"+records[name], "\n"+line) {
				problems = append(problems, fmt.Sprintf("docs/adr/%s: has no line that begins %q", name, line))
			}
		}
		if lines := strings.Count(records[name], "\n"); lines > 60 {
			problems = append(problems, fmt.Sprintf("docs/adr/%s: has %d lines, more than 60: a record is one page", name, lines))
		}
	}
	return problems
}

// TestProtocolStatesEveryRule looks whether the rules are all there, and marked as the tests have them.
func TestProtocolStatesEveryRule(t *testing.T) {
	report(t, checkProtocol(read(t, "docs/protocol.md"), lastRule, notYet))
	wantProblems(t, checkProtocol("**P1** It is so.\n\n**P2** (*not yet*) It will be so.\n\n**P3** It will be so.\n", 4, map[int]string{3: "later"}),
		"docs/protocol.md says that P2 is not yet, and notYet of test/arch/rules_test.go does not: make them agree",
		"docs/protocol.md says that P3 is, and notYet of test/arch/rules_test.go that it is not yet: make them agree",
		"docs/protocol.md does not state P4",
	)
}

func checkProtocol(text string, last int, notYet map[int]string) (problems []string) {
	for rule := 1; rule <= last; rule++ {
		_, after, stated := strings.Cut("\n"+text, fmt.Sprintf("\n**P%d** ", rule))
		_, later := notYet[rule]
		switch marked := strings.HasPrefix(after, "(*not yet*)"); {
		case !stated:
			problems = append(problems, fmt.Sprintf("docs/protocol.md does not state P%d", rule))
		case marked && !later:
			problems = append(problems, fmt.Sprintf("docs/protocol.md says that P%d is not yet, and notYet of test/arch/rules_test.go does not: make them agree", rule))
		case !marked && later:
			problems = append(problems, fmt.Sprintf("docs/protocol.md says that P%d is, and notYet of test/arch/rules_test.go that it is not yet: make them agree", rule))
		}
	}
	return problems
}

// documents are the texts for people.
func documents(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			relative, err := filepath.Rel(root, name)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, filepath.ToSlash(relative))
		}
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
