// Package checkpoint keeps on the node's disk what a kubelet must know when it starts and nobody answers: its orders, the number
// of its start, and in which boot of the machine they were written. Contents of Secrets are never among it.
package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/state"
)

// Store is the directory. One process uses it at a time.
type Store struct{ dir string }

const halfWritten = ".tmp-" // begins the name of a file that is not yet whole

// Open makes or finds the directory, and removes what a process that was killed had half written.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "orders"), 0o700); err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	found, err := os.ReadDir(dir)
	for _, f := range found {
		if strings.HasPrefix(f.Name(), halfWritten) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	return &Store{dir: dir}, nil
}

// write replaces a file whole or not at all; durable says that it must survive a loss of power.
func (s *Store) write(name string, body []byte, durable bool) error {
	path := filepath.Join(s.dir, name)
	f, err := os.CreateTemp(s.dir, halfWritten+"*")
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	_, err = f.Write(body)
	if durable {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	} else if durable {
		err = syncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// NextStart counts this start of the kubelet; the number is durable before anything is reported under it (P17).
func (s *Store) NextStart() (uint64, error) {
	var last uint64
	body, err := os.ReadFile(filepath.Join(s.dir, "start"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("start number: %w", err)
	default:
		if last, err = strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64); err != nil {
			return 0, fmt.Errorf("start number: %w; the file must hold a number above all that were reported", err)
		}
	}
	next := last + 1
	return next, s.write("start", fmt.Appendf(nil, "%d\n", next), true)
}

// Node is who this kubelet is.
type Node struct {
	UID     types.UID `json:"uid"`
	PodCIDR string    `json:"podCIDR"`
	Boot    string    `json:"boot"` // of the machine, when it was written
}

// SaveNode keeps who this kubelet is.
func (s *Store) SaveNode(n Node) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return s.write("node.json", body, true)
}

// Node is who this kubelet was; ok is false if it never joined.
func (s *Store) Node() (n Node, ok bool, err error) {
	body, err := os.ReadFile(filepath.Join(s.dir, "node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Node{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	if err != nil {
		return Node{}, false, fmt.Errorf("read node checkpoint: %w", err)
	}
	return n, true, nil
}

// orderFile is a hash, because a key may be longer than a file name.
func (s *Store) orderFile(key state.Key) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join("orders", hex.EncodeToString(sum[:16])+".json")
}

// Save keeps an order, or forgets it if it was removed. Losing the newest revision in a loss of power costs nothing: after it,
// nothing is started before the control plane has answered (P19).
func (s *Store) Save(e state.FeedEntry) error {
	if e.Removed {
		err := os.Remove(filepath.Join(s.dir, s.orderFile(e.Key)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget order: %w", err)
		}
		return nil
	}
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.write(s.orderFile(e.Key), body, false)
}

// Orders are those that were kept. A damaged file is left out and removed: the control plane knows better.
func (s *Store) Orders() ([]state.FeedEntry, error) {
	files, err := os.ReadDir(filepath.Join(s.dir, "orders"))
	if err != nil {
		return nil, fmt.Errorf("read order checkpoints: %w", err)
	}
	var orders []state.FeedEntry
	for _, f := range files {
		path := filepath.Join(s.dir, "orders", f.Name())
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read order checkpoint: %w", err)
		}
		var e state.FeedEntry
		if err := json.Unmarshal(body, &e); err != nil || e.Key == "" {
			slog.Warn("damaged checkpoint is dropped", "component", "checkpoint", "file", f.Name())
			if err := os.Remove(path); err != nil {
				slog.Warn("damaged checkpoint stays, to be dropped again", "component", "checkpoint", "err", err)
			}
			continue
		}
		orders = append(orders, e)
	}
	return orders, nil
}

// Boot identifies this boot of the machine.
func Boot() (string, error) {
	body, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("identify the boot: %w", err)
	}
	return strings.TrimSpace(string(body)), nil
}
