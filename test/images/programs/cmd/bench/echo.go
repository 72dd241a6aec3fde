package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// What echo does when it is told to end.
const (
	endNow    = "now"    // it exits at once, whatever is in flight
	endDrain  = "drain"  // it finishes what is in flight
	endIgnore = "ignore" // it goes on until it is killed
)

// reply is echo's answer on every protocol.
type reply struct {
	identity
	Requests uint64 `json:"requests"`       // answered so far, this one included, on all protocols
	From     string `json:"from"`           // the client's address, as the server sees it
	Said     string `json:"said,omitempty"` // what the client sent over TCP or UDP; over HTTP its path
}

// echoServer says who it is to whoever asks, and can be made unready, sick or deaf.
type echoServer struct {
	identity
	requests           atomic.Uint64
	unready, sick      atomic.Bool
	hanging            atomic.Bool
	httpAddr, grpcAddr string
	tcpAddr, udpAddr   string
	end                string
}

// echo answers on HTTP, TCP, UDP and gRPC. TCP and UDP share a port number unless told otherwise.
func echo(ctx context.Context, out io.Writer, args []string) error {
	s := &echoServer{identity: whoAmI()}
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	flags.StringVar(&s.httpAddr, "http", ":8080", "address of the HTTP server")
	flags.StringVar(&s.tcpAddr, "tcp", ":9000", "address of the TCP server: a line for a line")
	flags.StringVar(&s.udpAddr, "udp", ":9000", "address of the UDP server: a datagram for a datagram")
	flags.StringVar(&s.grpcAddr, "grpc", ":9090", "address of the gRPC server: echo, and health of \"\", live and ready")
	flags.StringVar(&s.end, "on-sigterm", cmp.Or(os.Getenv("ON_SIGTERM"), endDrain), "now, drain or ignore")
	if err := flags.Parse(args); err != nil {
		return err
	}
	run := context.WithoutCancel(ctx)
	switch s.end {
	case endNow:
		defer context.AfterFunc(ctx, func() { os.Exit(0) })()
	case endDrain:
		run = ctx
	case endIgnore:
	default:
		return fmt.Errorf("on-sigterm must be %s, %s or %s, not %q", endNow, endDrain, endIgnore, s.end)
	}
	_, _ = fmt.Fprintf(out, "%s version %s answers\n", s.Pod, s.Version)
	g, run := errgroup.WithContext(run)
	g.Go(func() error { return serve(run, s.httpAddr, s.handler()) })
	g.Go(func() error { return s.serveTCP(run) })
	g.Go(func() error { return serveUDP(run, s.udpAddr, s.datagram) })
	g.Go(func() error { return s.serveGRPC(run, s.grpcAddr) })
	return g.Wait()
}

func (s *echoServer) reply(from, said string) reply {
	return reply{identity: s.identity, Requests: s.requests.Add(1), From: from, Said: said}
}

// handler answers every path with a reply, but for those below: they are not counted. While the server hangs it accepts
// every request and answers none, but for /hang itself.
func (s *echoServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { answer(w, s.reply(r.RemoteAddr, r.URL.Path)) })
	mux.HandleFunc("/delay", s.serveDelay)
	mux.HandleFunc("/healthz", health(&s.sick))
	mux.HandleFunc("/readyz", health(&s.unready))
	mux.HandleFunc("/requests", text(func(*http.Request) string { return strconv.FormatUint(s.requests.Load(), 10) + "\n" }))
	mux.HandleFunc("/env", text(func(r *http.Request) string { return os.Getenv(r.FormValue("name")) + "\n" }))
	mux.HandleFunc("/toggle-live", toggle(&s.sick))
	mux.HandleFunc("/toggle-ready", toggle(&s.unready))
	outer := http.NewServeMux()
	outer.HandleFunc("/hang", toggle(&s.hanging))
	outer.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if s.hanging.Load() {
			<-r.Context().Done()
			return
		}
		mux.ServeHTTP(w, r)
	})
	return outer
}

// serveDelay is an answer that takes as long as ?for says.
func (s *echoServer) serveDelay(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if pause(r.Context(), d) {
		answer(w, s.reply(r.RemoteAddr, r.URL.Path))
	}
}

// health answers 500 while bad is set.
func health(bad *atomic.Bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if bad.Load() {
			http.Error(w, "not ok", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}

// toggle turns flag over, or sets it to what ?to says, and answers with its new value.
func toggle(flag *atomic.Bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		to := !flag.Load()
		if s := r.FormValue("to"); s != "" {
			var err error
			if to, err = strconv.ParseBool(s); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		flag.Store(to)
		_, _ = w.Write([]byte(strconv.FormatBool(to) + "\n"))
	}
}

// serveTCP answers each line of each connection with a reply, until ctx ends.
func (s *echoServer) serveTCP(ctx context.Context) error {
	l, err := listen(ctx, s.tcpAddr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		conns.Go(func() { s.answerLines(ctx, conn) })
	}
}

func (s *echoServer) answerLines(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	from := conn.RemoteAddr().String()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if _, err := conn.Write(line(s.reply(from, lines.Text()))); err != nil {
			return
		}
	}
}

func (s *echoServer) datagram(from net.Addr, datagram []byte) []byte {
	return line(s.reply(from.String(), string(datagram)))
}

// serving answers the health check of one service; known is false if there is no such service.
func (s *echoServer) serving(service string) (serving, known bool) {
	switch service {
	case "", "live":
		return !s.sick.Load(), true
	case "ready":
		return !s.unready.Load(), true
	}
	return false, false
}
