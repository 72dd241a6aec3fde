package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// crash ends with a status of its own choice after a while. Told to end before, it ends with 0.
func crash(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("crash", flag.ContinueOnError)
	after := flags.Duration("after", 0, "how long it lives")
	code := flags.Int("code", 1, "exit code")
	message := flags.String("message", "", "last words, for the termination log")
	log := flags.String("termination-log", "/dev/termination-log", "where the last words go")
	if err := flags.Parse(args); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "ends with %d in %v\n", *code, *after)
	if !pause(ctx, *after) {
		return nil
	}
	if *message != "" {
		if err := os.WriteFile(*log, []byte(*message), 0o644); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(out, "ends with %d at %s\n", *code, time.Now().Format(time.RFC3339Nano))
	return exitError(*code)
}
