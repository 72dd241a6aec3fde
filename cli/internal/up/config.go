// Package up starts and stops a cluster on this machine: a NATS server, the five services and, through the kubelet, a containerd
// of its own, each as a process of its own.
package up

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"sigs.k8s.io/yaml"
)

// Config is how a cluster is run on this machine.
type Config struct {
	// Name of the cluster, and of the context that is made for it. Default: millrace.
	Name string `json:"name"`
	// Dir holds what lasts: keys, state, images, logs. Default: /var/lib/millrace.
	Dir string `json:"dir"`
	// RunDir holds what does not outlive the machine's boot; short, because sockets lie below it. Default: /run/millrace.
	RunDir string `json:"runDir"`
	// Listen is the address of the NATS server. Default: 127.0.0.1:4222.
	Listen string `json:"listen"`
	// Replicas is how many processes of a service run: api, scheduler, controller. Default: one of each.
	Replicas map[string]int `json:"replicas,omitempty"`
	// NoNode starts the control plane alone. Default: false.
	NoNode bool `json:"noNode,omitempty"`
	// Services are settings for single services, by name (api, scheduler, controller, kubelet, proxy), over those that up makes.
	Services map[string]map[string]any `json:"services,omitempty"`
	// Server are settings for the NATS server, over those that up makes.
	Server map[string]any `json:"server,omitempty"`
}

// DefaultConfig is the cluster of a machine that has one.
func DefaultConfig() *Config {
	return &Config{Name: "millrace", Dir: "/var/lib/millrace", RunDir: "/run/millrace", Listen: "127.0.0.1:4222"}
}

// Load reads a configuration file over the defaults.
func Load(file string) (*Config, error) {
	c := DefaultConfig()
	if file == "" {
		return c, nil
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(body, c); err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", file, err)
	}
	return c, nil
}

// Validate says everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	if !filepath.IsAbs(c.Dir) || !filepath.IsAbs(c.RunDir) {
		errs = append(errs, fmt.Errorf("dir %q and runDir %q: want absolute paths", c.Dir, c.RunDir))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	}
	for name := range c.Services {
		if !known[name] {
			errs = append(errs, fmt.Errorf("services: there is no service %q", name))
		}
	}
	for name, n := range c.Replicas {
		if name != "api" && name != "scheduler" && name != "controller" || n < 1 {
			errs = append(errs, fmt.Errorf("replicas: %s: %d: only api, scheduler and controller have replicas, at least one", name, n))
		}
	}
	return errors.Join(errs...)
}

var known = map[string]bool{"api": true, "scheduler": true, "controller": true, "kubelet": true, "proxy": true}

func (c *Config) hostPort() (host string, port int) {
	host, text, _ := net.SplitHostPort(c.Listen) // validated
	port, _ = strconv.Atoi(text)                 // validated
	return host, port
}

// url is where processes of this machine reach the NATS server.
func (c *Config) url() string {
	host, port := c.hostPort()
	if host == "" || host == "0.0.0.0" {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// dataEntries are what a cluster makes in its directory.
var dataEntries = []string{"keys", "config", "log", "nats", "node"}

// runEntries are what it makes in its directory for what does not outlive the boot.
func (c *Config) runEntries() []string {
	entries := []string{"up.json", "node"}
	for _, name := range expected(c) {
		entries = append(entries, name+".sock")
	}
	return append(entries, "kubelet.sock", "proxy.sock")
}

func (c *Config) keyDir() string          { return filepath.Join(c.Dir, "keys") }
func (c *Config) configDir() string       { return filepath.Join(c.Dir, "config") }
func (c *Config) logDir() string          { return filepath.Join(c.Dir, "log") }
func (c *Config) logFile(p string) string { return filepath.Join(c.logDir(), p+".log") }
func (c *Config) stateFile() string       { return filepath.Join(c.RunDir, "up.json") }
func (c *Config) socket(p string) string  { return filepath.Join(c.RunDir, p+".sock") }

// AdminCredential is the file with the credential of the cluster's owner.
func (c *Config) AdminCredential() string { return filepath.Join(c.keyDir(), "admin.creds") }
