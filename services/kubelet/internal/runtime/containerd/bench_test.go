package containerd

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/sandbox"
)

// running runs a runtime for a benchmark.
func (m *machine) running() *Runtime {
	m.t.Helper()
	r := m.open(m.t)
	ctx, cancel := context.WithCancel(context.WithoutCancel(m.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			m.t.Error(err)
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-r.Events():
			case <-ctx.Done():
				return
			}
		}
	})
	m.t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return r
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func sleeper(m *machine, uid string) runtime.ContainerConfig {
	return runtime.ContainerConfig{
		PodUID: uid, Name: "app", Kind: runtime.KindApp, Image: m.Image(), Command: []string{"sleep", "1000"},
		Security: runtime.Security{Seccomp: runtime.Seccomp{Kind: runtime.SeccompRuntimeDefault}},
		Log:      runtime.Log{Path: filepath.Join(m.dir, "log", uid, "0.log")},
	}
}

// BenchmarkOneContainer is what a pod with one container costs from nothing to running, beside what the same takes with
// containerd's own library: the same namespaces, no log.
func BenchmarkOneContainer(b *testing.B) {
	b.Run("millrace", func(b *testing.B) {
		m := newMachine(b)
		r := m.running()
		var create, start []time.Duration
		for i := 0; b.Loop(); i++ {
			uid := fmt.Sprintf("pod%d", i)
			must(r.CreatePod(b.Context(), runtime.PodConfig{UID: uid, Namespace: "default", Name: uid, Hostname: uid}))
			began := time.Now()
			c := must(r.Create(b.Context(), sleeper(m, uid)))
			create = append(create, time.Since(began))
			began = time.Now()
			must(r.Start(b.Context(), c.ID))
			start = append(start, time.Since(began))
			b.StopTimer()
			if err := r.RemovePod(b.Context(), uid); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		report(b, map[string][]time.Duration{"create-ms": create, "start-ms": start})
	})
	b.Run("raw", func(b *testing.B) {
		m := newMachine(b)
		conn := m.dial()
		var create, start []time.Duration
		for i := 0; b.Loop(); i++ {
			id := fmt.Sprintf("raw%d", i)
			dir := filepath.Join(m.dir, "ns", id)
			if err := sandbox.Create(sandbox.Config{Dir: dir, Kinds: []string{sandbox.Net, sandbox.UTS, sandbox.IPC}, Hostname: id}); err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			c, task := rawCreate(b, m, conn, id, dir)
			create = append(create, time.Since(began))
			began = time.Now()
			if err := task.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			start = append(start, time.Since(began))
			b.StopTimer()
			rawRemove(b, c, task)
			if err := sandbox.Remove(dir); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		report(b, map[string][]time.Duration{"create-ms": create, "start-ms": start})
	})
}

func rawCreate(b *testing.B, m *machine, conn *Conn, id, dir string) (client.Container, client.Task) {
	b.Helper()
	ctx := b.Context()
	img := must(conn.Client().GetImage(ctx, busybox))
	spec := []oci.SpecOpts{
		oci.WithDefaultSpec(), oci.WithImageConfig(img), oci.WithProcessArgs("/bin/sleep", "1000"),
		oci.WithCgroup(m.shut.Runtime.CgroupParent + "/" + id), seccomp.WithDefaultProfile(),
	}
	for kind, name := range map[specs.LinuxNamespaceType]string{
		specs.NetworkNamespace: sandbox.Net, specs.UTSNamespace: sandbox.UTS, specs.IPCNamespace: sandbox.IPC,
	} {
		spec = append(spec, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: kind, Path: sandbox.Path(dir, name)}))
	}
	c := must(conn.Client().NewContainer(ctx, id, client.WithImage(img), client.WithSnapshotter(DefaultSnapshotter),
		client.WithNewSnapshot(id, img), client.WithRuntime(shim, &options.Options{}), client.WithNewSpec(spec...)))
	return c, must(c.NewTask(ctx, cio.NullIO))
}

func rawRemove(b *testing.B, c client.Container, task client.Task) {
	b.Helper()
	ctx := b.Context()
	ended := must(task.Wait(ctx))
	if err := task.Kill(ctx, unix.SIGKILL); err != nil {
		b.Fatal(err)
	}
	<-ended
	must(task.Delete(ctx))
	if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil {
		b.Fatal(err)
	}
}

// report gives medians.
func report(b *testing.B, of map[string][]time.Duration) {
	b.Helper()
	for name, all := range of {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name)
	}
}

// BenchmarkManyPods starts 50 pods at once, eight at a time, and removes them.
func BenchmarkManyPods(b *testing.B) {
	m := newMachine(b)
	r := m.running()
	const pods, atOnce = 50, 8
	each := func(f func(uid string)) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		slots := make(chan struct{}, atOnce)
		for i := range pods {
			slots <- struct{}{}
			wg.Go(func() {
				f(fmt.Sprintf("pod%d", i))
				<-slots
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	for b.Loop() {
		took := each(func(uid string) {
			must(r.CreatePod(b.Context(), runtime.PodConfig{UID: uid, Namespace: "default", Name: uid, Hostname: uid}))
			must(r.Start(b.Context(), must(r.Create(b.Context(), sleeper(m, uid))).ID))
		})
		b.ReportMetric(pods/took.Seconds(), "starts/s")
		took = each(func(uid string) {
			if err := r.RemovePod(b.Context(), uid); err != nil {
				panic(err)
			}
		})
		b.ReportMetric(pods/took.Seconds(), "removals/s")
	}
}
