package arch

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// lastRule is the highest number in docs/protocol.md.
const lastRule = 27

// notYet are the rules that concern only what does not exist yet.
var notYet = map[int]string{
	10: "a garbage collector comes with the first kind that has owned children",
	24: "nobody makes routes",
	25: "there are no Jobs",
	26: "commands are not taken in as events",
	27: "nobody derives names of children",
}

// owed are the rules that exist and that no test names.
var owed = map[int]string{}

func TestEveryRuleIsNamedByATest(t *testing.T) {
	report(t, checkRules(files(t), lastRule, notYet, owed))
	wantProblems(t, checkRules([]source{
		{"pkg/a_test.go", "package a\n\nfunc TestP1_Something(t *testing.T) {}\n\n// Nothing is lost (P2, P6).\nfunc TestB(t *testing.T) {}\n"},
		{"pkg/a.go", "package a\n\n// f keeps P3.\nfunc f() {}\n"},
		{"pkg/store/storetest/suite.go", "package storetest\n\nvar suite = map[string]int{\"P4_Something\": 1}\n"},
		{"test/arch/rules_test.go", "package arch\n\n// P3 is not named here.\nvar x = \"P3_\"\n"},
	}, 7, map[int]string{5: "later", 6: "later"}, map[int]string{4: "soon", 7: "soon"}),
		"no test names P3 of docs/protocol.md: write one that breaks if the rule is broken, named TestP3_…",
		"a test names P4: take it off owed in test/arch/rules_test.go",
		"a test names P6, which is said not to concern anything yet: take it off notYet in test/arch/rules_test.go",
	)
}

func checkRules(sources []source, last int, notYet, owed map[int]string) (problems []string) {
	named := map[int]bool{}
	for _, s := range sources {
		if s.supports() {
			for _, rule := range rulesNamed(&s) {
				named[rule] = true
			}
		}
	}
	for rule := 1; rule <= last; rule++ {
		_, later := notYet[rule]
		_, soon := owed[rule]
		switch {
		case named[rule] && later:
			problems = append(problems, fmt.Sprintf("a test names P%d, which is said not to concern anything yet: take it off notYet in test/arch/rules_test.go", rule))
		case named[rule] && soon:
			problems = append(problems, fmt.Sprintf("a test names P%d: take it off owed in test/arch/rules_test.go", rule))
		case !named[rule] && !later && !soon:
			problems = append(problems, fmt.Sprintf("no test names P%d of docs/protocol.md: write one that breaks if the rule is broken, named TestP%d_…", rule, rule))
		}
	}
	return problems
}

var ruleID = regexp.MustCompile(`\bP([1-9][0-9]?)\b|(?:\bTest|")P([1-9][0-9]?)_`)

// rulesNamed are the rules that a test file names, in this package only by the names of tests: everything else here is about
// rules, not a test of one.
func rulesNamed(s *source) (rules []int) {
	text := s.text
	if strings.HasPrefix(s.path, "test/arch/") {
		var names strings.Builder
		if _, file, err := s.parse(); err == nil {
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					names.WriteString(f.Name.Name + "\n")
				}
			}
		}
		text = names.String()
	}
	for _, found := range ruleID.FindAllStringSubmatch(text, -1) {
		number, err := strconv.Atoi(found[1] + found[2])
		if err == nil && !slices.Contains(rules, number) {
			rules = append(rules, number)
		}
	}
	return rules
}
