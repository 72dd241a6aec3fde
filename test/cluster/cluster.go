//go:build linux

// Package cluster runs a whole cluster for a test: the built binaries, a real NATS server and containerd, in a network
// namespace of the test's own. It ends with the test and leaves nothing on the machine.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"sigs.k8s.io/yaml"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/need"
	"millrace.dev/pkg/wire"
	"millrace.dev/test/images"
)

// Cluster is a running cluster.
type Cluster struct {
	*client.Client
	t        testing.TB
	options  options
	net      *netns
	bin      string // directory of the binaries
	dir, run string
	file     string // configuration of millrace up
	Registry *images.Registry
}

type options struct {
	noNode   bool
	replicas map[string]int
	services map[string]map[string]any
}

// Option changes how a cluster is made.
type Option func(*options)

// NoNode leaves the node out: the control plane alone.
func NoNode() Option { return func(o *options) { o.noNode = true } }

// Replicas runs several processes of a service.
func Replicas(service string, n int) Option {
	return func(o *options) { o.replicas[service] = n }
}

// Set changes one setting of a service, such as Set("kubelet", "capacity", map[string]string{"cpu": "2"}).
func Set(service, setting string, value any) Option {
	return func(o *options) {
		if o.services[service] == nil {
			o.services[service] = map[string]any{}
		}
		o.services[service][setting] = value
	}
}

// Where the parts of a cluster listen, inside its namespace, and how long to wait for one.
const (
	NATSAddress     = "127.0.0.1:4222"
	RegistryAddress = "127.0.0.1:5000"
	// URL is where the NATS server of a cluster listens, inside its namespace.
	URL          = "nats://" + NATSAddress
	upPatience   = 90 * time.Second
	downPatience = 90 * time.Second
)

// prefix begins the names of everything that tests make on the machine; the pid of the test follows.
const prefix = "mrt"

var (
	count atomic.Int32
	sweep sync.Once
)

// Processes starts a cluster whose every part is a process of its own, as users run it. It needs root.
func Processes(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	need.Root(t)
	o := options{replicas: map[string]int{}, services: map[string]map[string]any{}}
	for _, opt := range opts {
		opt(&o)
	}
	if !o.noNode {
		need.Containerd(t)
		need.Nftables(t)
	}
	c := &Cluster{t: t, options: o, bin: binaries(t), dir: t.TempDir()}
	sweep.Do(func() { sweepStale(t, c.bin) })
	name := fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), count.Add(1))
	c.run = "/run/" + name
	c.net = newNetns(t, name)
	if !o.noNode {
		c.serveImages(name)
	}
	c.writeConfig(name)
	t.Cleanup(c.down)
	c.Up()
	c.Client = c.Connect()
	return c
}

// binaries is where the built programs are: MILLRACE_BIN, which make sets, or freshly built.
func binaries(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("MILLRACE_BIN"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	for _, pkg := range []string{
		"cli/cmd/millrace", "services/api/cmd/millrace-api", "services/scheduler/cmd/millrace-scheduler",
		"services/controller/cmd/millrace-controller", "services/proxy/cmd/millrace-proxy", "services/kubelet/cmd/millrace-kubelet",
		"services/kubelet/cmd/millrace-logger",
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "millrace.dev/"+pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	return dir
}

// serveImages serves the test images inside the namespace, as a mirror of every registry.
func (c *Cluster) serveImages(name string) {
	c.t.Helper()
	dir := os.Getenv("MILLRACE_IMAGES")
	if dir == "" {
		dir = images.DefaultDir()
	}
	if _, err := images.Build(c.t.Context(), images.Config{Dir: dir}); err != nil {
		c.t.Fatalf("build test images: %v", err)
	}
	store, err := images.Open(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	c.Registry = images.NewRegistry(store)
	l, err := c.net.listen(RegistryAddress)
	if err != nil {
		c.t.Fatal(err)
	}
	server := &http.Server{Handler: c.Registry, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	c.t.Cleanup(func() {
		if err := server.Close(); err != nil {
			c.t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			c.t.Errorf("serve the registry: %v", err)
		}
	})
	mirror := map[string]any{"prefix": "*", "endpoints": []string{"http://" + RegistryAddress}, "exclusive": true}
	for setting, value := range map[string]any{
		"images": map[string]any{"mirrors": []any{mirror}}, "nodeName": "n1", "containerd": map[string]any{"cgroupParent": "/" + name},
	} {
		if _, ok := c.options.services["kubelet"][setting]; !ok {
			Set("kubelet", setting, value)(&c.options)
		}
	}
	Set("proxy", "nodeName", c.options.services["kubelet"]["nodeName"])(&c.options)
}

func (c *Cluster) writeConfig(name string) {
	c.t.Helper()
	if err := os.MkdirAll(c.run, 0o711); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.run, "data"), []byte(c.dir), 0o600); err != nil { // for sweepStale
		c.t.Fatal(err)
	}
	body, err := yaml.Marshal(map[string]any{
		"name": name, "dir": c.dir, "runDir": c.run, "listen": NATSAddress, "noNode": c.options.noNode, "replicas": c.options.replicas,
		"services": c.options.services,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.file = filepath.Join(c.dir, "up.yaml")
	if err := os.WriteFile(c.file, body, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// Up starts the cluster, or what was taken down of it.
func (c *Cluster) Up() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), upPatience)
	defer cancel()
	if out, err := c.Command(ctx, "up", "--file", c.file).CombinedOutput(); err != nil {
		c.t.Fatalf("millrace up: %v\n%s\n%s", err, out, c.logs(30))
	}
}

// Command is a call of the CLI inside the namespace, with a configuration of the cluster's own.
func (c *Cluster) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := c.net.command(ctx, filepath.Join(c.bin, "millrace"), args...)
	cmd.Env = append(os.Environ(), "MILLRACE_CONFIG="+filepath.Join(c.dir, "context"))
	return cmd
}

// Run calls the CLI and returns what it wrote and its exit code.
func (c *Cluster) Run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return c.RunWith("", args...)
}

// RunWith is [Cluster.Run] with an input.
func (c *Cluster) RunWith(stdin string, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := c.Command(ctx, args...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && !ok {
		c.t.Fatalf("millrace %v: %v", args, err)
	}
	if ok {
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code
}

// Must is [Cluster.Run] for a call that has to succeed; it returns what was written to stdout.
func (c *Cluster) Must(args ...string) string {
	c.t.Helper()
	out, errs, code := c.Run(args...)
	if code != 0 {
		c.t.Fatalf("millrace %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// Connect opens a client of the cluster's owner.
func (c *Cluster) Connect() *client.Client {
	c.t.Helper()
	credential, err := auth.LoadCredential(filepath.Join(c.dir, "keys", "admin.creds"))
	if err != nil {
		c.t.Fatal(err)
	}
	return client.ForUser(c.Dial(credential, wire.Inbox("admin")), "admin")
}

// Dial opens a connection with a credential.
func (c *Cluster) Dial(credential auth.Credential, inbox string) *wire.Conn {
	c.t.Helper()
	nc, err := wire.Connect(wire.Config{
		URL: URL, Name: c.t.Name(), JWT: credential.JWT, Seed: credential.Seed, Inbox: inbox, Dialer: c.net, Steady: true,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

// Dialer opens connections from inside the namespace.
func (c *Cluster) Dialer() nats.CustomDialer { return c.net }

// NetDial opens a connection from inside the namespace.
func (c *Cluster) NetDial(network, address string) (net.Conn, error) {
	return c.net.Dial(network, address)
}

// Inside runs f on a thread of its own in the cluster's network namespace. The thread ends with f.
func (c *Cluster) Inside(f func() error) error { return c.net.inside(f) }

// Name is the name of the cluster, of its network namespace and of the control group of its containers.
func (c *Cluster) Name() string { return c.net.name }

// Authority holds the keys of the cluster, with which a test makes credentials of its own.
func (c *Cluster) Authority() *auth.Authority {
	c.t.Helper()
	authority, err := auth.LoadOrNew(filepath.Join(c.dir, "keys", "authority.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	return authority
}

// PID is the process id of a part: nats, api, scheduler, controller, kubelet, proxy, or api-2 of several.
func (c *Cluster) PID(name string) int {
	c.t.Helper()
	body, err := os.ReadFile(filepath.Join(c.run, "up.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	var state struct {
		Processes map[string]int `json:"processes"`
	}
	if err := json.Unmarshal(body, &state); err != nil {
		c.t.Fatal(err)
	}
	return state.Processes[name]
}

// Signal sends a signal to a part.
func (c *Cluster) Signal(name string, s syscall.Signal) {
	c.t.Helper()
	pid := c.PID(name)
	if pid == 0 {
		c.t.Fatalf("there is no process %s", name)
	}
	if err := syscall.Kill(pid, s); err != nil {
		c.t.Fatalf("signal %s (pid %d): %v", name, pid, err)
	}
}

// For is the cluster as a test within the test sees it: what fails, fails that one.
func (c *Cluster) For(t testing.TB) *Cluster {
	t.Helper()
	inner := *c
	inner.t = t
	return &inner
}

// Freeze stops a process without ending it, until Thaw or the end of the test.
func (c *Cluster) Freeze(name string) {
	c.t.Helper()
	pid := c.PID(name)
	c.Signal(name, syscall.SIGSTOP)
	c.t.Cleanup(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			c.t.Errorf("thaw %s: %v", name, err)
		}
	})
}

// Thaw has a process go on that was frozen.
func (c *Cluster) Thaw(name string) {
	c.t.Helper()
	c.Signal(name, syscall.SIGCONT)
}

// Kill kills a part with SIGKILL and waits until it has been started again and works.
func (c *Cluster) Kill(name string) {
	c.t.Helper()
	pid := c.PID(name)
	c.Signal(name, syscall.SIGKILL)
	c.Until(30*time.Second, name+" to be started again", func() bool {
		again := c.PID(name)
		return again != 0 && again != pid && (name == "nats" || c.ready(name))
	})
}

// ready asks a part whether it works.
func (c *Cluster) ready(name string) bool {
	body, err := c.health(name, "/readyz")
	return err == nil && strings.TrimSpace(body) == "ok"
}

// Metrics is what a process tells of itself, in the text format of Prometheus.
func (c *Cluster) Metrics(name string) string {
	c.t.Helper()
	body, err := c.health(name, "/metrics")
	if err != nil {
		c.t.Fatalf("metrics of %s: %v", name, err)
	}
	return body
}

// health asks a process over the socket of its health.
func (c *Cluster) health(name, path string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(c.run, name+".sock"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://unix"+path, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

// Until waits for a state of which no event tells, such as that of a process.
func (c *Cluster) Until(patience time.Duration, what string, done func() bool) {
	c.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !done() {
		select {
		case <-timeout.C:
			c.t.Fatalf("waited %v in vain for %s\n%s", patience, what, c.logs(50))
		case <-ticker.C:
		}
	}
}

// down stops the cluster and checks that nothing of it is left.
func (c *Cluster) down() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), downPatience)
	defer cancel()
	if c.t.Failed() {
		c.t.Log(c.logs(50))
	}
	if out, err := c.Command(ctx, "down", "--file", c.file, "--purge").CombinedOutput(); err != nil {
		c.t.Errorf("millrace down: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(c.run, "data")); err != nil {
		c.t.Error(err)
	}
	if err := os.Remove(c.run); err != nil {
		c.t.Errorf("left behind: %v", err)
	}
	for _, left := range c.Leftovers() {
		c.t.Errorf("left behind: %s", left)
	}
}

// Leftovers names what a cluster that is down has left on the machine.
func (c *Cluster) Leftovers() []string {
	left := c.mounts()
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + c.net.name)
	if err == nil {
		left = append(left, groups...)
	}
	if _, err := os.Stat(c.run); err == nil {
		left = append(left, c.run)
	}
	return append(left, c.processes()...)
}

// processes names the processes that have to do with the cluster's directories.
func (c *Cluster) processes() []string {
	var found []string
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		command := strings.ReplaceAll(string(body), "\x00", " ")
		if strings.Contains(command, c.run+"/") || strings.Contains(command, c.dir+"/") {
			found = append(found, "process "+command)
		}
	}
	return found
}

// logs are the last lines of every part.
func (c *Cluster) logs(lines int) string {
	var b strings.Builder
	files, err := filepath.Glob(filepath.Join(c.dir, "log", "*.log"))
	if err != nil {
		return err.Error()
	}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		all := strings.Split(strings.TrimSpace(string(body)), "\n")
		fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(f), strings.Join(all[max(len(all)-lines, 0):], "\n"))
	}
	return b.String()
}
