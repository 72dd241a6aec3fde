package catalogue

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/events"
)

const root = "../../.."

func TestEvents(t *testing.T) {
	text, err := Events(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range events.Catalogue() {
		if !strings.Contains(text, "\n### "+info.Name+"\n") {
			t.Errorf("%s has no section", info.Name)
		}
	}
}

func TestReadContract(t *testing.T) {
	tests := []struct {
		name, comment string
		want          contract
		wantErr       string
	}{
		{
			name: "whole",
			comment: "PodEaten says that a pod\nhas been eaten.\nBody: the [state.Order], whole. Readers: api, those\nwho are hungry. " +
				"Delivered twice: drop by revision. Missed: a view rebuilds,\nthe feed resyncs.\n",
			want: contract{
				declaration: "PodEaten", says: "A pod has been eaten.", body: "the `state.Order`, whole", readers: "api, those who are hungry",
				twice: "Drop by revision.", missed: "A view rebuilds, the feed resyncs.",
			},
		},
		{
			name:    "twice and missed alike",
			comment: "PodEaten says what was found.\nBody: none. Readers: people. Delivered twice, missed: no matter.\n",
			want:    contract{declaration: "PodEaten", says: "What was found.", body: "none", readers: "people", twice: "No matter.", missed: "No matter."},
		},
		{
			name:    "not missed",
			comment: "PodEaten says that a pod has been eaten.\nBody: none. Readers: people. Delivered twice: no matter.\n",
			wantErr: "the comment of events.PodEaten does not say what a reader does when the event is missed",
		},
		{
			name:    "no readers",
			comment: "PodEaten says that a pod has been eaten.\nBody: none. Delivered twice: no matter. Missed: no matter.\n",
			wantErr: "the comment of events.PodEaten must read: PodEaten says that …. Body: …. Readers: …. Delivered twice: …. Missed: …",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readContract("PodEaten", tt.comment)
			if message := errorText(err); message != tt.wantErr {
				t.Fatalf("readContract says %q, want %q", message, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(contract{}, events.Info{})); diff != "" {
				t.Errorf("readContract (-want +got):\n%s", diff)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMetrics(t *testing.T) {
	text, err := Metrics(root)
	if err != nil {
		t.Fatal(err)
	}
	want := "| `millrace_commit_duration_seconds` | histogram | seconds | `result` |"
	if !strings.Contains(text, want) {
		t.Errorf("no row begins %s:\n%s", want, text)
	}
}

func TestMetersOf(t *testing.T) {
	parse := func(code string) ([]Meter, error) {
		t.Helper()
		file, err := parser.ParseFile(token.NewFileSet(), "a.go", code, 0)
		if err != nil {
			t.Fatal(err)
		}
		return metersOf(file, "pkg/a")
	}
	const head = "package a\n\nimport \"millrace.dev/pkg/telemetry\"\n\n"
	got, err := parse(head + "func f(r *telemetry.Registry) { r.Counter(\"millrace_a_b_total\", \"Bs.\", \"kind\"); d.Seconds() }\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Meter{{Name: "millrace_a_b_total", Help: "Bs.", Method: "Counter", Labels: []string{"kind"}, Package: "pkg/a"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metersOf (-want +got):\n%s", diff)
	}
	_, err = parse(head + "func f(r *telemetry.Registry, name string) { r.Gauge(name, \"Bs.\") }\n")
	if want := "pkg/a: a Gauge is made with a name or label that is not written out: write it out"; errorText(err) != want {
		t.Errorf("metersOf of a computed name says %q, want %q", errorText(err), want)
	}
}

func TestFaults(t *testing.T) {
	got := Faults([]Meter{
		{Name: "millrace_a_b_total", Help: "Bs.", Method: "Counter", Labels: []string{"kind"}, Package: "pkg/a"},
		{Name: "a_b_total", Help: "Bs.", Method: "Counter", Package: "pkg/a"},
		{Name: "millrace_a_b", Help: "Bs.", Method: "Counter", Package: "pkg/a"},
		{Name: "millrace_a_wait", Help: "Wait.", Method: "Seconds", Package: "pkg/a"},
		{Name: "millrace_c_total", Help: "Cs.", Method: "Gauge", Package: "pkg/a"},
		{Name: "millrace_d_total", Help: "ds", Method: "Counter", Package: "pkg/a"},
		{Name: "millrace_a_b_total", Help: "Bs.", Method: "Counter", Package: "pkg/b"},
		{Name: "millrace_e_total", Help: "Es.", Method: "Counter", Labels: []string{"pod"}, Package: "pkg/a"},
	})
	want := []string{
		"pkg/a: meter a_b_total is not named millrace_<what>_<unit>",
		"pkg/a: meter millrace_a_b is a Counter: its name must end in _total",
		"pkg/a: meter millrace_a_wait is a Seconds: its name must end in _seconds",
		"pkg/a: meter millrace_c_total is no counter: only their names end in _total",
		"pkg/a: meter millrace_d_total needs a help text that is a sentence",
		"pkg/b: meter millrace_a_b_total is made in pkg/a too",
		"pkg/a: meter millrace_e_total has the label pod, whose values have no end",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Faults (-want +got):\n%s", diff)
	}
}
