package arch

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
)

// demand is the decision about a set that an event type stands for.
type demand struct {
	kind state.StampKind
	// decision is what of the row of state.Stamps it is, or one of birth and death: a stamp is made and removed with its owner (P9).
	decision string
}

const (
	birth = "birth"
	death = "death"
)

// demands says for every event type what is decided with it. none: one object alone.
var (
	none    []demand
	demands = map[string][]demand{
		"dev.millrace.boot.repaired":      none, // follows from objects
		"dev.millrace.claim.taken":        none, // a key that may exist once
		"dev.millrace.config.announced":   none,
		"dev.millrace.config.deleted":     none,
		"dev.millrace.config.written":     none,
		"dev.millrace.epoch.begun":        none,
		"dev.millrace.namespace.created":  {{state.StampNamespace, birth}},
		"dev.millrace.namespace.deleted":  {{state.StampNamespace, death}},
		"dev.millrace.namespace.deleting": {{state.StampNamespace, "beginning of termination"}},
		"dev.millrace.namespace.updated":  none,
		"dev.millrace.node.deleted":       {{state.StampNode, death}},
		"dev.millrace.node.joined":        {{state.StampNode, birth}},
		"dev.millrace.node.readiness":     none, // reaches the scheduler as a taint, which is node.updated
		"dev.millrace.node.reported":      none, // nothing that the scheduler reads
		"dev.millrace.node.updated":       {{state.StampNode, "change of allocatable, labels, taints, unschedulable"}},
		"dev.millrace.pod.assigned":       {{state.StampNode, "assignment"}, {state.StampScheduler, "every assignment batch"}},
		"dev.millrace.pod.created":        none, // its order demands the node's; see also
		"dev.millrace.pod.deleted":        none, // pods that leave need no stamp
		"dev.millrace.pod.deleting":       none,
		"dev.millrace.pod.reported":       none,
		"dev.millrace.pod.unschedulable":  none,
		"dev.millrace.pod.updated":        none,
		"dev.millrace.process.beat":       none,
		"dev.millrace.stamp.moved":        none, // is one
	}
)

// also are the stamps that a batch bears as its objects demand it, not its event type, and the test that shows it.
var also = []struct {
	event    string
	kind     state.StampKind
	decision string
	test     testRef
}{
	{"dev.millrace.pod.created", state.StampNode, "creation with nodeName", testRef{"services/api/internal/verb/create_test.go", "TestP9_CreateOnANodeMovesItsStampAndOrders"}},
	{"dev.millrace.pod.created", state.StampNamespace, "creators only check it", testRef{"services/api/internal/verb/create_test.go", "TestP9_CreateLosesAgainstTheEndOfItsNamespace"}},
}

// testRef names a test.
type testRef struct{ file, name string }

// lateRisers are, for each kind of stamp in use, the race in which somebody writes an old plan and loses at the stamp.
var lateRisers = map[state.StampKind]testRef{
	state.StampNode:      {"services/scheduler/race_test.go", "TestP8_LateRiserLoses"},
	state.StampScheduler: {"services/scheduler/race_test.go", "TestP8_SchedulerStampIsOfEveryAssignment"},
	state.StampNamespace: {"services/api/internal/verb/create_test.go", "TestP9_CreateLosesAgainstTheEndOfItsNamespace"},
}

func TestEveryEventTypeDemandsItsStamp(t *testing.T) {
	report(t, checkDemands(events.Catalogue(), state.Stamps, demands))
	rules := []state.StampRule{{Kind: state.StampNode, Decides: []string{"assignment, binding"}}}
	wantProblems(t, checkDemands([]events.Info{
		{Name: "assigned", Stamps: []state.StampKind{state.StampNode}},
		{Name: "bound"},
		{Name: "joined", Stamps: []state.StampKind{state.StampNode}},
		{Name: "charged", Stamps: []state.StampKind{state.StampQuota}},
		{Name: "resized", Stamps: []state.StampKind{state.StampNode}},
		{Name: "new"},
	}, rules, map[string][]demand{
		"assigned": {{state.StampNode, "assignment"}}, "bound": {{state.StampNode, "binding"}}, "joined": {{state.StampNode, birth}},
		"charged": {{state.StampQuota, "charge"}}, "resized": {{state.StampNode, "resize up"}}, "old": none,
	}),
		`bound must demand stamps of the kinds [node] and demands []: mend its declaration in pkg/events`,
		`charged: pkg/state/stamps.go has no row for "quota": add what it guards and who must move it`,
		`resized: the row of "node" in pkg/state/stamps.go does not say "resize up": add it there`,
		"new is not in demands of test/arch/stamps_test.go: say which set its batch decides about, or none",
		"old is in demands of test/arch/stamps_test.go but is no event type: take it off",
	)
}

func checkDemands(catalogue []events.Info, stamps []state.StampRule, demands map[string][]demand) (problems []string) {
	listed := map[string]bool{}
	for _, info := range catalogue {
		listed[info.Name] = true
		wanted, ok := demands[info.Name]
		var kinds []state.StampKind
		for _, d := range wanted {
			kinds = append(kinds, d.kind)
		}
		switch {
		case !ok:
			problems = append(problems, info.Name+" is not in demands of test/arch/stamps_test.go: say which set its batch decides about, or none")
		case !slices.Equal(info.Stamps, kinds):
			problems = append(problems, fmt.Sprintf("%s must demand stamps of the kinds %v and demands %v: mend its declaration in pkg/events", info.Name, kinds, info.Stamps))
		default:
			for _, d := range wanted {
				problems = append(problems, checkDecision(info.Name, d, stamps)...)
			}
		}
	}
	for name := range demands {
		if !listed[name] {
			problems = append(problems, name+" is in demands of test/arch/stamps_test.go but is no event type: take it off")
		}
	}
	return problems
}

// checkDecision says what the table of stamps lacks about a decision.
func checkDecision(event string, d demand, stamps []state.StampRule) []string {
	i := slices.IndexFunc(stamps, func(r state.StampRule) bool { return r.Kind == d.kind })
	if i < 0 {
		return []string{fmt.Sprintf("%s: pkg/state/stamps.go has no row for %q: add what it guards and who must move it", event, d.kind)}
	}
	says := slices.ContainsFunc(stamps[i].Decides, func(text string) bool { return strings.Contains(text, d.decision) })
	if d.decision == birth || d.decision == death || says {
		return nil
	}
	return []string{fmt.Sprintf("%s: the row of %q in pkg/state/stamps.go does not say %q: add it there", event, d.kind, d.decision)}
}

// TestStampsBesideTheDemanded looks at what no event type can demand, because it depends on the object.
func TestStampsBesideTheDemanded(t *testing.T) {
	for _, a := range also {
		if _, ok := demands[a.event]; !ok {
			t.Errorf("also names %s, which is no event type: take it off", a.event)
		}
		report(t, checkDecision(a.event, demand{a.kind, a.decision}, state.Stamps))
		report(t, checkTest(files(t), a.test))
	}
}

func TestEveryStampHasALateRiser(t *testing.T) {
	used := map[state.StampKind]bool{}
	for _, wanted := range demands {
		for _, d := range wanted {
			used[d.kind] = true
		}
	}
	for _, a := range also {
		used[a.kind] = true
	}
	report(t, checkLateRisers(used, lateRisers, files(t)))
	wantProblems(t, checkLateRisers(map[state.StampKind]bool{state.StampNode: true, state.StampQuota: true}, map[state.StampKind]testRef{
		state.StampNode: {"pkg/a_test.go", "TestGone"},
	}, []source{{"pkg/a_test.go", "package a\n\nfunc TestHere(t *testing.T) {}\n"}}),
		"pkg/a_test.go has no TestGone: name the test that replaces it in test/arch/stamps_test.go",
		`stamps of kind "quota" are in use, but lateRisers of test/arch/stamps_test.go names no test in which an old plan loses: write one`,
	)
}

func checkLateRisers(used map[state.StampKind]bool, named map[state.StampKind]testRef, sources []source) (problems []string) {
	for kind := range used {
		ref, ok := named[kind]
		if !ok {
			problems = append(problems, fmt.Sprintf("stamps of kind %q are in use, but lateRisers of test/arch/stamps_test.go names no test in which an old plan loses: write one", kind))
			continue
		}
		problems = append(problems, checkTest(sources, ref)...)
	}
	slices.Sort(problems)
	return problems
}

// checkTest says that a test is not where it is said to be.
func checkTest(sources []source, ref testRef) []string {
	for _, s := range sources {
		if s.path != ref.file {
			continue
		}
		if _, file, err := s.parse(); err == nil && declares(file, "", ref.name) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s has no %s: name the test that replaces it in test/arch/stamps_test.go", ref.file, ref.name)}
}

// declares says that a file has a function, or a method of receiver.
func declares(file *ast.File, receiver, name string) bool {
	return slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && f.Name.Name == name && receiverOf(f) == receiver
	})
}

func receiverOf(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return ""
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// mayBuildOrderKeys are the files outside of pkg/state that build keys of orders, and what for.
var mayBuildOrderKeys = []string{
	"services/api/internal/boot/repair.go",           // compares what there is with what follows from pods
	"services/api/internal/nodeconfig/nodeconfig.go", // reads the order that a node names
}

// Orders are written by nobody but state.PodChange and its kin (P16): nobody else has a reason to build their keys.
func TestOnlyPodChangeMakesOrders(t *testing.T) {
	report(t, checkOrderKeys(files(t), mayBuildOrderKeys))
	wantProblems(t, checkOrderKeys([]source{
		{"services/scheduler/cycle.go", "package scheduler\n\nimport \"millrace.dev/pkg/state\"\n\nvar key = state.OrderKey(\"n\", \"ns\", \"p\")\n"},
		{"services/scheduler/cycle_test.go", "package scheduler\n\nimport \"millrace.dev/pkg/state\"\n\nvar key = state.OrderKey(\"n\", \"ns\", \"p\")\n"},
		{"services/api/reads.go", "package api\n\nimport \"millrace.dev/pkg/state\"\n\nvar key = state.OrderKey(\"n\", \"ns\", \"p\")\n"},
	}, []string{"services/api/reads.go"}),
		"services/scheduler/cycle.go:5: builds the key of an order: orders come out of state.PodChange with their pod; if it only reads, add it to mayBuildOrderKeys in test/arch/stamps_test.go",
	)
}

func checkOrderKeys(sources []source, allowed []string) (problems []string) {
	for _, s := range sources {
		if s.supports() || slices.Contains(allowed, s.path) {
			continue
		}
		for _, line := range uses(&s, prefix+"pkg/state", "OrderKey") {
			problems = append(problems, fmt.Sprintf("%s:%d: builds the key of an order: orders come out of state.PodChange with their pod; if it only reads, "+
				"add it to mayBuildOrderKeys in test/arch/stamps_test.go", s.path, line))
		}
	}
	return problems
}
