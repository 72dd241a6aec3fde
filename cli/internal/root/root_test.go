package root

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
)

// call runs a program of two verbs: one that does what act does, and one that has subcommands.
func call(t *testing.T, act func(context.Context) error, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	f := factory.New(factory.Streams{Out: &out, Err: &err}, func(string) string { return "" })
	verb := &cobra.Command{
		Use: "get NAME", DisableFlagsInUseLine: true, Short: "Show a thing", Long: "Show a thing.\n\n And more.", Example: "  # Show a\n  millrace get a", Aliases: []string{"g"},
		SuggestFor: []string{"list"}, RunE: func(cmd *cobra.Command, _ []string) error { return act(cmd.Context()) },
	}
	verb.Flags().BoolP("watch", "w", false, "Watch it.")
	verb.Flags().String("sort-by", "", "How to sort.")
	verb.Flags().Bool("secret", false, "Not shown.")
	if hideErr := verb.Flags().MarkHidden("secret"); hideErr != nil {
		t.Fatal(hideErr)
	}
	parent := &cobra.Command{Use: "config", Short: "Settings"}
	parent.AddCommand(&cobra.Command{Use: "view", Short: "View them", Run: func(*cobra.Command, []string) {}})
	code = Main(t.Context(), f, []Section{{Title: "Basic Commands", Verbs: []*cobra.Command{verb}}, {Title: "Other Commands", Verbs: []*cobra.Command{parent}}}, args)
	return out.String(), err.String(), code
}

func fine(context.Context) error { return nil }

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name     string
		err      error
		want     string
		wantCode int
	}{
		{name: "fine"},
		{name: "error", err: errors.New("no"), want: "error: no\n", wantCode: 1},
		{name: "code of its own", err: &failure.ExitError{Code: 7}, wantCode: 7},
	} {
		if _, stderr, code := call(t, func(context.Context) error { return c.err }, "get"); stderr != c.want || code != c.wantCode {
			t.Errorf("%s: code %d, %q", c.name, code, stderr)
		}
	}
}

// TestInterrupt: a command that is told to stop ends in order, without a complaint, with the code of a signal.
func TestInterrupt(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		_, stderr, code := call(t, func(ctx context.Context) error {
			if err := syscall.Kill(syscall.Getpid(), signal); err != nil {
				return err
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}, "get")
		if code != want || stderr != "" {
			t.Errorf("%v: code %d, %q", signal, code, stderr)
		}
	}
}

func TestWrongCalls(t *testing.T) {
	for _, c := range []struct {
		args, want string
	}{
		{"gett", "error: unknown command \"gett\" for \"millrace\"\n\nDid you mean this?\n\tget\n"},
		{"list", "error: unknown command \"list\" for \"millrace\"\n\nDid you mean this?\n\tget\n"},
		{"nonsense", "error: unknown command \"nonsense\" for \"millrace\"\n"},
		{"get --foo", "error: unknown flag: --foo\nSee 'millrace get --help' for usage.\n"},
		{"get --sort-by", "error: flag needs an argument: --sort-by\nSee 'millrace get --help' for usage.\n"},
		{"get -v x", "error: invalid argument \"x\" for \"-v, --v\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\nSee 'millrace get --help' for usage.\n"},
	} {
		if _, stderr, code := call(t, fine, strings.Fields(c.args)...); stderr != c.want || code != 1 {
			t.Errorf("%s: code %d\n%q\nwant\n%q", c.args, code, stderr, c.want)
		}
	}
}

const helpOfGet = `Show a thing.

 And more.

Aliases:
get, g

Examples:
  # Show a
  millrace get a

Options:
    --sort-by='':
	How to sort.

    -w, --watch=false:
	Watch it.

Usage:
  millrace get NAME [options]

Use "millrace options" for a list of global command-line options (applies to all commands).
`

func TestHelp(t *testing.T) {
	stdout, _, code := call(t, fine, "get", "-h")
	if diff := cmp.Diff(helpOfGet, stdout); diff != "" || code != 0 {
		t.Errorf("get -h: code %d (-want +got):\n%s", code, diff)
	}
	if again, _, _ := call(t, fine, "help", "get"); again != stdout {
		t.Errorf("help get differs from get -h:\n%s", again)
	}
	whole, _, code := call(t, fine)
	for _, part := range []string{
		"\n\nBasic Commands:\n  get          Show a thing\n\nOther Commands:\n  completion   ", "\n  config       Settings\n",
		"Usage:\n  millrace [flags] [options]\n\nUse \"millrace <command> --help\" for more information about a given command.\n",
	} {
		if !strings.Contains(whole, part) || code != 0 {
			t.Errorf("help without %q:\n%s", part, whole)
		}
	}
	parent, _, _ := call(t, fine, "config")
	for _, part := range []string{"Available Commands:\n  view   View them\n", "Usage:\n  millrace config COMMAND [options]\n"} {
		if !strings.Contains(parent, part) {
			t.Errorf("config without %q:\n%s", part, parent)
		}
	}
}

func TestOptions(t *testing.T) {
	stdout, _, code := call(t, fine, "options")
	for _, part := range []string{
		"The following options can be passed to any command:\n\n", "    --context='':\n\tThe name of the context", "    -n, --namespace='':\n", "    -s, --server='':\n", "    --request-timeout='0':\n",
	} {
		if !strings.Contains(stdout, part) || code != 0 {
			t.Errorf("options without %q:\n%s", part, stdout)
		}
	}
}

func TestCompletion(t *testing.T) {
	if stdout, stderr, code := call(t, fine, "completion", "bash"); code != 0 || !strings.Contains(stdout, "__start_millrace") {
		t.Errorf("completion bash: code %d, %s", code, stderr)
	}
}
