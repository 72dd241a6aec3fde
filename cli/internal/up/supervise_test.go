//go:build linux

package up

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// waitVariable has the test program do nothing but wait for the end of its input.
const waitVariable = "MILLRACE_TEST_WAIT"

// exitVariable has the test program do nothing but exit with this code.
const exitVariable = "MILLRACE_TEST_EXIT"

func TestMain(m *testing.M) {
	if code, err := strconv.Atoi(os.Getenv(exitVariable)); err == nil {
		os.Exit(code)
	}
	if os.Getenv(waitVariable) != "" {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // its end is all that matters
		return
	}
	os.Exit(m.Run())
}

// A cluster is found, and can be stopped, by a millrace that was built since it was started.
func TestAliveWhenItsProgramIsReplaced(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), filepath.Base(self))
	if err := os.Link(self, program); err != nil {
		body, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(program, body, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), waitVariable+"=yes")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !alive(cmd.Process.Pid) {
		t.Error("a supervisor that runs is not found")
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if !alive(cmd.Process.Pid) {
		t.Error("a supervisor whose program was replaced is not found")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if alive(cmd.Process.Pid) {
		t.Error("a process that has ended is found")
	}
	if alive(os.Getppid()) {
		t.Error("another program is taken for a supervisor")
	}
}

func TestLastErrorsAreQuoted(t *testing.T) {
	c := &Config{Dir: t.TempDir()}
	if err := os.Mkdir(c.logDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	log := "time=1 level=ERROR msg=old\ntime=2 level=ERROR msg=failed err=why\ntime=3 level=INFO msg=started\n"
	if err := os.WriteFile(filepath.Join(c.logDir(), "api.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := lastErrors(c, []string{"api", "proxy"}), "\napi: time=2 level=ERROR msg=failed err=why"; got != want {
		t.Errorf("lastErrors = %q, want %q", got, want)
	}
}

// Only a process that ends at once with the code for a bad configuration ends the cluster: a panic has the same code.
func TestHopeless(t *testing.T) {
	for _, tc := range []struct {
		code  string
		lived time.Duration
		want  bool
	}{
		{"2", 100 * time.Millisecond, true},
		{"2", time.Minute, false},
		{"1", 100 * time.Millisecond, false},
		{"0", 100 * time.Millisecond, false},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), exitVariable+"="+tc.code)
		if got := hopeless(cmd.Run(), tc.lived); got != tc.want {
			t.Errorf("exit %s after %v: %t, want %t", tc.code, tc.lived, got, tc.want)
		}
	}
}
