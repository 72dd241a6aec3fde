package factory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/failure"
)

// dialTimeout bounds the way to one server, the encryption included.
const dialTimeout = 5 * time.Second

// remedy is what can be done about a server that is not there.
const remedy = "Start a cluster on this machine with 'millrace up', or choose another with --context (see 'millrace config get-contexts')."

// dialer opens the connections of a client, and keeps the reason why the last one failed, of which the client itself says only
// that there is no server.
type dialer struct {
	dial      func(network, address string) (net.Conn, error)
	encrypted bool

	mu      sync.Mutex
	address string
	failed  error
}

func newDialer(ctx context.Context, t *contextfile.Target) (*dialer, error) {
	authorities, err := t.Authorities()
	if err != nil {
		return nil, err
	}
	hosts, schemes := hostsOf(t.Server)
	d := &dialer{encrypted: authorities != nil || slices.Contains(schemes, "tls")}
	plain := &net.Dialer{Timeout: dialTimeout}
	d.dial = func(network, address string) (net.Conn, error) { return plain.DialContext(ctx, network, address) }
	if !d.encrypted {
		return d, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if authorities != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("the certificate authority of %s has no certificate that can be read", t.Named())
		}
	}
	d.dial = func(network, address string) (net.Conn, error) {
		own := config.Clone()
		own.ServerName = nameOf(ctx, address, hosts)
		return (&tls.Dialer{NetDialer: plain, Config: own}).DialContext(ctx, network, address)
	}
	return d, nil
}

// Dial opens one connection.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.dial(network, address)
	if err != nil {
		d.mu.Lock()
		d.address, d.failed = address, err
		d.mu.Unlock()
	}
	return conn, err
}

// SkipTLSHandshake tells the client that the connection is encrypted already.
func (d *dialer) SkipTLSHandshake() bool { return d.encrypted }

// lastFailure is the last connection that could not be opened; nil if all were.
func (d *dialer) lastFailure() (address string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.address, d.failed
}

// hostsOf are the names and the schemes in a list of servers.
func hostsOf(servers string) (hosts, schemes []string) {
	for server := range strings.SplitSeq(servers, ",") {
		if u, err := url.Parse(strings.TrimSpace(server)); err == nil && u.Hostname() != "" {
			hosts, schemes = append(hosts, u.Hostname()), append(schemes, u.Scheme)
		}
	}
	return hosts, schemes
}

// nameOf is the host that an address stands for, which is what a certificate names: the client looks names up before it dials.
func nameOf(ctx context.Context, address string, hosts []string) string {
	ip, _, err := net.SplitHostPort(address)
	if err != nil || slices.Contains(hosts, ip) {
		return ip
	}
	for _, host := range hosts {
		if ips, err := net.DefaultResolver.LookupHost(ctx, host); err == nil && slices.Contains(ips, ip) {
			return host
		}
	}
	return ip
}

// unconnected says why there is no connection, to whom, and what can be done.
func unconnected(t *contextfile.Target, d *dialer, err error) error {
	address, dialErr := d.lastFailure()
	switch text := err.Error(); {
	case errors.Is(dialErr, syscall.ECONNREFUSED):
		return failure.Sentence(err, "The connection to the server %s of %s was refused - is it running? %s", address, t.Named(), remedy)
	case dialErr != nil:
		return failure.Sentence(err, "Unable to connect to the server %s of %s: %v\n%s", address, t.Named(), dialErr, remedy)
	case strings.Contains(strings.ToLower(text), "authorization violation"):
		return fmt.Errorf("authorization violation: the server %s refuses user %q of %s; its credential is not of this cluster, or revoked", t.Server, t.User, t.Named())
	case strings.Contains(strings.ToLower(text), "authentication expired"):
		return fmt.Errorf("authorization violation: the credential of user %q of %s has expired on the server %s", t.User, t.Named(), t.Server)
	default:
		return failure.Sentence(err, "Unable to connect to the server %s of %s: %v\n%s", t.Server, t.Named(), err, remedy)
	}
}
