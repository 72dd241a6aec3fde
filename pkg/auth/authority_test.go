package auth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"pgregory.net/rapid"

	"millrace.dev/pkg/auth"
)

var roles = map[auth.Role]auth.Account{
	auth.RoleAPI: auth.CTRL, auth.RoleScheduler: auth.CTRL, auth.RoleController: auth.CTRL,
	auth.RoleKubelet: auth.NODES, auth.RoleProxy: auth.NODES, auth.RoleUser: auth.USERS, auth.RoleSystem: auth.SYS,
}

func newAuthority(t *testing.T) *auth.Authority {
	t.Helper()
	a, err := auth.New()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func public(t *testing.T, a *auth.Authority) *auth.Public {
	t.Helper()
	p, err := a.Public()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mint(t *testing.T, a *auth.Authority, role auth.Role, name string, ttl time.Duration) auth.Credential {
	t.Helper()
	c, err := a.Mint(role, name, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func userClaims(t *testing.T, c auth.Credential) *jwt.UserClaims {
	t.Helper()
	claims, err := jwt.DecodeUserClaims(c.JWT)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func accountClaims(t *testing.T, p *auth.Public, account auth.Account) *jwt.AccountClaims {
	t.Helper()
	claims, err := jwt.DecodeAccountClaims(p.Accounts[account])
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// publicOf is the public key of a seed.
func publicOf(t *testing.T, seed string) string {
	t.Helper()
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	id, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAuthoritySharesNoKey(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	seen := map[string]string{}
	add := func(what, seed string) {
		if before, ok := seen[seed]; ok || seed == "" {
			t.Errorf("%s has the key of %q", what, before)
		}
		seen[seed] = what
	}
	for i, x := range []*auth.Authority{a, b} {
		add(fmt.Sprint(i, " operator"), x.Operator)
		for account, seed := range x.Accounts {
			add(fmt.Sprint(i, " account ", account), seed)
		}
		for role, seed := range x.Signers {
			add(fmt.Sprint(i, " role ", role), seed)
		}
	}
	if want := 2 * (1 + 4 + len(roles)); len(seen) != want {
		t.Errorf("%d keys, want %d: an operator, four accounts, a signer for each role", len(seen), want)
	}
}

func TestPublicSignsEveryAccountAndHoldsNoSecret(t *testing.T) {
	a := newAuthority(t)
	p := public(t, a)
	operator, err := jwt.DecodeOperatorClaims(p.Operator)
	if err != nil {
		t.Fatal(err)
	}
	if operator.Subject != publicOf(t, a.Operator) || operator.SystemAccount != p.IDs[auth.SYS] {
		t.Errorf("operator %s with the system account %s, want %s and %s", operator.Subject, operator.SystemAccount, publicOf(t, a.Operator), p.IDs[auth.SYS])
	}
	for account, seed := range a.Accounts {
		claims := accountClaims(t, p, account)
		if claims.Subject != publicOf(t, seed) || claims.Subject != p.IDs[account] || claims.Issuer != operator.Subject {
			t.Errorf("account %s is %s signed by %s", account, claims.Subject, claims.Issuer)
		}
		var problems jwt.ValidationResults
		claims.Validate(&problems)
		if problems.IsBlocking(true) {
			t.Errorf("account %s: %v", account, problems.Errors())
		}
		if jetStream, want := claims.Limits.DiskStorage != 0, account == auth.CTRL; jetStream != want {
			t.Errorf("account %s may store: %v, want %v", account, jetStream, want)
		}
	}
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range seeds(a) {
		if bytes.Contains(body, []byte(seed)) {
			t.Error("what a server is told contains a seed")
		}
	}
}

func seeds(a *auth.Authority) []string {
	all := []string{a.Operator}
	for _, s := range a.Accounts {
		all = append(all, s)
	}
	for _, s := range a.Signers {
		all = append(all, s)
	}
	return all
}

// Each role's credentials are signed by the role's own key, which its account scopes to the role.
func TestMint(t *testing.T) {
	a := newAuthority(t)
	p := public(t, a)
	for role, account := range roles {
		t.Run(string(role), func(t *testing.T) {
			c := mint(t, a, role, "n1.example", 0)
			claims := userClaims(t, c)
			if claims.Issuer != publicOf(t, a.Signers[role]) || claims.IssuerAccount != p.IDs[account] || claims.Subject != publicOf(t, c.Seed) {
				t.Errorf("subject %s, issuer %s of account %s", claims.Subject, claims.Issuer, claims.IssuerAccount)
			}
			if claims.Name != "n1_example" {
				t.Errorf("name %q, want one token of a subject", claims.Name)
			}
			if !claims.HasEmptyPermissions() {
				t.Error("the claims speak of permissions, which are the scope's alone")
			}
			if claims.Expires != 0 {
				t.Errorf("expires at %d, want never", claims.Expires)
			}
			scope, ok := accountClaims(t, p, account).SigningKeys.GetScope(claims.Issuer)
			if user, scoped := scope.(*jwt.UserScope); !ok || !scoped || user.Role != string(role) {
				t.Errorf("scope of the signer %v, %v", scope, ok)
			}
			if bearer, err := c.Bearer(); err != nil || bearer != "n1.example" {
				t.Errorf("Bearer = %q, %v", bearer, err)
			}
		})
	}
}

func TestMintKeysAreFresh(t *testing.T) {
	a := newAuthority(t)
	if one, two := mint(t, a, auth.RoleUser, "alice", 0), mint(t, a, auth.RoleUser, "alice", 0); one.Seed == two.Seed {
		t.Error("two credentials share a seed")
	}
}

func TestMintRefuses(t *testing.T) {
	a := newAuthority(t)
	if _, err := a.Mint(auth.RoleUser, "", 0); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Errorf("Mint without a name = %v", err)
	}
	if _, err := a.Mint("nobody", "x", 0); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("Mint for no role = %v", err)
	}
	delete(a.Signers, auth.RoleKubelet)
	if _, err := a.Mint(auth.RoleKubelet, "n1", 0); err == nil || !strings.Contains(err.Error(), "kubelet") {
		t.Errorf("Mint without a signer = %v", err)
	}
}

// A lifetime that is over makes a credential that has expired, never one that lasts.
func TestMintLifetime(t *testing.T) {
	a := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		for _, ttl := range []time.Duration{time.Hour, 1500 * time.Millisecond, time.Millisecond, -time.Millisecond, -time.Second, -time.Hour} {
			claims := userClaims(t, mint(t, a, auth.RoleUser, "alice", ttl))
			if want := time.Now().Add(ttl).Unix(); claims.Expires != want {
				t.Errorf("ttl %v: expires at %d, want %d", ttl, claims.Expires, want)
			}
			var problems jwt.ValidationResults
			claims.Validate(&problems)
			if got, want := problems.IsBlocking(true), ttl < 0; got != want {
				t.Errorf("ttl %v: refused %v, want %v", ttl, got, want)
			}
		}
	})
}

func TestBearerProperties(t *testing.T) {
	a := newAuthority(t)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 30, 60).Draw(t, "name")
		c, err := a.Mint(auth.RoleUser, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		body, err := c.Format()
		if err != nil {
			t.Fatal(err)
		}
		again, err := auth.ParseCredential(body)
		if err != nil || again != c {
			t.Fatalf("ParseCredential = %#v, %v; want what was formatted", again, err)
		}
		if got, err := again.Bearer(); err != nil || got != name {
			t.Fatalf("Bearer = %q, %v; want %q", got, err, name)
		}
	})
}

func TestLoadCredential(t *testing.T) {
	c := mint(t, newAuthority(t), auth.RoleUser, "alice", 0)
	body, err := c.Format()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "alice.creds")
	if err := auth.WriteSecret(file, body); err != nil {
		t.Fatal(err)
	}
	if got, err := auth.LoadCredential(file); err != nil || got != c {
		t.Errorf("LoadCredential = %v, %v", got, err)
	}
	seedless, _, _ := strings.Cut(string(body), "-----BEGIN USER NKEY SEED")
	for name, content := range map[string]string{"empty": "", "no credential": "hello", "no seed": seedless} {
		bad := filepath.Join(t.TempDir(), "bad.creds")
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := auth.LoadCredential(bad); err == nil {
			t.Errorf("%s: LoadCredential = %v", name, got)
		}
	}
	if _, err := auth.LoadCredential(file + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadCredential of no file = %v", err)
	}
	if _, err := (auth.Credential{JWT: "x"}).Bearer(); err == nil {
		t.Error("a credential that is none has a bearer")
	}
}

func TestLoadOrNew(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "keys", "authority.json")
	made, err := auth.LoadOrNew(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("the file has mode %v, %v; want 0600", info.Mode(), err)
	}
	if info, err = os.Stat(filepath.Dir(file)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory has mode %v, %v; want 0700", info.Mode(), err)
	}
	loaded, err := auth.LoadOrNew(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, loaded); diff != "" {
		t.Errorf("what was saved is not what is loaded (-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files lie beside the keys, %v", len(entries)-1, err)
	}
}

// A damaged file of keys is never replaced by new keys: they would lock everyone out.
func TestLoadOrNewLeavesADamagedFileAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "authority.json")
	operator := fmt.Sprintf(`{"operator":%q}`, newAuthority(t).Operator)
	for name, content := range map[string]string{"empty": "", "cut off": `{"operator":"SO`, "nothing in it": "{}", "an operator alone": operator} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.LoadOrNew(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: LoadOrNew = %v, want an error that names the file", name, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != content {
			t.Errorf("%s: the file was changed to %q, %v", name, got, err)
		}
	}
	if _, err := auth.LoadOrNew(t.TempDir()); err == nil {
		t.Error("a directory was read as keys")
	}
}

func TestWriteSecretReplacesWholeFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("a long one that was there before"), 0o644); err != nil { // and open to all
		t.Fatal(err)
	}
	if err := auth.WriteSecret(file, []byte("new")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != "new" {
		t.Errorf("the file has %q, %v", got, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v; want 0600", info.Mode(), err)
	}
	full := filepath.Join(dir, "directory")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := auth.WriteSecret(full, []byte("new")); err == nil {
		t.Error("a directory was replaced")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v: a failed write leaves something behind", len(entries), err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	a := newAuthority(t)
	c := mint(t, a, auth.RoleUser, "alice", 0)
	var to bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&to, nil), slog.NewTextHandler(&to, nil)} {
		slog.New(handler).Info("x", "credential", c, "pointer", &c, "authority", a)
	}
	for _, v := range []any{c, &c, a} {
		fmt.Fprintf(&to, "%v %+v %#v %s\n", v, v, v, v)
	}
	for _, secret := range append(seeds(a), c.Seed, c.JWT) {
		if strings.Contains(to.String(), secret) {
			t.Fatalf("a secret is printed:\n%s", to.String())
		}
	}
	if !strings.Contains(to.String(), "credential of alice") {
		t.Errorf("nobody can tell whose credential this is:\n%s", to.String())
	}
}
