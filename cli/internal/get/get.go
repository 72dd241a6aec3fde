// Package get is the verb get: it shows objects, once or as they change.
package get

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/print"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/cli/internal/terminal"
)

const long = `Display one or many resources.

 Prints a table of the most important information about the specified resources. You can filter the list using a label selector and the --selector flag. If the desired resource type is namespaced you will only see results in the current namespace if you don't specify any namespace.

 By specifying the output as 'template' and providing a Go template as the value of the --template flag, you can filter the attributes of the fetched resources.

Use "millrace api-resources" for a complete list of supported resources.`

const example = `  # List all pods in ps output format
  millrace get pods
  
  # List all pods in ps output format with more information (such as node name)
  millrace get pods -o wide
  
  # List a single pod in JSON output format
  millrace get -o json pod web-pod-13je7
  
  # List a pod identified by type and name specified in "pod.yaml" in JSON output format
  millrace get -f pod.yaml -o json
  
  # Return only the phase value of the specified pod
  millrace get pod/web-pod-13je7 -o jsonpath={.status.phase}
  millrace get -o template pod/web-pod-13je7 --template={{.status.phase}}
  
  # List resource information in custom columns
  millrace get pod test-pod -o custom-columns=CONTAINER:.spec.containers[0].name,IMAGE:.spec.containers[0].image
  
  # List all config maps and secrets together in ps output format
  millrace get configmaps,secrets
  
  # List one or more resources by their type and names
  millrace get node/n1 configmap/settings pods/web-pod-13je7
  
  # List all pods in namespace 'backend', oldest first
  millrace get pods --namespace backend --sort-by .metadata.creationTimestamp
  
  # List all pods existing in all namespaces, and then every change of one
  millrace get pods --all-namespaces --watch`

// formats are the values of -o.
func formats() []string {
	return slices.Concat([]string{print.JSON, print.YAML, print.Name}, print.Templates(), []string{print.CustomColumns, print.CustomColumnsFile, print.Wide})
}

// command is one call of the verb.
type command struct {
	*factory.Factory
	query   resource.Query
	output  print.Output
	encoder print.Encoder // nil: they are shown as tables or names
	sortBy  string
	order   *print.Order // nil: as the api gives them

	watch, watchOnly, watchEvents bool

	ignoreNotFound, showKind, managed bool

	table print.TableOptions
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f, output: print.Output{Formats: formats()}}
	cmd := &cobra.Command{
		Use:                   "get [(-o|--output=)" + strings.Join(c.output.Formats, "|") + "] (TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags]",
		DisableFlagsInUseLine: true,
		Short:                 "Display one or many resources",
		Long:                  long,
		Example:               example,
		SuggestFor:            []string{"list", "ls"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.query.Args = args
			return c.run(cmd)
		},
	}
	flags := cmd.Flags()
	c.query.Files.AddFlags(cmd, "identifying the resource to get from a server.")
	flags.BoolVarP(&c.query.AllNamespaces, "all-namespaces", "A", false, "If present, list the requested object(s) across all namespaces. "+
		"Namespace in current context is ignored even if specified with --namespace.")
	flags.Int64Var(&c.query.Chunk, "chunk-size", resource.DefaultChunk, "Return large lists in chunks rather than all at once. Pass 0 to disable.")
	flags.StringVar(&c.query.Fields, "field-selector", "", "Selector (field query) to filter on, supports '=', '==', and '!='.(e.g. --field-selector key1=value1,key2=value2). "+
		"The server only supports a limited number of field queries per type.")
	flags.StringVarP(&c.query.Labels, "selector", "l", "", "Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l key1=value1,key2=value2,key3 in (value3)). "+
		"Matching objects must satisfy all of the specified label constraints.")
	flags.BoolVar(&c.ignoreNotFound, "ignore-not-found", false, "If set to true, suppresses NotFound error for specific objects that do not exist. "+
		"Using this flag with commands that query for collections of resources has no effect when no resources are found.")
	flags.StringSliceVarP(&c.table.LabelColumns, "label-columns", "L", nil, "Accepts a comma separated list of labels that are going to be presented as columns. Names are case-sensitive. "+
		"You can also use multiple flag options like -L label1 -L label2...")
	flags.BoolVar(&c.table.NoHeaders, "no-headers", false, "When using the default or custom-column output format, don't print headers (default print headers).")
	c.output.AddFlags(flags)
	flags.BoolVar(&c.watchEvents, "output-watch-events", false, "Output watch event objects when --watch or --watch-only is used. Existing objects are output as initial ADDED events.")
	flags.BoolVar(&c.showKind, "show-kind", false, "If present, list the resource type for the requested object(s).")
	flags.BoolVar(&c.table.ShowLabels, "show-labels", false, "When printing, show all labels as the last column (default hide labels column)")
	flags.BoolVar(&c.managed, "show-managed-fields", false, "If true, keep the managedFields when printing objects in JSON or YAML format.")
	flags.StringVar(&c.sortBy, "sort-by", "", "If non-empty, sort list types using this field specification.  The field specification is expressed as a JSONPath expression (e.g. '{.metadata.name}'). "+
		"The field in the API resource specified by this JSONPath expression must be an integer or a string.")
	flags.BoolVarP(&c.watch, "watch", "w", false, "After listing/getting the requested object, watch for changes.")
	flags.BoolVar(&c.watchOnly, "watch-only", false, "Watch for changes to the requested object(s), without listing/getting first.")
	return cmd
}

func (c *command) run(cmd *cobra.Command) error {
	if err := c.complete(cmd); err != nil {
		return err
	}
	c.query.Everything, c.query.One = true, c.watch || c.watchOnly
	if err := c.Scope(&c.query); err != nil {
		return err
	}
	s, err := c.query.Select()
	if s == nil {
		return err
	}
	if c.query.One {
		if err != nil {
			return err
		}
		return c.follow(cmd.Context(), s)
	}
	return c.list(cmd.Context(), s, err)
}

// complete reads the flags and refuses what does not go together.
func (c *command) complete(cmd *cobra.Command) error {
	watching := c.watch || c.watchOnly
	switch {
	case !watching && len(c.query.Args) == 0 && len(c.query.Files.Names) == 0:
		terminal.Tell(c.Err, "You must specify the type of resource to get. Use \"%s api-resources\" for a complete list of supported resources.\n\n", cmd.Root().Name())
		return failure.Usagef(cmd, "Required resource not specified.")
	case c.table.ShowLabels && c.output.Flag != print.Table && c.output.Flag != print.Wide:
		return fmt.Errorf("--show-labels option cannot be used with %s printer", c.output.Flag)
	case len(c.table.LabelColumns) > 0 && strings.HasPrefix(c.output.Flag, print.CustomColumns):
		return fmt.Errorf("--label-columns option cannot be used with %s printer", c.output.Flag)
	case c.watchEvents && !watching:
		return errors.New("--output-watch-events option can only be used with --watch or --watch-only")
	case c.watch && c.sortBy != "":
		terminal.Tell(c.Err, "warning: --watch requested, --sort-by will be ignored for watch events received\n")
	case c.watchOnly && c.sortBy != "":
		terminal.Tell(c.Err, "warning: --watch-only requested, --sort-by will be ignored\n")
	}
	if err := c.output.Parse(); err != nil {
		return err
	}
	c.table.Wide, c.output.NoHeaders = c.output.Format == print.Wide, c.table.NoHeaders
	var err error
	if !c.inTables() && c.output.Format != print.Name {
		if c.encoder, err = c.output.Encoder(c.Out); err != nil {
			return err
		}
	}
	if c.sortBy == "" {
		return nil
	}
	if c.order, err = print.ParseOrder(c.sortBy); err != nil && c.inTables() {
		return fmt.Errorf("sorting error: %w", err)
	}
	return err
}

// inTables says that objects are shown in tables.
func (c *command) inTables() bool {
	return c.output.Format == print.Table || c.output.Format == print.Wide
}

// sort orders objects as --sort-by says.
func (c *command) sort(objects []*resource.Object) error {
	if c.order == nil {
		return nil
	}
	return c.order.Sort(objects)
}

// list shows what there is now; unread is what of the files could not be read.
func (c *command) list(ctx context.Context, s *resource.Selection, unread error) error {
	api, err := c.Client(ctx)
	if err != nil {
		return err
	}
	objects, err := s.Read(ctx, api)
	err = failure.Join(unread, c.found(err))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !c.inTables() {
		return c.printWhole(s, objects, err)
	}
	if len(objects) == 0 && err == nil {
		return c.nothing(s)
	}
	return failure.Join(c.printTables(s, objects), err)
}

// found is err without the answers 404 that the user wants ignored.
func (c *command) found(err error) error {
	if !c.ignoreNotFound {
		return err
	}
	list, ok := failure.AsList(err)
	if !ok {
		list = failure.ListError{err}
	}
	var rest []error
	for _, err := range list {
		if err != nil && !failure.IsNotFound(err) {
			rest = append(rest, err)
		}
	}
	return failure.Join(rest...)
}

// nothing says that there is nothing, unless that was to be expected.
func (c *command) nothing(s *resource.Selection) error {
	if c.ignoreNotFound {
		return nil
	}
	where := ""
	if !c.query.AllNamespaces && allNamespaced(s) {
		where = fmt.Sprintf(" in %s namespace.", c.query.Namespace)
	}
	_, err := fmt.Fprintf(c.Err, "No resources found%s\n", where)
	return err
}

func allNamespaced(s *resource.Selection) bool {
	for _, set := range s.Sets {
		if set.Kind.ClusterScoped {
			return false
		}
	}
	return true
}
