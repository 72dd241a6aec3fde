package kubelet

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/objtest"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/volume"
)

// sandboxes lists pods as a test says.
type sandboxes struct {
	runtime.Pods
	list func() ([]runtime.Pod, error)
}

func (s sandboxes) ListPods(context.Context) ([]runtime.Pod, error) { return s.list() }

// A pod whose order comes while leftovers are looked for has its worker first, then its sandbox: it is no orphan.
func TestOrphansAreNotThoseThatJustCame(t *testing.T) {
	volumes := volume.New(t.TempDir(), "")
	for _, name := range []string{"both", "volumes", "live"} {
		if err := volumes.SetUp(objtest.Pod(name).Obj(), name, ""); err != nil {
			t.Fatal(err)
		}
	}
	live := []string{"uid-live"}
	there := sandboxes{list: func() ([]runtime.Pod, error) {
		live = append(live, "uid-new") // in this moment
		return []runtime.Pod{{UID: "uid-both"}, {UID: "uid-sandbox"}, {UID: "uid-new"}}, nil
	}}
	got, err := orphans(t.Context(), there, volumes, func() []string { return live })
	if diff := cmp.Diff([]string{"uid-both", "uid-sandbox", "uid-volumes"}, got); diff != "" || err != nil {
		t.Errorf("orphans: %v (-want +got):\n%s", err, diff)
	}
	away := errors.New("away")
	there.list = func() ([]runtime.Pod, error) { return nil, away }
	if got, err := orphans(t.Context(), there, volumes, func() []string { return nil }); !errors.Is(err, away) || got != nil {
		t.Errorf("orphans = %v, %v; want nothing while the runtime is away", got, err)
	}
}
