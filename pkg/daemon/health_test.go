package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/telemetry"
)

// askUnix is what GET of path on the socket file answers.
func askUnix(t *testing.T, file, path string) (code int, body string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", file)
	}}
	defer transport.CloseIdleConnections()
	return ask(t, &http.Client{Transport: transport}, "http://unix"+path)
}

func ask(t *testing.T, client *http.Client, url string) (code int, body string) {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func TestHealth(t *testing.T) {
	s := natstest.Run(t)
	nc := s.Connect()
	meters := telemetry.New()
	meters.Counter("test_total", "Of a test.").Add(3)
	h := newHealth(meters, nc)
	file := filepath.Join(t.TempDir(), "health.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: file, Net: "unix"}) // a process that was killed leaves its socket behind
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	stop, err := h.serve(t.Context(), "unix:"+file)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(path string, wantCode int, want string) {
		t.Helper()
		if code, body := askUnix(t, file, path); code != wantCode || !strings.Contains(body, want) {
			t.Errorf("GET %s = %d %q, want %d %q", path, code, body, wantCode, want)
		}
	}
	expect("/healthz", 200, "ok")
	expect("/readyz", 503, "starting")
	expect("/metrics", 200, "test_total 3")
	expect("/metrics", 200, "go_goroutines")
	expect("/version", 200, `"goVersion":"`+runtime.Version()+`"`)
	expect("/other", 404, "")
	h.ready()
	expect("/readyz", 200, "ok")
	s.Shutdown()
	for nc.IsConnected() {
		runtime.Gosched()
	}
	expect("/readyz", 503, "not connected to NATS")
	expect("/healthz", 200, "ok") // a restart would not bring NATS back
	stop()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the socket stays behind: %v", err)
	}
}

func TestHealthOverTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	h := newHealth(telemetry.New(), natstest.Run(t).Connect())
	if _, err := h.serve(t.Context(), address); err == nil {
		t.Error("health is served on a port that is taken")
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	stop, err := h.serve(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if code, body := ask(t, http.DefaultClient, "http://"+address+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("GET /healthz = %d %q", code, body)
	}
	stop()
	if stop, err := h.serve(t.Context(), ""); err != nil {
		t.Errorf("nowhere: %v", err)
	} else {
		stop()
	}
}
