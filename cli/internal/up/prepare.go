//go:build linux

package up

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/natsd"
)

// process is one child of up.
type process struct {
	name    string // unique: api, or api-2 where there are several
	service string
	args    []string // the program and its arguments
	socket  string   // where its health is served; empty: nowhere
}

// prepare makes keys, credentials and the configuration of every process, and says what is to run, in the order in which
// it is to be stopped at last.
func prepare(c *Config, bin string) ([]process, error) {
	for _, dir := range []string{c.Dir, c.keyDir(), c.configDir(), c.logDir(), c.RunDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	authority, err := auth.LoadOrNew(filepath.Join(c.keyDir(), "authority.json"))
	if err != nil {
		return nil, err
	}
	server, err := prepareServer(c, authority)
	if err != nil {
		return nil, err
	}
	if err := credential(authority, auth.RoleUser, "admin", c.AdminCredential()); err != nil {
		return nil, err
	}
	processes := []process{{name: "nats", service: "nats", args: []string{filepath.Join(bin, "millrace"), "nats", "--config", server}}}
	for _, service := range []string{"api", "scheduler", "controller"} {
		for i := range max(c.Replicas[service], 1) {
			p, err := prepareService(c, authority, bin, service, i)
			if err != nil {
				return nil, err
			}
			processes = append(processes, p)
		}
	}
	if c.NoNode {
		return processes, nil
	}
	for _, service := range []string{"kubelet", "proxy"} {
		p, err := prepareService(c, authority, bin, service, 0)
		if err != nil {
			return nil, err
		}
		processes = append(processes, p)
	}
	return processes, nil
}

// prepareServer writes the configuration of the NATS server.
func prepareServer(c *Config, authority *auth.Authority) (string, error) {
	public, err := authority.Public()
	if err != nil {
		return "", err
	}
	host, port := c.hostPort()
	config := natsd.Config{Name: c.Name, Dir: filepath.Join(c.Dir, "nats"), Host: host, Port: port, Auth: public}
	settings, err := asMap(config)
	if err != nil {
		return "", err
	}
	maps.Copy(settings, c.Server)
	return c.writeConfig("nats", settings)
}

func asMap(v any) (map[string]any, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	return m, json.Unmarshal(body, &m)
}

func (c *Config) writeConfig(name string, settings map[string]any) (string, error) {
	body, err := yaml.Marshal(settings)
	if err != nil {
		return "", err
	}
	file := filepath.Join(c.configDir(), name+".yaml")
	return file, auth.WriteSecret(file, body)
}

// roles are those that the services prove themselves with.
var roles = map[string]auth.Role{
	"api": auth.RoleAPI, "scheduler": auth.RoleScheduler, "controller": auth.RoleController, "kubelet": auth.RoleKubelet, "proxy": auth.RoleProxy,
}

// prepareService writes the credential and the configuration of one process.
func prepareService(c *Config, authority *auth.Authority, bin, service string, replica int) (process, error) {
	name := service
	if replica > 0 {
		name = fmt.Sprintf("%s-%d", service, replica+1)
	}
	bearer := service
	settings := map[string]any{
		"nats": c.url(), "credential": filepath.Join(c.keyDir(), service+".creds"), "health": "unix:" + c.socket(name), "logFormat": "text",
	}
	switch service {
	case "api":
		settings["masterKey"] = filepath.Join(c.keyDir(), "master.key")
	case "kubelet", "proxy":
		node, err := c.nodeName()
		if err != nil {
			return process{}, err
		}
		bearer, settings["nodeName"] = node, node
		if service == "kubelet" {
			settings["dir"], settings["runDir"] = filepath.Join(c.Dir, "node"), filepath.Join(c.RunDir, "node")
		}
	}
	if err := credential(authority, roles[service], bearer, settings["credential"].(string)); err != nil {
		return process{}, err
	}
	merge(settings, c.Services[service])
	file, err := c.writeConfig(name, settings)
	return process{
		name: name, service: service, socket: c.socket(name), args: []string{filepath.Join(bin, "millrace-"+service), "--config", file},
	}, err
}

// merge puts the settings of more over those of into, deeply.
func merge(into, more map[string]any) {
	for key, value := range more {
		inner, ok := into[key].(map[string]any)
		if nested, isMap := value.(map[string]any); isMap && ok {
			merge(inner, nested)
			continue
		}
		into[key] = value
	}
}

// nodeName is the name of this machine's node: the one that is asked for, or the host's.
func (c *Config) nodeName() (string, error) {
	if name, ok := c.Services["kubelet"]["nodeName"].(string); ok && name != "" {
		return name, nil
	}
	host, err := os.Hostname()
	return strings.ToLower(host), err
}

// credential writes a credential unless there is one for the same bearer.
func credential(authority *auth.Authority, role auth.Role, bearer, file string) error {
	had, err := auth.LoadCredential(file)
	if err == nil {
		if name, err := had.Bearer(); err == nil && name == bearer {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	minted, err := authority.Mint(role, bearer, 0)
	if err != nil {
		return err
	}
	body, err := minted.Format()
	if err != nil {
		return err
	}
	return auth.WriteSecret(file, body)
}
