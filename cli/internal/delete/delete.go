// Package delete is the verb delete: it asks for the end of objects and waits until they are gone.
package delete

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/follow"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/client"
)

const long = `Delete resources by file names, stdin, resources and names, or by resources and label selector.

 JSON and YAML formats are accepted. Only one type of argument may be specified: file names, resources and names, or resources and label selector.

 Some resources, such as pods, support graceful deletion. These resources define a default period before they are forcibly terminated (the grace period) but you may override that value with the --grace-period flag, or pass --now to set a grace-period of 1. Because these resources often represent entities in the cluster, deletion may not be acknowledged immediately. If the node hosting a pod is down or cannot reach the API server, termination may take significantly longer than the grace period. To force delete a resource, you must specify the --force flag. Note: only a subset of resources support graceful deletion. In absence of the support, the --grace-period flag is ignored.

 IMPORTANT: Force deleting pods does not wait for confirmation that the pod's processes have been terminated, which can leave those processes running until the node detects the deletion and completes graceful deletion.

 Note that the delete command does NOT do resource version checks, so if someone submits an update to a resource right when you submit a delete, their update will be lost along with the rest of the resource.`

const example = `  # Delete a pod using the type and name specified in pod.json
  millrace delete -f ./pod.json
  
  # Delete resources from all files that end with '.json'
  millrace delete -f '*.json'
  
  # Delete a pod based on the type and name in the JSON passed into stdin
  cat pod.json | millrace delete -f -
  
  # Delete pods and config maps with same names "baz" and "foo"
  millrace delete pod,configmap baz foo
  
  # Delete pods and config maps with label name=myLabel
  millrace delete pods,configmaps -l name=myLabel
  
  # Delete a pod with minimal delay
  millrace delete pod foo --now
  
  # Force delete a pod on a dead node
  millrace delete pod foo --force
  
  # Delete all pods
  millrace delete pods --all
  
  # Delete all pods only if the user confirms the deletion
  millrace delete pods --all --interactive`

// forever is how long is waited if the user does not say.
const forever = 7 * 24 * time.Hour

// command is one call of the verb.
type command struct {
	*factory.Factory
	query       resource.Query
	grace       int64
	cascade     string
	output      string
	timeout     time.Duration
	now, force  bool
	wait        bool
	ignore      bool
	interactive bool

	dryRun factory.DryRun
	warned bool // of objects that no namespace bounds
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f}
	cmd := &cobra.Command{
		Use:                   "delete ([-f FILENAME] | TYPE [(NAME | -l label | --all)])",
		DisableFlagsInUseLine: true,
		Short:                 "Delete resources by file names, stdin, resources and names, or by resources and label selector",
		Long:                  long,
		Example:               example,
		SuggestFor:            []string{"rm", "remove"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.query.Args = args
			if err := c.complete(cmd); err != nil {
				return err
			}
			return c.run(cmd.Context())
		},
	}
	c.query.Files.AddFlags(cmd, "containing the resource to delete.")
	flags := cmd.Flags()
	flags.BoolVar(&c.query.All, "all", false, "Delete all resources, in the namespace of the specified resource types.")
	flags.BoolVarP(&c.query.AllNamespaces, "all-namespaces", "A", false, "If present, list the requested object(s) across all namespaces. "+
		"Namespace in current context is ignored even if specified with --namespace.")
	flags.StringVar(&c.cascade, "cascade", "background", `Must be "background", "orphan", or "foreground". Selects the deletion cascading strategy for the dependents `+
		"(e.g. Pods created by a ReplicaSet). Defaults to background.")
	flags.Lookup("cascade").NoOptDefVal = "background"
	flags.StringVar(&c.query.Fields, "field-selector", "", "Selector (field query) to filter on, supports '=', '==', and '!='.(e.g. --field-selector key1=value1,key2=value2). "+
		"The server only supports a limited number of field queries per type.")
	flags.BoolVar(&c.force, "force", false, "If true, immediately remove resources from API and bypass graceful deletion. "+
		"Note that immediate deletion of some resources may result in inconsistency or data loss and requires confirmation.")
	flags.Int64Var(&c.grace, "grace-period", -1, "Period of time in seconds given to the resource to terminate gracefully. Ignored if negative. "+
		"Set to 1 for immediate shutdown. Can only be set to 0 when --force is true (force deletion).")
	flags.BoolVar(&c.ignore, "ignore-not-found", false, `Treat "resource not found" as a successful delete. Defaults to "true" when --all is specified.`)
	flags.BoolVarP(&c.interactive, "interactive", "i", false, "If true, delete resource only when user confirms.")
	flags.BoolVar(&c.now, "now", false, "If true, resources are signaled for immediate shutdown (same as --grace-period=1).")
	flags.StringVarP(&c.output, "output", "o", "", `Output mode. Use "-o name" for shorter output (resource/name).`)
	flags.StringVarP(&c.query.Labels, "selector", "l", "", "Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l key1=value1,key2=value2,key3 in (value3)). "+
		"Matching objects must satisfy all of the specified label constraints.")
	flags.DurationVar(&c.timeout, "timeout", 0, "The length of time to wait before giving up on a delete, zero means determine a timeout from the size of the object")
	flags.BoolVar(&c.wait, "wait", true, "If true, wait for resources to be gone before returning. This waits for finalizers.")
	factory.AddDryRun(cmd)
	return cmd
}

// complete reads the flags and refuses what does not go together.
func (c *command) complete(cmd *cobra.Command) error {
	var err error
	if c.dryRun, err = factory.DryRunOf(cmd); err != nil {
		return err
	}
	if !cmd.Flags().Changed("ignore-not-found") && (c.query.All || c.query.Labels != "" || c.query.Fields != "") {
		c.ignore = true
	}
	switch {
	case c.now && c.grace != -1:
		return errors.New("--now and --grace-period cannot be specified together")
	case c.now:
		c.grace = 1
	case c.grace == 0 && !c.force:
		c.grace = 1 // at once means by force: it must be said
	case c.grace < 0 && c.force:
		c.grace = 0
	}
	switch {
	case c.output != "" && c.output != "name":
		return fmt.Errorf("unexpected -o output mode: %v. We only support '-o name'", c.output)
	case c.query.All && c.query.Labels != "":
		return errors.New("cannot set --all and --selector at the same time")
	case c.query.All && c.query.Fields != "":
		return errors.New("cannot set --all and --field-selector at the same time")
	case c.grace > 0 && c.force:
		return errors.New("--force and --grace-period greater than 0 cannot be specified together")
	case c.cascade != "background" && c.cascade != "orphan" && c.cascade != "foreground":
		return fmt.Errorf(`invalid cascade value (%v). Must be "background", "foreground", or "orphan"`, c.cascade)
	case c.force:
		c.Warn("Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.")
	}
	return nil
}

func (c *command) run(ctx context.Context) error {
	c.query.Chunk = resource.DefaultChunk
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
	objects, readErr := c.objects(ctx, api, s)
	err = failure.Join(err, readErr)
	if len(objects) == 0 {
		if err == nil {
			_, err = fmt.Fprintln(c.Out, "No resources found")
		}
		return err
	}
	if c.interactive {
		if confirmed, confirmErr := c.confirm(objects); !confirmed || confirmErr != nil {
			return failure.Join(err, confirmErr)
		}
	}
	deleted, deleteErr := c.delete(ctx, api, objects)
	if err = failure.Join(err, deleteErr); err != nil || !c.wait || c.dryRun != factory.DryRunNone {
		return err
	}
	return c.await(ctx, api, deleted)
}

// objects are those that the user means. What is named is not read: whether it is there is found out when it is deleted, unless
// nothing is sent or the user is asked first.
func (c *command) objects(ctx context.Context, api *client.Client, s *resource.Selection) ([]*resource.Object, error) {
	if len(s.Sets) == 0 && c.dryRun != factory.DryRunClient && !c.interactive {
		return s.Named, nil
	}
	objects, err := s.Read(ctx, api)
	return objects, c.unlessIgnored(err)
}

// unlessIgnored is err, or nil if the user does not mind that objects are not there.
func (c *command) unlessIgnored(err error) error {
	if err != nil && c.ignore && failure.IsNotFound(err) {
		return nil
	}
	return err
}

// confirm asks the user.
func (c *command) confirm(objects []*resource.Object) (bool, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "You are about to delete the following %d resource(s):\n", len(objects))
	for _, o := range objects {
		fmt.Fprintln(&b, o)
	}
	b.WriteString("Do you want to continue? (y/N): ")
	if _, err := fmt.Fprint(c.Out, b.String()); err != nil {
		return false, err
	}
	answer, err := bufio.NewReader(c.In).ReadString('\n')
	if err == nil && strings.EqualFold(strings.TrimSpace(answer), "y") {
		return true, nil
	}
	_, err = fmt.Fprintln(c.Out, "deletion is cancelled")
	return false, err
}

// deleted is an object whose end was asked for.
type deleted struct {
	*resource.Object
	uid types.UID
}

// delete asks for the end of objects and tells of each.
func (c *command) delete(ctx context.Context, api *client.Client, objects []*resource.Object) ([]deleted, error) {
	var gone []deleted
	var errs []error
	for _, o := range objects {
		if o.Kind.ClusterScoped && c.query.Enforce && !c.warned {
			c.warned = true
			c.Warn("deleting cluster-scoped resources, not scoped to the provided namespace")
		}
		d := deleted{Object: o}
		if c.dryRun != factory.DryRunClient {
			var err error
			if d.uid, err = c.send(ctx, api, o); err != nil {
				errs = append(errs, c.unlessIgnored(err))
				if ctx.Err() != nil {
					break
				}
				continue
			}
		}
		gone = append(gone, d)
		errs = append(errs, c.tell(o))
	}
	return gone, failure.Join(errs...)
}

// send asks for the end of one object, and says which one it was.
func (c *command) send(ctx context.Context, api *client.Client, o *resource.Object) (types.UID, error) {
	policy := metav1.DeletionPropagation(map[string]string{"background": "Background", "orphan": "Orphan", "foreground": "Foreground"}[c.cascade])
	options := metav1.DeleteOptions{PropagationPolicy: &policy, DryRun: c.dryRun.Option()}
	if c.grace >= 0 {
		options.GracePeriodSeconds = &c.grace
	}
	answer, err := api.Delete(ctx, o.Ref(), options)
	if err != nil {
		return "", failure.While("deleting", o.Source, err)
	}
	var meta metav1.PartialObjectMetadata
	for _, raw := range answer.Objects {
		if err := json.Unmarshal(raw, &meta); err != nil {
			return "", fmt.Errorf("read the answer to the deletion of %s: %w", o, err)
		}
	}
	return meta.UID, nil
}

func (c *command) tell(o *resource.Object) error {
	if c.output == "name" {
		_, err := fmt.Fprintln(c.Out, o)
		return err
	}
	operation := "deleted"
	if c.grace == 0 {
		operation = "force deleted"
	}
	if o.Namespace != "" {
		operation += fmt.Sprintf(" from %s namespace", o.Namespace)
	}
	_, err := fmt.Fprintf(c.Out, "%s %q %s%s\n", resource.KindName(o.Kind), o.Name, operation, c.dryRun.Suffix())
	return err
}

// await returns when all are gone, or the time is over.
func (c *command) await(ctx context.Context, api *client.Client, all []deleted) error {
	limit := c.timeout
	if limit == 0 {
		limit = forever
	}
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, d := range all {
		err := follow.Gone(waiting, api, d.Object, d.uid)
		switch {
		case err != nil && ctx.Err() == nil && waiting.Err() != nil:
			return fmt.Errorf("timed out waiting for the condition on %s/%s", d.Kind.Resource(), d.Name)
		case err != nil:
			return err
		}
	}
	return nil
}
