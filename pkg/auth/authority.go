// Package auth makes the keys, accounts and credentials of a cluster: an operator, four accounts joined by exports and
// imports, and for each role a signing key that can mint nothing but that role. It says who may speak on which NATS subject;
// what an identity may do through the api is decided there.
package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"millrace.dev/pkg/state"
)

// Authority holds every private key of a cluster. Whoever has its file is the cluster's owner: mode 0600, and never on a node.
type Authority struct {
	Operator string             `json:"operator"` // seed
	Accounts map[Account]string `json:"accounts"` // seed of each account
	Signers  map[Role]string    `json:"signers"`  // seed of each role's signing key
}

// Credential is what one process or person proves itself with.
type Credential struct {
	JWT  string
	Seed string
}

// New makes an authority with fresh keys.
func New() (*Authority, error) {
	a := &Authority{Accounts: map[Account]string{}, Signers: map[Role]string{}}
	var err error
	if a.Operator, err = seed(nkeys.CreateOperator); err != nil {
		return nil, err
	}
	for role, account := range roles {
		if a.Accounts[account] == "" {
			if a.Accounts[account], err = seed(nkeys.CreateAccount); err != nil {
				return nil, err
			}
		}
		if a.Signers[role], err = seed(nkeys.CreateAccount); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func seed(create func() (nkeys.KeyPair, error)) (string, error) {
	pair, err := create()
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	s, err := pair.Seed()
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	return string(s), nil
}

// LoadOrNew reads the authority in file, or makes one and writes it there if the file does not exist.
func LoadOrNew(file string) (*Authority, error) {
	body, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		a, err := New()
		if err != nil {
			return nil, err
		}
		return a, a.save(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	var a Authority
	if err := errors.Join(json.Unmarshal(body, &a), a.check()); err != nil {
		return nil, fmt.Errorf("read keys in %s: %w; restore the file from a backup, or remove the cluster", file, err)
	}
	return &a, nil
}

// check says which keys are missing.
func (a *Authority) check() error {
	if _, _, err := pairOf(a.Operator); err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	for role, account := range roles {
		if _, _, err := pairOf(a.Accounts[account]); err != nil {
			return fmt.Errorf("account %s: %w", account, err)
		}
		if _, _, err := pairOf(a.Signers[role]); err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
	}
	return nil
}

func (a *Authority) save(file string) error {
	body, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return WriteSecret(file, body)
}

// WriteSecret writes a file that only its owner can read, whole or not at all, and makes it durable.
func WriteSecret(file string, body []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".tmp-*") // created with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// Public is what a NATS server must know: nothing in it is secret.
type Public struct {
	Operator string             `json:"operator"` // JWT
	IDs      map[Account]string `json:"ids"`      // public key of each account
	Accounts map[Account]string `json:"accounts"` // JWT of each account
}

// Public signs the accounts and says what a server must know of them.
func (a *Authority) Public() (*Public, error) {
	operator, operatorID, err := pairOf(a.Operator)
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	claims := map[Account]*jwt.AccountClaims{}
	p := &Public{IDs: map[Account]string{}, Accounts: map[Account]string{}}
	for account, seed := range a.Accounts {
		if _, p.IDs[account], err = pairOf(seed); err != nil {
			return nil, fmt.Errorf("account %s: %w", account, err)
		}
		claims[account] = accountClaims(account, p.IDs[account])
	}
	for role, seed := range a.Signers {
		_, id, err := pairOf(seed)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", role, err)
		}
		claims[roles[role]].SigningKeys.AddScopedSigner(scope(role, id))
	}
	join(claims)
	oc := jwt.NewOperatorClaims(operatorID)
	oc.Name, oc.SystemAccount = "millrace", p.IDs[SYS]
	if p.Operator, err = oc.Encode(operator); err != nil {
		return nil, fmt.Errorf("sign operator: %w", err)
	}
	for account, c := range claims {
		if p.Accounts[account], err = c.Encode(operator); err != nil {
			return nil, fmt.Errorf("sign account %s: %w", account, err)
		}
	}
	return p, nil
}

func accountClaims(account Account, id string) *jwt.AccountClaims {
	c := jwt.NewAccountClaims(id)
	c.Name = string(account)
	if account == CTRL {
		c.Limits.JetStreamLimits = jwt.JetStreamLimits{
			MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
		}
	}
	return c
}

func scope(role Role, signer string) *jwt.UserScope {
	s := jwt.NewUserScope()
	s.Key, s.Role = signer, string(role)
	s.Template = jwt.UserPermissionLimits{
		Limits:      jwt.Limits{NatsLimits: jwt.NatsLimits{Subs: jwt.NoLimit, Data: jwt.NoLimit, Payload: jwt.NoLimit}},
		Permissions: permissions(role),
	}
	return s
}

func pairOf(seed string) (nkeys.KeyPair, string, error) {
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return nil, "", err
	}
	public, err := pair.PublicKey()
	return pair, public, err
}

// Mint makes a credential for the bearer called name: a process, a node or a person. ttl 0 means for ever.
func (a *Authority) Mint(role Role, name string, ttl time.Duration) (Credential, error) {
	if name == "" {
		return Credential{}, fmt.Errorf("mint credential for %s: it has no name", role)
	}
	signer, _, err := pairOf(a.Signers[role])
	if err != nil {
		return Credential{}, fmt.Errorf("mint credential for %s: %w", role, err)
	}
	_, account, err := pairOf(a.Accounts[roles[role]])
	if err != nil {
		return Credential{}, fmt.Errorf("mint credential for %s: %w", role, err)
	}
	userSeed, err := seed(nkeys.CreateUser)
	if err != nil {
		return Credential{}, err
	}
	_, id, err := pairOf(userSeed)
	if err != nil {
		return Credential{}, err
	}
	c := jwt.NewUserClaims(id)
	c.Name, c.IssuerAccount = state.EncodeToken(name), account
	c.UserPermissionLimits = jwt.UserPermissionLimits{} // a scoped key demands that the claims say nothing themselves
	if ttl != 0 {
		c.Expires = time.Now().Add(ttl).Unix()
	}
	token, err := c.Encode(signer)
	if err != nil {
		return Credential{}, fmt.Errorf("mint credential for %s: %w", role, err)
	}
	return Credential{JWT: token, Seed: userSeed}, nil
}

// Bearer is the name that a credential was minted for.
func (c Credential) Bearer() (string, error) {
	claims, err := jwt.DecodeUserClaims(c.JWT)
	if err != nil {
		return "", fmt.Errorf("read credential: %w", err)
	}
	return state.DecodeToken(claims.Name)
}

// Format is the credential in the file format of the NATS tools.
func (c Credential) Format() ([]byte, error) { return jwt.FormatUserConfig(c.JWT, []byte(c.Seed)) }

// ParseCredential reads what [Credential.Format] wrote.
func ParseCredential(body []byte) (Credential, error) {
	token, err := jwt.ParseDecoratedJWT(body)
	if err != nil {
		return Credential{}, fmt.Errorf("read credential: %w", err)
	}
	pair, err := jwt.ParseDecoratedUserNKey(body)
	if err != nil {
		return Credential{}, fmt.Errorf("read credential: %w", err)
	}
	s, err := pair.Seed()
	if err != nil {
		return Credential{}, fmt.Errorf("read credential: %w", err)
	}
	return Credential{JWT: token, Seed: string(s)}, nil
}

// LoadCredential reads a credential file.
func LoadCredential(file string) (Credential, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return Credential{}, fmt.Errorf("read credential: %w", err)
	}
	return ParseCredential(body)
}
