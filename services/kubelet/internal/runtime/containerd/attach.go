package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"

	"millrace.dev/services/kubelet/internal/logger"
	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
)

// Attach connects with the streams of a container: through its hub if it has one, else by following its log.
func (r *Runtime) Attach(ctx context.Context, id string, a runtime.AttachConfig) error {
	e, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	if e.status().State != runtime.StateRunning {
		return fmt.Errorf("attach to container %s: %w", e.meta.Name, runtime.ErrNotRunning)
	}
	if a.Stdout == nil {
		a.Stdout = io.Discard
	}
	if a.Stderr == nil {
		a.Stderr = io.Discard
	}
	if e.interactive() {
		err = r.attachHub(ctx, e, a)
	} else {
		err = logs.Copy(ctx, e.meta.Log.Path, logs.Options{Follow: true, Done: e.ended}, a.Stdout, a.Stderr)
	}
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", e.meta.Name, err)
	}
	return nil
}

func (r *Runtime) attachHub(ctx context.Context, e *entry, a runtime.AttachConfig) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(r.pipeDir(e.id), logger.HubSocket))
	if err != nil {
		return fmt.Errorf("find its streams: %w", err)
	}
	// The reader below ends when either side hangs up.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()

	attached, leave := context.WithCancel(ctx)
	defer leave()
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer leave()
	if a.Stdin != nil && e.meta.Stdin {
		// Not waited for: it may hang in a read that only the caller can end.
		go func() { r.sendInput(attached, e, conn, a.Stdin) }()
	}
	if a.Resize != nil {
		x := &execution{r: r, container: e.id, config: runtime.ExecConfig{Resize: a.Resize}}
		helpers.Go(func() { x.resize(attached) })
	}
	err = receiveOutput(conn, a.Stdout, a.Stderr)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func receiveOutput(conn net.Conn, stdout, stderr io.Writer) error {
	buf := make([]byte, logger.FrameBytes)
	for {
		kind, p, err := logger.ReadFrame(conn, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		w := stdout
		if kind == logger.FrameStderr {
			w = stderr
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
}

// sendInput passes input on until it ends. If it is meant for one only, the container then sees its end.
func (r *Runtime) sendInput(ctx context.Context, e *entry, conn net.Conn, in io.Reader) {
	buf := make([]byte, logger.FrameBytes/2)
	for ctx.Err() == nil {
		n, err := in.Read(buf)
		if n > 0 {
			if _, err := conn.Write(logger.AppendFrame(nil, logger.FrameStdin, buf[:n])); err != nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	if !e.meta.StdinOnce {
		return
	}
	if _, err := conn.Write(logger.AppendFrame(nil, logger.FrameStdinEnd, nil)); err != nil {
		return
	}
	_, _ = r.tasks.CloseIO(ctx, &tasks.CloseIORequest{ContainerID: e.id, Stdin: true}) // it may have ended
}
