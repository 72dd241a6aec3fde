package contextfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sigs.k8s.io/yaml"

	"millrace.dev/pkg/auth"
)

const (
	apiVersion = "v1"
	kind       = "Config"
	// Variable names the environment variable with the chain of files, separated as in PATH.
	Variable = "MILLRACE_CONFIG"
)

// Files is a chain of files, in order of precedence. It has at least one.
type Files []string

// Locate says which files there are: the one that a flag names, otherwise those of [Variable], otherwise ~/.millrace/config.
func Locate(flag string, environment func(string) string) (Files, error) {
	if flag != "" {
		return Files{flag}, nil
	}
	var files Files
	for _, path := range filepath.SplitList(environment(Variable)) {
		if path != "" {
			files = append(files, path)
		}
	}
	if len(files) > 0 {
		return files, nil
	}
	home := environment("HOME")
	if home == "" {
		return nil, fmt.Errorf("where contexts are kept is unknown: HOME is not set; name a file with --config or %s", Variable)
	}
	return Files{filepath.Join(home, ".millrace", "config")}, nil
}

// Load reads the files of a chain; those that do not exist are empty.
func Load(files Files) (*Config, error) {
	c := &Config{}
	for _, path := range files {
		f, err := load(path)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
	}
	return c, nil
}

func load(path string) (*file, error) {
	f := &file{path: path}
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("error loading config file %q: %w", path, err)
	}
	f.exists = true
	if err := yaml.UnmarshalStrict(body, &f.Document); err != nil {
		return nil, fmt.Errorf("error loading config file %q: %w", path, err)
	}
	switch {
	case f.APIVersion != "" && f.APIVersion != apiVersion:
		return nil, fmt.Errorf("error loading config file %q: apiVersion %q is not %q", path, f.APIVersion, apiVersion)
	case f.Kind != "" && f.Kind != kind:
		return nil, fmt.Errorf("error loading config file %q: kind %q is not %q", path, f.Kind, kind)
	}
	return f, nil
}

// Edit changes the files of a chain: it holds all others off, reads, lets change decide, and writes what has changed, each file
// whole or not at all. An error of change leaves everything as it was.
func Edit(files Files, change func(*Config) error) error {
	unlock, err := lock(files)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := Load(files)
	if err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	for _, f := range c.files {
		if !f.changed {
			continue
		}
		if err := f.save(); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) save() error {
	f.APIVersion, f.Kind = apiVersion, kind
	body, err := yaml.Marshal(f.Document)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	path := f.path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays a link
	}
	return auth.WriteSecret(path, body)
}

// lock keeps other processes from editing files in the directory of the last file, which all editors of a chain share. The
// directory itself is what is locked: a file is replaced by a new one at every change.
func lock(files Files) (unlock func(), err error) {
	dir := filepath.Dir(files[len(files)-1])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the config file: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the config file: %w", err)
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the config file: %w", err), d.Close())
	}
	return func() { _ = d.Close() }, nil // closing is what unlocks; there is nothing to be lost
}

// Remember adds a cluster on this machine under its name, with the file of the credential to use there, and makes it the
// current one.
func (f Files) Remember(name, server, credentialFile string) error {
	return Edit(f, func(c *Config) error {
		c.Put(name, Cluster{Server: server}, User{Credential: credentialFile})
		return nil
	})
}

// Forget removes the cluster, the user and the context called name.
func (f Files) Forget(name string) error {
	return Edit(f, func(c *Config) error {
		c.Drop(name)
		return nil
	})
}
