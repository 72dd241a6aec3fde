// Package create is the verb create: it makes objects out of manifests.
package create

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/print"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/client"
)

const example = `  # Create a pod using the data in pod.json
  millrace create -f ./pod.json
  
  # Create a pod based on the JSON passed into stdin
  cat pod.json | millrace create -f -
  
  # Create everything in a directory and those below it
  millrace create -R -f ./manifests
  
  # Show the object that would be sent
  millrace create -f pod.yaml --dry-run=client -o yaml`

// command is one call of the verb.
type command struct {
	*factory.Factory
	files    resource.Filenames
	selector string
	validate string
	output   print.Output
	manager  string
	managed  bool

	dryRun factory.DryRun
	show   func(*resource.Object) error
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f, output: print.Output{Formats: slices.Concat([]string{print.JSON, print.YAML, print.Name}, print.Templates())}}
	cmd := &cobra.Command{
		Use:                   "create -f FILENAME",
		DisableFlagsInUseLine: true,
		Short:                 "Create a resource from a file or from stdin",
		Long:                  "Create a resource from a file or from stdin.\n\n JSON and YAML formats are accepted.",
		Example:               example,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return failure.Usagef(cmd, "Unexpected args: %v", args)
			}
			var err error
			if c.dryRun, err = factory.DryRunOf(cmd); err != nil {
				return err
			}
			return c.run(cmd.Context())
		},
	}
	c.files.AddFlags(cmd, "to use to create the resource")
	flags := cmd.Flags()
	flags.StringVarP(&c.selector, "selector", "l", "", "Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l key1=value1,key2=value2,key3 in (value3)). "+
		"Matching objects must satisfy all of the specified label constraints.")
	flags.StringVar(&c.validate, "validate", "strict", `Must be one of: strict (or true), warn, ignore (or false). "true" or "strict" will fail the request if the input has unknown `+
		`or duplicate fields. "warn" will warn about them without blocking the request. "false" or "ignore" will silently drop them.`)
	flags.Lookup("validate").NoOptDefVal = "strict"
	c.output.AddFlags(flags)
	flags.StringVar(&c.manager, "field-manager", "millrace-create", "Name of the manager used to track field ownership.")
	flags.BoolVar(&c.managed, "show-managed-fields", false, "If true, keep the managedFields when printing objects in JSON or YAML format.")
	factory.AddDryRun(cmd)
	return cmd
}

func (c *command) run(ctx context.Context) error {
	if err := c.files.Require(); err != nil {
		return err
	}
	validation, err := fieldValidation(c.validate)
	if err != nil {
		return err
	}
	if c.show, err = c.shower(); err != nil {
		return err
	}
	q := &resource.Query{Files: c.files, Labels: c.selector}
	if err := c.Scope(q); err != nil {
		return err
	}
	objects, err := q.Documents()
	errs := []error{err}
	if err == nil && len(objects) == 0 {
		return errors.New("no objects passed to create")
	}
	for _, o := range objects {
		created, err := c.create(ctx, o, validation)
		if err == nil {
			err = c.show(created)
		}
		errs = append(errs, failure.While("creating", o.Source, err))
		if ctx.Err() != nil {
			break
		}
	}
	return failure.Join(errs...)
}

// create sends one object and returns it as it then is.
func (c *command) create(ctx context.Context, o *resource.Object, validation string) (*resource.Object, error) {
	if c.dryRun == factory.DryRunClient {
		return o, nil
	}
	api, err := c.Client(ctx)
	if err != nil {
		return nil, err
	}
	options := metav1.CreateOptions{DryRun: c.dryRun.Option(), FieldManager: c.manager, FieldValidation: validation}
	answer, err := api.Create(ctx, o.Kind.Resource(), o.Namespace, client.Request{Manifest: o.Manifest()}, options)
	if err != nil {
		return nil, err
	}
	for _, warning := range answer.Warnings {
		c.Warn("%s", warning)
	}
	if len(answer.Objects) != 1 {
		return nil, fmt.Errorf("the api answered with %d objects to one", len(answer.Objects))
	}
	return resource.Of(o.Kind, answer.Objects[0])
}

// shower prints what was created.
func (c *command) shower() (func(*resource.Object) error, error) {
	if err := c.output.Parse(); err != nil {
		return nil, err
	}
	switch c.output.Format {
	case print.Table, print.Name:
		sentence := " created" + c.dryRun.Suffix()
		if c.output.Format == print.Name {
			sentence = ""
		}
		return func(o *resource.Object) error {
			_, err := fmt.Fprintf(c.Out, "%s%s\n", o, sentence)
			return err
		}, nil
	}
	encoder, err := c.output.Encoder(c.Out)
	if err != nil {
		return nil, err
	}
	return func(o *resource.Object) error {
		content, err := o.Content()
		if err != nil {
			return err
		}
		if !c.managed && !c.output.Templated() {
			print.OmitManagedFields(content)
		}
		return encoder.Encode(content)
	}, nil
}

// fieldValidation is what the api calls the value of --validate.
func fieldValidation(text string) (string, error) {
	switch text {
	case "", "strict", "true":
		return metav1.FieldValidationStrict, nil
	case "warn":
		return metav1.FieldValidationWarn, nil
	case "ignore", "false":
		return metav1.FieldValidationIgnore, nil
	default:
		return "", fmt.Errorf(`invalid - validate option %q; must be one of: strict (or true), warn, ignore (or false)`, text)
	}
}
