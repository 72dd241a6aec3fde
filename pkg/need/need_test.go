package need

import (
	"fmt"
	"testing"
)

// verdict is a testing.TB that notes how a check ended.
type verdict struct {
	testing.TB
	said string
}

func (v *verdict) Helper()                          {}
func (v *verdict) Skipf(format string, args ...any) { v.said = "skip: " + fmt.Sprintf(format, args...) }

func (v *verdict) Fatalf(format string, args ...any) {
	v.said = "fail: " + fmt.Sprintf(format, args...)
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name, require, need, lack, want string
	}{
		{name: "there", require: "all", need: "root", lack: "", want: ""},
		{name: "lacking is skipped with the reason", require: "", need: "root", lack: "uid is 7, not 0", want: "skip: need root: uid is 7, not 0"},
		{name: "demanded by name", require: "nats,root", need: "root", lack: "uid is 7, not 0", want: "fail: need root: uid is 7, not 0, and MILLRACE_REQUIRE demands it"},
		{name: "demanded by all", require: "all", need: "root", lack: "x", want: "fail: need root: x, and MILLRACE_REQUIRE demands it"},
		{name: "another is demanded", require: "containerd", need: "root", lack: "x", want: "skip: need root: x"},
		{name: "all means one kind of cgroup", require: "all", need: "cgroup-v2", lack: "x", want: "skip: need cgroup-v2: x"},
		{name: "that kind by name", require: "all,cgroup-v2", need: "cgroup-v2", lack: "x", want: "fail: need cgroup-v2: x, and MILLRACE_REQUIRE demands it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(variable, tt.require)
			v := &verdict{TB: t}
			check(v, tt.need, tt.lack)
			if v.said != tt.want {
				t.Errorf("check(%q, %q) with %s=%q said %q, want %q", tt.need, tt.lack, variable, tt.require, v.said, tt.want)
			}
		})
	}
}
