package resource

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Filenames are the files that a command names with -f.
type Filenames struct {
	Names     []string
	Recursive bool
}

// AddFlags defines -f and -R; usage ends the sentence that begins with "Filename, directory, or '-' for standard input".
func (f *Filenames) AddFlags(cmd *cobra.Command, usage string) {
	cmd.Flags().StringSliceVarP(&f.Names, "filename", "f", nil, "Filename, directory, or '-' for the standard input, "+usage)
	cmd.Flags().BoolVarP(&f.Recursive, "recursive", "R", false, "Process the directory used in -f, --filename recursively. "+
		"Useful when you want to manage related manifests organized within the same directory.")
}

// Require fails if no file is named.
func (f *Filenames) Require() error {
	if len(f.Names) == 0 {
		return errors.New("must specify one of -f and -k")
	}
	return nil
}

const stdin = "-"

// extensions are those of the files of a directory that are read.
var extensions = []string{".json", ".yaml", ".yml"}

// single says that the files can hold no more than one manifest as far as their names tell.
func (f *Filenames) single() bool {
	if len(f.Names) != 1 || f.Names[0] == stdin {
		return false
	}
	info, err := os.Stat(f.Names[0])
	return err == nil && !info.IsDir()
}

// paths lists the files that the names stand for.
func (f *Filenames) paths() ([]string, error) {
	var paths []string
	for _, name := range f.Names {
		if name == stdin {
			if slices.Contains(paths, stdin) {
				return nil, errors.New("standard input cannot be used for multiple arguments")
			}
			paths = append(paths, stdin)
			continue
		}
		found, err := f.expand(name)
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	return paths, nil
}

// expand lists the files that one name stands for: itself, the files of a directory, or what matches it as a pattern.
func (f *Filenames) expand(name string) ([]string, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return nil, fmt.Errorf("reading manifests from a URL is not supported: download %q and name the file", name)
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		matches, err := filepath.Glob(name)
		if err != nil {
			return nil, fmt.Errorf("pattern %q is not valid: %w", name, err)
		}
		if len(matches) == 0 {
			return nil, fmt.Errorf("the path %q does not exist", name)
		}
		return matches, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the path %q cannot be accessed: %w", name, err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	found, err := f.walk(name)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("error reading %v: recognized file extensions are %v", f.Names, extensions)
	}
	return found, err
}

func (f *Filenames) walk(dir string) (found []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("error reading %q: %w", path, err)
		case entry.IsDir() && path != dir && !f.Recursive:
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains(extensions, filepath.Ext(path)):
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// read reads one file, under the name that messages give it.
func (f *Filenames) read(path string, in io.Reader) (source, text string, err error) {
	var body []byte
	if source = path; path == stdin {
		source = "STDIN"
		body, err = io.ReadAll(in)
	} else {
		body, err = os.ReadFile(path)
	}
	if err != nil {
		return source, "", fmt.Errorf("error reading %q: %w", source, err)
	}
	return source, strings.TrimPrefix(string(body), "\ufeff"), nil
}
