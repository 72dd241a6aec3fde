// Package describe is the verb describe: it tells everything that is known of an object, and what happened to it.
//
// What there is to tell of a kind is one entry in [views].
package describe

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/resource"
)

const long = `Show details of a specific resource or group of resources.

 Print a detailed description of the selected resources, including related resources such as events. You may select a single object by name, all objects of that type, provide a name prefix, or label selector. For example:

  $ millrace describe TYPE NAME_PREFIX

 will first check for an exact match on TYPE and NAME_PREFIX. If no such resource exists, it will output details for every resource that has a name prefixed with NAME_PREFIX.

Use "millrace api-resources" for a complete list of supported resources.`

const example = `  # Describe a node
  millrace describe nodes n1
  
  # Describe a pod
  millrace describe pods/nginx
  
  # Describe a pod identified by type and name in "pod.json"
  millrace describe -f pod.json
  
  # Describe all pods
  millrace describe pods
  
  # Describe pods by label name=myLabel
  millrace describe pods -l name=myLabel
  
  # Describe all pods whose names begin with 'frontend'
  millrace describe pods frontend`

// command is one call of the verb.
type command struct {
	*factory.Factory
	query      resource.Query
	showEvents bool
	eventsSaid bool // the user said whether to show events
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f}
	cmd := &cobra.Command{
		Use:                   "describe (-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME)",
		DisableFlagsInUseLine: true,
		Short:                 "Show details of a specific resource or group of resources",
		Long:                  long,
		Example:               example,
		SuggestFor:            []string{"inspect"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.query.Args, c.eventsSaid = args, cmd.Flags().Changed("show-events")
			return c.run(cmd.Context())
		},
	}
	c.query.Files.AddFlags(cmd, "containing the resource to describe")
	flags := cmd.Flags()
	flags.BoolVarP(&c.query.AllNamespaces, "all-namespaces", "A", false, "If present, list the requested object(s) across all namespaces. "+
		"Namespace in current context is ignored even if specified with --namespace.")
	flags.Int64Var(&c.query.Chunk, "chunk-size", resource.DefaultChunk, "Return large lists in chunks rather than all at once. Pass 0 to disable.")
	flags.StringVarP(&c.query.Labels, "selector", "l", "", "Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l key1=value1,key2=value2,key3 in (value3)). "+
		"Matching objects must satisfy all of the specified label constraints.")
	flags.BoolVar(&c.showEvents, "show-events", true, "If true, display events related to the described object. Defaults to true for a single object, false for multiple objects and prefix matching.")
	return cmd
}

func (c *command) run(ctx context.Context) error {
	if len(c.query.Args) == 0 && len(c.query.Files.Names) == 0 {
		return fmt.Errorf("You must specify the type of resource to describe. Use \"millrace api-resources\" for a complete list of supported resources.")
	}
	c.query.Everything = true
	if err := c.Scope(&c.query); err != nil {
		return err
	}
	s, err := c.query.Select()
	if s == nil {
		return err
	}
	api, clientErr := c.Client(ctx)
	if clientErr != nil {
		return clientErr
	}
	objects, readErr := s.Read(ctx, api)
	err = failure.Join(err, readErr)
	d := &describer{api: api, now: c.Now, chunk: c.query.Chunk, events: c.showEvents && (c.eventsSaid || err == nil && len(objects) == 1)}
	if failure.IsNotFound(err) && len(c.query.Args) == 2 && len(s.Named) == 1 {
		return c.describeMatching(ctx, d, s.Named[0], err)
	}
	for i, o := range objects {
		text, describeErr := d.describe(ctx, o)
		if describeErr != nil {
			err = failure.Join(err, describeErr)
			continue
		}
		if i > 0 {
			text = "\n\n" + text
		}
		if _, writeErr := fmt.Fprint(c.Out, text); writeErr != nil {
			return writeErr
		}
	}
	if len(objects) == 0 && err == nil {
		return c.nothing()
	}
	return err
}

func (c *command) nothing() error {
	where := ""
	if !c.query.AllNamespaces {
		where = fmt.Sprintf(" in %s namespace.", c.query.Namespace)
	}
	_, err := fmt.Fprintf(c.Err, "No resources found%s\n", where)
	return err
}

// describeMatching describes every object whose name begins like that of one that is not there; absent is the error if there is
// none of those either.
func (c *command) describeMatching(ctx context.Context, d *describer, missing *resource.Object, absent error) error {
	q := resource.Query{Args: []string{missing.Kind.Resource()}, Namespace: c.query.Namespace, Everything: true, Chunk: c.query.Chunk}
	s, err := q.Select()
	if err != nil {
		return err
	}
	objects, err := s.Read(ctx, d.api)
	if err != nil {
		return err
	}
	found := false
	for _, o := range objects {
		if !strings.HasPrefix(o.Name, missing.Name) {
			continue
		}
		found = true
		text, err := d.describe(ctx, o)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(c.Out, text); err != nil {
			return err
		}
	}
	if !found {
		return absent
	}
	return nil
}
