package fake

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"millrace.dev/services/kubelet/internal/runtime"
)

// Shell is the program of a command line. It knows "sh -c" with the commands echo (also ">&2"), sleep, exit, cat, true,
// false and trap, separated by semicolons; these commands by themselves; and dd, which takes all memory. A command whose
// name has "no-such" or "no/such" in it cannot be run. Everything else runs until it gets TERM, then exits with 0, as a
// well-behaved service does.
//
// As the first process of a container, a script ignores signals that it does not trap.
func Shell(args []string) (Program, error) {
	if len(args) == 0 {
		return service, nil
	}
	name := args[0]
	switch {
	case strings.Contains(name, "no/such"):
		return nil, &runtime.StartError{Message: fmt.Sprintf("exec: %q: stat %s: no such file or directory", name, name)}
	case strings.Contains(name, "no-such"):
		return nil, &runtime.StartError{Message: fmt.Sprintf("exec: %q: executable file not found in $PATH", name)}
	}
	switch path.Base(name) {
	case "sh":
		if len(args) > 2 && args[1] == "-c" {
			return (&script{commands: split(args[2]), traps: map[string]string{}}).run, nil
		}
		return service, nil
	case "dd":
		return func(context.Context, *Process) int { return OutOfMemory }, nil
	case "echo", "sleep", "exit", "cat", "true", "false":
		line := strings.Join(append([]string{path.Base(name)}, args[1:]...), " ")
		return (&script{commands: []string{line}, traps: map[string]string{}}).run, nil
	}
	return service, nil
}

func service(ctx context.Context, p *Process) int {
	for {
		select {
		case s := <-p.Signals:
			if s == "TERM" {
				return 0
			}
		case <-ctx.Done():
			return exitKilled
		}
	}
}

// split cuts a script at semicolons outside quotes.
func split(s string) []string {
	var commands []string
	var quoted bool
	from := 0
	for i, r := range s {
		switch {
		case r == '\'':
			quoted = !quoted
		case r == ';' && !quoted:
			commands = append(commands, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	return append(commands, strings.TrimSpace(s[from:]))
}

// script is a shell that runs.
type script struct {
	commands []string
	traps    map[string]string
	exited   bool
	code     int
}

func (s *script) run(ctx context.Context, p *Process) int {
	for _, c := range s.commands {
		if s.code = s.command(ctx, p, c); s.exited || ctx.Err() != nil {
			break
		}
	}
	return s.code
}

func (s *script) command(ctx context.Context, p *Process, line string) int {
	name, rest, _ := strings.Cut(line, " ")
	switch name {
	case "echo":
		w := p.Stdout
		if text, ok := strings.CutSuffix(rest, ">&2"); ok {
			w, rest = p.Stderr, strings.TrimSpace(text)
		}
		_, _ = io.WriteString(w, rest+"\n") // nobody listens: as in a shell
		return 0
	case "sleep":
		return s.sleep(ctx, p, strings.TrimSuffix(rest, " & wait"))
	case "exit":
		s.exited = true
		code, err := strconv.Atoi(rest)
		if err != nil {
			return s.code
		}
		return code
	case "trap":
		s.trap(rest)
		return 0
	case "cat":
		return s.cat(ctx, p)
	case "false":
		return 1
	}
	return 0
}

// trap reads "'commands' SIGNAL".
func (s *script) trap(rest string) {
	if end := strings.LastIndexByte(rest, '\''); end > 0 {
		s.traps[strings.TrimSpace(rest[end+1:])] = rest[1:end]
	}
}

func (s *script) sleep(ctx context.Context, p *Process, text string) int {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 1
	}
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return 0
		case <-ctx.Done():
			return exitKilled
		case signal := <-p.Signals:
			if commands := s.traps[signal]; commands != "" {
				for _, c := range split(commands) {
					if s.code = s.command(ctx, p, c); s.exited {
						return s.code
					}
				}
			}
		}
	}
}

func (s *script) cat(ctx context.Context, p *Process) int {
	done := make(chan struct{})
	go func() { // ends with the input
		defer close(done)
		_, _ = io.Copy(p.Stdout, p.Stdin) // nobody listens: as in a shell
	}()
	select {
	case <-done:
		return 0
	case <-ctx.Done():
		return exitKilled
	}
}
