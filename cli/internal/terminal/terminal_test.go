package terminal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// openTerminal makes a terminal that ends with the test, and the screen from which it is seen and typed on.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(screen.Close(), tty.Close()); err != nil {
			t.Error(err)
		}
	})
	return screen, tty
}

func resize(t *testing.T, screen *os.File, width, height uint16) {
	t.Helper()
	if err := pty.Setsize(screen, &pty.Winsize{Cols: width, Rows: height}); err != nil {
		t.Fatal(err)
	}
}

func TestIs(t *testing.T) {
	_, tty := openTerminal(t)
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // nothing was written
	if !Is(tty) {
		t.Error("a terminal is not recognised")
	}
	if Is(file) || Is(&bytes.Buffer{}) {
		t.Error("something else is taken for a terminal")
	}
	if _, ok := SizeOf(&bytes.Buffer{}); ok {
		t.Error("a buffer has a size")
	}
}

func TestColour(t *testing.T) {
	_, tty := openTerminal(t)
	for _, c := range []struct {
		name        string
		stream      any
		environment map[string]string
		want        bool
	}{
		{name: "terminal", stream: tty, environment: map[string]string{"TERM": "xterm"}, want: true},
		{name: "no terminal", stream: &bytes.Buffer{}},
		{name: "declined", stream: tty, environment: map[string]string{"NO_COLOR": "1"}},
		{name: "dumb", stream: tty, environment: map[string]string{"TERM": "dumb"}},
	} {
		if got := Colour(c.stream, environment(c.environment)); got != c.want {
			t.Errorf("%s: Colour = %v", c.name, got)
		}
	}
}

func TestRawAndBack(t *testing.T) {
	_, tty := openTerminal(t)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	restore, err := Raw(tty)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *raw == *before {
		t.Error("the terminal is not raw")
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	after, err := term.GetState(int(tty.Fd()))
	if err != nil || *after != *before {
		t.Errorf("the terminal is not as it was: %v", err)
	}
}

func TestFollow(t *testing.T) {
	screen, tty := openTerminal(t)
	resize(t, screen, 80, 24)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	enough := errors.New("enough")
	var got []Size
	err := Follow(ctx, tty, func(s Size) error {
		got = append(got, s)
		if len(got) == 2 {
			return enough
		}
		resize(t, screen, 132, 50)
		return syscall.Kill(os.Getpid(), syscall.SIGWINCH) // the kernel tells only the terminal's own processes
	})
	if !errors.Is(err, enough) || got[0] != (Size{80, 24}) || got[1] != (Size{132, 50}) {
		t.Errorf("Follow: %v, %v", got, err)
	}
}
