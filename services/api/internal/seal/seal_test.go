package seal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"millrace.dev/pkg/state"
	"millrace.dev/services/api/internal/seal"
)

var here = state.ObjectKey(state.ObjectRef{Resource: "secrets", Namespace: "shop", Name: "db"})

func load(t *testing.T, file string) *seal.Sealer {
	t.Helper()
	s, err := seal.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealOpens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "master.key")
	plain := []byte(`{"data":{"password":"cGFzc3dvcmQ="}}`)
	sealed, err := load(t, file).Seal(here, plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("cGFzc3dvcmQ")) || bytes.Contains(sealed, []byte("password")) {
		t.Errorf("plain text in %s", sealed)
	}
	opened, err := load(t, file).Open(here, sealed) // another process with the same file
	if err != nil || !bytes.Equal(opened, plain) {
		t.Errorf("Open = %s, %v", opened, err)
	}
	again, err := load(t, file).Seal(here, plain)
	if err != nil || bytes.Equal(again, sealed) {
		t.Errorf("two seals of one text are equal (%v)", err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("master key has mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	s := load(t, filepath.Join(dir, "a"))
	sealed, err := s.Seal(here, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := state.ObjectKey(state.ObjectRef{Resource: "secrets", Namespace: "other", Name: "db"})
	if _, err := s.Open(elsewhere, sealed); err == nil {
		t.Error("what was sealed for one key opens under another")
	}
	if _, err := load(t, filepath.Join(dir, "b")).Open(here, sealed); err == nil {
		t.Error("it opens with another master key")
	}
	if _, err := s.Open(here, bytes.Replace(sealed, []byte(`"data":"`), []byte(`"data":"AAAA`), 1)); err == nil {
		t.Error("it opens although it was changed")
	}
	if err := os.WriteFile(filepath.Join(dir, "c"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Load(filepath.Join(dir, "c")); err == nil {
		t.Error("a damaged master key is taken")
	}
}
