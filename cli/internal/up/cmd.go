package up

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Contexts remembers how a cluster is reached.
type Contexts interface {
	// Remember adds the cluster under its name and makes it the current one.
	Remember(name, server, credentialFile string) error
	// Forget removes it.
	Forget(name string) error
}

// flags are those that up and down share.
type flags struct {
	file                   string
	name, dir, run, listen string
	noNode                 bool
}

func (f *flags) add(cmd *cobra.Command) {
	d := DefaultConfig()
	cmd.Flags().StringVar(&f.file, "file", "", "YAML file with the configuration of the cluster")
	cmd.Flags().StringVar(&f.name, "name", "", fmt.Sprintf("name of the cluster and of its context (default %q)", d.Name))
	cmd.Flags().StringVar(&f.dir, "dir", "", fmt.Sprintf("directory for what lasts (default %q)", d.Dir))
	cmd.Flags().StringVar(&f.run, "run-dir", "", fmt.Sprintf("directory for what does not outlive the boot (default %q)", d.RunDir))
}

// config is the file with the flags over it.
func (f *flags) config() (*Config, error) {
	c, err := Load(f.file)
	if err != nil {
		return nil, err
	}
	for value, into := range map[string]*string{f.name: &c.Name, f.dir: &c.Dir, f.run: &c.RunDir, f.listen: &c.Listen} {
		if value != "" {
			*into = value
		}
	}
	c.NoNode = c.NoNode || f.noNode
	return c, c.Validate()
}

// args are the flags for another process of ours.
func (f *flags) args() []string {
	var args []string
	for _, a := range []struct{ flag, value string }{
		{"--file", f.file}, {"--name", f.name}, {"--dir", f.dir}, {"--run-dir", f.run}, {"--listen", f.listen},
	} {
		if a.value != "" {
			args = append(args, a.flag, a.value)
		}
	}
	if f.noNode {
		args = append(args, "--no-node")
	}
	return args
}

// NewUp is the verb that starts a cluster on this machine.
func NewUp(contexts Contexts) *cobra.Command {
	var f flags
	var foreground bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster on this machine",
		Long: "Start a cluster on this machine: a NATS server, the control plane and a node with a containerd of its own.\n" +
			"Started again, it takes over whatever an earlier one left.",
		Example: "  # A cluster with the defaults, in the background\n  millrace up\n\n  # A second one beside it\n" +
			"  millrace up --name test --dir /var/lib/millrace-test --run-dir /run/millrace-test --listen 127.0.0.1:4322",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.config()
			if err != nil {
				return err
			}
			if foreground {
				ctx, cancel := WithSignals(cmd.Context())
				defer cancel()
				return Supervise(ctx, c)
			}
			return up(cmd.Context(), c, &f, contexts, cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.listen, "listen", "", fmt.Sprintf("address of the NATS server (default %q)", DefaultConfig().Listen))
	cmd.Flags().BoolVar(&f.noNode, "no-node", false, "start the control plane alone")
	cmd.Flags().BoolVar(&foreground, "foreground", false, "stay, and stop the cluster when this process is told to stop")
	return cmd
}

func up(ctx context.Context, c *Config, f *flags, contexts Contexts, out io.Writer) error {
	already, err := Start(ctx, c, f.args(), out)
	if err != nil {
		return err
	}
	if err := contexts.Remember(c.Name, c.url(), c.AdminCredential()); err != nil {
		return fmt.Errorf("remember how the cluster is reached: %w", err)
	}
	word := "is up"
	if already {
		word = "was up already"
	}
	_, err = fmt.Fprintf(out, "Cluster %q %s: %s, logs in %s\n", c.Name, word, c.url(), c.logDir())
	return err
}

// NewDown is the verb that stops it.
func NewDown(contexts Contexts) *cobra.Command {
	var f flags
	var purge bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster on this machine and remove what it left",
		Long: "Stop the cluster on this machine: its processes, containers, mounts, control groups, namespaces and network.\n" +
			"Its data stays, so that up brings everything back; --purge removes it too.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.config()
			if err != nil {
				return err
			}
			if err := Stop(cmd.Context(), c, purge, cmd.OutOrStdout()); err != nil {
				return err
			}
			if purge {
				if err := contexts.Forget(c.Name); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Cluster %q is down\n", c.Name)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&purge, "purge", false, "remove its data too: objects, images, keys")
	return cmd
}
