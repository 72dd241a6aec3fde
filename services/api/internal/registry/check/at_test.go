package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func texts(at At) []string {
	var list []string
	for _, f := range at.Faults() {
		list = append(list, f.Error())
	}
	return list
}

func TestPlaces(t *testing.T) {
	at := Start()
	at.Child("spec").Child("containers").Index(2).Child("resources", "limits").Key("cpu").Required("")
	at.Child("spec").Forbidden("no")
	other := Start()
	other.On(at.Child("elsewhere")).NotFound("x")
	want := []string{"spec.containers[2].resources.limits[cpu]: Required value", "spec: Forbidden: no"}
	if diff := cmp.Diff(want, texts(at)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`elsewhere: Not found: "x"`}, texts(other)); diff != "" {
		t.Errorf("faults in a list of their own (-want +got):\n%s", diff)
	}
}

func TestDemands(t *testing.T) {
	tests := []struct {
		name  string
		check func(At)
		want  []string
	}{
		{"too long", func(at At) { at.TooLong(3) }, []string{"x: Too long: may not be more than 3 bytes"}},
		{"at most, fits", func(at At) { at.AtMost(3, 3) }, nil},
		{"at most", func(at At) { at.AtMost(4, 3) }, []string{"x: Too many: 4: must have at most 3 items"}},
		{"none", func(at At) { at.None([]string{"a", "b"}, 7) }, []string{"x: Invalid value: 7: a", "x: Invalid value: 7: b"}},
		{"not negative, zero", func(at At) { at.NotNegative(0) }, nil},
		{"not negative", func(at At) { at.NotNegative(-1) }, []string{"x: Invalid value: -1: must be greater than or equal to 0"}},
		{"positive, one", func(at At) { at.Positive(1) }, nil},
		{"positive", func(at At) { at.Positive(0) }, []string{"x: Invalid value: 0: must be greater than zero"}},
		{"between, ends", func(at At) { at.Between(1, 1, 2); at.Between(2, 1, 2) }, nil},
		{"between", func(at At) { at.Between(0, 1, 2); at.Between(3, 1, 2) }, []string{
			"x: Invalid value: 0: must be between 1 and 2, inclusive", "x: Invalid value: 3: must be between 1 and 2, inclusive",
		}},
		{"optional names may be missing", func(at At) { at.DNSLabelOrEmpty(""); at.SubdomainOrEmpty("") }, nil},
		{"required names may not", func(at At) { at.RequiredSubdomain(""); at.RequiredDataKey("") }, []string{"x: Required value", "x: Required value"}},
		{"file modes, ends", func(at At) { at.FileMode(nil); at.FileMode(new(int32(0))); at.FileMode(new(int32(0o777))) }, nil},
		{"file modes", func(at At) { at.FileMode(new(int32(-1))); at.FileMode(new(int32(0o1000))) }, []string{
			"x: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive", "x: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
		}},
		{"ids", func(at At) {
			at.UserID(nil)
			at.GroupID(nil)
			at.UserID(new(int64(0)))
			at.UserID(new(int64(1 << 31)))
			at.GroupID(new(int64(-1)))
		}, []string{
			"x: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive", "x: Invalid value: -1: must be between 0 and 2147483647, inclusive",
		}},
		{"paths that do not climb", func(at At) { at.NoBacksteps("/a/..b/c.."); at.Descending("a/b"); at.FileInVolume("a/..b") }, nil},
		{"paths that climb", func(at At) {
			at.NoBacksteps("a/../b")
			at.Descending("/a")
			at.FileInVolume("..a")
			at.FileInVolume("../a")
		}, []string{
			`x: Invalid value: "a/../b": must not contain '..'`, `x: Invalid value: "/a": must be a relative path`,
			`x: Invalid value: "..a": must not start with '..'`, `x: Invalid value: "../a": must not contain '..'`,
		}},
		{"addresses", func(at At) { at.IP("10.0.0.1"); at.IP("::1"); at.CIDR("10.0.0.0/8") }, nil},
		{"addresses that are not canonical", func(at At) { at.IP("010.0.0.1"); at.CIDR("10.0.0.1/8") }, []string{
			`x: Invalid value: "010.0.0.1": must not have leading 0s`, `x: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length`,
		}},
		{"one of", func(at At) { OneOf(at, "b", "a", "b"); OneOf(at, "", "a") }, []string{`x: Unsupported value: "": supported values: "a"`}},
		{"required one of", func(at At) { RequiredOneOf(at, "", "a"); RequiredOneOf(at, "c", "b", "a") }, []string{
			"x: Required value", `x: Unsupported value: "c": supported values: "b", "a"`,
		}},
		{"unchanged", func(at At) { Unchanged(at, 1, 1); Unchanged(at, 2, 1) }, []string{"x: Invalid value: 2: field is immutable"}},
		{"labels", func(at At) { Labels(at, map[string]string{"b": "c", "a": "d e"}) }, []string{
			`x: Invalid value: "d e": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
		}},
		{"selector, none", func(at At) { Selector(at, nil) }, nil},
		{"selector", func(at At) {
			Selector(at, &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpIn}}})
		}, []string{"x.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"}},
		{"effects", func(at At) { TaintEffect(at, corev1.TaintEffectNoExecute); TaintEffect(at, "") }, []string{
			`x: Unsupported value: "": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := Start()
			tt.check(at.Child("x"))
			if diff := cmp.Diff(tt.want, texts(at)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSorted(t *testing.T) {
	m := map[string]int{}
	for letter := range strings.SplitSeq("hgfedcba", "") {
		m[letter] = len(m)
	}
	var keys []string
	for k := range Sorted(m) {
		if keys = append(keys, k); k == "d" {
			break
		}
	}
	if want := []string{"a", "b", "c", "d"}; !slices.Equal(keys, want) {
		t.Errorf("keys = %v, want %v", keys, want)
	}
}

func TestUnique(t *testing.T) {
	a, b := field.Required(field.NewPath("a"), ""), field.Required(field.NewPath("b"), "")
	got := Unique(field.ErrorList{a, b, field.Required(field.NewPath("a"), ""), field.Required(field.NewPath("a"), "why")})
	want := []string{"a: Required value", "b: Required value", "a: Required value: why"}
	var list []string
	for _, f := range got {
		list = append(list, f.Error())
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("Unique (-want +got):\n%s", diff)
	}
}

func TestResources(t *testing.T) {
	const (
		unknown   = "must be a standard resource type or fully qualified"
		notForOne = "must be a standard resource for containers"
	)
	tests := []struct {
		name           corev1.ResourceName
		container, pod []string // the details of what is wrong
		overcommit     bool
	}{
		{"cpu", nil, nil, true},
		{"memory", nil, nil, true},
		{"hugepages-2Mi", nil, nil, false},
		{"ephemeral-storage", nil, []string{`supported values: "cpu", "hugepages-", "memory"`}, true},
		{"pods", []string{notForOne}, []string{`supported values: "cpu", "hugepages-", "memory"`}, true},
		{"foo", []string{unknown, notForOne}, []string{unknown}, true},
		{"example.com/gpu", nil, []string{`supported values: "cpu", "hugepages-", "memory"`}, false},
		{"kubernetes.io/x", nil, []string{`supported values: "cpu", "hugepages-", "memory"`}, true},
		{"requests.example.com/gpu", []string{"doesn't follow extended resource name standard"}, []string{`supported values: "cpu", "hugepages-", "memory"`}, false},
	}
	details := func(at At) (list []string) {
		for _, f := range at.Faults() {
			list = append(list, f.Detail)
		}
		return list
	}
	for _, tt := range tests {
		container, pod := Start(), Start()
		ContainerResource(container.Child("x"), tt.name)
		PodResource(pod.Child("x"), tt.name)
		if diff := cmp.Diff(tt.container, details(container)); diff != "" {
			t.Errorf("%s of a container (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.pod, details(pod)); diff != "" {
			t.Errorf("%s of a pod (-want +got):\n%s", tt.name, diff)
		}
		if got := Overcommittable(tt.name); got != tt.overcommit {
			t.Errorf("Overcommittable(%s) = %v, want %v", tt.name, got, tt.overcommit)
		}
	}
}

func TestAmounts(t *testing.T) {
	tests := []struct {
		name   corev1.ResourceName
		amount string
		want   []string
	}{
		{"cpu", "100m", nil},
		{"cpu", "-1", []string{`x: Invalid value: "-1": must be greater than or equal to 0`}},
		{"pods", "1500m", []string{`x: Invalid value: "1500m": must be an integer`}},
		{"example.com/gpu", "1", nil},
		{"example.com/gpu", "1m", []string{`x: Invalid value: "1m": must be an integer`}},
		{"hugepages-2Mi", "4Mi", nil},
		{"hugepages-2Mi", "3Mi", []string{`x: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi`}},
		{"hugepages-0", "3Mi", []string{`x: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-0`}},
		{"hugepages-big", "3Mi", []string{`x: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-big`}},
		{"hugepages-1m", "3Mi", []string{`x: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-1m`}},
	}
	for _, tt := range tests {
		at := Start()
		Quantity(at.Child("x"), tt.name, resource.MustParse(tt.amount))
		WholePages(at.Child("x"), tt.name, resource.MustParse(tt.amount))
		if diff := cmp.Diff(tt.want, texts(at)); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", tt.amount, tt.name, diff)
		}
	}
}
