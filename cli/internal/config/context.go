package config

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/terminal"
)

func currentContext(f *factory.Factory) *cobra.Command {
	return &cobra.Command{
		Use:     "current-context",
		Short:   "Display the current-context",
		Long:    "Display the current-context.",
		Example: "  # Display the current-context\n  millrace config current-context",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := f.Contexts()
			if err != nil {
				return err
			}
			if c.CurrentContext() == "" {
				return errors.New("current-context is not set")
			}
			_, err = fmt.Fprintln(f.Out, c.CurrentContext())
			return err
		},
	}
}

func useContext(f *factory.Factory) *cobra.Command {
	return &cobra.Command{
		Use:                   "use-context CONTEXT_NAME",
		Aliases:               []string{"use"},
		DisableFlagsInUseLine: true,
		Short:                 "Set the current-context in a config file",
		Long:                  "Set the current-context in a config file.",
		Example:               "  # Use the context for the local cluster\n  millrace config use-context local",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := only(cmd, args)
			if err != nil {
				return err
			}
			return edit(f, func(c *contextfile.Config) (string, error) {
				if _, ok := c.Context(name); !ok {
					return "", fmt.Errorf("no context exists with the name: %q", name)
				}
				c.SetCurrentContext(name)
				return fmt.Sprintf("Switched to context %q.", name), nil
			})
		},
	}
}

func setContext(f *factory.Factory) *cobra.Command {
	var current bool
	var cluster, user, namespace string
	cmd := &cobra.Command{
		Use:                   "set-context [NAME | --current] [--cluster=cluster_nickname] [--user=user_nickname] [--namespace=namespace]",
		DisableFlagsInUseLine: true,
		Short:                 "Set a context entry in a config file",
		Long:                  "Set a context entry in a config file.\n\n Specifying a name that already exists will merge new fields on top of existing values for those fields.",
		Example: "  # Set the user field on the far context entry without touching other values\n  millrace config set-context far --user=admin\n\n" +
			"  # Set the namespace that is meant when none is named\n  millrace config set-context --current --namespace=team",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return helpThen(cmd, fmt.Errorf("Unexpected args: %v", args))
			}
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			switch {
			case name == "" && !current:
				return errors.New("you must specify a non-empty context name or --current")
			case name != "" && current:
				return errors.New("you cannot specify both a context name and --current")
			}
			return edit(f, func(c *contextfile.Config) (string, error) {
				if current {
					if name = c.CurrentContext(); name == "" {
						return "", errors.New("no current context is set")
					}
				}
				entry, had := c.Context(name)
				for flag, set := range map[string]func(){
					"cluster": func() { entry.Cluster = cluster }, "user": func() { entry.User = user }, "namespace": func() { entry.Namespace = namespace },
				} {
					if cmd.Flags().Changed(flag) {
						set()
					}
				}
				c.SetContext(name, entry)
				if had {
					return fmt.Sprintf("Context %q modified.", name), nil
				}
				return fmt.Sprintf("Context %q created.", name), nil
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&current, "current", false, "Modify the current context")
	flags.StringVar(&cluster, "cluster", "", "cluster for the context entry in the config file")
	flags.StringVarP(&namespace, "namespace", "n", "", "namespace for the context entry in the config file")
	flags.StringVar(&user, "user", "", "user for the context entry in the config file")
	return cmd
}

func renameContext(f *factory.Factory) *cobra.Command {
	return &cobra.Command{
		Use:                   "rename-context CONTEXT_NAME NEW_NAME",
		DisableFlagsInUseLine: true,
		Short:                 "Rename a context from the config file",
		Long: "Renames a context from the config file.\n\n CONTEXT_NAME is the context name that you want to change.\n\n NEW_NAME is the new name you want to set.\n\n" +
			" Note: If the context being renamed is the 'current-context', this field will also be updated.",
		Example: "  # Rename the context 'old-name' to 'new-name' in your config file\n  millrace config rename-context old-name new-name",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return helpThen(cmd, fmt.Errorf("Unexpected args: %v", args))
			}
			from, to := args[0], args[1]
			return edit(f, func(c *contextfile.Config) (string, error) {
				entry, ok := c.Context(from)
				if !ok {
					return "", fmt.Errorf("cannot rename the context %q, it's not in %s", from, c.Path())
				}
				if _, ok := c.Context(to); ok {
					return "", fmt.Errorf("cannot rename the context %q, the context %q already exists in %s", from, to, c.Path())
				}
				current := c.CurrentContext()
				c.DeleteContext(from)
				c.SetContext(to, entry)
				if current == from {
					c.SetCurrentContext(to)
				}
				return fmt.Sprintf("Context %q renamed to %q.", from, to), nil
			})
		},
	}
}

// deletion makes a command that removes an entry of one kind.
func deletion(f *factory.Factory, kind, example string, remove func(c *contextfile.Config, name string) (path string)) *cobra.Command {
	return &cobra.Command{
		Use:                   "delete-" + kind + " NAME",
		DisableFlagsInUseLine: true,
		Short:                 fmt.Sprintf("Delete the specified %s from the config file", kind),
		Long:                  fmt.Sprintf("Delete the specified %s from the config file.", kind),
		Example:               example,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := only(cmd, args)
			if err != nil {
				return err
			}
			return edit(f, func(c *contextfile.Config) (string, error) {
				path := remove(c, name)
				if path == "" {
					return "", fmt.Errorf("cannot delete %s %s, not in %s", kind, name, c.Path())
				}
				return fmt.Sprintf("deleted %s %s from %s", kind, name, path), nil
			})
		},
	}
}

func deleteContext(f *factory.Factory) *cobra.Command {
	return deletion(f, "context", "  # Delete the context for the far cluster\n  millrace config delete-context far", func(c *contextfile.Config, name string) string {
		if path := c.DeleteContext(name); path != "" {
			if c.CurrentContext() == name {
				terminal.Tell(f.Err, "warning: this removed your active context, use \"millrace config use-context\" to select a different one\n")
			}
			return path
		}
		return ""
	})
}

func deleteCluster(f *factory.Factory) *cobra.Command {
	return deletion(f, "cluster", "  # Delete the far cluster\n  millrace config delete-cluster far", (*contextfile.Config).DeleteCluster)
}

func deleteUser(f *factory.Factory) *cobra.Command {
	return deletion(f, "user", "  # Delete the guest user\n  millrace config delete-user guest", (*contextfile.Config).DeleteUser)
}
