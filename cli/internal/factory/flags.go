package factory

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// global holds the flags that all verbs share.
type global struct {
	config, namespace, context, cluster, user, server, requestTimeout, as string

	asGroups  []string
	verbosity int
}

// AddFlags defines the flags that all verbs share.
func (f *Factory) AddFlags(flags *pflag.FlagSet) {
	g := &f.global
	flags.StringVar(&g.as, "as", "", "Username to impersonate for the operation. Not supported: every user has a credential of its own.")
	flags.StringArrayVar(&g.asGroups, "as-group", nil, "Group to impersonate for the operation. Not supported.")
	flags.StringVar(&g.cluster, "cluster", "", "The name of the cluster of the config file to use")
	flags.StringVar(&g.config, "config", "", "Path to the config file to use for CLI requests.")
	flags.StringVar(&g.context, "context", "", "The name of the context of the config file to use")
	flags.StringVarP(&g.namespace, "namespace", "n", "", "If present, the namespace scope for this CLI request")
	flags.StringVar(&g.requestTimeout, "request-timeout", "0", "The length of time to wait before giving up on a single server request. "+
		"Non-zero values should contain a corresponding time unit (e.g. 1s, 2m, 3h). A value of zero means to give up when nobody has "+
		"answered for ten seconds.")
	flags.StringVarP(&g.server, "server", "s", "", "The address of the server of the cluster, such as nats://127.0.0.1:4222")
	flags.StringVar(&g.user, "user", "", "The name of the user of the config file to use")
	flags.IntVarP(&g.verbosity, "v", "v", 0, "number for the log level verbosity: 1 tells of the connection, 6 of every request")
}

// check refuses flags that other clients have and this one cannot honour, and those that cannot be read.
func (g *global) check() error {
	if g.as != "" || len(g.asGroups) > 0 {
		return fmt.Errorf("impersonation is not supported: every user proves who it is with a credential of its own; choose one with --user or --context")
	}
	_, err := parseTimeout(g.requestTimeout)
	return err
}

// parseTimeout reads a duration, or a number of seconds.
func parseTimeout(text string) (time.Duration, error) {
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	return 0, fmt.Errorf("invalid timeout value %q. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)", text)
}

// Logger writes to the error stream what the flag -v asks for.
func (f *Factory) Logger() *slog.Logger {
	level := slog.LevelError + 1 // errors are returned and printed; a log beside them says them twice
	switch v := f.global.verbosity; {
	case v >= 6:
		level = slog.LevelDebug
	case v >= 3:
		level = slog.LevelInfo
	case v >= 1:
		level = slog.LevelWarn
	}
	return slog.New(slog.NewTextHandler(f.Err, &slog.HandlerOptions{Level: level}))
}
