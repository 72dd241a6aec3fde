package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/google/go-cmp/cmp"

	"millrace.dev/pkg/need"
	"millrace.dev/services/kubelet/internal/cgroup"
	"millrace.dev/services/kubelet/internal/image/imagetest"
	"millrace.dev/services/kubelet/internal/logger"
	"millrace.dev/services/kubelet/internal/logs"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/containerd/daemon"
)

// node is a machine with a runtime that runs, for tests that look inside containers.
type node struct {
	*testing.T
	*machine
	r *Runtime
}

func newNode(t *testing.T) *node {
	t.Helper()
	m := newMachine(t)
	return &node{T: t, machine: m, r: m.running()}
}

func (n *node) pod(uid string, change func(*runtime.PodConfig)) {
	n.Helper()
	c := runtime.PodConfig{UID: uid, Namespace: "default", Name: uid, Hostname: uid}
	if change != nil {
		change(&c)
	}
	if _, err := n.r.CreatePod(n.Context(), c); err != nil {
		n.Fatal(err)
	}
}

func (n *node) config(uid, name, script string) runtime.ContainerConfig {
	return runtime.ContainerConfig{
		PodUID: uid, Name: name, Kind: runtime.KindApp, Image: n.Image(), Command: []string{"/bin/sh", "-c", script},
		Log: runtime.Log{Path: filepath.Join(n.dir, "log", uid, name, "0.log")},
	}
}

func (n *node) start(c runtime.ContainerConfig) runtime.Container {
	n.Helper()
	made, err := n.r.Create(n.Context(), c)
	if err == nil {
		made, err = n.r.Start(n.Context(), made.ID)
	}
	if err != nil {
		n.Fatalf("%s: %v", c.Name, err)
	}
	return made
}

// output runs a container to its end and returns what it wrote.
func (n *node) output(c runtime.ContainerConfig) string {
	n.Helper()
	made := n.start(c)
	if _, err := n.r.Wait(n.Context(), made.ID); err != nil {
		n.Fatal(err)
	}
	var out bytes.Buffer
	if err := logs.Copy(n.Context(), made.LogPath, logs.All(), &out, &out); err != nil {
		n.Fatal(err)
	}
	if err := n.r.Remove(n.Context(), made.ID); err != nil {
		n.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

func (n *node) exec(id, script string) string {
	n.Helper()
	var out bytes.Buffer
	if _, err := n.r.Exec(n.Context(), id, runtime.ExecConfig{Args: []string{"sh", "-c", script}, Stdout: &out}); err != nil {
		n.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

func TestSecurity(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	profile := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	uid := func(n int64) *int64 { return &n }
	tests := []struct {
		name, script string
		s            runtime.Security
		want         string // a regular expression
	}{
		{name: "root has the groups of the image", script: "id", want: `^uid=0\(root\) gid=0\(root\) groups=0\(root\),10\(wheel\)$`},
		{name: "by number, with the image's groups", script: "id -u; id -g; id -G", s: runtime.Security{UID: uid(1000)}, want: `^1000\n1001\n1001 1002$`},
		{name: "strict groups", script: "id -G", s: runtime.Security{UID: uid(1000), Groups: []int64{7}, StrictGroups: true}, want: `^1001 7$`},
		{name: "a number that the image does not know", script: "id -u; id -g; id -G", s: runtime.Security{UID: uid(4711), GID: uid(12), Groups: []int64{13}}, want: `^4711\n12\n12 13$`},
		{name: "read-only", script: "touch /x; touch /dev/shm/y && echo shm", s: runtime.Security{ReadOnlyRootfs: true}, want: `Read-only file system\nshm$`},
		{name: "no capabilities", script: "grep CapEff /proc/self/status", s: runtime.Security{DropCapabilities: []string{"ALL"}}, want: `^CapEff:\s+0000000000000000$`},
		{name: "a user with an ambient capability", script: "grep CapEff /proc/self/status", s: runtime.Security{UID: uid(1000), DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_BIND_SERVICE"}, AmbientCapabilities: true}, want: `^CapEff:\s+0000000000000400$`},
		{name: "what this machine lacks is left out", script: "echo ok", s: runtime.Security{AddCapabilities: []string{"ALL"}}, want: `^ok$`},
		{name: "no new privileges", script: "grep NoNewPrivs /proc/self/status", s: runtime.Security{NoNewPrivileges: true}, want: `1$`},
		{name: "may gain privileges", script: "grep NoNewPrivs /proc/self/status", want: `0$`},
		{name: "default filter", script: "grep Seccomp: /proc/self/status", s: runtime.Security{Seccomp: runtime.Seccomp{Kind: runtime.SeccompRuntimeDefault}}, want: `2$`},
		{name: "no filter", script: "grep Seccomp: /proc/self/status", want: `0$`},
		{name: "own filter", script: "mkdir /tmp/x", s: runtime.Security{Seccomp: runtime.Seccomp{Kind: runtime.SeccompLocalhost, Path: profile}}, want: `Operation not permitted$`},
		{name: "privileged", script: "mount -t tmpfs none /tmp && ls /dev/vda /dev/null", s: runtime.Security{Privileged: true}, want: `/dev/null\n`},
		{name: "confined", script: "mount -t tmpfs none /tmp; wc -c < /proc/kcore", want: `(?s)ermission denied|not permitted.*0$`},
		{name: "oom score", script: "cat /proc/self/oom_score_adj", want: `^0$`},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := n.config("p", fmt.Sprintf("c%d", i), tt.script)
			c.Security = tt.s
			c.Resources.OOMScoreAdj = -500
			if got := n.output(c); !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

func TestUsersOfTheImage(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	for name, want := range map[string]string{"web": "1000 1001 1001 1002", "web:extra": "1000 1002 1002", "1000:7": "1000 7 7 1002", "7": "7 0 0"} {
		ref := "docker.io/library/user-" + strings.ReplaceAll(name, ":", "-") + ":1"
		n.load(ref, imagetest.Busybox(t, imagetest.Config{User: name}))
		c := n.config("p", "c"+strings.ReplaceAll(name, ":", "-"), "echo $(id -u) $(id -g) $(id -G)")
		c.Image = runtime.Image{Name: ref}
		if got := n.output(c); got != want {
			t.Errorf("user %s: %s, want %s", name, got, want)
		}
	}
	n.load("docker.io/library/nobody:1", imagetest.Busybox(t, imagetest.Config{User: "stranger"}))
	c := n.config("p", "stranger", "id")
	c.Image = runtime.Image{Name: "docker.io/library/nobody:1"}
	_, err := n.r.Create(t.Context(), c)
	if unknown, ok := errors.AsType[*runtime.UserError](err); !ok || unknown.User != "stranger" {
		t.Errorf("user that is not there: %v", err)
	}
}

func TestPodsShareNamespaces(t *testing.T) {
	n := newNode(t)
	n.pod("p", func(c *runtime.PodConfig) {
		c.Hostname = "web-0"
		c.Sysctls = map[string]string{"net.core.somaxconn": "77"}
	})
	const look = "hostname; echo $HOSTNAME; for n in net ipc uts; do readlink /proc/self/ns/$n; done; cat /proc/sys/net/core/somaxconn; ls /sys/class/net"
	a, b := n.output(n.config("p", "a", look)), n.output(n.config("p", "b", look))
	if a != b || !strings.HasPrefix(a, "web-0\nweb-0\nnet:") || !strings.HasSuffix(a, "\n77\nlo") {
		t.Errorf("a sees %q, b sees %q", a, b)
	}
	one := n.start(n.config("p", "one", "echo hi > /dev/shm/x; sleep 1000"))
	two := n.start(n.config("p", "two", "sleep 1000"))
	for range 50 { // the first one has to get there
		if n.exec(one.ID, "cat /dev/shm/x 2>&1") == "hi" {
			break
		}
	}
	if got := n.exec(two.ID, "cat /dev/shm/x; ps | grep -c 'sleep [1]000'"); got != "hi\n1" {
		t.Errorf("the other container sees %q", got)
	}

	n.pod("host", func(c *runtime.PodConfig) { c.HostNetwork, c.HostIPC, c.HostPID = true, true, true })
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := name + "\n" + name + "\n" + mustLink(t, "/proc/self/ns/net") + "\n" + mustLink(t, "/proc/self/ns/ipc") + "\n" + mustLink(t, "/proc/self/ns/uts") + "\n" + mustLink(t, "/proc/self/ns/pid")
	if got := n.output(n.config("host", "a", "hostname; echo $HOSTNAME; for n in net ipc uts pid; do readlink /proc/self/ns/$n; done")); got != want {
		t.Errorf("on the host's namespaces it sees %q, want %q", got, want)
	}
}

func mustLink(t *testing.T, path string) string {
	t.Helper()
	s, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSharedProcesses(t *testing.T) {
	n := newNode(t)
	n.pod("p", func(c *runtime.PodConfig) { c.SharePID = true })
	one := n.start(n.config("p", "one", "sleep 1001"))
	two := n.start(n.config("p", "two", "sleep 1002"))
	if got := n.exec(two.ID, "ps | grep -c 'sleep [1]00'"); got != "2" {
		t.Errorf("it sees %s processes", got)
	}
	if _, err := n.r.Stop(t.Context(), one.ID, 0); err != nil {
		t.Fatal(err)
	}
	if got := n.exec(two.ID, "ps | grep 'sleep [1]00'"); !strings.HasSuffix(got, "sleep 1002") {
		t.Errorf("after the end of the other it sees %s", got)
	}
	if _, err := n.r.Stop(t.Context(), two.ID, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.r.RemovePod(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}

	// An ephemeral container looks into one whose processes are its own.
	n.pod("q", nil)
	target := n.start(n.config("q", "app", "sleep 1003"))
	c := n.config("q", "debug", "ps | grep -c 'sleep [1]003'; ls /proc/1/root/bin | wc -l")
	c.Kind, c.Target = runtime.KindEphemeral, target.ID
	c.Security.AddCapabilities = []string{"SYS_PTRACE"}
	if got := n.output(c); !strings.HasPrefix(got, "1\n") || strings.HasSuffix(got, "\n0") {
		t.Errorf("the ephemeral container sees %q", got)
	}
}

func TestResources(t *testing.T) {
	need.CgroupV1(t) // whose files are read here
	n := newNode(t)
	n.pod("p", func(c *runtime.PodConfig) {
		c.Limits = cgroup.Limits{MemoryBytes: 128 << 20, PIDs: 100, CPUShares: 256}
	})
	c := n.config("p", "app", "sleep 1000")
	c.Resources.Limits = cgroup.Limits{MemoryBytes: 64 << 20, CPUQuota: 20000, CPUShares: 512, PIDs: 50}
	made := n.start(c)
	read := func(controller, file string) string {
		body, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, file))
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(body))
	}
	parent := n.shut.Runtime.CgroupParent + "/podp"
	show := func() string {
		return strings.Join([]string{
			read("memory", parent+"/memory.limit_in_bytes"), read("pids", parent+"/pids.max"), read("cpu", parent+"/cpu.shares"),
			read("memory", made.Cgroup+"/memory.limit_in_bytes"), read("cpu", made.Cgroup+"/cpu.cfs_quota_us"),
			read("cpu", made.Cgroup+"/cpu.shares"), read("pids", made.Cgroup+"/pids.max"),
		}, " ")
	}
	if got, want := show(), "134217728 100 256 67108864 20000 512 50"; got != want {
		t.Errorf("limits are %s, want %s", got, want)
	}
	if got := n.exec(made.ID, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes"); got != "67108864" {
		t.Errorf("the container sees %s", got)
	}
	if err := n.r.Update(t.Context(), made.ID, runtime.Resources{Limits: cgroup.Limits{MemoryBytes: 96 << 20, CPUQuota: 50000, CPUShares: 600}}); err != nil {
		t.Fatal(err)
	}
	if got, want := show(), "134217728 100 256 100663296 50000 600 50"; got != want {
		t.Errorf("limits are %s, want %s", got, want)
	}
}

// TestChildOutOfMemory has a child killed and its parent go on: the count tells, the reason is the parent's own.
func TestChildOutOfMemory(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	c := n.config("p", "app", "dd if=/dev/zero of=/dev/null bs=200M count=1; exit 3")
	c.Resources.MemoryBytes = 32 << 20
	got, err := n.r.Wait(t.Context(), n.start(c).ID)
	if err != nil || got.ExitCode != 3 || got.OOMKills != 1 || got.OOMKilled() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMounts(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("from the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := n.config("p", "app", "cat /data/file /one/file; echo; touch /data/x && echo wrote; touch /ro/x")
	c.Mounts = []runtime.Mount{
		{HostPath: host, ContainerPath: "/data"},
		{HostPath: host, ContainerPath: "/ro", ReadOnly: true},
		{HostPath: filepath.Join(host, "file"), ContainerPath: "/one/file", ReadOnly: true},
	}
	if got := n.output(c); !strings.HasPrefix(got, "from the hostfrom the host\n") || !strings.Contains(got, "wrote") || !strings.Contains(got, "Read-only") {
		t.Errorf("got %q", got)
	}
	c = n.config("p", "env", "echo $FROM $KEEP $POD; pwd")
	c.Env = []string{"FROM=pod", "POD=yes"}
	if got := n.output(c); got != "pod image yes\n/data" {
		t.Errorf("got %q", got)
	}
}

func TestTerminal(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	sleeper := n.start(n.config("p", "app", "sleep 1000"))
	in, keys := io.Pipe()
	sizes := make(chan runtime.Size)
	var screen screen
	ended := make(chan int, 1)
	go func() {
		code, err := n.r.Exec(t.Context(), sleeper.ID, runtime.ExecConfig{Args: []string{"sh"}, TTY: true, Stdin: in, Stdout: &screen, Resize: sizes})
		if err != nil {
			t.Error(err)
		}
		ended <- code
	}()
	for _, s := range []runtime.Size{{Width: 100, Height: 30}, {Width: 133, Height: 44}} {
		sizes <- s
		screen.await(t, fmt.Sprintf("%d %d", s.Height, s.Width), func() { _, _ = io.WriteString(keys, "stty size\n") })
	}
	if _, err := io.WriteString(keys, "exit 9\n"); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 9 {
		t.Errorf("exit code %d", code)
	}

	c := n.config("p", "shell", "echo hello; exec sh")
	c.TTY, c.Stdin = true, true
	made := n.start(c)
	in, keys = io.Pipe()
	var attached screenPair
	done := make(chan error, 2)
	go func() {
		done <- n.r.Attach(t.Context(), made.ID, runtime.AttachConfig{Stdin: in, Stdout: &attached.first, Resize: sizes})
	}()
	go func() { done <- n.r.Attach(t.Context(), made.ID, runtime.AttachConfig{Stdout: &attached.second}) }()
	sizes <- runtime.Size{Width: 90, Height: 20}
	attached.first.await(t, "20 90", func() { _, _ = io.WriteString(keys, "stty size\n") })
	attached.second.await(t, "20 90", func() { _, _ = io.WriteString(keys, "stty size\n") })
	if _, err := io.WriteString(keys, "exit 4\n"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Errorf("attach: %v", err)
	}
	if got, err := n.r.Wait(t.Context(), made.ID); err != nil || got.ExitCode != 4 {
		t.Errorf("got %d, %v", got.ExitCode, err)
	}
}

type screenPair struct{ first, second screen }

// screen is what a terminal shows.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// await types until the screen shows a text.
func (s *screen) await(t *testing.T, text string, keys func()) {
	t.Helper()
	for range 200 {
		s.mu.Lock()
		shows := strings.Contains(s.buf.String(), text)
		s.mu.Unlock()
		if shows {
			return
		}
		keys()
		pause := time.NewTimer(50 * time.Millisecond)
		<-pause.C
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Fatalf("screen never shows %q: %q", text, s.buf.String())
}

// TestLogAtTenMegabytesASecond writes what a busy program writes and loses no line, over several files.
func TestLogThroughRotations(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	const lines = 200000 // 100 bytes each
	c := n.config("p", "app", fmt.Sprintf("yes '%s' | head -n %d | grep -n x", strings.Repeat("x", 93), lines))
	c.Log.MaxBytes, c.Log.MaxFiles = 10<<20, 4
	made := n.start(c)
	if _, err := n.r.Wait(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	next := 1
	err := logs.Each(t.Context(), made.LogPath, logs.All(), func(r logs.Record) error {
		if want := fmt.Sprintf("%d:x", next); !strings.HasPrefix(string(r.Text), want) {
			return fmt.Errorf("line %.20q, want %q", r.Text, want)
		}
		next++
		return nil
	})
	if err != nil || next != lines+1 {
		t.Errorf("read %d lines of %d: %v", next-1, lines, err)
	}
	if _, err := os.Stat(logger.RotatedPath(made.LogPath, 2)); err != nil {
		t.Errorf("three files: %v", err)
	}
}

// TestShimDies has the process between daemon and container killed: nobody can say how the container ended.
func TestShimDies(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	made := n.start(n.config("p", "app", "sleep 1000"))
	if err := n.daemon.KillShims(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := n.r.Wait(t.Context(), made.ID)
	if err != nil || got.ExitCode != runtime.ExitUnknown {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := n.r.RemovePod(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", made.PID)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("its process runs: %s", stat)
	}
}

// TestAfterReboot changes the name of this boot, as a reboot does, and takes away what it would take.
func TestAfterReboot(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	done := n.start(n.config("p", "done", "exit 5"))
	if _, err := n.r.Wait(t.Context(), done.ID); err != nil {
		t.Fatal(err)
	}
	running := n.start(n.config("p", "running", "sleep 1000"))
	never, err := n.r.Create(t.Context(), n.config("p", "never", "true"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.daemon.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.daemon.KillShims(t.Context()); err != nil {
		t.Fatal(err)
	}
	groups, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(groups.Remove(n.shut.Runtime.CgroupParent), removeSandboxes(n.shut.Runtime.RunDir), os.RemoveAll(n.shut.Runtime.RunDir+"/started"), unmountBelow(n.shut.Daemon.State), os.RemoveAll(n.shut.Daemon.State+"/io.containerd.runtime.v2.task")); err != nil {
		t.Fatal(err)
	}
	n.revive(t)
	r := n.open(t)
	r.boot = "the next one"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	reasons := map[string]string{}
	for _, id := range []string{done.ID, running.ID, never.ID} {
		c, err := r.Status(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		reasons[c.Name] = c.Reason
	}
	want := map[string]string{"done": runtime.ReasonError, "running": runtime.ReasonUnknown, "never": runtime.ReasonUnknown}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if pods, err := r.ListPods(t.Context()); err != nil || len(pods) != 1 || pods[0].Ready {
		t.Errorf("pods are %+v, %v", pods, err)
	}
	if pod, err := r.CreatePod(t.Context(), runtime.PodConfig{UID: "p", Namespace: "default", Name: "p"}); err != nil || !pod.Ready {
		t.Errorf("made again: %+v, %v", pod, err)
	}
}

// left is everything that a pod could leave on the machine.
func (n *node) left() []string {
	n.Helper()
	var all []string
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		n.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, n.dir) {
			all = append(all, "mount "+strings.Fields(line)[1])
		}
	}
	for _, root := range []string{n.shut.Runtime.RunDir, filepath.Join(n.shut.Daemon.State, "io.containerd.runtime.v2.task")} {
		_ = filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
			if err == nil && !info.IsDir() {
				all = append(all, "file "+path)
			}
			return nil
		})
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + n.shut.Runtime.CgroupParent + "/*")
	if err != nil {
		n.Fatal(err)
	}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			all = append(all, "group "+dir)
		}
	}
	c := n.dial().Client()
	containers, err := c.Containers(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	for _, c := range containers {
		all = append(all, "container "+c.ID())
	}
	err = n.r.snapshots.Walk(n.Context(), func(_ context.Context, info snapshots.Info) error {
		if info.Labels[labelName] != "" {
			all = append(all, "snapshot "+info.Name)
		}
		return nil
	})
	if err != nil {
		n.Fatal(err)
	}
	for _, pid := range n.daemon.Shims() {
		all = append(all, fmt.Sprint("shim ", pid))
	}
	return all
}

func TestFailuresLeaveNothing(t *testing.T) {
	n := newNode(t)
	tests := map[string]func(c *runtime.ContainerConfig){
		"no such command": func(c *runtime.ContainerConfig) { c.Command = []string{"no-such"} },
		"no such mount": func(c *runtime.ContainerConfig) {
			c.Mounts = []runtime.Mount{{HostPath: "/no/such", ContainerPath: "/x"}}
		},
		"no such log": func(c *runtime.ContainerConfig) { c.Log.Path = "/proc/no/such.log" },
		"no such profile": func(c *runtime.ContainerConfig) {
			c.Security.Seccomp = runtime.Seccomp{Kind: runtime.SeccompLocalhost, Path: "/no"}
		},
		"no such command, with a terminal": func(c *runtime.ContainerConfig) {
			c.Command, c.TTY, c.Stdin = []string{"no-such"}, true, true
		},
		"no such mount, with input": func(c *runtime.ContainerConfig) {
			c.Mounts, c.Stdin = []runtime.Mount{{HostPath: "/no/such", ContainerPath: "/x"}}, true
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			n.pod("p", nil)
			c := n.config("p", "app", "true")
			change(&c)
			made, err := n.r.Create(t.Context(), c)
			if err == nil {
				_, err = n.r.Start(t.Context(), made.ID)
			}
			if err == nil {
				t.Error("it works")
			}
			if err := n.r.RemovePod(t.Context(), "p"); err != nil {
				t.Error(err)
			}
			if left := n.left(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
	if _, err := n.r.CreatePod(t.Context(), runtime.PodConfig{UID: "p", Sysctls: map[string]string{"kernel.panic": "1"}}); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("create pod: %v", err)
	}
	if err := n.r.RemovePod(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	if left := n.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestExecLeavesNothing has commands that end well, cannot be run, are killed, and leave a child behind that holds their
// output.
func TestExecLeavesNothing(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	made := n.start(n.config("p", "app", "sleep 1000"))
	before := n.left()
	var out bytes.Buffer
	run := func(ctx context.Context, args ...string) (int, error) {
		return n.r.Exec(ctx, made.ID, runtime.ExecConfig{Args: args, Stdout: &out, Stdin: strings.NewReader("x")})
	}
	if code, err := run(t.Context(), "sh", "-c", "echo hi; sleep 1001 & exit 3"); code != 3 || err != nil || out.String() != "hi\n" {
		t.Errorf("with a child: %d, %v, %q", code, err, out.String())
	}
	if _, err := run(t.Context(), "no-such"); err == nil {
		t.Error("no such command: no error")
	}
	for _, d := range []time.Duration{5 * time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond} { // some end while it starts
		ctx, cancel := context.WithTimeout(t.Context(), d)
		if _, err := run(ctx, "sleep", "1002"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("too long: %v", err)
		}
		cancel()
	}
	if got := n.exec(made.ID, "ps | grep -c 'sleep [1]002'"); got != "0" {
		t.Errorf("%s of the killed command are left", got)
	}
	if diff := cmp.Diff(before, n.left()); diff != "" {
		t.Errorf("left (-before +after):\n%s", diff)
	}
}

// TestCutOffCreationsAreSwept has what a kubelet leaves that dies between two steps of a creation.
func TestCutOffCreationsAreSwept(t *testing.T) {
	n := newNode(t)
	n.pod("p", nil)
	img, err := n.r.images.get(t.Context(), n.Image())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.r.prepare(t.Context(), runtime.ContainerID("p", "app", 0), busybox, img); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(n.shut.Runtime.RunDir, ioDir, "abc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.r.podDir("p"), podFile), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.r = n.running()
	if pods, err := n.r.ListPods(t.Context()); err != nil || len(pods) != 1 || pods[0].Ready {
		t.Errorf("pods are %+v, %v", pods, err)
	}
	if err := n.r.RemovePod(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	if left := n.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestShutdown(t *testing.T) {
	n := newNode(t)
	n.pod("p", func(c *runtime.PodConfig) { c.SharePID = true })
	n.start(n.config("p", "a", "trap '' TERM; sleep 1000"))
	c := n.config("p", "b", "cat")
	c.Stdin = true
	n.start(c)
	cfg := n.shut
	cfg.RemoveRoot = false
	for range 2 {
		if err := Shutdown(t.Context(), cfg, n.log); err != nil {
			t.Fatal(err)
		}
		if pid := n.daemon.PID(); pid != 0 || len(n.daemon.Shims()) > 0 {
			t.Errorf("containerd is %d, shims are %v", pid, n.daemon.Shims())
		}
		for _, dir := range []string{cfg.Runtime.RunDir, cfg.Daemon.State} {
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", dir, err)
			}
		}
		if groups, err := filepath.Glob("/sys/fs/cgroup/*" + cfg.Runtime.CgroupParent); err != nil || len(groups) > 0 {
			t.Errorf("control groups are left: %v, %v", groups, err)
		}
	}
	if err := Shutdown(t.Context(), ShutdownConfig{Runtime: Config{RunDir: "/"}, Daemon: cfg.Daemon}, n.log); err == nil {
		t.Error("shut down the whole machine")
	}
	n.revive(t) // images are there, containers are not
	n.r = n.running()
	if list, err := n.r.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("containers are %+v, %v", list, err)
	}
	n.pod("q", nil)
	if got := n.output(n.config("q", "a", "echo again")); got != "again" {
		t.Errorf("got %q", got)
	}
}

// TestRunKeepsTheDaemonAlive kills it and waits for the next one.
func TestRunKeepsTheDaemonAlive(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.daemon.Run(ctx) }()
	first := n.daemon.PID()
	if err := n.daemon.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := n.dial()
	if err := conn.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next := n.daemon.PID(); next == first || next == 0 {
		t.Errorf("containerd was %d, is %d", first, next)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := conn.Ready(t.Context()); err != nil {
		t.Errorf("it ended with us: %v", err)
	}
}

func TestDaemonConfig(t *testing.T) {
	n := newNode(t)
	for _, c := range []DaemonConfig{{}, {Address: "/run/x.sock", Managed: &n.shut.Daemon}, {Managed: &daemon.Config{Root: "x", State: "y"}}} {
		if _, _, err := c.Open(n.log); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	conn, run, err := DaemonConfig{Address: n.daemon.Address()}.Open(n.log)
	if err != nil || run != nil {
		t.Fatalf("somebody else's: run is there %v, %v", run != nil, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.daemon.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	conn, run, err = DaemonConfig{Managed: &n.shut.Daemon}.Open(n.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	if err := conn.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
