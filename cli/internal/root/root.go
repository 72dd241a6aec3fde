// Package root is the command millrace itself: it puts the verbs under their headings, runs the one that is asked for, and turns
// its error into a sentence and an exit code.
package root

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/terminal"
)

// Section is a heading of the help and the verbs under it.
type Section struct {
	Title string
	Verbs []*cobra.Command
}

// signalExit is what is added to the number of the signal that ended a process to make its exit code, as shells do.
const signalExit = 128

// interrupted is why a command ends when it is told to.
type interruptedError struct{ signal syscall.Signal }

func (e *interruptedError) Error() string { return "interrupted: " + e.signal.String() }

// Main runs the command that args name and returns the exit code. The first ^C ends it in order, with code 130; the second at once.
func Main(ctx context.Context, f *factory.Factory, sections []Section, args []string) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals) // another one ends the process
			cancel(&interruptedError{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	err := run(ctx, f, sections, args)
	f.Close()
	if interrupted, ok := errors.AsType[*interruptedError](context.Cause(ctx)); ok {
		return signalExit + int(interrupted.signal)
	}
	return failure.Print(f.Err, f.Explain(err))
}

func run(ctx context.Context, f *factory.Factory, sections []Section, args []string) error {
	root := New(f, sections)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// New makes the command with its verbs.
func New(f *factory.Factory, sections []Section) *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "millrace controls a Millrace cluster",
		Long: "millrace controls a Millrace cluster.\n\n It has the verbs, flags and output of kubectl. Start a cluster on this machine with " +
			"\"millrace up\"; choose\n among several with \"millrace config use-context\".",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			slog.SetDefault(f.Logger())
		},
	}
	root.SetIn(f.In)
	root.SetOut(f.Out)
	root.SetErr(f.Err)
	f.AddFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee '%s --help' for usage.", err, cmd.CommandPath())
	})
	for _, s := range sections {
		root.AddGroup(&cobra.Group{ID: s.Title, Title: s.Title + ":"})
		for _, verb := range s.Verbs {
			verb.GroupID = s.Title
			root.AddCommand(verb)
		}
	}
	if len(sections) > 0 {
		root.SetCompletionCommandGroupID(sections[len(sections)-1].Title)
		root.SetHelpCommandGroupID(sections[len(sections)-1].Title)
	}
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		terminal.Tell(f.Out, "%s", helpOf(cmd))
	})
	root.AddCommand(options(f, root))
	return root
}

// options shows the flags that all verbs share.
func options(f *factory.Factory, root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "options",
		Short:  "Print the list of flags inherited by all commands",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(f.Out, "The following options can be passed to any command:\n\n%s", strings.TrimRight(flagsOf(root.PersistentFlags()), "\n")+"\n")
			return err
		},
	}
}
