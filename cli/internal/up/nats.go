//go:build linux

package up

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"millrace.dev/pkg/natsd"
)

// NewNATS is the verb by which up starts the NATS server as a process of its own.
func NewNATS() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "nats", Short: "Run the NATS server of a cluster", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("read configuration: %w", err)
			}
			var config natsd.Config
			if err := yaml.UnmarshalStrict(body, &config); err != nil {
				return fmt.Errorf("read configuration %s: %w", file, err)
			}
			slog.SetDefault(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)).With("service", "nats"))
			ctx, cancel := WithSignals(cmd.Context())
			defer cancel()
			return natsd.Run(ctx, config)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML file with the configuration of the server")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(errors.Join(errors.New("up: nats has no flag config"), err))
	}
	return cmd
}
