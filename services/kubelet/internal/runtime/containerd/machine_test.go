package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"

	"millrace.dev/pkg/need"
	"millrace.dev/services/kubelet/internal/image/imagetest"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/containerd/daemon"
	"millrace.dev/services/kubelet/internal/runtime/runtimetest"
)

func TestConformance(t *testing.T) {
	need.Containerd(t)
	runtimetest.Run(t, func(t *testing.T) runtimetest.Machine { return newMachine(t) })
}

const busybox = "docker.io/library/busybox:1"

// machine is a private containerd with one image.
type machine struct {
	t      testing.TB
	dir    string
	shut   ShutdownConfig
	daemon *daemon.Daemon
	image  imagetest.Image
	log    *slog.Logger
}

var machines atomic.Int32

func newMachine(t testing.TB) *machine {
	t.Helper()
	need.Containerd(t)
	// Not t.TempDir: the paths of sockets are short.
	name := fmt.Sprintf("mrtest-%d-%d", os.Getpid(), machines.Add(1))
	dir := filepath.Join("/run", name)
	m := &machine{t: t, dir: dir, log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
	m.shut = ShutdownConfig{
		Runtime: Config{
			RunDir: filepath.Join(dir, "run"), Logger: loggerProgram(t),
			CgroupParent: "/" + name,
		},
		Daemon:     daemon.Config{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state")},
		RemoveRoot: true,
	}
	var err error
	if m.daemon, err = daemon.New(m.shut.Daemon, m.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	m.revive(t)
	m.image = imagetest.Busybox(t, imagetest.Config{Env: []string{"FROM=image", "KEEP=image"}, WorkingDir: "/data"})
	m.load(busybox, m.image)
	return m
}

func (m *machine) close() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if m.t.Failed() {
		if body, err := os.ReadFile(m.daemon.LogPath()); err == nil {
			m.t.Logf("containerd: %s", body)
		}
	}
	if err := Shutdown(ctx, m.shut, m.log); err != nil {
		m.t.Errorf("shut down: %v", err)
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Error(err)
	}
}

// load imports an image.
func (m *machine) load(name string, image imagetest.Image) {
	m.t.Helper()
	conn := m.dial()
	ctx := m.t.Context()
	images, err := conn.Client().Import(ctx, bytes.NewReader(image.Archive(m.t, name)))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, i := range images {
		img, err := conn.Client().GetImage(ctx, i.Name)
		if err == nil {
			err = img.Unpack(ctx, DefaultSnapshotter)
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) dial() *Conn {
	m.t.Helper()
	conn, err := Dial(m.daemon.Address(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (m *machine) Open(t *testing.T) runtime.Runtime {
	t.Helper()
	return m.open(t)
}

func (m *machine) open(t testing.TB) *Runtime {
	t.Helper()
	r, err := New(m.shut.Runtime, m.dial(), m.log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (m *machine) CrashDaemon(t *testing.T) {
	t.Helper()
	if err := m.daemon.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) ReviveDaemon(t *testing.T) { t.Helper(); m.revive(t) }

func (m *machine) revive(t testing.TB) {
	t.Helper()
	if _, err := m.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.dial().Ready(ctx); err != nil {
		t.Fatalf("containerd: %v", err)
	}
}

func (m *machine) Image() runtime.Image { return runtime.Image{Name: busybox} }

// Ended asks the daemon, which knows from the container's shim.
func (m *machine) Ended(t *testing.T, id string) bool {
	t.Helper()
	got, err := m.dial().Client().TaskService().Get(t.Context(), &tasks.GetRequest{ContainerID: id})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetProcess().GetStatus() == task.Status_STOPPED
}

func (m *machine) EatMemory() []string {
	return []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=2"}
}

// loggerProgram builds millrace-logger, once for all tests.
func loggerProgram(t testing.TB) string {
	t.Helper()
	path, err := buildLogger()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildLogger = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "millrace-logger")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "millrace-logger")
	out, err := exec.Command("go", "build", "-o", path, "millrace.dev/services/kubelet/cmd/millrace-logger").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := buildLogger(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}
