//go:build !linux

package up

func unmountBelow(string) error { return nil }
