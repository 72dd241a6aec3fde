package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// probeClient asks a target at a fixed rate, however slow the answers are. Each failure is one line of JSON at once, the
// sum is one line at the end; it ends with an error if anything failed.
func probeClient(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("probe-client", flag.ContinueOnError)
	target := flags.String("target", "", "what to ask: http://host/path, tcp://host:port or udp://host:port")
	rate := flags.Float64("rate", 10, "requests a second")
	lasts := flags.Duration("for", 0, "how long; 0: until it is told to end")
	timeout := flags.Duration("timeout", time.Second, "time for one request, its connection included")
	keepAlive := flags.Bool("keep-alive", false, "use HTTP connections again")
	addr := flags.String("http", "", "address of a server that answers with the sum so far; empty: none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	u, err := url.Parse(*target)
	if err != nil {
		return err
	}
	if *rate <= 0 {
		return fmt.Errorf("rate must be more than 0, not %v", *rate)
	}
	ask, err := asker(u, *keepAlive)
	if err != nil {
		return err
	}
	l := &load{ask: ask, timeout: *timeout, out: out, sum: sum{ByPod: map[string]int{}}}
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	if *addr != "" {
		g.Go(func() error { return serve(ctx, *addr, http.HandlerFunc(l.serveSum)) })
	}
	g.Go(func() error {
		defer cancel()
		return l.run(ctx, *rate, *lasts)
	})
	return g.Wait()
}

// sum counts what came of the requests.
type sum struct {
	Sent    int            `json:"sent"`
	Failed  int            `json:"failed"`
	ByPod   map[string]int `json:"byPod"`     // by the pod that has answered, where the answer says so
	Slowest float64        `json:"slowestMs"` // milliseconds until the latest good answer
}

// failure is one request that got no good answer.
type failure struct {
	Time   time.Time `json:"time"` // when it was sent
	Number int       `json:"number"`
	Took   float64   `json:"tookMs"`
	Err    string    `json:"err"`
}

// load is one run of requests.
type load struct {
	ask     func(ctx context.Context) ([]byte, error)
	timeout time.Duration
	out     io.Writer

	mu sync.Mutex // guards sum and out
	sum
}

// run sends requests until ctx ends or the time is up, waits for the answers and prints the sum.
func (l *load) run(ctx context.Context, rate float64, lasts time.Duration) error {
	start := time.Now()
	var asking sync.WaitGroup
	for number := 1; ; number++ {
		at := time.Duration(float64(number-1) / rate * float64(time.Second))
		if lasts > 0 && at >= lasts || !pause(ctx, time.Until(start.Add(at))) {
			break
		}
		asking.Go(func() { l.once(context.WithoutCancel(ctx), number) }) // what is sent is waited for
	}
	asking.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(line(l.sum))
	if l.Failed > 0 {
		return fmt.Errorf("%d of %d requests failed", l.Failed, l.Sent)
	}
	return nil
}

func (l *load) once(ctx context.Context, number int) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	sent := time.Now()
	body, err := l.ask(ctx)
	took := float64(time.Since(sent).Microseconds()) / 1000
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Sent++
	if err != nil {
		l.Failed++
		_, _ = l.out.Write(line(failure{Time: sent, Number: number, Took: took, Err: err.Error()}))
		return
	}
	l.Slowest = max(l.Slowest, took)
	var who identity
	if json.Unmarshal(body, &who) == nil {
		l.ByPod[who.Pod]++
	}
}

func (l *load) serveSum(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer(w, l.sum)
}

// asker returns what sends one request to target and returns the answer.
func asker(target *url.URL, keepAlive bool) (func(context.Context) ([]byte, error), error) {
	switch target.Scheme {
	case "http":
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keepAlive}}
		return func(ctx context.Context) ([]byte, error) { return askHTTP(ctx, client, target.String()) }, nil
	case "tcp", "udp":
		return func(ctx context.Context) ([]byte, error) { return askLine(ctx, target.Scheme, target.Host) }, nil
	}
	return nil, fmt.Errorf("target must be http://, tcp:// or udp://, not %q", target)
}

func askHTTP(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return body, err
}

// askLine sends a line and reads one.
func askLine(ctx context.Context, network, addr string) ([]byte, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if _, err := conn.Write([]byte("probe\n")); err != nil {
		return nil, err
	}
	return bufio.NewReader(conn).ReadBytes('\n')
}
