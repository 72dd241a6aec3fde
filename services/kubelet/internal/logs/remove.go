package logs

import (
	"fmt"
	"os"
	"path/filepath"
)

// Remove removes the log of one container, rotated files included. One that is not there is no error.
func Remove(path string) error {
	if path == "" {
		return nil
	}
	rotated, err := filepath.Glob(path + ".*")
	if err != nil {
		return fmt.Errorf("remove log: %w", err)
	}
	for _, file := range append(rotated, path) {
		if err := os.RemoveAll(file); err != nil {
			return fmt.Errorf("remove log: %w", err)
		}
	}
	return nil
}

// RemovePod removes all logs of one pod.
func RemovePod(root, namespace, pod, uid string) error {
	if err := os.RemoveAll(PodDir(root, namespace, pod, uid)); err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	return nil
}
