package factory

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/failure"
	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/natsd"
	"millrace.dev/pkg/natstest"
)

// newFactory makes a factory whose contexts file holds one context, and parses flags.
func newFactory(t *testing.T, cluster contextfile.Cluster, user contextfile.User, args ...string) (*Factory, *bytes.Buffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	err := contextfile.Edit(contextfile.Files{file}, func(c *contextfile.Config) error {
		c.Put("here", cluster, user)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	f := New(Streams{Out: io.Discard, Err: &stderr}, func(name string) string {
		return map[string]string{contextfile.Variable: file}[name]
	})
	flags := pflag.NewFlagSet("millrace", pflag.ContinueOnError)
	f.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, &stderr
}

func text(t *testing.T, c auth.Credential) string {
	t.Helper()
	body, err := c.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// authority is a server with accounts and who can mint credentials for it.
func authority(t *testing.T) (*natstest.Server, *auth.Authority) {
	t.Helper()
	a, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	public, err := a.Public()
	if err != nil {
		t.Fatal(err)
	}
	return natstest.Start(t, natsd.Config{Name: "test", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 1 << 30, Volatile: true, Auth: public}), a
}

func mint(t *testing.T, a *auth.Authority, name string, ttl time.Duration) string {
	t.Helper()
	c, err := a.Mint(auth.RoleUser, name, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return text(t, c)
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(failure.Text(err), part) {
			t.Errorf("error\n%s\ndoes not say %q", failure.Text(err), part)
		}
	}
}

func TestClientSpeaksAsItsCredential(t *testing.T) {
	server, a := authority(t)
	f, _ := newFactory(t, contextfile.Cluster{Server: server.ClientURL()}, contextfile.User{CredentialData: mint(t, a, "alice.smith", 0)})
	c, err := f.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.Identity() != "alice.smith" {
		t.Errorf("identity %q", c.Identity())
	}
	again, err := f.Client(t.Context())
	if err != nil || again != c {
		t.Errorf("a second client was made: %v", err)
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	server, a := authority(t)
	stranger, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	for name, credential := range map[string]string{"foreign": mint(t, stranger, "alice", 0), "expired": mint(t, a, "alice", -time.Hour)} {
		t.Run(name, func(t *testing.T) {
			f, _ := newFactory(t, contextfile.Cluster{Server: server.ClientURL()}, contextfile.User{CredentialData: credential})
			_, err := f.Client(t.Context())
			wantError(t, err, "error: authorization violation", server.ClientURL(), `user "here"`, `context "here"`)
		})
	}
	f, _ := newFactory(t, contextfile.Cluster{Server: server.ClientURL()}, contextfile.User{CredentialData: "no credential"})
	_, err = f.Client(t.Context())
	wantError(t, err, `the credential of user "here"`)
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	f, _ := newFactory(t, contextfile.Cluster{Server: "nats://" + address}, contextfile.User{})
	_, err = f.Client(t.Context())
	wantError(t, err, "The connection to the server "+address+` of context "here" was refused`, "millrace up", "--context")
}

func TestApiIsAway(t *testing.T) {
	server := natstest.Run(t)
	f, _ := newFactory(t, contextfile.Cluster{Server: server.ClientURL()}, contextfile.User{}, "--request-timeout=100ms")
	c, err := f.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Info(t.Context())
	wantError(t, f.Explain(err), `Unable to connect to the server: the api of context "here" does not answer on `+server.ClientURL(), "millrace up")
}

func TestFlagsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ flag, want string }{
		{"--as=bob", "error: impersonation is not supported"},
		{"--as-group=admins", "error: impersonation is not supported"},
		{"--request-timeout=soon", `error: invalid timeout value "soon"`},
		{"--context=nope", "Error in configuration: context was not found for specified context: nope"},
		{"--config=/does/not/exist", "error: stat /does/not/exist: no such file or directory"},
	} {
		t.Run(c.flag, func(t *testing.T) {
			f, _ := newFactory(t, contextfile.Cluster{Server: "nats://x"}, contextfile.User{}, c.flag)
			_, err := f.Client(t.Context())
			if text := failure.Text(f.Explain(err)); !strings.HasPrefix(text, c.want) {
				t.Errorf("error %q does not begin with %q", text, c.want)
			}
		})
	}
}

func TestNoClusterIsKnown(t *testing.T) {
	home := t.TempDir()
	f := New(Streams{}, func(name string) string { return map[string]string{"HOME": home}[name] })
	_, err := f.Client(t.Context())
	wantError(t, err, "no cluster is known", "millrace up")
}

func TestNamespace(t *testing.T) {
	for _, c := range []struct {
		args      []string
		want      string
		wantNamed bool
	}{{want: "default"}, {args: []string{"-n", "team"}, want: "team", wantNamed: true}} {
		f, _ := newFactory(t, contextfile.Cluster{Server: "nats://x"}, contextfile.User{}, c.args...)
		if got, named, err := f.Namespace(); got != c.want || named != c.wantNamed || err != nil {
			t.Errorf("Namespace with %v: %q, %v, %v", c.args, got, named, err)
		}
	}
}

func TestParseTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "30": 30 * time.Second, "1m": time.Minute} {
		if got, err := parseTimeout(text); got != want || err != nil {
			t.Errorf("parseTimeout(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "-1s", "x"} {
		if _, err := parseTimeout(text); err == nil {
			t.Errorf("parseTimeout takes %q", text)
		}
	}
}

func TestLogger(t *testing.T) {
	for _, c := range []struct {
		flag              string
		wantWarn, wantAll bool
	}{{"-v=0", false, false}, {"-v=1", true, false}, {"-v=6", true, true}} {
		f, stderr := newFactory(t, contextfile.Cluster{}, contextfile.User{}, c.flag)
		f.Logger().Warn("careful")
		f.Logger().Debug("detail")
		if got := strings.Contains(stderr.String(), "careful"); got != c.wantWarn {
			t.Errorf("%s: warnings %v", c.flag, got)
		}
		if got := strings.Contains(stderr.String(), "detail"); got != c.wantAll {
			t.Errorf("%s: details %v", c.flag, got)
		}
	}
}

func TestWarn(t *testing.T) {
	f, stderr := newFactory(t, contextfile.Cluster{}, contextfile.User{})
	f.Warn("mind the %s", "gap")
	if got := stderr.String(); got != "Warning: mind the gap\n" {
		t.Errorf("Warn: %q", got)
	}
}

// certificate is one for the host, which signs itself, as PEM and as a server uses it.
func certificate(t *testing.T, host string) ([]byte, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{host},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// encrypt puts an encrypted port, handshake first, before a server that knows no encryption.
func encrypt(t *testing.T, server *natstest.Server, own tls.Certificate) (port string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		listener.Close() //nolint:errcheck // the test is over
		wg.Wait()
	})
	wg.Go(func() {
		for {
			outer, err := listener.Accept()
			if err != nil {
				return
			}
			inner, err := net.Dial("tcp", server.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() { pass(outer, inner) })
			wg.Go(func() { pass(inner, outer) })
		}
	})
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func pass(to, from net.Conn) {
	io.Copy(to, from) //nolint:errcheck // either side may go at any time
	to.Close()        //nolint:errcheck // as above
}

func TestEncryptedServer(t *testing.T) {
	server := natstest.Run(t)
	pem, own := certificate(t, "localhost")
	other, _ := certificate(t, "localhost")
	port := encrypt(t, server, own)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		cluster contextfile.Cluster
		wantErr string
	}{
		{name: "authority in the file of contexts", cluster: contextfile.Cluster{Server: "nats://localhost:" + port, CertificateAuthorityData: pem}},
		{name: "authority in its own file", cluster: contextfile.Cluster{Server: "nats://localhost:" + port, CertificateAuthority: file}},
		{name: "foreign authority", cluster: contextfile.Cluster{Server: "nats://localhost:" + port, CertificateAuthorityData: other}, wantErr: "certificate"},
		{name: "system's authorities", cluster: contextfile.Cluster{Server: "tls://localhost:" + port}, wantErr: "certificate"},
		{name: "no certificate", cluster: contextfile.Cluster{Server: "nats://localhost:" + port, CertificateAuthorityData: []byte("x")}, wantErr: "no certificate that can be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := newFactory(t, c.cluster, contextfile.User{})
			_, err := f.Client(t.Context())
			if c.wantErr == "" && err != nil {
				t.Fatal(err)
			}
			if c.wantErr != "" {
				wantError(t, err, c.wantErr)
			}
		})
	}
}

func TestNameOf(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, c := range []struct{ address, want string }{{"10.0.0.1:4222", "10.0.0.1"}, {"127.0.0.1:4222", "localhost"}, {"10.9.9.9:4222", "10.9.9.9"}} {
		if got := nameOf(ctx, c.address, []string{"10.0.0.1", "localhost"}); got != c.want {
			t.Errorf("nameOf(%s) = %s", c.address, got)
		}
	}
}
