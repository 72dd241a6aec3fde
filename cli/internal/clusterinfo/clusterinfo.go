// Package clusterinfo is the verb cluster-info: it tells where the cluster is and how its parts are.
package clusterinfo

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/print"
	"millrace.dev/cli/internal/terminal"
	"millrace.dev/pkg/client"
)

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	return &cobra.Command{
		Use:     "cluster-info",
		Short:   "Display cluster information",
		Long:    "Display the addresses of the control plane and the health of its parts.",
		Example: "  # Print the address of the control plane and the health of its parts\n  millrace cluster-info",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd, f) },
	}
}

func run(cmd *cobra.Command, f *factory.Factory) error {
	t, err := f.Target()
	if err != nil {
		return err
	}
	api, err := f.Client(cmd.Context())
	if err != nil {
		return err
	}
	info, err := api.Info(cmd.Context())
	if err != nil {
		return err
	}
	green, yellow := paint(f)
	head := fmt.Sprintf("%s is running at %s\n", green("Millrace control plane"), yellow(t.Server))
	if info.NATS != "" && info.NATS != t.Server {
		head += fmt.Sprintf("%s is running at %s\n", green("NATS"), yellow(info.NATS))
	}
	if _, err := fmt.Fprintln(f.Out, head); err != nil {
		return err
	}
	rows := [][]string{{"COMPONENT", "NAME", "LEADER", "HEALTH", "MESSAGE"}}
	for _, c := range info.Components {
		rows = append(rows, row(c))
	}
	return print.NewWriter(f.Out).Rows(rows...)
}

func row(c client.Component) []string {
	health, leader := "Healthy", ""
	if !c.Healthy {
		health = "Unhealthy"
	}
	if c.Leader {
		leader = "yes"
	}
	return []string{c.Kind, c.Name, leader, health, strings.TrimSpace(c.Message)}
}

// paint colours text on a terminal.
func paint(f *factory.Factory) (green, yellow func(string) string) {
	with := func(code string) func(string) string {
		return func(text string) string { return "\x1b[" + code + "m" + text + "\x1b[0m" }
	}
	if !terminal.Colour(f.Out, f.Environment) {
		same := func(text string) string { return text }
		return same, same
	}
	return with("0;32"), with("0;33")
}
