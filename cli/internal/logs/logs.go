// Package logs is the verb logs: it shows what containers write, as it is or as it comes.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/follow"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/cli/internal/target"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
)

const usage = "logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]"

const example = `  # Return snapshot logs from pod nginx with only one container
  millrace logs nginx
  
  # Return snapshot logs from pod nginx, prefixing each line with the source pod and container name
  millrace logs nginx --prefix
  
  # Return snapshot logs from pod nginx, limiting output to 500 bytes
  millrace logs nginx --limit-bytes=500
  
  # Return snapshot logs from pod nginx with multi containers
  millrace logs nginx --all-containers=true
  
  # Begin streaming the logs from all containers in pods defined by label app=nginx, and in those that are made later
  millrace logs -f -l app=nginx --all-containers=true --prefix
  
  # Return snapshot of previous terminated ruby container logs from pod web-1
  millrace logs -p -c ruby web-1
  
  # Begin streaming the logs of the ruby container in pod web-1
  millrace logs -f -c ruby web-1
  
  # Display only the most recent 20 lines of output in pod nginx
  millrace logs --tail=20 nginx
  
  # Show all logs from pod nginx written in the last hour
  millrace logs --since=1h nginx
  
  # Show all logs with timestamps from pod nginx starting from August 30, 2024, at 06:00:00 UTC
  millrace logs nginx --since-time=2024-08-30T06:00:00Z --timestamps=true`

const (
	// tailOfMany is how many lines are shown of each of several pods, unless the user says otherwise.
	tailOfMany = 10
	// defaultStreams is how many logs are followed at once, unless the user says otherwise.
	defaultStreams = 5
	// defaultPatience is how long is waited for a container to start, unless the user says otherwise.
	defaultPatience = 20 * time.Second
)

// command is one call of the verb.
type command struct {
	*factory.Factory
	selector      string
	container     string
	sinceTime     string
	since         time.Duration
	patience      time.Duration
	limit, tail   int64
	streams       int
	follow        bool
	previous      bool
	timestamps    bool
	prefix        bool
	allContainers bool
	allPods       bool
	ignoreErrors  bool

	options   corev1.PodLogOptions
	namespace string
	api       *client.Client
	out       *output
}

// New makes the verb.
func New(f *factory.Factory) *cobra.Command {
	c := &command{Factory: f}
	cmd := &cobra.Command{
		Use:                   usage,
		DisableFlagsInUseLine: true,
		Short:                 "Print the logs for a container in a pod",
		Long:                  "Print the logs for a container in a pod or specified resource. If the pod has only one container, the container name is optional.",
		Example:               example,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.complete(cmd, args); err != nil {
				return err
			}
			return c.run(cmd.Context(), args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&c.allContainers, "all-containers", false, "Get all containers' logs in the pod(s).")
	flags.BoolVar(&c.allPods, "all-pods", false, "Get logs from all pod(s). Sets prefix to true.")
	flags.StringVarP(&c.container, "container", "c", "", "Print the logs of this container")
	flags.BoolVarP(&c.follow, "follow", "f", false, "Specify if the logs should be streamed.")
	flags.BoolVar(&c.ignoreErrors, "ignore-errors", false, "If watching / following pod logs, allow for any errors that occur to be non-fatal")
	flags.Int64Var(&c.limit, "limit-bytes", 0, "Maximum bytes of logs to return. Defaults to no limit.")
	flags.IntVar(&c.streams, "max-log-requests", defaultStreams, "Specify maximum number of concurrent logs to follow when using by a selector. Defaults to 5.")
	flags.DurationVar(&c.patience, "pod-running-timeout", defaultPatience, "The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running")
	flags.BoolVar(&c.prefix, "prefix", false, "Prefix each log line with the log source (pod name and container name)")
	flags.BoolVarP(&c.previous, "previous", "p", false, "If true, print the logs for the previous instance of the container in a pod if it exists.")
	flags.StringVarP(&c.selector, "selector", "l", "", "Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l key1=value1,key2=value2,key3 in (value3)). "+
		"Matching objects must satisfy all of the specified label constraints.")
	flags.DurationVar(&c.since, "since", 0, "Only return logs newer than a relative duration like 5s, 2m, or 3h. Defaults to all logs. Only one of since-time / since may be used.")
	flags.StringVar(&c.sinceTime, "since-time", "", "Only return logs after a specific date (RFC3339). Defaults to all logs. Only one of since-time / since may be used.")
	flags.Int64Var(&c.tail, "tail", -1, "Lines of recent log file to display. Defaults to -1 with no selector, showing all log lines otherwise 10, if a selector is provided.")
	flags.BoolVar(&c.timestamps, "timestamps", false, "Include timestamps on each line in the log output")
	return cmd
}

// complete reads the flags and refuses what does not go together.
func (c *command) complete(cmd *cobra.Command, args []string) error {
	const wrong = "expected '" + usage + "'.\nPOD or TYPE/NAME is a required argument for the logs command"
	switch {
	case len(args) == 0 && c.selector == "", len(args) > 2:
		return failure.Usagef(cmd, "%s", wrong)
	case len(args) > 0 && c.selector != "":
		return failure.Usagef(cmd, "only a selector (-l) or a POD name is allowed")
	case len(args) == 2 && c.container != "":
		return errors.New("only one of -c or an inline [CONTAINER] arg is allowed")
	case len(args) == 2:
		c.container = args[1]
	}
	switch {
	case c.sinceTime != "" && c.since != 0:
		return errors.New("at most one of `sinceTime` or `sinceSeconds` may be specified")
	case c.allContainers && c.container != "":
		return fmt.Errorf("--all-containers=true should not be specified with container name %s", c.container)
	case c.limit < 0:
		return errors.New("--limit-bytes must be greater than 0")
	case c.since < 0:
		return errors.New("--since must be greater than 0")
	case c.tail < -1:
		return errors.New("--tail must be greater than or equal to -1")
	case c.patience <= 0:
		return failure.Usagef(cmd, "--pod-running-timeout must be higher than zero")
	}
	c.prefix = c.prefix || c.allPods
	return c.setOptions(cmd.Flags().Changed("tail"))
}

// setOptions makes the options of the requests from the flags.
func (c *command) setOptions(tailGiven bool) error {
	o := &c.options
	o.Follow, o.Previous, o.Timestamps = c.follow, c.previous, c.timestamps
	if c.sinceTime != "" {
		t, err := time.Parse(time.RFC3339, c.sinceTime)
		if err != nil {
			return err
		}
		o.SinceTime = new(metav1.NewTime(t))
	}
	if c.since != 0 {
		o.SinceSeconds = new(int64(c.since.Round(time.Second).Seconds()))
	}
	if c.limit != 0 {
		o.LimitBytes = &c.limit
	}
	switch {
	case c.tail != -1:
		o.TailLines = &c.tail
	case c.selector != "" && !tailGiven:
		o.TailLines = new(int64(tailOfMany))
	}
	return nil
}

func (c *command) run(ctx context.Context, args []string) error {
	var err error
	if c.namespace, _, err = c.Namespace(); err != nil {
		return err
	}
	if c.api, err = c.Client(ctx); err != nil {
		return err
	}
	c.out = newOutput(c.Factory)
	f := &follow.Follower{Client: c.api, Set: resource.Set{Kind: podKind(), Namespace: c.namespace}}
	if c.selector != "" {
		f.Options = metav1.ListOptions{LabelSelector: c.selector}
		return c.ofMany(ctx, f)
	}
	o, err := target.Object(ctx, c.api, c.namespace, args[0])
	if failure.IsNotFound(err) {
		// kubectl's own sentence, which is no longer the server's: only the text is kept.
		return fmt.Errorf("error from server (NotFound): %s in namespace %q", err.Error(), c.namespace)
	}
	if err != nil {
		return err
	}
	pod, err := target.PodOf(o, "get the logs from")
	if err != nil {
		return err
	}
	f.Options = follow.ByName(pod.Name)
	return c.ofOne(ctx, f, pod)
}

// ofOne shows the logs of one pod.
func (c *command) ofOne(ctx context.Context, f *follow.Follower, pod *corev1.Pod) error {
	sources, err := c.sources(pod, c.Err)
	if err != nil {
		return err
	}
	if !c.follow {
		return c.inTurn(ctx, sources)
	}
	if err := c.bounded(len(sources)); err != nil {
		return err
	}
	return c.together(ctx, sources, func(ctx context.Context, s source) error {
		if err := awaitStart(ctx, f, s, c.patience); err != nil {
			return err
		}
		return c.show(ctx, s)
	})
}

// ofMany shows the logs of all pods that a selector lets through.
func (c *command) ofMany(ctx context.Context, f *follow.Follower) error {
	objects, version, err := f.List(ctx)
	if err != nil {
		return err
	}
	if len(objects) == 0 {
		_, err := fmt.Fprintf(c.Err, "No resources found in %s namespace.\n", c.namespace)
		return err
	}
	var sources []source
	for _, o := range objects {
		pod, err := target.PodOf(o, "get the logs from")
		if err != nil {
			return err
		}
		more, err := c.sources(pod, c.Err)
		if err != nil {
			return err
		}
		sources = append(sources, more...)
	}
	if !c.follow {
		return c.inTurn(ctx, sources)
	}
	if err := c.bounded(len(sources)); err != nil {
		return err
	}
	return c.followMany(ctx, f, objects, version)
}

// bounded refuses to follow more logs at once than the user wants.
func (c *command) bounded(n int) error {
	if n > 1 && n > c.streams {
		return fmt.Errorf("you are attempting to follow %d log streams, but maximum allowed concurrency is %d, use --max-log-requests to increase the limit", n, c.streams)
	}
	return nil
}

func podKind() *scheme.Kind {
	kind, _ := scheme.ByResource(scheme.Pods)
	return kind
}

// source is a log: that of one container.
type source struct {
	pod       *corev1.Pod
	container string
	whole     bool // it began after the command did: how many of the last lines are wanted does not count
}

// sources are the logs of a pod that are meant. If the choice of a container is the command's, notice is told.
func (c *command) sources(pod *corev1.Pod, notice io.Writer) ([]source, error) {
	if !c.allContainers {
		container, err := target.Container(pod, c.container, notice)
		if err != nil {
			return nil, err
		}
		return []source{{pod: pod, container: container}}, nil
	}
	var sources []source
	for _, name := range target.InOrder(pod) {
		sources = append(sources, source{pod: pod, container: name})
	}
	return sources, nil
}
