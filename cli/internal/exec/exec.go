// Package exec is the verb exec: it runs a command in a container and lends it the person's terminal.
package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/cli/internal/target"
	"millrace.dev/cli/internal/terminal"
	"millrace.dev/pkg/client"
)

const example = `  # Get output from running the 'date' command from pod mypod, using the first container by default
  millrace exec mypod -- date
  
  # Get output from running the 'date' command in ruby-container from pod mypod
  millrace exec mypod -c ruby-container -- date
  
  # Switch to raw terminal mode; sends stdin to 'bash' in ruby-container from pod mypod
  # and sends stdout/stderr from 'bash' back to the client
  millrace exec mypod -c ruby-container -i -t -- bash -il
  
  # List contents of /usr from the first container of pod mypod and sort by modification time
  # If the command you want to execute in the pod has any flags in common (e.g. -i),
  # you must use two dashes (--) to separate your command's flags/arguments
  # Also note, do not surround your command and its flags/arguments with quotes
  # unless that is how you would execute it normally (i.e., do ls -t /usr, not "ls -t /usr")
  millrace exec mypod -i -t -- ls -t /usr`

// command is one call of the verb.
type command struct {
	*factory.Factory
	files      resource.Filenames
	container  string
	stdin, tty bool
	quiet      bool
	target     string
	words      []string
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f}
	cmd := &cobra.Command{
		Use:                   "exec (POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
		DisableFlagsInUseLine: true,
		Short:                 "Execute a command in a container",
		Long:                  "Execute a command in a container.",
		Example:               example,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.complete(cmd, args); err != nil {
				return err
			}
			return c.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&c.container, "container", "c", "", "Container name. If omitted, use the kubectl.kubernetes.io/default-container annotation for selecting "+
		"the container to be attached or the first container in the pod will be chosen")
	flags.StringSliceVarP(&c.files.Names, "filename", "f", nil, "to use to exec into the resource")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "Only print output from the remote session")
	flags.BoolVarP(&c.stdin, "stdin", "i", false, "Pass stdin to the container")
	flags.BoolVarP(&c.tty, "tty", "t", false, "Stdin is a TTY")
	return cmd
}

// complete tells the pod from the command behind the two dashes.
func (c *command) complete(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	if len(args) > 0 && dash != 0 {
		c.target = args[0]
	}
	switch {
	case dash == 0 || dash == 1:
		c.words = args[dash:]
	case len(args) > 1 || len(args) > 0 && len(c.files.Names) > 0:
		return failure.Usagef(cmd, "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead")
	}
	switch {
	case c.target == "" && len(c.files.Names) == 0:
		return errors.New("pod, type/name or --filename must be specified")
	case len(c.words) == 0:
		return errors.New("you must specify at least one command for the container")
	}
	return nil
}

func (c *command) run(ctx context.Context) error {
	api, err := c.Client(ctx)
	if err != nil {
		return err
	}
	pod, err := c.pod(ctx, api)
	if err != nil {
		return err
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return fmt.Errorf("cannot exec into a container in a completed pod; current phase is %s", pod.Status.Phase)
	}
	notice := c.Err
	if c.quiet {
		notice = io.Discard
	}
	container, err := target.Container(pod, c.container, notice)
	if err != nil {
		return err
	}
	c.chooseTerminal()
	options := corev1.PodExecOptions{Container: container, Command: c.words, Stdin: c.stdin, Stdout: true, Stderr: !c.tty, TTY: c.tty}
	return c.execute(ctx, api, pod, options)
}

// pod reads the pod that is meant.
func (c *command) pod(ctx context.Context, api *client.Client) (*corev1.Pod, error) {
	q := resource.Query{Files: c.files}
	if err := c.Scope(&q); err != nil {
		return nil, err
	}
	if c.target != "" {
		o, err := target.Object(ctx, api, q.Namespace, c.target)
		if err != nil {
			return nil, err
		}
		return target.PodOf(o, "attach to")
	}
	s, err := q.Select()
	if err != nil {
		return nil, err
	}
	if len(s.Named) > 1 {
		return nil, errors.New("cannot exec into multiple objects at a time")
	}
	objects, err := s.Read(ctx, api)
	if err != nil {
		return nil, err
	}
	return target.PodOf(objects[0], "attach to")
}

// chooseTerminal drops the wish for a terminal if there is none to lend.
func (c *command) chooseTerminal() {
	switch {
	case !c.stdin:
		c.tty = false
	case c.tty && !terminal.Is(c.In):
		c.tty = false
		if !c.quiet {
			terminal.Tell(c.Err, "Unable to use a TTY - input is not a terminal or the right kind of file\n")
		}
	}
}

// execute runs the command and passes its streams until it has ended.
func (c *command) execute(ctx context.Context, api *client.Client, pod *corev1.Pod, options corev1.PodExecOptions) error {
	if c.tty {
		restore, err := terminal.Raw(c.In)
		if err != nil {
			return fmt.Errorf("use the terminal: %w", err)
		}
		defer func() {
			if err := restore(); err != nil {
				c.Warn("the terminal could not be made what it was: %v", err)
			}
		}()
	}
	session, done, err := target.Session(ctx, api, client.VerbExec, pod, options)
	if err != nil {
		return err
	}
	defer done()
	s := &streams{Session: session, in: c.In, out: c.Out, err: c.Err}
	return s.pass(ctx, options)
}

// control is what client and kubelet say to each other beside the streams.
type control struct {
	Resize *terminal.Size `json:"resize,omitempty"`
	Exit   *int           `json:"exit,omitempty"`  // the command's exit code
	Error  string         `json:"error,omitempty"` // it could not be run
}

// errNoResult ends a session that was closed before it said how the command ended.
var errNoResult = errors.New("the connection to the container was lost before the command ended")

// result is the error that a command ended with.
func result(document []byte) error {
	var c control
	if err := json.Unmarshal(document, &c); err != nil {
		return fmt.Errorf("read how the command ended: %w", err)
	}
	switch {
	case c.Error != "":
		return errors.New(c.Error)
	case c.Exit == nil:
		return errNoResult
	case *c.Exit != 0:
		return &failure.ExitError{Code: *c.Exit, Text: fmt.Sprintf("command terminated with exit code %d", *c.Exit)}
	default:
		return nil
	}
}
