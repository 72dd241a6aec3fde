package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// burn uses up CPU and memory: what its flags say from the start, and what requests ask of it.
func burn(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("burn", flag.ContinueOnError)
	addr := flags.String("http", ":8080", "address of the HTTP server: /cpu?for=100ms&cores=1, /memory?mib=64&for=10s")
	cores := flags.Int("cores", 0, "cores to keep busy")
	mib := flags.Int("memory-mib", 0, "memory to hold, in MiB")
	child := flags.Bool("child", false, "hold the memory in a child process, and outlive it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var burning sync.WaitGroup
	defer burning.Wait()
	if *child {
		other := exec.CommandContext(ctx, "/proc/self/exe", "burn", "--http=127.0.0.1:0", "--memory-mib="+strconv.Itoa(*mib))
		other.Stdout, other.Stderr = out, out
		burning.Go(func() { _, _ = fmt.Fprintf(out, "child: %v\n", other.Run()) })
		*mib = 0
	}
	burning.Go(func() { burnCPU(ctx, *cores) })
	held := hold(*mib)
	defer runtime.KeepAlive(held)
	return serve(ctx, *addr, burnHandler())
}

func burnHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", text(func(*http.Request) string { return strconv.Itoa(os.Getpid()) + "\n" }))
	mux.HandleFunc("/cpu", amount("cores", burnCPU))
	mux.HandleFunc("/memory", amount("mib", func(ctx context.Context, mib int) {
		held := hold(mib)
		<-ctx.Done()
		runtime.KeepAlive(held)
	}))
	return mux
}

// amount runs use with the number that the request gives by name, or 1, for as long as ?for says, and answers then.
func amount(name string, use func(ctx context.Context, n int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("for"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n := 1
		if s := r.FormValue(name); s != "" {
			if n, err = strconv.Atoi(s); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		use(ctx, n)
		_, _ = w.Write([]byte("ok\n"))
	}
}

// burnCPU keeps that many cores busy until ctx ends.
func burnCPU(ctx context.Context, cores int) {
	var burning sync.WaitGroup
	for range cores {
		burning.Go(func() {
			for x := uint64(1); ctx.Err() == nil; {
				x = spin(x)
			}
		})
	}
	burning.Wait()
}

// spin is some ten microseconds of arithmetic.
func spin(x uint64) uint64 {
	for range 10_000 {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

// hold returns so much memory, all of it touched.
func hold(mib int) []byte {
	held := make([]byte, mib<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	return held
}
