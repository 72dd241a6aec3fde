package logs

import (
	"bytes"
	"strings"
	"testing"
)

func TestCopy(t *testing.T) {
	long := strings.Repeat("x", lineLimit+10)
	for _, c := range []struct {
		name   string
		output *output
		prefix string
		in     string
		want   string
	}{
		{name: "alone", output: &output{}, in: "a\nb", want: "a\nb"},
		{name: "prefixed", output: &output{}, prefix: "[p] ", in: "a\n\nb", want: "[p] a\n[p] \n[p] b"},
		{name: "mingled", output: &output{mingled: true}, in: "a\nb\n", want: "a\nb\n"},
		{name: "one prefix a line, however long", output: &output{}, prefix: "[p] ", in: long + "\nb\n", want: "[p] " + long + "\n[p] b\n"},
		{name: "coloured", output: &output{coloured: true}, prefix: "[p] ", in: "a\n", want: "\x1b[36m[p] \x1b[0ma\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			c.output.out = &out
			if err := c.output.copy(strings.NewReader(c.in), "pod", c.prefix); err != nil {
				t.Fatal(err)
			}
			got, want := out.String(), c.want
			if c.output.coloured { // whichever colour it is
				got, want = got[:2]+got[4:], want[:2]+want[4:]
			}
			if got != want {
				t.Errorf("copy: %q, want %q", got[:min(len(got), 100)], want[:min(len(want), 100)])
			}
		})
	}
}
