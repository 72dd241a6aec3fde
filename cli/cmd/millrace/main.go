// Command millrace is the command line of a Millrace cluster.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/apiresources"
	"millrace.dev/cli/internal/clusterinfo"
	"millrace.dev/cli/internal/config"
	"millrace.dev/cli/internal/create"
	"millrace.dev/cli/internal/delete"
	"millrace.dev/cli/internal/describe"
	"millrace.dev/cli/internal/exec"
	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/get"
	"millrace.dev/cli/internal/logs"
	"millrace.dev/cli/internal/root"
	"millrace.dev/cli/internal/up"
	"millrace.dev/cli/internal/version"
)

func main() {
	f := factory.New(factory.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Getenv)
	os.Exit(root.Main(context.Background(), f, sections(f), os.Args[1:]))
}

// sections is every verb, under the heading that the help gives it.
func sections(f *factory.Factory) []root.Section {
	return []root.Section{
		{Title: "Basic Commands", Verbs: []*cobra.Command{create.New(f), get.New(f), delete.New(f)}},
		{Title: "Cluster Management Commands", Verbs: []*cobra.Command{up.NewUp(contexts{f}), up.NewDown(contexts{f}), up.NewNATS(), clusterinfo.New(f)}},
		{Title: "Troubleshooting and Debugging Commands", Verbs: []*cobra.Command{describe.New(f), logs.New(f), exec.New(f)}},
		{Title: "Other Commands", Verbs: []*cobra.Command{apiresources.New(f), config.New(f), version.New(f)}},
	}
}

// contexts are those of the file that the flags name, which are not yet read when the verbs are made.
type contexts struct{ *factory.Factory }

// Remember implements [up.Contexts].
func (c contexts) Remember(name, server, credentialFile string) error {
	files, err := c.Files()
	if err != nil {
		return err
	}
	return files.Remember(name, server, credentialFile)
}

// Forget implements [up.Contexts].
func (c contexts) Forget(name string) error {
	files, err := c.Files()
	if err != nil {
		return err
	}
	return files.Forget(name)
}
