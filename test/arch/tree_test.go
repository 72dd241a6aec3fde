package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root is the top of the repository, as seen from this package.
const root = "../.."

// prefix begins the import paths of our own packages.
const prefix = "millrace.dev/"

// modules are those of go.work, by folder.
var modules = []string{
	"pkg", "services/api", "services/scheduler", "services/controller", "services/kubelet", "services/proxy", "cli", "test",
}

// pkg is one package of ours. Paths of our own packages are without prefix, all others as they are.
type pkg struct {
	path    string
	imports []string // of the code
	tests   []string // of its tests
}

// all is what code and tests import.
func (p *pkg) all() []string { return slices.Concat(p.imports, p.tests) }

// packages are those of the whole workspace. A package that does not compile is listed all the same: that is not our matter.
var packages = sync.OnceValues(func() ([]pkg, error) {
	args := []string{"list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports"}
	for _, m := range modules {
		args = append(args, "./"+m+"/...")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var found []pkg
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		found = append(found, pkg{
			path: strings.TrimPrefix(p.ImportPath, prefix), imports: own(p.Imports), tests: own(slices.Concat(p.TestImports, p.XTestImports)),
		})
	}
})

func own(imports []string) []string {
	trimmed := make([]string, len(imports))
	for i, path := range imports {
		trimmed[i] = strings.TrimPrefix(path, prefix)
	}
	return trimmed
}

// tree is [packages] for a test.
func tree(t *testing.T) []pkg {
	t.Helper()
	found, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < len(modules) {
		t.Fatalf("go list found %d packages in %d modules", len(found), len(modules))
	}
	return found
}

// source is one Go file.
type source struct {
	path string // from the root
	text string
}

// isTest says that the file is compiled for tests only.
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// supports says that the file is a test, or of a package that only tests use.
func (s *source) supports() bool {
	dir := filepath.Dir(s.path)
	return s.isTest() || strings.HasPrefix(s.path, "test/") || strings.HasSuffix(dir, "test")
}

// parse reads the file.
func (s *source) parse() (*token.FileSet, *ast.File, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, s.path, s.text, parser.ParseComments|parser.SkipObjectResolution)
	return set, file, err
}

// sources are all Go files of the repository but samples in testdata.
var sources = sync.OnceValues(func() ([]source, error) {
	var found []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // somebody else's file that came and went
			}
			return err
		}
		if name := entry.Name(); entry.IsDir() {
			if name == "testdata" || name == "bin" || name != ".." && strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		found = append(found, source{path: filepath.ToSlash(relative), text: string(text)})
		return nil
	})
	return found, err
})

// files is [sources] for a test.
func files(t *testing.T) []source {
	t.Helper()
	found, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 100 {
		t.Fatalf("found %d Go files: is %s the root of the repository?", len(found), root)
	}
	return found
}

// report fails the test with each sentence.
func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

// wantProblems compares what a check says about a broken sample.
func wantProblems(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the check of a broken sample says (-want +got):\n%s", diff)
	}
}

// matches says that path is one of patterns: itself, or below it if the pattern ends in "/...".
func matches(path string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		below, open := strings.CutSuffix(pattern, "/...")
		return path == below || open && strings.HasPrefix(path, below+"/")
	})
}
