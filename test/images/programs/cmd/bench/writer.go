package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// writeTick is how often due lines are written: often enough to look steady, seldom enough to be cheap.
const writeTick = 10 * time.Millisecond

// writer writes numbered lines at a steady rate: number, time, padding.
func writer(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("writer", flag.ContinueOnError)
	rate := flags.Float64("rate", 1, "lines a second")
	count := flags.Int("count", 0, "lines in all; 0: until it is told to end")
	width := flags.Int("line-bytes", 0, "least length of a line, without its end")
	file := flags.String("file", "", "file to append to, synced after every write; empty: standard output")
	stderr := flags.Bool("stderr", false, "write every other line to standard error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rate <= 0 {
		return fmt.Errorf("rate must be more than 0, not %v", *rate)
	}
	sinks := []io.Writer{out}
	if *file != "" {
		f, err := os.OpenFile(*file, os.O_CREATE|os.O_APPEND|os.O_WRONLY|os.O_SYNC, 0o644)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		sinks = []io.Writer{f}
	}
	if *stderr {
		sinks = append(sinks, os.Stderr)
	}
	return writeLines(ctx, pacing{rate: *rate, count: *count}, *width, sinks...)
}

// pacing is how many lines are written, and how fast.
type pacing struct {
	rate  float64 // lines a second
	count int     // lines in all; 0: no end
}

// due is how many lines have to be out after so long.
func (p pacing) due(elapsed time.Duration) int {
	n := 1 + int(elapsed.Seconds()*p.rate)
	if p.count > 0 {
		n = min(n, p.count)
	}
	return n
}

// writeLines writes lines to the sinks in turn until their count is reached or ctx ends. A sink that blocks delays the
// lines; none is left out.
func writeLines(ctx context.Context, p pacing, width int, sinks ...io.Writer) error {
	buffers := make([]*bufio.Writer, len(sinks))
	for i, sink := range sinks {
		buffers[i] = bufio.NewWriterSize(sink, 64<<10)
	}
	start, written := time.Now(), 0
	for {
		for due := p.due(time.Since(start)); written < due; written++ {
			line := fmt.Sprintf("%08d %s", written+1, time.Now().UTC().Format(time.RFC3339Nano))
			line += strings.Repeat(".", max(0, width-len(line)))
			if _, err := fmt.Fprintln(buffers[written%len(buffers)], line); err != nil {
				return err
			}
		}
		for _, b := range buffers {
			if err := b.Flush(); err != nil {
				return err
			}
		}
		if written == p.count && p.count > 0 {
			return nil
		}
		next := start.Add(time.Duration(float64(written) / p.rate * float64(time.Second)))
		if !pause(ctx, max(writeTick, time.Until(next))) {
			return nil
		}
	}
}
