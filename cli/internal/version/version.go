// Package version is the verb version: it tells which builds the client and the cluster are.
package version

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/print"
	"millrace.dev/pkg/version"
)

// versions are what is shown.
type versions struct {
	Client version.Info  `json:"clientVersion"`
	Server *version.Info `json:"serverVersion,omitempty"`
}

// command is one call of the verb.
type command struct {
	*factory.Factory
	clientOnly bool
	output     string
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the client and server version information",
		Long:    "Print the client and server version information for the current context.",
		Example: "  # Print the client and server versions for the current context\n  millrace version",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("extra arguments: %v", args)
			}
			return c.run(cmd)
		},
	}
	cmd.Flags().BoolVar(&c.clientOnly, "client", false, "If true, shows client version only (no server required).")
	cmd.Flags().StringVarP(&c.output, "output", "o", "", "One of 'yaml' or 'json'.")
	return cmd
}

func (c *command) run(cmd *cobra.Command) error {
	if c.output != "" && c.output != print.YAML && c.output != print.JSON {
		return errors.New("--output must be 'yaml' or 'json'")
	}
	v := versions{Client: version.Get()}
	var away error
	if !c.clientOnly {
		v.Server, away = c.server(cmd)
	}
	return failure.Join(c.show(v), away)
}

// server asks the cluster.
func (c *command) server(cmd *cobra.Command) (*version.Info, error) {
	api, err := c.Client(cmd.Context())
	if err != nil {
		return nil, err
	}
	info, err := api.Info(cmd.Context())
	if err != nil {
		return nil, err
	}
	var server version.Info
	if err := json.Unmarshal(info.Server, &server); err != nil {
		return nil, fmt.Errorf("read the version of the server: %w", err)
	}
	return &server, nil
}

func (c *command) show(v versions) error {
	if c.output != "" {
		return print.NewEncoder(c.Out, c.output).Encode(v)
	}
	text := fmt.Sprintf("Client Version: %s\n", v.Client.Version)
	if v.Server != nil {
		text += fmt.Sprintf("Server Version: %s\nKubernetes Version: %s\n", v.Server.Version, v.Server.Kubernetes)
	}
	_, err := fmt.Fprint(c.Out, text)
	return err
}
