package apiresources

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/root"
	"millrace.dev/pkg/scheme"
)

// run runs the verb where no cluster is known: it needs none.
func run(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	f := factory.New(factory.Streams{Out: &out, Err: &err}, func(string) string { return "" })
	root.Main(t.Context(), f, []root.Section{{Title: "Commands", Verbs: []*cobra.Command{New(f)}}}, append([]string{"api-resources"}, args...))
	return out.String(), err.String()
}

func TestRows(t *testing.T) {
	kinds := []*scheme.Kind{
		{Version: "v1", Name: "Node", Plural: "nodes", Short: []string{"no"}, ClusterScoped: true},
		{Group: "apps", Version: "v1", Name: "Deployment", Plural: "deployments", Short: []string{"deploy", "dp"}, Categories: []string{"all"}},
	}
	for _, c := range []struct {
		name    string
		command command
		wide    bool
		want    []string
	}{
		{name: "table", want: []string{"NAME SHORTNAMES APIVERSION NAMESPACED KIND", "nodes no v1 false Node", "deployments deploy,dp apps/v1 true Deployment"}},
		{name: "wide", wide: true, command: command{noHeaders: true}, want: []string{
			"nodes no v1 false Node create,delete,get,list,update,watch ", "deployments deploy,dp apps/v1 true Deployment create,delete,get,list,update,watch all",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, row := range c.command.rows(kinds, c.wide) {
				got = append(got, strings.Join(row, " "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryKindIsListedUnderItsScope(t *testing.T) {
	all, _ := run(t, "-o", "name")
	namespaced, _ := run(t, "-o", "name", "--namespaced=true")
	global, _ := run(t, "-o", "name", "--namespaced=false")
	for _, kind := range scheme.All() {
		in := func(list string) bool { return slices.Contains(strings.Split(list, "\n"), kind.Resource()) }
		if !in(all) || in(namespaced) == kind.ClusterScoped || in(global) != kind.ClusterScoped {
			t.Errorf("%s is not listed where it belongs", kind.Resource())
		}
	}
}

func TestChoices(t *testing.T) {
	if got, _ := run(t, "--categories=all", "-o", "name"); !strings.Contains(got, "pods\n") || strings.Contains(got, "secrets") {
		t.Errorf("--categories=all:\n%s", got)
	}
	if got, _ := run(t, "--api-group=nope", "--no-headers"); got != "" {
		t.Errorf("--api-group=nope:\n%s", got)
	}
	got, _ := run(t, "--sort-by=kind", "--no-headers")
	var kinds []string
	for line := range strings.Lines(got) {
		fields := strings.Fields(line)
		kinds = append(kinds, fields[len(fields)-1])
	}
	if !slices.IsSorted(kinds) || len(kinds) == 0 {
		t.Errorf("--sort-by=kind: %v", kinds)
	}
	if _, stderr := run(t, "--sort-by=x"); stderr != "error: --sort-by accepts only name or kind\n" {
		t.Errorf("--sort-by=x: %s", stderr)
	}
}
