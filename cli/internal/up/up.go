//go:build linux

package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"millrace.dev/cli/internal/terminal"
	"millrace.dev/pkg/clock"
)

const (
	// readyPatience bounds the wait for a cluster to come up; the first start makes keys and streams.
	readyPatience = 60 * time.Second
	readyPoll     = 20 * time.Millisecond
	upLines       = 10 // of the supervisor's log, when it ends too soon
	errorLines    = 50 // of a process's log, among which its last error is looked for
	downPatience  = 60 * time.Second
)

// Start has a cluster run in the background and returns when it works. One that runs already is left as it is; what a killed one left
// is taken over. progress is told what is waited for.
func Start(ctx context.Context, c *Config, args []string, progress io.Writer) (already bool, err error) {
	if err := c.Validate(); err != nil {
		return false, err
	}
	if err := requirements(c); err != nil {
		return false, err
	}
	s, err := readState(c)
	if err != nil {
		return false, err
	}
	var supervisor *exec.Cmd
	if s == nil {
		if err := free(c.Listen); err != nil {
			return false, err
		}
		if supervisor, err = detach(ctx, c, args); err != nil {
			return false, err
		}
	}
	return s != nil, awaitReady(ctx, c, supervisor, progress)
}

// requirements names what the machine lacks.
func requirements(c *Config) error {
	var errs []error
	self, err := os.Executable()
	if err != nil {
		return err
	}
	programs := []string{"millrace-api", "millrace-scheduler", "millrace-controller"}
	if !c.NoNode {
		programs = append(programs, "millrace-kubelet", "millrace-logger", "millrace-proxy")
		for _, program := range []string{"containerd", "runc"} {
			if _, err := exec.LookPath(program); err != nil {
				errs = append(errs, fmt.Errorf("%s is not installed; on Debian: apt-get install %s", program, program))
			}
		}
		if os.Geteuid() != 0 {
			errs = append(errs, errors.New("a node needs root: run this as root, or with --no-node for the control plane alone"))
		}
	}
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(filepath.Dir(self), program)); err != nil {
			errs = append(errs, fmt.Errorf("%s is not beside millrace in %s", program, filepath.Dir(self)))
		}
	}
	return errors.Join(errs...)
}

func free(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s cannot be listened on (%w); end what uses it, or choose another with --listen", address, err)
	}
	return l.Close()
}

// detach starts the supervisor as a process of its own session.
func detach(ctx context.Context, c *Config, args []string) (*exec.Cmd, error) {
	if err := os.MkdirAll(c.logDir(), 0o711); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(filepath.Join(c.logDir(), "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the supervisor has its own
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, append([]string{"up", "--foreground"}, args...)...) // it outlives this process
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	return cmd, nil
}

// awaitReady waits until every process says that it works.
func awaitReady(ctx context.Context, c *Config, supervisor *exec.Cmd, progress io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	died := make(chan error, 1)
	if supervisor != nil {
		go func() { died <- supervisor.Wait() }()
	}
	told := ""
	for {
		waiting := unready(ctx, c)
		if len(waiting) == 0 {
			return nil
		}
		if text := strings.Join(waiting, ", "); text != told {
			told = text
			terminal.Tell(progress, "waiting for %s\n", text)
		}
		select {
		case err := <-died:
			return fmt.Errorf("the supervisor ended (%w); its last words:\n%s", err, tail(filepath.Join(c.logDir(), "up.log"), upLines))
		default:
		}
		if !clock.Pause(ctx, readyPoll) {
			return fmt.Errorf("%s did not get ready in %v; see %s%s", strings.Join(waiting, ", "), readyPatience, c.logDir(), lastErrors(c, waiting))
		}
	}
}

// lastErrors quotes the last error that each process has logged, a line each.
func lastErrors(c *Config, names []string) string {
	var b strings.Builder
	for _, name := range names {
		lines := strings.Split(tail(filepath.Join(c.logDir(), name+".log"), errorLines), "\n")
		slices.Reverse(lines)
		if i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, " level=ERROR ") }); i >= 0 {
			fmt.Fprintf(&b, "\n%s: %s", name, lines[i])
		}
	}
	return b.String()
}

// unready names the processes that do not say that they work.
func unready(ctx context.Context, c *Config) []string {
	var waiting []string
	for _, name := range expected(c) {
		if !ready(ctx, c.socket(name)) {
			waiting = append(waiting, name)
		}
	}
	return waiting
}

func expected(c *Config) []string {
	var names []string
	for _, service := range []string{"api", "scheduler", "controller"} {
		for i := range max(c.Replicas[service], 1) {
			if i == 0 {
				names = append(names, service)
			} else {
				names = append(names, fmt.Sprintf("%s-%d", service, i+1))
			}
		}
	}
	if !c.NoNode {
		names = append(names, "kubelet", "proxy")
	}
	return names
}

func ready(ctx context.Context, socket string) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://unix/readyz", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode == http.StatusOK
}

// tail is the end of a file: so many lines.
func tail(file string, count int) string {
	body, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	return strings.Join(lines[max(len(lines)-count, 0):], "\n")
}

// Stop ends a cluster and removes what it left on the machine, but for its data; with purge that too. What is not there is no
// error: it may be called again, and after a cluster was killed.
func Stop(ctx context.Context, c *Config, purge bool, progress io.Writer) error {
	s, err := readState(c)
	if err != nil {
		return err
	}
	if s != nil {
		terminal.Tell(progress, "stopping the processes\n")
		if err := end(ctx, s.PID); err != nil {
			return err
		}
	}
	if err := cleanNode(ctx, c, purge, progress); err != nil {
		return err
	}
	if err := unmountBelow(c.Dir); err != nil {
		return err
	}
	if err := removeOwn(c.RunDir, c.runEntries()); err != nil {
		return err
	}
	if purge {
		return removeOwn(c.Dir, dataEntries)
	}
	return nil
}

// removeOwn removes what a cluster made in a directory, and the directory if nothing else lies there: it may be one that was
// there before.
func removeOwn(dir string, entries []string) error {
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// end has a supervisor stop everything and waits for it.
func end(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the supervisor: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, downPatience)
	defer cancel()
	for syscall.Kill(pid, 0) == nil {
		if !clock.Pause(ctx, readyPoll) {
			return fmt.Errorf("the supervisor (pid %d) did not end in %v", pid, downPatience)
		}
	}
	return nil
}

// cleanNode has the kubelet's program end the containers and remove what they left.
func cleanNode(ctx context.Context, c *Config, purge bool, progress io.Writer) error {
	config := filepath.Join(c.configDir(), "kubelet.yaml")
	if _, err := os.Stat(config); errors.Is(err, fs.ErrNotExist) {
		return nil // there never was a node
	} else if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	terminal.Tell(progress, "ending the containers\n")
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), "millrace-kubelet"), "cleanup", "--config", config,
		fmt.Sprintf("--purge=%v", purge))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("clean up the node: %w\n%s", err, out)
	}
	return nil
}

// WithSignals is a context that ends at SIGTERM and SIGINT.
func WithSignals(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
}
