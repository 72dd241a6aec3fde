package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/print"
)

func view(f *factory.Factory) *cobra.Command {
	var output string
	var minify, raw, flatten bool
	cmd := &cobra.Command{
		Use:     "view",
		Short:   "Display merged config settings or a specified config file",
		Long:    "Display merged config settings or a specified config file.",
		Example: "  # Show merged config settings\n  millrace config view\n\n  # Show merged config settings, raw certificate data, and exposed secrets\n  millrace config view --raw",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return failure.Usagef(cmd, "unexpected arguments: %v", args)
			}
			format, err := print.ParseFormat(output, print.JSON, print.YAML)
			if err != nil {
				return err
			}
			c, err := f.Contexts()
			if err != nil {
				return err
			}
			document := c.Document()
			if minify {
				if f.ContextName() != "" {
					document.CurrentContext = f.ContextName()
				}
				if document, err = minified(c, document); err != nil {
					return err
				}
			}
			switch {
			case flatten:
				err = embed(&document)
			case !raw:
				redact(&document)
			}
			if err != nil {
				return err
			}
			return print.NewEncoder(f.Out, format).Encode(document)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&flatten, "flatten", false, "Flatten the resulting config file into self-contained output (useful for creating portable config files)")
	flags.BoolVar(&minify, "minify", false, "Remove all information not used by current-context from the output")
	flags.StringVarP(&output, "output", "o", print.YAML, "Output format. One of: (json, yaml).")
	flags.BoolVar(&raw, "raw", false, "Display raw byte data and sensitive data")
	return cmd
}

// minified is what the current context needs.
func minified(c *contextfile.Config, d contextfile.Document) (contextfile.Document, error) {
	name := d.CurrentContext
	if name == "" {
		return d, errors.New("current-context must exist in order to minify")
	}
	context, ok := c.Context(name)
	if !ok {
		return d, fmt.Errorf("cannot locate context %v", name)
	}
	d.Contexts = []contextfile.NamedContext{{Name: name, Context: context}}
	d.Clusters, d.Users = nil, nil
	if context.Cluster != "" {
		cluster, ok := c.Cluster(context.Cluster)
		if !ok {
			return d, fmt.Errorf("cannot locate cluster %v", context.Cluster)
		}
		d.Clusters = []contextfile.NamedCluster{{Name: context.Cluster, Cluster: cluster}}
	}
	if context.User != "" {
		user, ok := c.User(context.User)
		if !ok {
			return d, fmt.Errorf("cannot locate user %v", context.User)
		}
		d.Users = []contextfile.NamedUser{{Name: context.User, User: user}}
	}
	return d, nil
}

// omitted is what reads DATA+OMITTED where bytes are written as text.
var omitted, _ = base64.StdEncoding.DecodeString("DATA+OMITTED")

// redact takes out what is secret, or long.
func redact(d *contextfile.Document) {
	for i := range d.Clusters {
		if len(d.Clusters[i].Cluster.CertificateAuthorityData) > 0 {
			d.Clusters[i].Cluster.CertificateAuthorityData = omitted
		}
	}
	for i := range d.Users {
		if d.Users[i].User.CredentialData != "" {
			d.Users[i].User.CredentialData = "REDACTED"
		}
	}
}

// embed puts what stands in files of its own into the document.
func embed(d *contextfile.Document) error {
	for i := range d.Clusters {
		c := &d.Clusters[i].Cluster
		if c.CertificateAuthority == "" {
			continue
		}
		body, err := os.ReadFile(c.CertificateAuthority)
		if err != nil {
			return err
		}
		c.CertificateAuthority, c.CertificateAuthorityData = "", body
	}
	for i := range d.Users {
		u := &d.Users[i].User
		if u.Credential == "" {
			continue
		}
		body, err := os.ReadFile(u.Credential)
		if err != nil {
			return err
		}
		u.Credential, u.CredentialData = "", string(body)
	}
	return nil
}

func getContexts(f *factory.Factory) *cobra.Command {
	var output string
	var noHeaders bool
	cmd := &cobra.Command{
		Use:                   "get-contexts [(-o|--output=)name)]",
		DisableFlagsInUseLine: true,
		Short:                 "Describe one or many contexts",
		Long:                  "Display one or many contexts from the config file.",
		Example:               "  # List all the contexts in your config file\n  millrace config get-contexts\n\n  # Describe one context in your config file\n  millrace config get-contexts my-context",
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "" && output != "name" {
				return fmt.Errorf("--output %v is not available in millrace config get-contexts; resetting to default output format", output)
			}
			c, err := f.Contexts()
			if err != nil {
				return err
			}
			names, missing := chosen(c, args)
			return failure.Join(showContexts(f, c, names, output == "name", noHeaders), missing)
		},
	}
	cmd.Flags().BoolVar(&noHeaders, "no-headers", false, "When using the default output format, don't print headers (default print headers).")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output format. One of: (name).")
	return cmd
}

// chosen are the contexts that are asked for, in alphabetical order, and the error that some are not there.
func chosen(c *contextfile.Config, args []string) ([]contextfile.NamedContext, error) {
	all := c.Document().Contexts
	if len(args) == 0 {
		return all, nil
	}
	var errs []error
	wanted := map[string]bool{}
	for _, name := range args {
		if _, ok := c.Context(name); !ok {
			errs = append(errs, fmt.Errorf("context %v not found", name))
		}
		wanted[name] = true
	}
	var some []contextfile.NamedContext
	for _, entry := range all {
		if wanted[entry.Name] {
			some = append(some, entry)
		}
	}
	return some, failure.Join(errs...)
}

func showContexts(f *factory.Factory, c *contextfile.Config, entries []contextfile.NamedContext, nameOnly, noHeaders bool) error {
	var rows [][]string
	if !nameOnly && !noHeaders {
		rows = append(rows, []string{"CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"})
	}
	for _, e := range entries {
		mark := ""
		if e.Name == c.CurrentContext() {
			mark = "*"
		}
		if nameOnly {
			rows = append(rows, []string{e.Name})
		} else {
			rows = append(rows, []string{mark, e.Name, e.Context.Cluster, e.Context.User, e.Context.Namespace})
		}
	}
	return print.NewWriter(f.Out).Rows(rows...)
}

func getClusters(f *factory.Factory) *cobra.Command {
	return names(f, "clusters", func(d contextfile.Document) (names []string) {
		for _, e := range d.Clusters {
			names = append(names, e.Name)
		}
		return names
	})
}

func getUsers(f *factory.Factory) *cobra.Command {
	return names(f, "users", func(d contextfile.Document) (names []string) {
		for _, e := range d.Users {
			names = append(names, e.Name)
		}
		return names
	})
}

// names makes a command that lists the entries of one kind.
func names(f *factory.Factory, kind string, of func(contextfile.Document) []string) *cobra.Command {
	return &cobra.Command{
		Use:     "get-" + kind,
		Short:   fmt.Sprintf("Display %s defined in the config file", kind),
		Long:    fmt.Sprintf("Display %s defined in the config file.", kind),
		Example: fmt.Sprintf("  # List the %s that millrace knows about\n  millrace config get-%s", kind, kind),
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := f.Contexts()
			if err != nil {
				return err
			}
			rows := [][]string{{"NAME"}}
			for _, name := range of(c.Document()) {
				rows = append(rows, []string{name})
			}
			return print.NewWriter(f.Out).Rows(rows...)
		},
	}
}
