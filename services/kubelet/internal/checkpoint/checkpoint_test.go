package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"millrace.dev/pkg/need"
	"millrace.dev/pkg/state"
)

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkpoint")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func entry(pod string, revision uint64) state.FeedEntry {
	return state.FeedEntry{Key: state.OrderKey("n1", "default", pod), Revision: revision, Body: json.RawMessage(`{"pod":{}}`)}
}

func save(t *testing.T, s *Store, entries ...state.FeedEntry) {
	t.Helper()
	for _, e := range entries {
		if err := s.Save(e); err != nil {
			t.Fatal(err)
		}
	}
}

// orders are the orders that are kept, by key.
func orders(t *testing.T, s *Store) map[state.Key]state.FeedEntry {
	t.Helper()
	list, err := s.Orders()
	if err != nil {
		t.Fatal(err)
	}
	kept := map[state.Key]state.FeedEntry{}
	for _, e := range list {
		kept[e.Key] = e
	}
	return kept
}

// files are the names of everything below a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestOrdersAreKept(t *testing.T) {
	s, dir := open(t)
	long := entry(strings.Repeat("a", 253), 4) // longer than a file name may be
	save(t, s, entry("a", 1), entry("b", 2), entry("a", 3), long)
	save(t, s, state.FeedEntry{Key: entry("b", 0).Key, Revision: 5, Removed: true}, state.FeedEntry{Key: "edge.order.n1.default.never", Removed: true})
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[state.Key]state.FeedEntry{entry("a", 3).Key: entry("a", 3), long.Key: long}
	if diff := cmp.Diff(want, orders(t, again)); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
}

func TestOrdersAreWhatWasSavedLast(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := Open(filepath.Join(t.TempDir(), "checkpoint"))
		if err != nil {
			rt.Fatal(err)
		}
		want := map[state.Key]state.FeedEntry{}
		for i, pod := range rapid.SliceOf(rapid.SampledFrom([]string{"a", "a-b", "a.b", "A"})).Draw(rt, "pods") {
			e := entry(pod, uint64(i))
			if e.Removed = rapid.Bool().Draw(rt, "removed"); e.Removed {
				delete(want, e.Key)
			} else {
				want[e.Key] = e
			}
			save(t, s, e)
		}
		if diff := cmp.Diff(want, orders(t, s)); diff != "" {
			rt.Fatalf("orders (-want +got):\n%s", diff)
		}
	})
}

// A loss of power can leave a file empty or torn: that order is dropped, and the others count.
func TestDamagedOrderIsDropped(t *testing.T) {
	whole, err := json.Marshal(entry("b", 2))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"empty": "", "torn": string(whole[:len(whole)/2]), "zeros": "\x00\x00\x00", "of another kind": `{"version":2}`, "null": "null"} {
		t.Run(name, func(t *testing.T) {
			s, dir := open(t)
			save(t, s, entry("a", 1), entry("b", 2))
			if err := os.WriteFile(filepath.Join(dir, s.orderFile(entry("b", 2).Key)), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			want := map[state.Key]state.FeedEntry{entry("a", 1).Key: entry("a", 1)}
			if diff := cmp.Diff(want, orders(t, s)); diff != "" {
				t.Errorf("orders (-want +got):\n%s", diff)
			}
			if got := files(t, dir); len(got) != 1 {
				t.Errorf("files %v are left, want that of the other order", got)
			}
		})
	}
}

// P17: every start has a number above all before it.
func TestP17_StartsAreCounted(t *testing.T) {
	s, dir := open(t)
	for want := uint64(1); want < 4; want++ {
		s, _ = Open(dir)
		if got, err := s.NextStart(); err != nil || got != want {
			t.Errorf("NextStart = %d, %v; want %d", got, err, want)
		}
	}
	for _, body := range []string{"", "4 5", "-1", "many", "18446744073709551616"} {
		if err := os.WriteFile(filepath.Join(dir, "start"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.NextStart(); err == nil {
			t.Errorf("NextStart with %q = %d: a number that was used before may be used again", body, got)
		}
	}
}

func TestNodeIsKept(t *testing.T) {
	s, dir := open(t)
	if n, ok, err := s.Node(); ok || err != nil {
		t.Errorf("Node before it joined = %+v, %v, %v", n, ok, err)
	}
	want := Node{UID: "u1", PodCIDR: "10.244.1.0/24", Boot: "b1"}
	if err := s.SaveNode(want); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := s.Node(); got != want || !ok || err != nil {
		t.Errorf("Node = %+v, %v, %v; want %+v", got, ok, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "node.json"), []byte(`{"uid":"u`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Node(); ok || err == nil {
		t.Error("Node of a torn file gives no error: the kubelet would join as a new node")
	}
}

func TestOnlyTheOwnerMayRead(t *testing.T) {
	s, dir := open(t)
	save(t, s, entry("a", 1))
	for _, path := range []string{dir, filepath.Join(dir, "orders"), filepath.Join(dir, s.orderFile(entry("a", 1).Key))} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got&0o077 != 0 {
			t.Errorf("%s has mode %v; orders are nobody else's to read", path, got)
		}
	}
}

// On a full disk what was kept stays whole, the error is told, and room makes it work again.
func TestDiskFull(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, entry("a", 1))
	if _, err := s.NextStart(); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 64<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	if err := s.Save(entry("a", 2)); err == nil {
		t.Error("Save on a full disk = nil")
	}
	if got, err := s.NextStart(); err == nil {
		t.Errorf("NextStart on a full disk = %d: it is not durable", got)
	}
	want := map[state.Key]state.FeedEntry{entry("a", 1).Key: entry("a", 1)}
	if diff := cmp.Diff(want, orders(t, s)); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if got, err := s.NextStart(); err != nil || got != 2 {
		t.Errorf("NextStart = %d, %v; want 2", got, err)
	}
	if got := files(t, dir); slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, ".tmp") }) {
		t.Errorf("files are %v; something half written is left", got)
	}
}

// What a kubelet that was killed had half written goes with the next start.
func TestHalfWrittenFilesAreRemoved(t *testing.T) {
	_, dir := open(t)
	if err := os.WriteFile(filepath.Join(dir, ".tmp-123"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files %v are left, want none", got)
	}
}

func TestBootIsTheMachines(t *testing.T) {
	one, err := Boot()
	two, err2 := Boot()
	if err != nil || err2 != nil || one == "" || one != two {
		t.Errorf("Boot = %q, %v, then %q, %v; want the same id twice", one, err, two, err2)
	}
}
