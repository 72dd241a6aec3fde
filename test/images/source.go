package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// testModule is where the sources of our programs lie, below images/programs/cmd.
const testModule = "millrace.dev/test"

// source is the source code of our programs.
type source struct {
	dir    string // root of the test module
	digest string // of everything that the binaries depend on
}

// findSource finds the sources through the go command, from the directory of the process: inside the repository.
func findSource(ctx context.Context) (source, error) {
	dir, err := goCommand(ctx, "", "list", "-m", "-f", "{{.Dir}}", testModule)
	if err != nil {
		return source{}, err
	}
	version, err := goCommand(ctx, dir, "env", "GOVERSION")
	if err != nil {
		return source{}, err
	}
	h := sha256.New()
	_, _ = fmt.Fprintln(h, version)
	add := func(name string) error {
		body, err := os.ReadFile(name)
		_, _ = fmt.Fprintln(h, len(body))
		_, _ = h.Write(body)
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := add(filepath.Join(dir, name)); err != nil {
			return source{}, err
		}
	}
	err = filepath.WalkDir(filepath.Join(dir, "images", "programs"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		return add(name)
	})
	return source{dir: dir, digest: hex.EncodeToString(h.Sum(nil))}, err
}

// build returns the static binaries of programs by name: all of them in one go, because they share most packages. The same
// source gives the same bytes, wherever it lies.
func (s source) build(ctx context.Context, programs []string) (map[string][]byte, error) {
	folder, err := os.MkdirTemp("", "programs")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", folder + "/"}
	for _, program := range programs {
		args = append(args, "./images/programs/cmd/"+program)
	}
	if _, err := goCommand(ctx, s.dir, args...); err != nil {
		return nil, err
	}
	binaries := map[string][]byte{}
	for _, program := range programs {
		if binaries[program], err = os.ReadFile(filepath.Join(folder, program)); err != nil {
			return nil, err
		}
	}
	return binaries, nil
}

// goCommand runs the go command for a static linux/amd64 binary and returns what it prints. With a directory, the module
// there stands alone: the rest of the workspace has no say in what the binary is made of.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if dir != "" {
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "GOWORK=off")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
