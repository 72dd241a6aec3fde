package contextfile

import (
	"path/filepath"
	"slices"
)

// Config is what all files of a chain say together. It is not safe for concurrent use.
type Config struct {
	files []*file
}

// file is one file of the chain.
type file struct {
	path    string
	exists  bool
	changed bool
	Document
}

// Document is what all files say together, each list in alphabetical order, with file names made absolute.
func (c *Config) Document() Document {
	all := Document{APIVersion: apiVersion, Kind: kind, CurrentContext: c.CurrentContext()}
	for _, f := range slices.Backward(c.files) { // so that the first that has an entry wins
		for _, e := range f.Clusters {
			e.Cluster.CertificateAuthority = f.absolute(e.Cluster.CertificateAuthority)
			all.Clusters = with(all.Clusters, e)
		}
		for _, e := range f.Users {
			e.User.Credential = f.absolute(e.User.Credential)
			all.Users = with(all.Users, e)
		}
		for _, e := range f.Contexts {
			all.Contexts = with(all.Contexts, e)
		}
	}
	return all
}

// absolute makes a path that a file names, relative to the file's own directory, one that can be opened from anywhere.
func (f *file) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.path), path)
}

// Path is the file that new entries go to: the first that exists, otherwise the last.
func (c *Config) Path() string { return c.home().path }

func (c *Config) home() *file {
	for _, f := range c.files {
		if f.exists {
			return f
		}
	}
	return c.files[len(c.files)-1]
}

// owner is the file in which an entry stands; if in none, the one that new entries go to.
func (c *Config) owner(has func(*file) bool) *file {
	for _, f := range c.files {
		if has(f) {
			return f
		}
	}
	return c.home()
}

// CurrentContext is the context that is meant when none is named; empty: none.
func (c *Config) CurrentContext() string {
	for _, f := range c.files {
		if f.CurrentContext != "" {
			return f.CurrentContext
		}
	}
	return ""
}

// SetCurrentContext says which context is meant when none is named; empty: none.
func (c *Config) SetCurrentContext(name string) {
	if name == "" {
		for _, f := range c.files {
			f.changed = f.changed || f.CurrentContext != ""
			f.CurrentContext = ""
		}
		return
	}
	f := c.owner(func(f *file) bool { return f.CurrentContext != "" })
	f.CurrentContext, f.changed = name, true
}

// Cluster finds a cluster by name.
func (c *Config) Cluster(name string) (Cluster, bool) {
	e, ok := find(c.Document().Clusters, name)
	return e.Cluster, ok
}

// User finds a user by name.
func (c *Config) User(name string) (User, bool) {
	e, ok := find(c.Document().Users, name)
	return e.User, ok
}

// Context finds a context by name.
func (c *Config) Context(name string) (Context, bool) {
	e, ok := find(c.Document().Contexts, name)
	return e.Context, ok
}

// SetCluster adds a cluster or replaces the one of its name.
func (c *Config) SetCluster(name string, cluster Cluster) {
	f := c.owner(func(f *file) bool { return at(f.Clusters, name) >= 0 })
	f.Clusters, f.changed = with(f.Clusters, NamedCluster{Name: name, Cluster: cluster}), true
}

// SetUser adds a user or replaces the one of its name.
func (c *Config) SetUser(name string, user User) {
	f := c.owner(func(f *file) bool { return at(f.Users, name) >= 0 })
	f.Users, f.changed = with(f.Users, NamedUser{Name: name, User: user}), true
}

// SetContext adds a context or replaces the one of its name.
func (c *Config) SetContext(name string, context Context) {
	f := c.owner(func(f *file) bool { return at(f.Contexts, name) >= 0 })
	f.Contexts, f.changed = with(f.Contexts, NamedContext{Name: name, Context: context}), true
}

// DeleteCluster removes a cluster from the file in which it stands and names that file; empty: there is none.
func (c *Config) DeleteCluster(name string) string {
	f := c.owner(func(f *file) bool { return at(f.Clusters, name) >= 0 })
	if at(f.Clusters, name) < 0 {
		return ""
	}
	f.Clusters, f.changed = without(f.Clusters, name), true
	return f.path
}

// DeleteUser removes a user from the file in which it stands and names that file; empty: there is none.
func (c *Config) DeleteUser(name string) string {
	f := c.owner(func(f *file) bool { return at(f.Users, name) >= 0 })
	if at(f.Users, name) < 0 {
		return ""
	}
	f.Users, f.changed = without(f.Users, name), true
	return f.path
}

// DeleteContext removes a context from the file in which it stands and names that file; empty: there is none. A current
// context stays named as such: whoever removes it must choose another.
func (c *Config) DeleteContext(name string) string {
	f := c.owner(func(f *file) bool { return at(f.Contexts, name) >= 0 })
	if at(f.Contexts, name) < 0 {
		return ""
	}
	f.Contexts, f.changed = without(f.Contexts, name), true
	return f.path
}

// Put adds a cluster, a user and the context that pairs them, all called name, or replaces them, and makes the context the
// current one. A namespace that the context already had is kept.
func (c *Config) Put(name string, cluster Cluster, user User) {
	had, _ := c.Context(name)
	c.SetCluster(name, cluster)
	c.SetUser(name, user)
	c.SetContext(name, Context{Cluster: name, User: name, Namespace: had.Namespace})
	c.SetCurrentContext(name)
}

// Drop removes the cluster, the user and the context called name. If the context was the current one, none is.
func (c *Config) Drop(name string) {
	c.DeleteCluster(name)
	c.DeleteUser(name)
	c.DeleteContext(name)
	if c.CurrentContext() == name {
		c.SetCurrentContext("")
	}
}
