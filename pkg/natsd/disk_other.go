//go:build !linux

package natsd

import "errors"

func mountMemory(string) error { return errors.ErrUnsupported }

func unmount(string) error { return errors.ErrUnsupported }

func mostOfDisk(string) (int64, error) { return 1 << 40, nil }
