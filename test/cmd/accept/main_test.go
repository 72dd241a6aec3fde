package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	for _, tc := range []struct{ test, want string }{
		{"TestS5_1_BackoffIsTunable", "S5.1"},
		{"TestS13_3_APodIsAtomicForScheduling", "S13.3"},
		{"TestC14_Why", "C14"},
		{"TestS5_1", "S5.1"},
		{"TestCorpus_Pods", ""},
		{"TestSomething", ""},
	} {
		if got := idOf(tc.test); got != tc.want {
			t.Errorf("idOf(%s) = %q, want %q", tc.test, got, tc.want)
		}
		if tc.want != "" && !regexp.MustCompile(pattern(tc.want)).MatchString(tc.test) {
			t.Errorf("the pattern of %s does not match %s", tc.want, tc.test)
		}
	}
	if regexp.MustCompile(pattern("S5.1")).MatchString("TestS5_10_Else") || regexp.MustCompile(pattern("C1")).MatchString("TestC1_4_Else") {
		t.Error("a pattern matches the tests of another id")
	}
}

func TestBadCalls(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"":         {2, "usage"},
		"run":      {2, "usage"},
		"run S0.0": {1, "S0.0 has no test"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &out, &errs); code != want.code || !strings.Contains(errs.String(), want.text) {
			t.Errorf("accept %s: exit %d, %q; want %d, %s", args, code, errs.String(), want.code, want.text)
		}
	}
}
