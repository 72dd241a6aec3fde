// Package apiresources is the verb api-resources: it lists the kinds that can be asked for.
package apiresources

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/print"
	"millrace.dev/pkg/scheme"
)

const example = `  # Print the supported API resources
  millrace api-resources
  
  # Print the supported API resources with more information
  millrace api-resources -o wide
  
  # Print the supported namespaced resources
  millrace api-resources --namespaced=true
  
  # Print the supported API resources with a specific APIGroup
  millrace api-resources --api-group=apps`

// verbs are what can be done with every kind.
var verbs = []string{"create", "delete", "get", "list", "update", "watch"}

// command is one call of the verb.
type command struct {
	*factory.Factory
	group, output, sortBy string
	categories            []string
	namespaced, noHeaders bool
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f}
	cmd := &cobra.Command{
		Use:     "api-resources",
		Short:   "Print the supported API resources on the server",
		Long:    "Print the supported API resources on the server.",
		Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return failure.Usagef(cmd, "unexpected arguments: %v", args)
			}
			return c.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.group, "api-group", "", "Limit to resources in the specified API group.")
	flags.StringSliceVar(&c.categories, "categories", nil, "Limit to resources that belong to the specified categories.")
	flags.BoolVar(&c.namespaced, "namespaced", true, "If false, non-namespaced resources will be returned, otherwise returning namespaced resources by default.")
	flags.BoolVar(&c.noHeaders, "no-headers", false, "When using the default output format, don't print headers (default print headers).")
	flags.StringVarP(&c.output, "output", "o", "", "Output format. One of: (wide, name).")
	flags.StringVar(&c.sortBy, "sort-by", "", "If non-empty, sort list of resources using specified field. The field can be either 'name' or 'kind'.")
	return cmd
}

func (c *command) run(cmd *cobra.Command) error {
	format, err := print.ParseFormat(c.output, print.Name, print.Wide)
	if err != nil {
		return err
	}
	if c.sortBy != "" && c.sortBy != "name" && c.sortBy != "kind" {
		return fmt.Errorf("--sort-by accepts only name or kind")
	}
	kinds := scheme.All()
	kinds = slices.DeleteFunc(kinds, func(k *scheme.Kind) bool {
		switch {
		case cmd.Flags().Changed("namespaced") && c.namespaced == k.ClusterScoped:
			return true
		case cmd.Flags().Changed("api-group") && c.group != k.Group:
			return true
		}
		return slices.ContainsFunc(c.categories, func(category string) bool { return !slices.Contains(k.Categories, category) })
	})
	slices.SortStableFunc(kinds, c.compare)
	if format == print.Name {
		for _, k := range kinds {
			if _, err := fmt.Fprintln(c.Out, k.Resource()); err != nil {
				return err
			}
		}
		return nil
	}
	return print.NewWriter(c.Out).Rows(c.rows(kinds, format == print.Wide)...)
}

// compare orders kinds by group and name, as kubectl does, or as the user wants.
func (c *command) compare(a, b *scheme.Kind) int {
	switch {
	case c.sortBy == "kind":
		return strings.Compare(a.Name, b.Name)
	case c.sortBy == "" && a.Group != b.Group:
		return strings.Compare(a.Group, b.Group)
	}
	return strings.Compare(a.Plural, b.Plural)
}

func (c *command) rows(kinds []*scheme.Kind, wide bool) [][]string {
	var rows [][]string
	add := func(row, more []string) {
		if wide {
			row = append(row, more...)
		}
		rows = append(rows, row)
	}
	if !c.noHeaders {
		add([]string{"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"}, []string{"VERBS", "CATEGORIES"})
	}
	for _, k := range kinds {
		add([]string{k.Plural, strings.Join(k.Short, ","), k.APIVersion(), strconv.FormatBool(!k.ClusterScoped), k.Name},
			[]string{strings.Join(verbs, ","), strings.Join(k.Categories, ",")})
	}
	return rows
}
