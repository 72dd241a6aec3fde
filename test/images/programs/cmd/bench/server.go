package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// identity is who answers: what the environment says of the container.
type identity struct {
	Pod     string `json:"pod"`               // POD_NAME, or else the host name, which is the pod's name
	Node    string `json:"node,omitempty"`    // NODE_NAME
	Version string `json:"version,omitempty"` // VERSION, which the image sets
}

func whoAmI() identity {
	pod := os.Getenv("POD_NAME")
	if pod == "" {
		pod = hostname()
	}
	return identity{Pod: pod, Node: os.Getenv("NODE_NAME"), Version: os.Getenv("VERSION")}
}

// hostname returns the host name, or the reason why there is none: it is only ever shown to people.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return err.Error()
	}
	return name
}

// serve answers HTTP on addr until ctx ends, and then lets the requests in flight finish.
func serve(ctx context.Context, addr string, h http.Handler) error {
	l, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	return serveOn(ctx, l, &http.Server{Handler: h})
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
}

// serveOn is serve for a listener that is open already. The server is the caller's, all but its time limit for headers.
func serveOn(ctx context.Context, l net.Listener, s *http.Server) error {
	s.ReadHeaderTimeout = 10 * time.Second
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return s.Shutdown(context.WithoutCancel(ctx))
	})
	return g.Wait()
}

// text answers every request with what say returns.
func text(say func(r *http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(say(r)))
	}
}

// answer writes v as one line of JSON.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(line(v))
}

// line is v as one line of JSON.
func line(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		body = []byte(err.Error())
	}
	return append(body, '\n')
}

// pause waits for d and reports whether ctx has let it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
