package print

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/scheme"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(epoch.Add(-d)) }

func meta(name string, age time.Duration, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: "team", CreationTimestamp: ago(age), Labels: labels}
}

func object(t *testing.T, obj scheme.Object) *resource.Object {
	t.Helper()
	kind, ok := scheme.Of(obj)
	if !ok {
		t.Fatalf("no kind for %T", obj)
	}
	raw, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	o, err := resource.Of(kind, raw)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func status(name string, ready bool, restarts int32, last time.Duration) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: name, Ready: ready, RestartCount: restarts}
	s.State.Running = &corev1.ContainerStateRunning{}
	if restarts > 0 {
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{FinishedAt: ago(last)}
	}
	return s
}

func pods() []scheme.Object {
	web := &corev1.Pod{ObjectMeta: meta("web", 26*time.Hour, map[string]string{"app": "web", "example.com/tier": "front"})}
	web.Spec = corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}, ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "x"}, {ConditionType: "y"}}}
	web.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.244.0.7", Conditions: []corev1.PodCondition{{Type: "x", Status: corev1.ConditionTrue}}}
	web.Status.ContainerStatuses = []corev1.ContainerStatus{status("a", true, 3, 5*time.Minute), status("b", false, 0, 0)}
	waiting := &corev1.Pod{ObjectMeta: meta("a-pod-with-a-longer-name", 90*time.Second, nil)}
	waiting.Spec.Containers = []corev1.Container{{Name: "a"}}
	waiting.Status.Phase = corev1.PodPending
	return []scheme.Object{web, waiting}
}

func nodes() []scheme.Object {
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue}
	one := &corev1.Node{ObjectMeta: meta("n1", 400*24*time.Hour, map[string]string{"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"})}
	one.Spec.Unschedulable = true
	one.Status.Conditions = []corev1.NodeCondition{ready}
	one.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "n1"}, {Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}
	one.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.37.0", OSImage: "Debian 13", KernelVersion: "6.12", ContainerRuntimeVersion: "containerd://2.4.2"}
	ready.Status = corev1.ConditionUnknown
	two := &corev1.Node{ObjectMeta: meta("n2", 3*time.Hour, nil)}
	two.Status.Conditions = []corev1.NodeCondition{ready}
	return []scheme.Object{one, two, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n3"}}}
}

func events() []scheme.Object {
	counted := &corev1.Event{ObjectMeta: meta("web.1", 0, nil), Type: "Warning", Reason: "BackOff", Message: "Back-off restarting\nfailed container ", Count: 7}
	counted.FirstTimestamp, counted.LastTimestamp = ago(time.Hour), ago(30*time.Second)
	counted.InvolvedObject = corev1.ObjectReference{Kind: "Pod", Name: "web", FieldPath: "spec.containers{a}"}
	counted.Source = corev1.EventSource{Component: "kubelet", Host: "n1"}
	series := &corev1.Event{ObjectMeta: meta("n1.2", 0, nil), Type: "Normal", Reason: "Seen", Message: "again", ReportingController: "watcher"}
	series.EventTime = metav1.NewMicroTime(epoch.Add(-10 * time.Minute))
	series.Series = &corev1.EventSeries{Count: 4, LastObservedTime: metav1.NewMicroTime(epoch.Add(-time.Minute))}
	series.InvolvedObject = corev1.ObjectReference{Kind: "Node"}
	return []scheme.Object{counted, series}
}

func TestTable(t *testing.T) {
	for _, c := range []struct {
		name    string
		objects []scheme.Object
		options TableOptions
		want    string
	}{
		{name: "nothing"},
		{name: "pods", objects: pods(), want: `
NAME                       READY   STATUS    RESTARTS     AGE
web                        1/2     Running   3 (5m ago)   26h
a-pod-with-a-longer-name   0/1     Pending   0            90s
`},
		{name: "pods wide", objects: pods(), options: TableOptions{Wide: true}, want: `
NAME                       READY   STATUS    RESTARTS     AGE   IP           NODE     NOMINATED NODE   READINESS GATES
web                        1/2     Running   3 (5m ago)   26h   10.244.0.7   n1       <none>           1/2
a-pod-with-a-longer-name   0/1     Pending   0            90s   <none>       <none>   <none>           <none>
`},
		{
			name: "everything beside the columns", objects: pods()[:1],
			options: TableOptions{WithNamespace: true, WithKind: true, ShowLabels: true, LabelColumns: []string{"example.com/tier", "absent"}, WithEvent: true},
			want: `
EVENT      NAMESPACE   NAME      READY   STATUS    RESTARTS     AGE   TIER    ABSENT   LABELS
ADDED      team        pod/web   1/2     Running   3 (5m ago)   26h   front            app=web,example.com/tier=front
`,
		},
		{name: "no headers", objects: pods()[:1], options: TableOptions{NoHeaders: true}, want: `
web   1/2   Running   3 (5m ago)   26h
`},
		{name: "nodes", objects: nodes(), want: `
NAME   STATUS                     ROLES         AGE         VERSION
n1     Ready,SchedulingDisabled   edge,worker   400d        v1.37.0
n2     NotReady                   <none>        3h          
n3     Unknown                    <none>        <unknown>   
`},
		{name: "nodes wide", objects: nodes()[:1], options: TableOptions{Wide: true}, want: `
NAME   STATUS                     ROLES         AGE    VERSION   INTERNAL-IP   EXTERNAL-IP   OS-IMAGE    KERNEL-VERSION   CONTAINER-RUNTIME
n1     Ready,SchedulingDisabled   edge,worker   400d   v1.37.0   10.0.0.1      <none>        Debian 13   6.12             containerd://2.4.2
`},
		{name: "namespaces", objects: []scheme.Object{&corev1.Namespace{ObjectMeta: meta("team", time.Minute, nil), Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}}}, want: `
NAME   STATUS   AGE
team   Active   60s
`},
		{name: "configmaps", objects: []scheme.Object{&corev1.ConfigMap{ObjectMeta: meta("c", time.Second, nil), Data: map[string]string{"a": ""}, BinaryData: map[string][]byte{"b": nil}}}, want: `
NAME   DATA   AGE
c      2      1s
`},
		{name: "secrets", objects: []scheme.Object{&corev1.Secret{ObjectMeta: meta("s", time.Second, nil), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"a": nil}}}, want: `
NAME   TYPE     DATA   AGE
s      Opaque   1      1s
`},
		{name: "events", objects: events(), want: `
LAST SEEN   TYPE      REASON    OBJECT    MESSAGE
30s         Warning   BackOff   pod/web   Back-off restarting...
60s         Normal    Seen      node      again
`},
		{name: "events wide", objects: events(), options: TableOptions{Wide: true}, want: `
LAST SEEN   TYPE      REASON    OBJECT    SUBOBJECT            SOURCE        MESSAGE                  FIRST SEEN   COUNT   NAME
30s         Warning   BackOff   pod/web   spec.containers{a}   kubelet, n1   Back-off restarting...   60m          7       web.1
60s         Normal    Seen      node                           watcher       again                    10m          4       n1.2
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			kind, _ := scheme.ByResource(scheme.Pods)
			var rows []Row
			for _, obj := range c.objects {
				o := object(t, obj)
				kind = o.Kind
				rows = append(rows, Row{Object: o, Event: "ADDED"})
			}
			var out bytes.Buffer
			if err := NewTable(&out, kind, c.options, func() time.Time { return epoch }).Print(rows...); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), out.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryKindHasItsColumns: a kind that is served has an entry, with a cell for each column of an empty object.
func TestEveryKindHasItsColumns(t *testing.T) {
	for _, kind := range scheme.All() {
		v, ok := kinds[kind.Resource()]
		if !ok {
			t.Errorf("%s has no table", kind.Resource())
			continue
		}
		if got, want := len(v.cells(kind.New(), epoch)), len(v.columns); got != want {
			t.Errorf("%s: %d cells for %d columns", kind.Resource(), got, want)
		}
	}
	if cells := plain.cells(&corev1.Pod{ObjectMeta: meta("x", time.Hour, nil)}, epoch); !cmp.Equal(cells, []string{"x", "60m"}) {
		t.Errorf("a kind without an entry: %v", cells)
	}
}

func TestLaterRowsStayBelow(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	for _, row := range [][]string{{"NAME", "STATUS", "AGE"}, {"web", "x", "1s"}, {"a-long-name", "x", "1s"}, {"web", "x", "2s"}} {
		if err := w.Rows(row); err != nil {
			t.Fatal(err)
		}
	}
	want := `NAME   STATUS   AGE
web    x        1s
a-long-name   x        1s
web           x        2s
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestCellsAreHarmless(t *testing.T) {
	var out bytes.Buffer
	if err := NewWriter(&out).Rows([]string{"a\x1b[31m", "b\r"}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "a^[[31m   b...\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAge(t *testing.T) {
	for _, c := range []struct {
		name string
		age  time.Duration
		want string
	}{
		{"now", 0, "0s"},
		{"a clock that is behind", -time.Second, "0s"},
		{"seconds", 119 * time.Second, "119s"},
		{"minutes and seconds", 125 * time.Second, "2m5s"},
		{"minutes", 15 * time.Minute, "15m"},
		{"hours and minutes", 3*time.Hour + 5*time.Minute, "3h5m"},
		{"hours", 9 * time.Hour, "9h"},
		{"days and hours", 50 * time.Hour, "2d2h"},
		{"days", 30 * 24 * time.Hour, "30d"},
		{"years and days", 3 * 365 * 24 * time.Hour, "3y"},
	} {
		if got := Age(epoch.Add(-c.age), epoch); got != c.want {
			t.Errorf("%s: Age = %s, want %s", c.name, got, c.want)
		}
	}
	if got := Age(time.Time{}, epoch); got != "<unknown>" {
		t.Errorf("Age of nothing = %s", got)
	}
}

func TestRestarts(t *testing.T) {
	for _, c := range []struct {
		count int
		last  time.Time
		want  string
	}{
		{0, time.Time{}, "0"},
		{0, epoch, "0"},
		{2, time.Time{}, "2"},
		{3, epoch.Add(-5 * time.Minute), "3 (5m ago)"},
		{12, epoch.Add(-49 * time.Hour), "12 (2d1h ago)"},
	} {
		if got := restarts(c.count, c.last, epoch); got != c.want {
			t.Errorf("restarts(%d) = %q, want %q", c.count, got, c.want)
		}
	}
}
