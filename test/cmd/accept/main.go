// Accept runs the acceptance scenarios by their ids.
//
//	accept list          the ids that have a test
//	accept run S5.1 ...  runs the tests of these ids and says PASS or FAIL, with the evidence
//
// It is run in the repository, as root: go run ./test/cmd/accept run S5.1. MILLRACE_BIN names built programs; without it they are
// built for the run.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
)

const packages = "millrace.dev/test/scenario"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	var err error
	switch {
	case len(args) == 1 && args[0] == "list":
		err = list(ctx, out)
	case len(args) > 1 && args[0] == "run":
		err = accept(ctx, args[1:], out)
	default:
		_, _ = fmt.Fprintln(errs, "usage: accept list | accept run ID...")
		return 2
	}
	if err != nil {
		_, _ = fmt.Fprintln(errs, "accept:", err)
		return 1
	}
	return 0
}

var name = regexp.MustCompile(`^Test([SC]\d+(?:_\d+)?)(?:_|$)`)

// idOf is the acceptance id that a test is named after; empty if it is named after none.
func idOf(test string) string {
	if m := name.FindStringSubmatch(test); m != nil {
		return strings.Replace(m[1], "_", ".", 1)
	}
	return ""
}

// pattern matches the tests of an id and no others.
func pattern(id string) string {
	return "^Test" + regexp.QuoteMeta(strings.Replace(id, ".", "_", 1)) + "(_[A-Z].*)?$"
}

func list(ctx context.Context, out io.Writer) error {
	ids, err := known(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := fmt.Fprintln(out, id); err != nil {
			return err
		}
	}
	return nil
}

// known lists the ids that have a test.
func known(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-list", ".", packages)
	cmd.Stderr = os.Stderr
	body, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	var ids []string
	for line := range strings.Lines(string(body)) {
		if id := idOf(strings.TrimSpace(line)); id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func accept(ctx context.Context, ids []string, out io.Writer) error {
	all, err := known(ctx)
	if err != nil {
		return err
	}
	var failed []string
	for _, id := range ids {
		if !slices.Contains(all, id) {
			return fmt.Errorf("%s has no test; accept list names those that have one", id)
		}
		cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-timeout=20m", "-run", pattern(id), packages)
		cmd.Stdout, cmd.Stderr = out, out
		verdict := "PASS"
		if err := cmd.Run(); err != nil {
			verdict, failed = "FAIL", append(failed, id)
		}
		if _, err := fmt.Fprintf(out, "%s %s\n", verdict, id); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}
