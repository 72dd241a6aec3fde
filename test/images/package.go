package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// fetchPackages returns the file of each Debian package. What is not in dir yet is downloaded there, from where the machine's
// apt is told to; what is there is taken as it is, whatever newer version there may be.
func fetchPackages(ctx context.Context, dir string, packages []string) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, missing, err := findPackages(dir, packages)
	if err != nil || len(missing) == 0 {
		return found, err
	}
	if err := downloadPackages(ctx, dir, missing); err != nil {
		return nil, err
	}
	found, missing, err = findPackages(dir, packages)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("apt-get has not downloaded %s", strings.Join(missing, ", "))
	}
	return found, err
}

// findPackages tells which packages are in dir and which are not.
func findPackages(dir string, packages []string) (found map[string]string, missing []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	files := map[string]string{}
	for _, e := range entries {
		if name, _, ok := strings.Cut(e.Name(), "_"); ok && filepath.Ext(e.Name()) == ".deb" {
			files[name] = filepath.Join(dir, e.Name())
		}
	}
	found = map[string]string{}
	for _, p := range packages {
		if file, ok := files[p]; ok {
			found[p] = file
		} else {
			missing = append(missing, p)
		}
	}
	return found, missing, nil
}

// downloadPackages downloads packages into dir, each of them whole or not at all. If that fails, apt's lists may be missing or
// old: it brings them up to date and tries once more.
func downloadPackages(ctx context.Context, dir string, packages []string) error {
	part := filepath.Join(dir, ".part") // of this run alone: the folder is locked
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o755)); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(part) }()
	download := slices.Concat([]string{"download", "-qq", "-o", "APT::Sandbox::User=root"}, packages)
	if first := aptGet(ctx, part, download...); first != nil {
		if err := aptGet(ctx, part, "update", "-qq"); err != nil {
			return errors.Join(first, err)
		}
		if err := aptGet(ctx, part, download...); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(part)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(part, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func aptGet(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
