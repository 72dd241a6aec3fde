// Package config is the verb config: it shows and changes the file that says which clusters there are and who speaks to them.
package config

import (
	"fmt"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
)

const long = `Modify config files using subcommands like "millrace config use-context my-context".

 The loading order follows these rules:

  1.  If the --config flag is set, then only that file is loaded.
  2.  If $MILLRACE_CONFIG environment variable is set, then it is used as a list of paths (normal path delimiting rules for your system). These paths are merged. When a value is modified, it is modified in the file that defines the stanza. When a value is created, it is created in the first file that exists. If no files in the chain exist, then it creates the last file in the list.
  3.  Otherwise, ${HOME}/.millrace/config is used and no merging takes place.`

// New makes the verb with its subcommands.
func New(f *factory.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "config SUBCOMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Modify config files",
		Long:                  long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return failure.Usagef(cmd, "unknown command %q", args[0])
			}
			return helpThen(cmd, &failure.ExitError{Code: failure.Code})
		},
	}
	cmd.AddCommand(
		view(f), getContexts(f), getClusters(f), getUsers(f), currentContext(f), useContext(f),
		setContext(f), setCluster(f), setCredentials(f), renameContext(f),
		deleteContext(f), deleteCluster(f), deleteUser(f), unset(f),
	)
	return cmd
}

// helpThen shows the help of a command that was called in the wrong way, and gives its error on.
func helpThen(cmd *cobra.Command, err error) error {
	if helpErr := cmd.Help(); helpErr != nil {
		return helpErr
	}
	return err
}

// only is the one argument that a command takes.
func only(cmd *cobra.Command, args []string) (string, error) {
	if len(args) != 1 {
		return "", helpThen(cmd, fmt.Errorf("Unexpected args: %v", args))
	}
	return args[0], nil
}

// edit changes the files and then tells of it; the sentence is what change returns.
func edit(f *factory.Factory, change func(*contextfile.Config) (string, error)) error {
	files, err := f.Files()
	if err != nil {
		return err
	}
	sentence := ""
	err = contextfile.Edit(files, func(c *contextfile.Config) (err error) {
		sentence, err = change(c)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f.Out, sentence)
	return err
}
