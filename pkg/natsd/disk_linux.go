package natsd

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// staging is bounded only against a runaway client: a batch has at most 500 messages and is gone in milliseconds.
const stagingOptions = "size=1g,mode=0700"

// mountMemory mounts a tmpfs on dir, in place of one that a killed server left behind.
func mountMemory(dir string) error {
	for unmount(dir) == nil {
	}
	return unix.Mount("millrace-batches", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, stagingOptions)
}

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

// mostOfDisk is 80 % of what dir has and may still take on its disk: a store that meets its limit says so, a full disk
// lets writes time out without an answer, and after it was enlarged they did so until the server was restarted.
func mostOfDisk(dir string) (int64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("nats server: %w", err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, fmt.Errorf("nats server: free space of %s: %w", dir, err)
	}
	used, err := sizeOf(dir)
	if err != nil {
		return 0, fmt.Errorf("nats server: size of %s: %w", dir, err)
	}
	return (int64(disk.Bavail)*disk.Bsize + used) / 10 * 8, nil
}

func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
