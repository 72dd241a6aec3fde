package logs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"millrace.dev/cli/internal/follow"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/cli/internal/target"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/podinfo"
	"millrace.dev/pkg/wire"
)

// show shows one log to its end.
func (c *command) show(ctx context.Context, s source) error {
	err := c.stream(ctx, s)
	if err != nil && c.ignoreErrors && ctx.Err() == nil {
		return c.out.say("error: " + err.Error())
	}
	return err
}

func (c *command) stream(ctx context.Context, s source) error {
	options := c.options
	options.Container = s.container
	if s.whole {
		options.TailLines = nil
	}
	session, done, err := target.Session(ctx, c.api, client.VerbLog, s.pod, options)
	if err != nil {
		return err
	}
	defer done()
	prefix := ""
	if c.prefix {
		prefix = fmt.Sprintf("[pod/%s/%s] ", s.pod.Name, s.container)
	}
	if err := c.out.copy(session.Reader(wire.Stdout), s.pod.Name, prefix); err != nil {
		return err
	}
	return session.Wait() // the kubelet says at last what it could not read
}

// inTurn shows logs one after the other.
func (c *command) inTurn(ctx context.Context, sources []source) error {
	c.out.mingled = false
	for _, s := range sources {
		if err := c.show(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// together shows logs at once, until all have ended or one fails.
func (c *command) together(ctx context.Context, sources []source, show func(context.Context, source) error) error {
	c.out.mingled = len(sources) > 1
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, s := range sources {
		wg.Go(func() {
			if err := show(ctx, s); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// errStarted ends the wait for a container.
var errStarted = errors.New("the container has started")

// awaitStart returns when a container has started, or patience is at its end: then it is for the api to say what it waits for.
func awaitStart(ctx context.Context, f *follow.Follower, s source, patience time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	objects, version, err := f.List(waiting)
	for _, o := range objects {
		if err == nil {
			err = started(o, s.container)
		}
	}
	if err == nil {
		err = f.Run(waiting, objects, version, func(e follow.Event) error {
			if e.Type == watch.Deleted {
				return errStarted // it will not start any more
			}
			return started(e.Object, s.container)
		})
	}
	if errors.Is(err, errStarted) || ctx.Err() == nil && waiting.Err() != nil {
		return nil
	}
	return err
}

// started is errStarted if a container of a pod has a log.
func started(o *resource.Object, container string) error {
	pod, err := target.PodOf(o, "get the logs from")
	if err != nil {
		return err
	}
	if run, ok := runOf(pod, container); ok && run >= 0 {
		return errStarted
	}
	return nil
}

// runOf counts the runs of a container before the one whose log there is; false: it has not run yet.
func runOf(pod *corev1.Pod, container string) (int32, bool) {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		s := podinfo.ContainerStatus(statuses, container)
		if s == nil {
			continue
		}
		ran := s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
		return s.RestartCount, ran
	}
	return 0, false
}
