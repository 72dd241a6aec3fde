package natsd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/need"
	"millrace.dev/pkg/state"
)

func inMemory(t *testing.T, dir string) bool {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Type == unix.TMPFS_MAGIC
}

// mounts is how many file systems lie on dir, one over the other.
func mounts(t *testing.T, dir string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(table), " "+dir+" ")
}

// A lone server stages the batches of the state in memory, under its control plane's account, and leaves nothing mounted.
func TestBatchesAreStagedInMemory(t *testing.T) {
	need.Root(t)
	c, _ := cluster(t)
	staging := filepath.Join(c.Dir, "jetstream", c.Auth.IDs[auth.CTRL], "streams", state.Stream, "batches")
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if !inMemory(t, staging) {
		t.Errorf("%s is not in memory while the server runs", staging)
	}
	s.Stop()
	if n := mounts(t, staging); n > 0 {
		t.Errorf("%d file systems are still mounted on %s", n, staging)
	}
}

// A server that was killed leaves its staging mounted: its successor begins with an empty one, and they do not pile up.
func TestStagingOfAKilledServerIsReplaced(t *testing.T) {
	need.Root(t)
	c := config(t)
	left, err := stageInMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "torn"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, c)
	if s.staging != left || mounts(t, left) != 1 {
		t.Errorf("%d file systems are mounted on %s, want one", mounts(t, left), s.staging)
	}
	if _, err := os.Stat(filepath.Join(left, "torn")); !os.IsNotExist(err) {
		t.Errorf("what the killed server had staged is still there: %v", err)
	}
}

func TestFailedStartLeavesNothingMounted(t *testing.T) {
	need.Root(t)
	c := config(t)
	c.Name = "two words"
	if s, err := Start(c); err == nil {
		s.Stop()
		t.Fatal("a server with two names starts")
	}
	staging := filepath.Join(c.Dir, "jetstream", "$G", "streams", state.Stream, "batches")
	if n := mounts(t, staging); n > 0 {
		unstage(staging)
		t.Errorf("%d file systems are mounted on %s", n, staging)
	}
}

// Without a limit of its own a store takes 80 % of what its disk has for it.
func TestStoreTakesMostOfItsDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	empty, err := mostOfDisk(dir)
	if err != nil || empty <= 0 {
		t.Fatalf("mostOfDisk of a directory to be made = %d, %v", empty, err)
	}
	const had = 4 << 30
	if err := os.WriteFile(filepath.Join(dir, "block"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "block"), had); err != nil { // sparse: it takes nothing from the disk
		t.Fatal(err)
	}
	filled, err := mostOfDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	// What the store holds already is its own. Others write to the disk meanwhile: hence half.
	if gained := filled - empty; gained < had/2 {
		t.Errorf("a store that holds %d bytes may take %d more than an empty one of the same disk", had, gained)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; empty < free/10*7 || empty > free/10*9 {
		t.Errorf("an empty store may take %d of %d free bytes, want 80 %%", empty, free)
	}
}
