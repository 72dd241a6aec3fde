// Package factory is what every verb is given: where it reads and writes, the flags that all verbs share, and a client that is
// connected when it is first needed.
package factory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/cli/internal/terminal"
	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/client"
	"millrace.dev/pkg/wire"
)

// patience is how long a request waits for somebody to answer it, if --request-timeout says nothing: a restart of the api is
// ridden through.
const patience = 10 * time.Second

// flushTimeout bounds how long the last words of a command may take to reach the server.
const flushTimeout = time.Second

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Factory is what a verb is given. Its methods are safe for concurrent use once the flags are parsed.
type Factory struct {
	Streams
	Environment func(string) string
	Now         func() time.Time

	global global

	mu     sync.Mutex
	nc     *wire.Conn
	client *client.Client
}

// New makes a factory.
func New(streams Streams, environment func(string) string) *Factory {
	return &Factory{Streams: streams, Environment: environment, Now: time.Now, global: global{requestTimeout: "0"}}
}

// Files are the files that contexts are kept in.
func (f *Factory) Files() (contextfile.Files, error) {
	return contextfile.Locate(f.global.config, f.Environment)
}

// Contexts are what those files say.
func (f *Factory) Contexts() (*contextfile.Config, error) {
	files, err := f.Files()
	if err != nil {
		return nil, err
	}
	if f.global.config != "" {
		if _, err := os.Stat(f.global.config); err != nil {
			return nil, err
		}
	}
	return contextfile.Load(files)
}

// ContextName is the context that the command line names; empty: none.
func (f *Factory) ContextName() string { return f.global.context }

// Target is what the command works with.
func (f *Factory) Target() (*contextfile.Target, error) {
	if err := f.global.check(); err != nil {
		return nil, err
	}
	c, err := f.Contexts()
	if err != nil {
		return nil, err
	}
	return c.Resolve(contextfile.Overrides{
		Context: f.global.context, Cluster: f.global.cluster, User: f.global.user, Server: f.global.server, Namespace: f.global.namespace,
	})
}

// Namespace is the namespace that is meant where none is written, and whether the command line named it: then it is the only
// one that a manifest may name.
func (f *Factory) Namespace() (name string, named bool, err error) {
	t, err := f.Target()
	if err != nil {
		return "", false, err
	}
	return t.Namespace, t.NamespaceNamed, nil
}

// Scope completes a query by what the command line says for all commands: where its objects lie, if it does not itself say in all
// namespaces, and what the file "-" stands for.
func (f *Factory) Scope(q *resource.Query) error {
	namespace, named, err := f.Namespace()
	if err != nil {
		return err
	}
	q.Namespace, q.Enforce, q.In = namespace, named && !q.AllNamespaces, f.In
	return nil
}

// RequestTimeout is how long one request may take; 0: the user did not say.
func (f *Factory) RequestTimeout() (time.Duration, error) {
	return parseTimeout(f.global.requestTimeout)
}

// Client is connected to the cluster of the context, under the identity of its user. The connection lasts until [Factory.Close].
func (f *Factory) Client(ctx context.Context) (*client.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil {
		return f.client, nil
	}
	t, err := f.Target()
	if err != nil {
		return nil, err
	}
	if t.Server == "" {
		return nil, errors.New("no cluster is known: start one on this machine with 'millrace up', or choose one with " +
			"'millrace config use-context', --context or --server")
	}
	limit, err := f.RequestTimeout()
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = patience
	}
	nc, identity, err := connect(ctx, t)
	if err != nil {
		return nil, err
	}
	f.nc, f.client = nc, client.ForUser(nc, identity).Within(limit)
	return f.client, nil
}

// Close ends the connection, if there is one.
func (f *Factory) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nc != nil {
		_ = f.nc.FlushTimeout(flushTimeout) // the last words, which only spare the other side a wait
		f.nc.Close()
		f.nc, f.client = nil, nil
	}
}

// connect opens the connection of a target and says under which identity it speaks.
func connect(ctx context.Context, t *contextfile.Target) (*wire.Conn, string, error) {
	d, err := newDialer(ctx, t)
	if err != nil {
		return nil, "", err
	}
	config := wire.Config{URL: t.Server, Name: "millrace", Steady: true, Once: true, Dialer: d}
	identity := t.User
	text, err := t.Credential()
	if err != nil {
		return nil, "", err
	}
	if text != nil {
		credential, err := auth.ParseCredential(text)
		if err != nil {
			return nil, "", fmt.Errorf("the credential of user %q: %w", t.User, err)
		}
		if identity, err = credential.Bearer(); err != nil {
			return nil, "", fmt.Errorf("the credential of user %q: %w", t.User, err)
		}
		config.JWT, config.Seed, config.Inbox = credential.JWT, credential.Seed, wire.Inbox(identity)
	}
	if identity == "" {
		return nil, "", fmt.Errorf("no user is known for the server %s: name one with --user", t.Server)
	}
	nc, err := wire.Connect(config)
	if err != nil {
		return nil, "", unconnected(t, d, err)
	}
	return nc, identity, nil
}

// Explain gives an error of a request that nobody answered a sentence that says who was asked and what can be done; what is wrong
// with the files of contexts is a sentence already.
func (f *Factory) Explain(err error) error {
	if wrong, ok := errors.AsType[*contextfile.ConfigurationError](err); ok {
		return failure.Sentence(err, "%v", wrong)
	}
	if _, answered := errors.AsType[*wire.StatusError](err); answered || !errors.Is(err, client.ErrUnavailable) {
		return err
	}
	t, targetErr := f.Target()
	if targetErr != nil {
		return err
	}
	return failure.Sentence(err, "Unable to connect to the server: the api of %s does not answer on %s - is it running? %s", t.Named(), t.Server, remedy)
}

// Warn writes a warning.
func (f *Factory) Warn(format string, args ...any) {
	head := "Warning:"
	if terminal.Colour(f.Err, f.Environment) {
		head = "\x1b[33;1mWarning:\x1b[0m"
	}
	terminal.Tell(f.Err, "%s %s\n", head, fmt.Sprintf(format, args...))
}
