// Package wire is how processes talk over NATS: connections, the subjects of requests, requests and their answers (whole, in
// pieces, or as a stream with credit), and errors that arrive as the same sentinels they were sent as.
//
// It knows subjects and envelopes, not what is asked: package client and the services give them meaning.
package wire

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	reconnectWait = 50 * time.Millisecond
	// reconnectJitter spreads the return of a thousand nodes over a second.
	reconnectJitter = time.Second
	pingInterval    = 5 * time.Second // a dead peer is noticed after two
	drainTimeout    = 5 * time.Second
)

// Config is how a process connects.
type Config struct {
	URL  string // one or more, separated by commas
	Name string // shown in the server's list of connections
	// JWT and Seed are the credential; both empty: none.
	JWT, Seed string
	// Inbox is the prefix of the subjects on which answers come: the only one that the credential may subscribe to.
	Inbox string
	// Commits says that the connection carries writes: what is published while it is down must fail, not wait (P13).
	Commits bool
	// Steady says that the connection returns at once, without the jitter that spreads many nodes.
	Steady bool
	// Dialer replaces the way a connection is opened; nil: the usual.
	Dialer nats.CustomDialer
	// Once says to give up at the first failure to connect, instead of trying for ever.
	Once bool
}

// Connect opens a connection that lasts as long as the process: it reconnects without end. Unless Config.Once, the server may
// come up later than the caller.
func Connect(c Config) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(c.Name), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2), nats.RetryOnFailedConnect(!c.Once), nats.DrainTimeout(drainTimeout), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			slog.Warn("nats connection", "err", err, "subject", subject)
		}),
	}
	if c.Steady {
		options = append(options, nats.ReconnectJitter(reconnectWait, reconnectWait))
	} else {
		options = append(options, nats.ReconnectJitter(reconnectJitter, reconnectJitter))
	}
	if c.JWT != "" {
		options = append(options, nats.UserJWTAndSeed(c.JWT, c.Seed))
	}
	if c.Inbox != "" {
		options = append(options, nats.CustomInboxPrefix(c.Inbox))
	}
	if c.Commits {
		options = append(options, nats.ReconnectBufSize(-1))
	}
	if c.Dialer != nil {
		options = append(options, nats.SetCustomDialer(c.Dialer))
	}
	nc, err := nats.Connect(c.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.URL, err)
	}
	return nc, nil
}
