package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEchoOnEveryProtocol(t *testing.T) {
	t.Setenv("POD_NAME", "web-1")
	t.Setenv("NODE_NAME", "n1")
	t.Setenv("VERSION", "v2")
	httpAddr, lines, health := freeAddr(t), freeAddr(t), freeAddr(t)
	start(t, echo, "--http="+httpAddr, "--tcp="+lines, "--udp="+lines, "--grpc="+health)
	for i, tt := range []struct {
		name string
		ask  func(ctx context.Context) ([]byte, error)
		said string
	}{
		{name: "http", said: "/a/path", ask: func(ctx context.Context) ([]byte, error) {
			return askHTTP(ctx, http.DefaultClient, "http://"+httpAddr+"/a/path")
		}},
		{name: "tcp", said: "probe", ask: func(ctx context.Context) ([]byte, error) { return askLine(ctx, "tcp", lines) }},
		{name: "udp", said: "probe\n", ask: func(ctx context.Context) ([]byte, error) { return askLine(ctx, "udp", lines) }},
	} {
		var got reply
		if err := json.Unmarshal([]byte(await(t, tt.ask)), &got); err != nil {
			t.Fatal(err)
		}
		got.From = ""
		want := reply{identity: identity{Pod: "web-1", Node: "n1", Version: "v2"}, Requests: uint64(i + 1), Said: tt.said}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(reply{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestEchoToggles(t *testing.T) {
	s := &echoServer{}
	h := s.handler()
	for _, tt := range []struct {
		path string
		want int
		body string
	}{
		{"/readyz", 200, "ok\n"},
		{"/toggle-ready", 200, "true\n"},
		{"/readyz", 500, "not ok\n"},
		{"/healthz", 200, "ok\n"},
		{"/toggle-ready", 200, "false\n"},
		{"/readyz", 200, "ok\n"},
		{"/toggle-live?to=true", 200, "true\n"},
		{"/toggle-live?to=true", 200, "true\n"},
		{"/healthz", 500, "not ok\n"},
		{"/toggle-live?to=maybe", 400, "strconv.ParseBool: parsing \"maybe\": invalid syntax\n"},
		{"/requests", 200, "0\n"},
		{"/delay?for=1ms", 200, `{"pod":"","requests":1,"from":"192.0.2.1:1234","said":"/delay"}` + "\n"},
		{"/delay?for=ever", 400, "time: invalid duration \"ever\"\n"},
		{"/requests", 200, "1\n"},
	} {
		if got, body := get(t, h, tt.path); got != tt.want || body != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.path, got, body, tt.want, tt.body)
		}
	}
}

func TestEchoHangs(t *testing.T) {
	s := &echoServer{}
	server := httptest.NewServer(s.handler())
	defer server.Close()
	for _, tt := range []struct {
		path  string
		hangs bool
	}{{"/", false}, {"/hang", false}, {"/", true}, {"/readyz", true}, {"/hang", false}, {"/readyz", false}} {
		patience := 10 * time.Second
		if tt.hangs {
			patience = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if _, err := askHTTP(ctx, http.DefaultClient, server.URL+tt.path); (err != nil) != tt.hangs {
			t.Errorf("%s: %v, want it to hang: %v", tt.path, err, tt.hangs)
		}
		cancel()
	}
}

func TestEchoRefusesUnknownEnd(t *testing.T) {
	if err := echo(t.Context(), io.Discard, []string{"--on-sigterm=later"}); err == nil {
		t.Error("no error")
	}
}

// A request in flight gets its answer after the server has been told to end.
func TestServeDrains(t *testing.T) {
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	arrived, release := make(chan struct{}), make(chan struct{})
	server := &http.Server{Handler: text(func(*http.Request) string {
		close(arrived)
		<-release
		return "late"
	})}
	var running sync.WaitGroup
	running.Go(func() {
		if err := serveOn(ctx, l, server); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		body, err := askHTTP(t.Context(), http.DefaultClient, "http://"+l.Addr().String())
		if err != nil || string(body) != "late" {
			t.Errorf("request in flight: %q, %v", body, err)
		}
	})
	<-arrived
	cancel()
	close(release)
	running.Wait()
	if _, err := askHTTP(t.Context(), http.DefaultClient, "http://"+l.Addr().String()); err == nil {
		t.Error("a request after the end: no error")
	}
}

// The bytes are those of a gRPC client: a frame in the body, the status in the trailer.
func TestGRPC(t *testing.T) {
	s := &echoServer{identity: identity{Pod: "web-1"}}
	s.unready.Store(true)
	addr := freeAddr(t)
	start(t, func(ctx context.Context, _ io.Writer, _ []string) error { return s.serveGRPC(ctx, addr) })
	client := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	ask := func(ctx context.Context, method string, message []byte) (body []byte, status string, err error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+method, bytes.NewReader(message))
		if err != nil {
			return nil, "", err
		}
		r.Header.Set("Content-Type", "application/grpc")
		resp, err := client.Do(r)
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err = io.ReadAll(resp.Body)
		return body, resp.Trailer.Get("Grpc-Status") + resp.Header.Get("Grpc-Status"), err
	}
	frame := func(message string) []byte { return append([]byte{0, 0, 0, 0, byte(len(message))}, message...) }
	await(t, func(ctx context.Context) ([]byte, error) {
		body, _, err := ask(ctx, grpcCheck, frame(""))
		return body, err
	})
	for _, tt := range []struct {
		name, method string
		message      []byte
		want         []byte
		status       string
	}{
		{name: "the whole server", method: grpcCheck, message: frame(""), want: frame("\x08\x01"), status: "0"},
		{name: "live", method: grpcCheck, message: frame("\x0a\x04live"), want: frame("\x08\x01"), status: "0"},
		{name: "ready", method: grpcCheck, message: frame("\x0a\x05ready"), want: frame("\x08\x02"), status: "0"},
		{name: "no such service", method: grpcCheck, message: frame("\x0a\x04none"), want: []byte{}, status: "5"},
		{name: "another method", method: "/grpc.health.v1.Health/Watch", message: frame(""), want: []byte{}, status: "12"},
		{name: "no message", method: grpcCheck, want: []byte{}, status: "3"},
		{name: "another message", method: grpcCheck, message: frame("\x12\x01x"), want: []byte{}, status: "3"},
		{name: "half a message", method: grpcCheck, message: frame("\x0a\x04live")[:8], want: []byte{}, status: "3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body, status, err := ask(t.Context(), tt.method, tt.message)
			if err != nil || status != tt.status || !bytes.Equal(body, tt.want) {
				t.Errorf("%q, status %q, %v, want %q and status %q", body, status, err, tt.want, tt.status)
			}
		})
	}
	body, status, err := ask(t.Context(), grpcEcho, frame(""))
	if err != nil || status != "0" || len(body) < 7 || int(body[4]) != len(body)-5 || int(body[6]) != len(body)-7 {
		t.Fatalf("echo: %q, status %q, %v", body, status, err)
	}
	var got reply
	if err := json.Unmarshal(body[7:], &got); err != nil || got.Pod != "web-1" || got.Said != grpcEcho {
		t.Errorf("echo: %+v, %v", got, err)
	}
}
