package script

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/daemon"
	"millrace.dev/pkg/natsd"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api"
	"millrace.dev/services/controller"
	"millrace.dev/services/scheduler"
)

// serviceVariable has this test program be a service instead: each runs as a process of its own, as it does for users.
const serviceVariable = "MILLRACE_SCRIPT_SERVICE"

// services are the parts of a control plane, with the role that each proves itself by.
var services = map[string]struct {
	role auth.Role
	main func() int
}{
	"api":        {auth.RoleAPI, func() int { return daemon.Main("millrace-api", api.DefaultConfig(), api.Run) }},
	"scheduler":  {auth.RoleScheduler, func() int { return daemon.Main("millrace-scheduler", scheduler.DefaultConfig(), scheduler.Run) }},
	"controller": {auth.RoleController, func() int { return daemon.Main("millrace-controller", controller.DefaultConfig(), controller.Run) }},
}

// cluster is a NATS server with accounts and a control plane without nodes.
type cluster struct {
	t    *testing.T
	dir  string
	keys *auth.Authority
	nats *natsd.Server

	mu        sync.Mutex
	processes map[string]*process
}

// process is one running service.
type process struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan error
}

// patience is how long anything may take on a machine that is busy.
const patience = 60 * time.Second

// start starts a cluster that ends with the test.
func start(t *testing.T) *cluster {
	t.Helper()
	keys, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	public, err := keys.Public()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: t.TempDir(), keys: keys, processes: map[string]*process{}}
	c.nats, err = natsd.Start(natsd.Config{Name: "script", Dir: filepath.Join(c.dir, "nats"), Host: "127.0.0.1", MaxFileStore: 4 << 30, Volatile: true, Auth: public})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.nats.Stop)
	t.Cleanup(c.stopAll)
	for name := range services {
		c.run(name)
	}
	c.awaitAPI()
	return c
}

// credential writes a credential to a file.
func (c *cluster) credential(role auth.Role, name string) string {
	c.t.Helper()
	credential, err := c.keys.Mint(role, name, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := credential.Format()
	if err != nil {
		c.t.Fatal(err)
	}
	file := filepath.Join(c.dir, "keys", string(role)+"-"+name+".creds")
	if err := auth.WriteSecret(file, body); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// run starts a service.
func (c *cluster) run(name string) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	args := []string{"--nats=" + c.nats.ClientURL(), "--credential=" + c.credential(services[name].role, name), "--name=" + name, "--log-level=warn"}
	if name == "api" {
		args = append(args, "--master-key="+filepath.Join(c.dir, "keys", "master.key"))
	}
	p := &process{cmd: exec.Command(self, args...), log: &bytes.Buffer{}, done: make(chan error, 1)}
	p.cmd.Env = []string{serviceVariable + "=" + name}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes[name] = p
}

// stop tells a service to end, and waits for it.
func (c *cluster) stop(name string) error {
	c.mu.Lock()
	p := c.processes[name]
	delete(c.processes, name)
	c.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%s does not run", name)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return <-p.done
}

// stopAll ends every service, and shows what those said that did not end well.
func (c *cluster) stopAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.processes {
		p.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it has ended already
	}
	for name, p := range c.processes {
		select {
		case err := <-p.done:
			if err != nil || c.t.Failed() {
				c.t.Logf("%s: %v\n%s", name, err, p.log)
			}
		case <-time.NewTimer(patience).C:
			p.cmd.Process.Kill() //nolint:errcheck // it has ended already
			c.t.Errorf("%s does not stop", name)
		}
	}
}

// awaitAPI returns when the api answers.
func (c *cluster) awaitAPI() {
	c.t.Helper()
	credential, err := auth.LoadCredential(c.credential(auth.RoleUser, "admin"))
	if err != nil {
		c.t.Fatal(err)
	}
	nc, err := wire.Connect(wire.Config{URL: c.nats.ClientURL(), JWT: credential.JWT, Seed: credential.Seed, Inbox: wire.Inbox("admin"), Once: true})
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if _, err := client.ForUser(nc, "admin").Info(ctx); err != nil {
		c.t.Fatal(err)
	}
}
