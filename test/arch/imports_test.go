package arch

import (
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers of pkg: a package imports only what lies lower. Tests may look up.
var layers = map[string]int{
	"pkg/clock": 0, "pkg/podinfo": 0, "pkg/scheme": 0, "pkg/telemetry": 0, "pkg/version": 0,
	"pkg/need": 1, "pkg/objtest": 1, "pkg/state": 1,
	"pkg/events": 2,
	"pkg/store":  3,
	"pkg/auth":   4, "pkg/commit": 4, "pkg/store/memstore": 4, "pkg/store/natskv": 4, "pkg/view": 4, "pkg/wire": 4,
	"pkg/client": 5, "pkg/feed": 5, "pkg/lease": 5, "pkg/natsd": 5, "pkg/note": 5, "pkg/reconcile": 5,
	"pkg/daemon": 6, "pkg/natstest": 6, "pkg/store/storetest": 6,
}

func TestLayers(t *testing.T) {
	found := tree(t)
	report(t, checkLayers(found, layers))
	wantProblems(t, checkLayers([]pkg{
		{path: "pkg/state", imports: []string{"pkg/scheme", "fmt"}, tests: []string{"pkg/view"}},
		{path: "pkg/store", imports: []string{"pkg/view", "pkg/state"}},
		{path: "pkg/view", imports: []string{"pkg/commit"}},
		{path: "pkg/new"},
	}, map[string]int{"pkg/scheme": 0, "pkg/state": 1, "pkg/store": 3, "pkg/commit": 4, "pkg/view": 4, "pkg/old": 2}),
		"pkg/store (layer 3) imports pkg/view (layer 4): a package of pkg imports only lower layers; move what both need down, or the interface to its user",
		"pkg/view (layer 4) imports pkg/commit (layer 4): a package of pkg imports only lower layers; move what both need down, or the interface to its user",
		"pkg/new has no layer: add it to layers in test/arch/imports_test.go, as low as its imports allow",
		"pkg/commit is in layers but is no package: take it off",
		"pkg/old is in layers but is no package: take it off",
		"pkg/scheme is in layers but is no package: take it off",
	)
}

func checkLayers(packages []pkg, layers map[string]int) (problems []string) {
	seen := map[string]bool{}
	for _, p := range packages {
		if !strings.HasPrefix(p.path, "pkg/") {
			continue
		}
		seen[p.path] = true
		level, ok := layers[p.path]
		if !ok {
			problems = append(problems, p.path+" has no layer: add it to layers in test/arch/imports_test.go, as low as its imports allow")
			continue
		}
		for _, imported := range p.imports {
			if below, ok := layers[imported]; ok && below >= level {
				problems = append(problems, fmt.Sprintf("%s (layer %d) imports %s (layer %d): a package of pkg imports only lower layers; "+
					"move what both need down, or the interface to its user", p.path, level, imported, below))
			}
		}
	}
	var stale []string
	for name := range layers {
		if !seen[name] {
			stale = append(stale, name+" is in layers but is no package: take it off")
		}
	}
	slices.Sort(stale)
	return append(problems, stale...)
}

// mayImport says, for each part of the repository, which others of our packages it may import, tests included. The first row
// that covers a package counts.
var mayImport = []struct {
	part    string
	allowed []string
	instead string
}{
	{"pkg/...", []string{"pkg/..."}, "the library knows no service; give it what it needs as an argument"},
	{"services/api/...", []string{"services/api/...", "pkg/..."}, "services meet over NATS; what two of them share belongs into pkg"},
	{"services/scheduler/...", []string{"services/scheduler/...", "pkg/..."}, "services meet over NATS; what two of them share belongs into pkg"},
	{"services/controller/...", []string{"services/controller/...", "pkg/..."}, "services meet over NATS; what two of them share belongs into pkg"},
	{"services/kubelet/...", []string{"services/kubelet/...", "pkg/..."}, "services meet over NATS; what two of them share belongs into pkg"},
	{"services/proxy/...", []string{"services/proxy/...", "pkg/..."}, "services meet over NATS; what two of them share belongs into pkg"},
	{"cli/internal/fakeapi", []string{"cli/...", "pkg/..."}, "the command line starts services as programs"},
	{"cli/...", []string{
		"cli/...", "pkg/auth", "pkg/client", "pkg/clock", "pkg/events", "pkg/natsd", "pkg/natstest", "pkg/need", "pkg/note", "pkg/objtest", "pkg/podinfo", "pkg/scheme",
		"pkg/state", "pkg/telemetry", "pkg/version", "pkg/wire",
	}, "the command line asks the api by pkg/client; it reads no state and starts services as programs"},
	{"test/scenario/...", []string{"test/...", "pkg/..."}, "scenarios meet services only as programs, by test/cluster"},
	{"test/chaos/...", []string{"test/...", "pkg/..."}, "chaos meets services only as programs, by test/cluster"},
	{"test/...", []string{
		"test/...", "pkg/...", "services/api", "services/scheduler", "services/controller", "services/kubelet", "services/proxy",
	}, "tests start a service by its Run; what is internal is tested beside it"},
}

func TestModules(t *testing.T) {
	report(t, checkModules(tree(t)))
	wantProblems(t, checkModules([]pkg{
		{path: "pkg/view", tests: []string{"services/api"}},
		{path: "services/scheduler", imports: []string{"pkg/view", "services/scheduler/internal/queue", "services/api"}},
		{path: "services/scheduler/internal/queue", imports: []string{"cli/internal/get"}},
		{path: "cli/internal/get", imports: []string{"pkg/client", "pkg/store/natskv"}},
		{path: "test/scenario", tests: []string{"test/cluster", "services/api"}},
		{path: "tools/new"},
	}),
		"pkg/view imports services/api: the library knows no service; give it what it needs as an argument",
		"services/scheduler imports services/api: services meet over NATS; what two of them share belongs into pkg",
		"services/scheduler/internal/queue imports cli/internal/get: services meet over NATS; what two of them share belongs into pkg",
		"cli/internal/get imports pkg/store/natskv: the command line asks the api by pkg/client; it reads no state and starts services as programs",
		"test/scenario imports services/api: scenarios meet services only as programs, by test/cluster",
		"tools/new belongs to no part of the repository: add a row to mayImport in test/arch/imports_test.go",
	)
}

func checkModules(packages []pkg) (problems []string) {
	for _, p := range packages {
		row := -1
		for i := range mayImport {
			if matches(p.path, mayImport[i].part) {
				row = i
				break
			}
		}
		if row < 0 {
			problems = append(problems, p.path+" belongs to no part of the repository: add a row to mayImport in test/arch/imports_test.go")
			continue
		}
		for _, imported := range p.all() {
			ours := matches(imported, "pkg/...", "services/...", "cli/...", "test/...")
			if ours && !matches(imported, mayImport[row].allowed...) {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", p.path, imported, mayImport[row].instead))
			}
		}
	}
	return problems
}

// door is the one place of a vendor library: everybody else meets our own types.
type door struct {
	libraries []string // import paths; "/..." for all below
	packages  []string // that may import them, tests included
	instead   string
}

// doors are the same as those of depguard in .golangci.yml, but seen from the import graph: no file is left out of it.
var doors = []door{
	{[]string{"github.com/nats-io/nats.go"}, []string{
		"pkg/wire", "pkg/feed", "pkg/daemon", "pkg/natstest", "pkg/store/natskv", "pkg/lease", "pkg/note", "services/api/internal/endpoint",
		"services/api/internal/command", "services/api/internal/intake", "test/...",
	}, "talk through pkg/wire"},
	{[]string{"github.com/nats-io/nats.go/micro"}, []string{"services/api/internal/endpoint", "test/..."}, "the api's endpoint registers it"},
	{[]string{"github.com/nats-io/nats.go/jetstream/..."}, []string{
		"pkg/store/natskv", "pkg/lease", "pkg/note", "pkg/natstest", "services/api/internal/command", "test/...",
	}, "state goes through pkg/store"},
	{[]string{"github.com/nats-io/nats-server/v2/..."}, []string{"pkg/natsd"}, "run it through pkg/natsd"},
	{[]string{"github.com/nats-io/jwt/v2/...", "github.com/nats-io/nkeys/..."}, []string{"pkg/auth", "pkg/natsd"}, "credentials come from pkg/auth"},
	{[]string{"github.com/cloudevents/..."}, []string{"pkg/events", "services/api/internal/command"}, "events have their codec in pkg/events"},
	{[]string{"github.com/prometheus/...", "go.opentelemetry.io/..."}, []string{"pkg/telemetry"}, "meters come from pkg/telemetry"},
	{[]string{"github.com/oklog/ulid/..."}, []string{"pkg/events"}, "ids come from events.NewID"},
	{[]string{"github.com/containerd/...", "github.com/opencontainers/...", "github.com/distribution/reference"}, []string{
		"services/kubelet/internal/runtime/containerd/...", "services/kubelet/internal/image/...", "services/kubelet/internal/logger",
		"services/kubelet/cmd/millrace-logger", "services/kubelet/internal/session", "services/kubelet/internal/stats", "test/perf",
	}, "containers go through the kubelet's runtime"},
	{[]string{"google.golang.org/grpc/...", "google.golang.org/protobuf/..."}, []string{
		"services/kubelet/internal/runtime/containerd/...", "services/kubelet/internal/probe",
	}, "only containerd, and probes of pods, are spoken to by gRPC"},
	{[]string{"github.com/moby/sys/..."}, []string{"services/kubelet/internal/runtime/containerd"}, "users of images are read by the kubelet's runtime"},
	{[]string{"github.com/fsnotify/..."}, []string{"services/kubelet/internal/logs"}, "the kubelet's logs package follows files"},
	{[]string{"github.com/vishvananda/..."}, []string{
		"services/kubelet/internal/network", "services/proxy/internal/nftables", "test/...",
	}, "the kubelet's network package does it"},
	{[]string{"github.com/google/nftables/..."}, []string{
		"services/kubelet/internal/network", "services/proxy/internal/nftables", "test/...",
	}, "rules of the kernel are made by the kubelet's network package and the proxy's nftables"},
	{[]string{"github.com/miekg/dns"}, []string{"services/proxy/internal/dns"}, "names are answered by the proxy's dns"},
	{[]string{"github.com/robfig/cron/..."}, []string{"services/controller/internal/cronjob"}, "schedules are read by the controller's cronjob"},
	{[]string{"github.com/spf13/cobra/...", "github.com/spf13/pflag/..."}, []string{"cli/..."}, "only the command line has commands"},
	{[]string{"golang.org/x/term", "github.com/creack/pty"}, []string{"cli/internal/...", "test/..."}, "terminals are the command line's"},
	{[]string{"github.com/google/go-containerregistry/...", "github.com/ulikunitz/xz/..."}, []string{"test/images/..."}, "only test images are built"},
	{[]string{"github.com/rogpeppe/go-internal/..."}, []string{"test/script/..."}, "scripts of the command line lie in test/script"},
	{[]string{"github.com/google/go-cmp/...", "pgregory.net/rapid/..."}, []string{testsOnly}, "only tests compare and generate"},
	{[]string{"k8s.io/client-go/util/jsonpath"}, []string{"cli/internal/print"}, "the command line's print has jsonpath"},
	{[]string{"k8s.io/client-go/applyconfigurations/..."}, []string{"services/api/internal/patch"}, "the schema of apply is the api's patch"},
	{[]string{"k8s.io/apimachinery/pkg/util/managedfields/...", "k8s.io/apimachinery/pkg/util/strategicpatch"}, []string{"services/api/internal/patch"}, "patches are made by the api's patch"},
}

// testsOnly stands for tests and packages that only tests use.
const testsOnly = "tests"

// everywhere are libraries without a door: our vocabulary, and small things that add no type of their own.
var everywhere = []string{
	"k8s.io/api/...", "k8s.io/apimachinery/...", "sigs.k8s.io/yaml/...", "sigs.k8s.io/json/...", "golang.org/x/sync/...", "golang.org/x/sys/...",
}

func TestDoors(t *testing.T) {
	report(t, checkDoors(tree(t), doors))
	sample := []door{
		{[]string{"example.org/dns/..."}, []string{"services/proxy/internal/dns", "test/..."}, "names are answered by the proxy's dns"},
		{[]string{"example.org/cmp"}, []string{testsOnly}, "only tests compare"},
	}
	wantProblems(t, checkDoors([]pkg{
		{path: "services/proxy/internal/dns", imports: []string{"example.org/dns", "example.org/dns/server", "net"}},
		{path: "services/proxy/internal/table", tests: []string{"example.org/dns/server", "example.org/cmp"}},
		{path: "services/proxy", imports: []string{"example.org/cmp"}},
		{path: "services/proxy/internal/dnstest", imports: []string{"example.org/cmp"}},
		{path: "cli/internal/get", imports: []string{"k8s.io/api/core/v1", "k8s.io/klog/v2"}},
	}, sample),
		"services/proxy/internal/table imports example.org/dns/server: names are answered by the proxy's dns",
		"services/proxy imports example.org/cmp: only tests compare",
		"cli/internal/get imports k8s.io/klog/v2, which has no door: use the standard library, or say in doors of test/arch/imports_test.go and in depguard of .golangci.yml who may import it",
	)
}

func checkDoors(packages []pkg, doors []door) (problems []string) {
	for _, p := range packages {
		tested := matches(p.path, "test/...") || strings.HasSuffix(p.path, "test")
		check := func(library string, isTest bool) {
			first, _, _ := strings.Cut(library, "/")
			if !strings.Contains(first, ".") || matches(library, everywhere...) {
				return
			}
			i := slices.IndexFunc(doors, func(d door) bool { return matches(library, d.libraries...) })
			switch {
			case i < 0:
				problems = append(problems, fmt.Sprintf("%s imports %s, which has no door: use the standard library, or say in doors of "+
					"test/arch/imports_test.go and in depguard of .golangci.yml who may import it", p.path, library))
			case matches(p.path, doors[i].packages...), (isTest || tested) && slices.Contains(doors[i].packages, testsOnly):
			default:
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", p.path, library, doors[i].instead))
			}
		}
		for _, library := range p.imports {
			check(library, false)
		}
		for _, library := range p.tests {
			check(library, true)
		}
	}
	return problems
}

// vague names say nothing about what a package owns.
var vague = []string{
	"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "core", "lib", "tools", "types", "models", "interfaces", "impl", "manager",
}

func TestPackageNames(t *testing.T) {
	report(t, checkNames(tree(t)))
	wantProblems(t, checkNames([]pkg{{path: "pkg/state"}, {path: "pkg/util"}, {path: "services/api/internal/helpers/names"}, {path: "cli/internal/get_all"}}),
		"pkg/util: a package named util owns nothing in particular; name it for what it provides",
		"services/api/internal/helpers/names: a package named helpers owns nothing in particular; name it for what it provides",
		"cli/internal/get_all: the name of a package is lower case letters and digits",
	)
}

func checkNames(packages []pkg) (problems []string) {
	for _, p := range packages {
		for name := range strings.SplitSeq(p.path, "/") {
			if slices.Contains(vague, name) {
				problems = append(problems, fmt.Sprintf("%s: a package named %s owns nothing in particular; name it for what it provides", p.path, name))
			}
		}
		program := path.Base(path.Dir(p.path)) == "cmd"
		if name := path.Base(p.path); !program && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			problems = append(problems, p.path+": the name of a package is lower case letters and digits")
		}
	}
	return problems
}

// programs are what we ship, and what must not be linked into each, directly or not.
var programs = []struct {
	path  string
	never []string
}{
	{"services/api/cmd/millrace-api", slices.Concat(notShipped, node, server)},
	{"services/scheduler/cmd/millrace-scheduler", slices.Concat(notShipped, node, server)},
	{"services/controller/cmd/millrace-controller", slices.Concat(notShipped, node, server)},
	{"services/kubelet/cmd/millrace-kubelet", slices.Concat(notShipped, server)},
	{"services/kubelet/cmd/millrace-logger", slices.Concat(notShipped, node, server, []string{"github.com/nats-io/...", "k8s.io/..."})},
	{"services/proxy/cmd/millrace-proxy", slices.Concat(notShipped, server, []string{"github.com/containerd/..."})},
	{"cli/cmd/millrace", slices.Concat(notShipped, node)},
}

var (
	notShipped = []string{
		"testing", "pkg/need", "pkg/objtest", "pkg/natstest", "pkg/store/memstore", "pkg/store/storetest", "test/...", "cli/internal/fakeapi",
		"k8s.io/kubernetes/...", "k8s.io/apiserver/...", "github.com/stretchr/...",
	}
	node   = []string{"github.com/containerd/...", "github.com/vishvananda/...", "github.com/google/nftables/..."}
	server = []string{"github.com/nats-io/nats-server/v2/...", "pkg/natsd", "github.com/spf13/cobra"}
)

// TestPrograms looks at everything that is linked into each program.
func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(path.Base(p.path), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+p.path)
			cmd.Dir = root
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("go list -deps %s: %v", p.path, err)
			}
			report(t, checkProgram(p.path, own(strings.Fields(string(out))), p.never))
		})
	}
	wantProblems(t, checkProgram("services/x/cmd/x", []string{"fmt", "testing", "pkg/view", "github.com/containerd/log"}, slices.Concat(notShipped, node)),
		"services/x/cmd/x links testing: find out by which import with go list -deps, and cut it there",
		"services/x/cmd/x links github.com/containerd/log: find out by which import with go list -deps, and cut it there",
	)
}

func checkProgram(program string, linked, never []string) (problems []string) {
	for _, dependency := range linked {
		if matches(dependency, never...) {
			problems = append(problems, fmt.Sprintf("%s links %s: find out by which import with go list -deps, and cut it there", program, dependency))
		}
	}
	return problems
}
