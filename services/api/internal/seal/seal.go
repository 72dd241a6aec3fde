// Package seal encrypts Secrets before they are written and opens them for those who may read them. Nothing of a Secret, its
// labels and annotations included, lies in the bucket in plain text.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/state"
)

const keySize = 32 // AES-256

// Sealer holds the master key. Safe for concurrent use.
type Sealer struct{ master cipher.AEAD }

// body is the stored form of a sealed object: the object under a key of its own, and that key under the master key. Both
// are bound to the bucket's key, so that a sealed body is of no use elsewhere.
type body struct {
	Version int    `json:"v"`
	Key     []byte `json:"key"`
	Data    []byte `json:"data"`
}

// Load reads the master key in file, or makes one there (mode 0600) if the file does not exist. Whoever loses the file loses
// every Secret.
func Load(file string) (*Sealer, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, keySize)
		rand.Read(key)
		text = []byte(hex.EncodeToString(key) + "\n")
		err = auth.WriteSecret(file, text)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("master key: %s does not hold %d bytes in hex; restore it from a backup", file, keySize)
	}
	master, err := aead(key)
	return &Sealer{master: master}, err
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal encrypts what will lie under key.
func (s *Sealer) Seal(key state.Key, plain []byte) ([]byte, error) {
	own := make([]byte, keySize)
	rand.Read(own)
	cipher, err := aead(own)
	if err != nil {
		return nil, err
	}
	bound := []byte(key)
	return json.Marshal(body{
		Version: 1, Key: s.master.Seal(nil, nil, own, bound), Data: cipher.Seal(nil, nil, plain, bound),
	})
}

// Open decrypts what lies under key. It fails if the body was sealed under another master key or for another place.
func (s *Sealer) Open(key state.Key, sealed []byte) ([]byte, error) {
	var b body
	if err := json.Unmarshal(sealed, &b); err != nil {
		return nil, fmt.Errorf("open %s: %w", key, err)
	}
	if b.Version != 1 {
		return nil, fmt.Errorf("open %s: sealed by a newer version (%d)", key, b.Version)
	}
	own, err := s.master.Open(nil, nil, b.Key, []byte(key))
	if err != nil {
		return nil, fmt.Errorf("open %s: sealed under another master key", key)
	}
	cipher, err := aead(own)
	if err != nil {
		return nil, err
	}
	plain, err := cipher.Open(nil, nil, b.Data, []byte(key))
	if err != nil {
		return nil, fmt.Errorf("open %s: damaged", key)
	}
	return plain, nil
}
