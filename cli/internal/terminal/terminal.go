// Package terminal knows whether a stream is a terminal, how large it is, and how to hand it to a program in a container.
package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// descriptor is a stream that belongs to the operating system. An *os.File is one.
type descriptor interface{ Fd() uintptr }

// Is says that stream, a reader or writer, is a terminal.
func Is(stream any) bool {
	d, ok := stream.(descriptor)
	return ok && term.IsTerminal(int(d.Fd()))
}

// Colour says that what is written to stream may be coloured: it is a terminal that can do it, and nobody asked otherwise.
func Colour(stream any, environment func(string) string) bool {
	return Is(stream) && environment("NO_COLOR") == "" && environment("TERM") != "dumb"
}

// Raw has a terminal pass every key on as it is, ^C too, until restore is called.
func Raw(stream any) (restore func() error, err error) {
	fd := int(stream.(descriptor).Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	return func() error { return term.Restore(fd, before) }, nil
}

// Size is how many characters and lines a terminal has.
type Size struct{ Width, Height uint16 }

// SizeOf is the size of a stream; false: it is no terminal.
func SizeOf(stream any) (Size, bool) {
	d, ok := stream.(descriptor)
	if !ok {
		return Size{}, false
	}
	width, height, err := term.GetSize(int(d.Fd()))
	if err != nil {
		return Size{}, false
	}
	return Size{Width: uint16(width), Height: uint16(height)}, true
}

// Follow calls each with the size of a terminal, now and whenever it changes, until ctx ends or each fails.
func Follow(ctx context.Context, stream any, each func(Size) error) error {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	defer signal.Stop(changes)
	for {
		if size, ok := SizeOf(stream); ok {
			if err := each(size); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		}
	}
}

// Tell writes what a person should know beside the answer of a command: progress, warnings, failures, help. When the terminal
// has gone nobody is left to be told; answers are never written so, for theirs is an error that counts.
func Tell(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
