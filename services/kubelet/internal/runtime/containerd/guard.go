package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A daemon of version 2 that starts takes a shim without a running process for a leak, and removes it with its exit code,
// unless a sandbox of the same name is on record. So for these daemons every container has one, which means nothing else.
// Version 1.6 keeps such shims, and has no sandboxes.

// needsGuards says whether this daemon is one of those.
func (r *Runtime) needsGuards(ctx context.Context) (bool, error) {
	v, err := r.conn.Client().VersionService().Version(ctx, &emptypb.Empty{})
	if err != nil {
		return false, fmt.Errorf("ask containerd for its version: %w", Translate(ctx, err))
	}
	// One that was built without a version is a new one.
	return !strings.HasPrefix(v.GetVersion(), "1.") && !strings.HasPrefix(v.GetVersion(), "v1."), nil
}

func (r *Runtime) guard(ctx context.Context, id string) error {
	if !r.guards {
		return nil
	}
	_, err := r.conn.Client().SandboxStore().Create(ctx, sandbox.Sandbox{
		ID: id, Runtime: sandbox.RuntimeOpts{Name: shim}, Labels: map[string]string{labelName: id},
	})
	if err = Translate(ctx, err); errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (r *Runtime) unguard(ctx context.Context, id string) error {
	if !r.guards {
		return nil
	}
	return ignoreNotFound(Translate(ctx, r.conn.Client().SandboxStore().Delete(ctx, id)))
}

// sweepGuards removes those of containers that are no more.
func (r *Runtime) sweepGuards(ctx context.Context, known map[string]bool) error {
	if !r.guards {
		return nil
	}
	list, err := r.conn.Client().SandboxStore().List(ctx)
	if err != nil {
		return fmt.Errorf("list sandboxes: %w", Translate(ctx, err))
	}
	var errs []error
	for _, s := range list {
		if s.Labels[labelName] == s.ID && !known[s.ID] {
			errs = append(errs, r.unguard(ctx, s.ID))
		}
	}
	return errors.Join(errs...)
}
