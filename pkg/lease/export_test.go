package lease

import "context"

// TakeOnce takes a lease as a process does that dies right afterwards.
func TakeOnce(ctx context.Context, l *Leases, name string) error {
	_, err := l.take(ctx, name)
	return err
}
