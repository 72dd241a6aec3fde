package fake

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/runtimetest"
)

type testMachine struct{ *Machine }

func (m testMachine) Open(*testing.T) runtime.Runtime    { return m.Runtime() }
func (m testMachine) CrashDaemon(*testing.T)             { m.Crash() }
func (m testMachine) ReviveDaemon(*testing.T)            { m.Revive() }
func (m testMachine) Ended(_ *testing.T, id string) bool { return m.HasEnded(id) }
func (m testMachine) Image() runtime.Image               { return runtime.Image{Name: "docker.io/library/busybox:1"} }
func (m testMachine) EatMemory() []string                { return []string{"dd"} }

func TestConformance(t *testing.T) {
	runtimetest.Run(t, func(t *testing.T) runtimetest.Machine {
		m := NewMachine(Config{})
		t.Cleanup(m.Close)
		return testMachine{m}
	})
}

// start runs a runtime inside a bubble and returns what ends it.
func start(t *testing.T, m *Machine) (*Runtime, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := m.Runtime()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return r, func() {
		cancel()
		wg.Wait()
	}
}

func TestProgramsRunOnTestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []Op
		m := NewMachine(Config{
			Before: func(_ context.Context, c Call) error {
				calls = append(calls, c.Op)
				return nil
			},
			Program: func(c runtime.ContainerConfig) (Program, error) {
				if c.Name == "bad" {
					return nil, &runtime.StartError{Message: "bad"}
				}
				return func(ctx context.Context, _ *Process) int {
					select {
					case <-time.NewTimer(time.Hour).C:
						return 3
					case <-ctx.Done():
						return 0
					}
				}, nil
			},
		})
		defer m.Close()
		r, stop := start(t, m)
		defer stop()
		ctx := t.Context()
		if _, err := r.CreatePod(ctx, runtime.PodConfig{UID: "u"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, name := range []string{"app", "bad"} {
			c, err := r.Create(ctx, runtime.ContainerConfig{PodUID: "u", Name: name})
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Start(ctx, c.ID)
			if failed, ok := errors.AsType[*runtime.StartError](err); ok != (name == "bad") {
				t.Errorf("start %s: %v, %v", name, failed, err)
			}
		}
		e := <-r.Events()
		if took := time.Since(began); took != time.Hour || e.Container.ExitCode != 3 || e.Container.Reason != runtime.ReasonError {
			t.Errorf("after %v: %+v", took, e.Container)
		}
		if diff := cmp.Diff([]Op{OpCreatePod, OpCreate, OpStart, OpCreate, OpStart}, calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestEndAndReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMachine(Config{})
		defer m.Close()
		r, stop := start(t, m)
		ctx := t.Context()
		if _, err := r.CreatePod(ctx, runtime.PodConfig{UID: "u"}); err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{}
		for _, name := range []string{"a", "b", "c"} {
			c, err := r.Create(ctx, runtime.ContainerConfig{PodUID: "u", Name: name})
			if err == nil {
				_, err = r.Start(ctx, c.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			ids[name] = c.ID
		}
		if !m.End(ids["a"], 9, false) || !m.End(ids["b"], 137, true) || m.End("nobody", 0, false) {
			t.Error("End did not say what it did")
		}
		reasons := map[string]string{}
		for range 2 {
			e := <-r.Events()
			reasons[e.Container.Name] = e.Container.Reason
		}
		stop()
		m.Reboot()
		r, stop = start(t, m)
		defer stop()
		e := <-r.Events()
		reasons[e.Container.Name] = e.Container.Reason
		want := map[string]string{"a": runtime.ReasonError, "b": runtime.ReasonOOMKilled, "c": runtime.ReasonUnknown}
		if diff := cmp.Diff(want, reasons); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
		if pods, err := r.ListPods(ctx); err != nil || len(pods) != 1 || pods[0].Ready {
			t.Errorf("pods are %+v, %v", pods, err)
		}
	})
}

func TestBeforeFails(t *testing.T) {
	broken := errors.New("broken")
	m := NewMachine(Config{Before: func(_ context.Context, c Call) error {
		if c.Op == OpCreate && c.Container == "app" {
			return broken
		}
		return nil
	}})
	defer m.Close()
	r, stop := start(t, m)
	defer stop()
	if _, err := r.CreatePod(t.Context(), runtime.PodConfig{UID: "u"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Create(t.Context(), runtime.ContainerConfig{PodUID: "u", Name: "app"}); !errors.Is(err, broken) {
		t.Errorf("create: %v", err)
	}
}
