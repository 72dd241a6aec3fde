// Package pty makes terminals for tests.
package pty

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Pair is a terminal and the side from which it is seen and typed on.
type Pair struct {
	Screen   *os.File
	Terminal *os.File
	t        testing.TB
}

// Open makes a terminal that ends with the test.
func Open(t testing.TB) *Pair {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() }) //nolint:errcheck // the test is over
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() }) //nolint:errcheck // the test is over
	return &Pair{Screen: screen, Terminal: terminal, t: t}
}

// Resize gives the terminal another size.
func (p *Pair) Resize(width, height uint16) {
	p.t.Helper()
	size := &unix.Winsize{Col: width, Row: height}
	if err := unix.IoctlSetWinsize(int(p.Screen.Fd()), unix.TIOCSWINSZ, size); err != nil {
		p.t.Fatal(err)
	}
}
