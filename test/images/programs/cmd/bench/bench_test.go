package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// get asks a handler and returns its status and the body of its answer.
func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// buffer is a place for output that several goroutines may use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs a program until the test ends and fails the test if it fails.
func start(t *testing.T, run program, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx, io.Discard, args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// await asks until there is an answer, and returns it.
func await(t *testing.T, ask func(ctx context.Context) ([]byte, error)) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		body, err := ask(ctx)
		if err == nil {
			return string(body)
		}
		if !pause(ctx, 10*time.Millisecond) {
			t.Fatal(err)
		}
	}
}

func TestLiveness(t *testing.T) {
	now := time.Unix(0, 0)
	h := liveness(func() time.Time { return now })
	for _, tt := range []struct {
		age  time.Duration
		want int
	}{{0, 200}, {10 * time.Second, 200}, {11 * time.Second, 500}} {
		now = time.Unix(0, 0).Add(tt.age)
		if got, body := get(t, h, "/healthz"); got != tt.want {
			t.Errorf("after %v: %d %s, want %d", tt.age, got, body, tt.want)
		}
	}
}

func TestMountTest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data-1")
	if err := os.WriteFile(file, []byte("value-1\r\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := agnhost(t.Context(), &out, []string{"mounttest", "--file_content=" + file, "--file_mode=" + file}); err != nil {
		t.Fatal(err)
	}
	want := "mode of file \"" + file + "\": -rw-r-----\ncontent of file \"" + file + "\": value-1\r\n\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if err := agnhost(t.Context(), &out, []string{"mounttest", "--file_content=" + file + "x"}); err == nil {
		t.Error("file that is not there: no error")
	}
}

func TestAgnhostRefusesUnknownCommand(t *testing.T) {
	if err := agnhost(t.Context(), io.Discard, []string{"porter"}); err == nil {
		t.Error("no error")
	}
}

func TestNetExec(t *testing.T) {
	h := netExecHandler()
	for path, want := range map[string]string{
		"/echo?msg=hi":                     "hi",
		"/hostname":                        hostname(),
		"/hostName":                        hostname(),
		"/clientip":                        "192.0.2.1:1234",
		"/shell?shellCommand=echo+in+it":   `{"output":"in it\n"}` + "\n",
		"/shell?cmd=echo+out%3B+exit+3":    `{"error":"exit status 3","output":"out\n"}` + "\n",
		"/exit?code=none":                  "strconv.Atoi: parsing \"none\": invalid syntax\n",
		"/healthz":                         "",
		"/echo?msg=" + "a%20long%20answer": "a long answer",
	} {
		if _, got := get(t, h, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	from := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}
	for datagram, want := range map[string]string{
		"hostname\n": hostname(), "clientip": "192.0.2.1:7", "echo a b": "a b", "unknown": "",
	} {
		if got := string(netExecDatagram(from, []byte(datagram))); got != want {
			t.Errorf("datagram %q: %q, want %q", datagram, got, want)
		}
	}
}

// A text that the front end sets in the primary can be read from a replica, whether that came before or after.
func TestGuestbook(t *testing.T) {
	primary, replica, front := newBook(), newBook(), newBook()
	p := httptest.NewServer(primary.handler())
	defer p.Close()
	r := httptest.NewServer(replica.handler())
	defer r.Close()
	front.primary, front.replica = p.URL, r.URL
	h := front.handler()
	if got, body := get(t, h, "/guestbook?cmd=set&key=early&value=bird"); got != http.StatusOK || body != `{"message":"Updated"}`+"\n" {
		t.Fatalf("set: %d %s", got, body)
	}
	port := r.Listener.Addr().(*net.TCPAddr).Port
	if err := replica.register(t.Context(), p.URL, port); err != nil {
		t.Fatal(err)
	}
	get(t, h, "/guestbook?cmd=set&key=late&value=worm")
	for key, want := range map[string]string{"early": "bird", "late": "worm", "never": ""} {
		if _, body := get(t, h, "/guestbook?cmd=get&key="+key); body != `{"data":"`+want+`"}`+"\n" {
			t.Errorf("get %s: %s, want %q", key, body, want)
		}
	}
	r.Close() // the primary goes on without its replica, the front end cannot
	if got, body := get(t, h, "/guestbook?cmd=set&key=more&value=x"); got != http.StatusOK || primary.get("more") != "x" {
		t.Errorf("set without the replica: %d %s", got, body)
	}
	if got, _ := get(t, h, "/guestbook?cmd=get&key=more"); got != http.StatusServiceUnavailable {
		t.Errorf("get without the replica: %d", got)
	}
	if got, _ := get(t, h, "/guestbook?cmd=drop"); got != http.StatusBadRequest {
		t.Errorf("unknown command: %d", got)
	}
}

func TestHTTPEcho(t *testing.T) {
	addr := freeAddr(t)
	start(t, httpEcho, "-text=just made some syscalls!", "-listen", addr)
	got := await(t, func(ctx context.Context) ([]byte, error) {
		return askHTTP(ctx, http.DefaultClient, "http://"+addr+"/any")
	})
	if want := "just made some syscalls!\n"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	if err := httpEcho(t.Context(), io.Discard, nil); err == nil {
		t.Error("without a text: no error")
	}
}

func TestHelloApp(t *testing.T) {
	addr := freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PORT", port)
	t.Setenv("VERSION", "2.0.0")
	start(t, helloApp)
	got := await(t, func(ctx context.Context) ([]byte, error) { return askHTTP(ctx, http.DefaultClient, "http://"+addr) })
	if want := "Hello, world!\nVersion: 2.0.0\nHostname: " + hostname() + "\n"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
}

func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := filepath.Join(t.TempDir(), "log")
		begin := time.Now()
		err := crash(t.Context(), io.Discard, []string{"--after=5s", "--code=42", "--message=bye", "--termination-log=" + log})
		if status, _ := errors.AsType[exitError](err); status != 42 || time.Since(begin) != 5*time.Second {
			t.Errorf("crash: %v after %v, want exit status 42 after 5s", err, time.Since(begin))
		}
		if body, err := os.ReadFile(log); err != nil || string(body) != "bye" {
			t.Errorf("termination log: %q, %v", body, err)
		}
	})
}

func TestWriter(t *testing.T) {
	for _, args := range [][]string{{"--rate=2"}, {"--rate=1000"}} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			if err := writer(t.Context(), &out, append(args, "--count=21", "--line-bytes=60")); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != 21 || !regexp.MustCompile(`^00000021 \S+Z\.+$`).MatchString(lines[20]) || len(lines[20]) != 60 {
				t.Errorf("%q: %d lines, the last %q", args, len(lines), lines[len(lines)-1])
			}
		})
	}
	if err := writer(t.Context(), io.Discard, []string{"--rate=0"}); err == nil {
		t.Error("rate 0: no error")
	}
}

func TestWriterKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var out, other bytes.Buffer
		if err := writeLines(ctx, pacing{rate: 500}, 0, &out, &other); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String()+other.String(), "\n"); n < 4990 || n > 5001 || out.Len() < 4*other.Len()/5 {
			t.Errorf("%d lines in 10s, %d and %d bytes; want 5000, half each", n, out.Len(), other.Len())
		}
	})
}

func TestBurn(t *testing.T) {
	addr := freeAddr(t)
	start(t, burn, "--http="+addr, "--memory-mib=1", "--cores=1")
	ask := func(path string) func(ctx context.Context) ([]byte, error) {
		return func(ctx context.Context) ([]byte, error) {
			return askHTTP(ctx, http.DefaultClient, "http://"+addr+path)
		}
	}
	await(t, ask("/"))
	begin := time.Now()
	for _, path := range []string{"/cpu?for=50ms&cores=2", "/memory?for=50ms&mib=2"} {
		if body, err := ask(path)(t.Context()); err != nil || string(body) != "ok\n" {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("two requests of 50ms each took %v", took)
	}
	for _, path := range []string{"/cpu", "/cpu?for=1s&cores=x"} {
		if _, err := ask(path)(t.Context()); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func TestProbeClient(t *testing.T) {
	var asked int
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked == 2 {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		answer(w, identity{Pod: "web-" + string(rune('0'+asked%2))})
	}))
	defer server.Close()
	var out buffer
	err := probeClient(t.Context(), &out, []string{"--target=" + server.URL, "--rate=50", "--for=100ms"})
	if want := "1 of 5 requests failed"; err == nil || err.Error() != want {
		t.Errorf("probeClient: %v, want %q", err, want)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var failed failure
	var all sum
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &failed), json.Unmarshal([]byte(lines[len(lines)-1]), &all)); err != nil {
		t.Fatalf("%v in %q", err, lines)
	}
	if len(lines) != 2 || failed.Err != "503 Service Unavailable" || failed.Time.IsZero() {
		t.Errorf("lines %q, want one failure and the sum", lines)
	}
	all.Slowest = 0
	if diff := cmp.Diff(sum{Sent: 5, Failed: 1, ByPod: map[string]int{"web-0": 1, "web-1": 3}}, all); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
}

func TestProbeClientRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"--target=ftp://host"}, {"--target=http://host", "--rate=0"}, {"--target=:"}} {
		if err := probeClient(t.Context(), io.Discard, args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
