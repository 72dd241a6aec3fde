package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aptOf puts an apt-get of our own before the real one: a script that keeps its calls in a file.
func aptOf(t *testing.T, script string) (calls func() string) {
	t.Helper()
	folder := t.TempDir()
	log := filepath.Join(folder, "calls")
	body := "#!/bin/sh\necho \"$1\" >>" + log + "\n" + script
	if err := os.WriteFile(filepath.Join(folder, "apt-get"), []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	return func() string {
		body, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(body)), " ")
	}
}

func TestFetchPackages(t *testing.T) {
	const download = `[ "$1" = update ] && exit 0; for p; do case $p in lib*) : >"${p}_1%3a2-3_amd64.deb" ;; esac; done`
	for _, tt := range []struct {
		name, apt string
		there     []string // in the folder before
		wantCalls string
		wantErr   string
	}{
		{name: "all there", there: []string{"liba_1_amd64.deb", "libb_2_all.deb"}},
		{name: "one missing", apt: download, there: []string{"liba_1_amd64.deb"}, wantCalls: "download"},
		{
			name: "lists missing", apt: `[ "$1" = update ] && : >` + "$0.up\n[ -e $0.up ] || exit 100\n" + download,
			wantCalls: "download update download",
		},
		{
			name: "no such package", apt: `[ "$1" = update ] || { echo "E: Unable to locate package" >&2; exit 100; }`,
			wantCalls: "download update download", wantErr: "Unable to locate package",
		},
		{name: "no network", apt: "exit 100", wantCalls: "download update", wantErr: "apt-get update"},
		{name: "nothing comes", apt: "", wantCalls: "download", wantErr: "has not downloaded liba, libb"},
		{name: "cut off", apt: `: >"liba_part.deb"; exit 1`, wantCalls: "download update", wantErr: "apt-get download"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := aptOf(t, tt.apt)
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, ".part"), 0o755); err != nil { // of a run that was cut off
				t.Fatal(err)
			}
			for _, name := range tt.there {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := fetchPackages(t.Context(), dir, []string{"liba", "libb"})
			if calls := calls(); calls != tt.wantCalls {
				t.Errorf("apt-get was called %q, want %q", calls, tt.wantCalls)
			}
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("fetchPackages: %v, want an error with %q", err, tt.wantErr)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "*.deb")); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
				return
			}
			if err != nil || len(got) != 2 || filepath.Dir(got["liba"]) != dir || filepath.Dir(got["libb"]) != dir {
				t.Errorf("fetchPackages: %q, %v, want two files of %s", got, err, dir)
			}
		})
	}
}

func TestFindPackages(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"nginx-common_1_all.deb", "libc6_2_amd64.deb", "libz_1_amd64.deb.part", "nginx"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, missing, err := findPackages(dir, []string{"libc6", "libz", "nginx"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"libc6": filepath.Join(dir, "libc6_2_amd64.deb")}, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"libz", "nginx"}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestLockWaits(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := lock(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v, want %v", err, context.DeadlineExceeded)
	}
	unlock()
	unlock, err = lock(t.Context(), name)
	if err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	unlock()
}
