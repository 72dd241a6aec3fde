package factory

import (
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DryRun is how far a command goes.
type DryRun string

// The values of the flag --dry-run.
const (
	DryRunNone   DryRun = "none"
	DryRunClient DryRun = "client" // nobody is asked; what would be sent is shown
	DryRunServer DryRun = "server" // the api does everything but keep the result
)

// AddDryRun defines the flag --dry-run.
func AddDryRun(cmd *cobra.Command) {
	cmd.Flags().String("dry-run", string(DryRunNone), `Must be "none", "server", or "client". If client strategy, only print the object that would be sent, `+
		"without sending it. If server strategy, submit server-side request without persisting the resource.")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = string(DryRunClient)
}

// DryRunOf reads the flag --dry-run.
func DryRunOf(cmd *cobra.Command) (DryRun, error) {
	text, err := cmd.Flags().GetString("dry-run")
	if err != nil {
		return "", err
	}
	switch d := DryRun(text); d {
	case DryRunNone, DryRunClient, DryRunServer:
		return d, nil
	default:
		return "", fmt.Errorf(`Invalid dry-run value (%s). Must be "none", "server", or "client".`, text)
	}
}

// Option is the dry run as the options of a request say it.
func (d DryRun) Option() []string {
	if d == DryRunServer {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// Suffix is what a sentence on what was done ends with.
func (d DryRun) Suffix() string {
	switch d {
	case DryRunClient:
		return " (dry run)"
	case DryRunServer:
		return " (server dry run)"
	case DryRunNone:
	}
	return ""
}
