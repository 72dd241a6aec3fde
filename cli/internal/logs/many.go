package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"millrace.dev/cli/internal/follow"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/cli/internal/target"
	"millrace.dev/pkg/podinfo"
)

// many is a set of pods whose logs are followed.
type many struct {
	*command
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	room   chan struct{} // holds a place for each log that is followed

	mu      sync.Mutex
	begun   bool                   // the pods that there were at first are followed
	seen    map[string]bool        // runs of containers that are or were followed
	live    map[string]*corev1.Pod // by name
	streams int                    // that have not ended
}

// errAllEnded ends the command when there is nothing left to follow.
var errAllEnded = errors.New("every pod has ended")

// followMany follows the logs of all pods that a selector lets through, of those that are made later too, and of containers that
// start again. It ends when every pod has ended for good and has been read to its end.
func (c *command) followMany(ctx context.Context, f *follow.Follower, pods []*resource.Object, version string) error {
	c.out.mingled = true
	ctx, cancel := context.WithCancelCause(ctx)
	m := &many{command: c, cancel: cancel, room: make(chan struct{}, c.streams), seen: map[string]bool{}, live: map[string]*corev1.Pod{}}
	defer m.wg.Wait()
	defer cancel(nil)
	err := m.begin(ctx, pods)
	if err == nil {
		err = f.Run(ctx, pods, version, func(e follow.Event) error { return m.take(ctx, e) })
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errAllEnded) {
		return nil
	}
	return err
}

// begin follows the pods that there are.
func (m *many) begin(ctx context.Context, pods []*resource.Object) error {
	for _, o := range pods {
		if err := m.take(ctx, follow.Event{Type: watch.Added, Object: o}); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun = true
	return m.ended()
}

// take follows what an event brings: the log of each container that has started.
func (m *many) take(ctx context.Context, e follow.Event) error {
	pod, err := target.PodOf(e.Object, "get the logs from")
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Type == watch.Deleted {
		delete(m.live, pod.Name)
		return m.ended()
	}
	m.live[pod.Name] = pod
	sources, err := m.sources(pod, io.Discard)
	if err != nil {
		return err
	}
	for _, s := range sources {
		run, ran := runOf(pod, s.container)
		key := fmt.Sprintf("%s/%s/%d", pod.UID, s.container, run)
		if !ran || m.seen[key] {
			continue
		}
		m.seen[key] = true
		m.streams++
		s.whole = m.begun
		m.wg.Go(func() { m.follow(ctx, s) })
	}
	return m.ended()
}

// follow follows one log, when there is room for it.
func (m *many) follow(ctx context.Context, s source) {
	select {
	case m.room <- struct{}{}:
	default:
		m.Warn("%d log streams are followed already: pod %s waits until one of them ends, use --max-log-requests to increase the limit", cap(m.room), s.pod.Name)
		select {
		case m.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	err := m.show(ctx, s)
	<-m.room
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams--
	if err == nil {
		err = m.ended()
	}
	if err != nil {
		m.cancel(err)
	}
}

// ended is errAllEnded if nothing is followed and nothing can come of the pods that there are. Caller holds mu.
func (m *many) ended() error {
	if !m.begun || m.streams > 0 || len(m.live) == 0 {
		return nil
	}
	for _, pod := range m.live {
		if !podinfo.Finished(pod) {
			return nil
		}
	}
	return errAllEnded
}
