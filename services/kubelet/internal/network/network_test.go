package network

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"millrace.dev/pkg/need"
	"millrace.dev/services/kubelet/internal/sandbox"
)

// inNode marks a test process that runs in a network namespace of its own, as a node does.
const inNode = "MILLRACE_TEST_NODE"

// TestMain runs the tests again in a new network namespace, so that they share nothing with the machine and leave nothing
// behind.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inNode) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNode+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig goes by thread
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		panic(err)
	}
	os.Exit(0)
}

// start sets up a network with names of its own.
func start(t *testing.T, cidr string) *Network {
	t.Helper()
	need.Network(t)
	n := again(t, cidr)
	t.Cleanup(func() {
		if err := n.Teardown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// again is what the next kubelet has.
func again(t *testing.T, cidr string) *Network {
	t.Helper()
	n, err := New(Config{Bridge: "mrtest0", Table: "mrtest", PodCIDR: netip.MustParsePrefix(cidr)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func podNS(t *testing.T) (netNS string, remove func()) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if err := sandbox.Create(sandbox.Config{Dir: dir, Kinds: []string{sandbox.Net}}); err != nil {
		t.Fatal(err)
	}
	remove = func() {
		if err := sandbox.Remove(dir); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(remove)
	return sandbox.Path(dir, sandbox.Net), remove
}

func attach(t *testing.T, n *Network, netNS, uid string) netip.Addr {
	t.Helper()
	addr, err := n.Attach(t.Context(), netNS, uid)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// in runs f on a thread inside a network namespace.
func in(t *testing.T, netNS string, f func() error) {
	t.Helper()
	err := sandbox.OnThread(func() error {
		fd, err := unix.Open(netNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Setns(fd, unix.CLONE_NEWNET), unix.Close(fd)); err != nil {
			return err
		}
		return f()
	})
	if err != nil {
		t.Error(err)
	}
}

// listen opens a TCP port on this thread's network and answers each connection with the address it came from.
func listen(t *testing.T, addr string, ready chan<- string) error {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().(*net.TCPAddr).IP.String())
			_ = c.Close()
		}
	}()
	ready <- l.Addr().String()
	return nil
}

// ask connects from this thread's network and returns what the other side sees as our address. The dial must not leave
// the thread, so it is made with plain system calls.
func ask(addr string) (string, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 3})
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 3})
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
		return "", fmt.Errorf("connect to %s: %w", addr, err)
	}
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

func links(t *testing.T) []string {
	t.Helper()
	all, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range all {
		if l.Type() == "veth" || l.Type() == "bridge" {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

func TestPodsReachEachOtherAndTheNode(t *testing.T) {
	n := start(t, "10.199.0.0/24")
	nsA, _ := podNS(t)
	nsB, _ := podNS(t)
	a, b := attach(t, n, nsA, "a"), attach(t, n, nsB, "b")
	if a == b || a.String() != "10.199.0.2" {
		t.Errorf("addresses are %s and %s", a, b)
	}
	where := make(chan string, 1)
	in(t, nsB, func() error { return listen(t, "0.0.0.0:7000", where) })
	<-where
	expect := func(netNS, addr, want string) {
		t.Helper()
		in(t, netNS, func() error {
			got, err := ask(addr)
			if err == nil && got != want {
				err = fmt.Errorf("%s saw %s, want %s", addr, got, want)
			}
			return err
		})
	}
	target := b.String() + ":7000"
	expect(nsA, target, a.String())
	expect(nsB, target, b.String())
	expect(nsB, "127.0.0.1:7000", "127.0.0.1")
	expect("/proc/self/ns/net", target, n.Gateway().String())
}

// TestMasquerade has a third network behind the node, in which only the node's address is known.
func TestMasquerade(t *testing.T) {
	n := start(t, "10.199.0.0/24")
	nsA, _ := podNS(t)
	attach(t, n, nsA, "a")
	outside, _ := podNS(t)
	h, closeBoth, err := handleIn(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer closeBoth()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "mrup"
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "up"
	fd, err := os.Open(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fd.Close() }()
	veth.PeerNamespace = netlink.NsFd(fd.Fd())
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	up := func(h *netlink.Handle, name, addr string) {
		link, err := h.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(h.AddrAdd(link, a), h.LinkSetUp(link)); err != nil {
			t.Fatal(err)
		}
	}
	node, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	up(node, "mrup", "10.198.0.1/24")
	up(h, "up", "10.198.0.2/24")
	where := make(chan string, 1)
	in(t, outside, func() error { return listen(t, "10.198.0.2:7000", where) })
	<-where
	in(t, nsA, func() error {
		got, err := ask("10.198.0.2:7000")
		if err == nil && got != "10.198.0.1" {
			err = fmt.Errorf("the outside saw %s, want the node's address", got)
		}
		return err
	})
}

func TestAttachIsIdempotentAndMends(t *testing.T) {
	n := start(t, "10.199.0.0/24")
	ns, remove := podNS(t)
	first := attach(t, n, ns, "a")
	if got := attach(t, n, ns, "a"); got != first {
		t.Errorf("attached again: %s, then %s", first, got)
	}
	remove() // the sandbox is made anew
	ns, _ = podNS(t)
	if got := attach(t, n, ns, "a"); got != first {
		t.Errorf("attached in a new sandbox: %s, then %s", first, got)
	}
	if got := links(t); len(got) != 2 {
		t.Errorf("interfaces are %v", got)
	}
}

func TestAddressesAreLearnedFromTheKernel(t *testing.T) {
	n := start(t, "10.199.0.0/24")
	nsA, _ := podNS(t)
	nsB, _ := podNS(t)
	a := attach(t, n, nsA, "a")
	b := attach(t, n, nsB, "b")
	if err := n.Detach(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	next := again(t, "10.199.0.0/24")
	if got, ok := next.Address("b"); !ok || got != b {
		t.Errorf("pod b has %v, %v, want %s", got, ok, b)
	}
	if got := attach(t, next, nsA, "a"); got == a || got == b {
		t.Errorf("pod a got %s: used a moment ago or by b (%s)", got, b)
	}
}

func TestRepair(t *testing.T) {
	n := start(t, "10.199.0.0/24")
	for _, uid := range []string{"a", "b", "c"} {
		ns, _ := podNS(t)
		attach(t, n, ns, uid)
	}
	// What a crash leaves that had no time to mark it.
	bridge, err := netlink.LinkByName("mrtest0")
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = portPrefix+"half", bridge.Attrs().Index
	half := netlink.NewVeth(attrs)
	half.PeerName = "mrhalf"
	if err := netlink.LinkAdd(half); err != nil {
		t.Fatal(err)
	}
	next := again(t, "10.199.0.0/24")
	if err := next.Repair(t.Context(), func() []string { return []string{"b"} }); err != nil {
		t.Fatal(err)
	}
	got := links(t)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"mrtest0", portName("b")}, got); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
}

func TestFailedAttachLeavesNothing(t *testing.T) {
	n := start(t, "10.199.0.0/24")
	if _, err := n.Attach(t.Context(), filepath.Join(t.TempDir(), "none"), "a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no namespace: %v", err)
	}
	ns, _ := podNS(t)
	h, closeBoth, err := handleIn(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer closeBoth()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = podInterface
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil { // the name is taken
		t.Fatal(err)
	}
	if _, err := n.Attach(t.Context(), ns, "a"); err == nil {
		t.Error("attached twice")
	}
	if got := links(t); len(got) != 1 {
		t.Errorf("interfaces are %v", got)
	}
	if addr, ok := n.Address("a"); ok {
		t.Errorf("address %s is not free", addr)
	}
}

func TestExhausted(t *testing.T) {
	n := start(t, "10.199.0.0/29") // 5 pods
	var last string
	for i := range 5 {
		ns, _ := podNS(t)
		last = fmt.Sprint("pod", i)
		attach(t, n, ns, last)
	}
	ns, _ := podNS(t)
	if _, err := n.Attach(t.Context(), ns, "more"); !errors.Is(err, ErrExhausted) {
		t.Errorf("a sixth pod: %v", err)
	}
	if err := n.Detach(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	attach(t, n, ns, "more")
}

func TestFiftyPodsAtOnce(t *testing.T) {
	n := start(t, "10.199.0.0/24")
	const pods = 50
	var paths []string
	for range pods {
		ns, _ := podNS(t)
		paths = append(paths, ns)
	}
	addrs := make([]netip.Addr, pods)
	each := func(f func(i int) error) {
		var wg sync.WaitGroup
		for i := range pods {
			wg.Go(func() {
				if err := f(i); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	each(func(i int) (err error) {
		addrs[i], err = n.Attach(t.Context(), paths[i], fmt.Sprint("pod", i))
		return err
	})
	distinct := slices.Clone(addrs)
	slices.SortFunc(distinct, netip.Addr.Compare)
	if got := len(slices.Compact(distinct)); got != pods {
		t.Errorf("%d pods have %d addresses", pods, got)
	}
	each(func(i int) error { return n.Detach(t.Context(), fmt.Sprint("pod", i)) })
	if got := links(t); len(got) != 1 {
		t.Errorf("interfaces are left: %v", got)
	}
}

func TestTeardown(t *testing.T) {
	need.Nftables(t)
	n := start(t, "10.199.0.0/24")
	ns, _ := podNS(t)
	attach(t, n, ns, "a")
	rules := func() string {
		out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, want := range []string{"ip saddr 10.199.0.0/24 masquerade fully-random", `oifname "mrtest0" accept`, "ip daddr 224.0.0.0/4 accept"} {
		if got := rules(); !strings.Contains(got, want) {
			t.Errorf("no rule %q in\n%s", want, got)
		}
	}
	for range 2 {
		if err := n.Teardown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := rules(); got != "" {
		t.Errorf("rules are left:\n%s", got)
	}
	if got := links(t); got != nil {
		t.Errorf("interfaces are left: %v", got)
	}
}

func TestConfig(t *testing.T) {
	for _, cidr := range []string{"10.0.0.0/31", "fd00::/64"} {
		if _, err := New(Config{PodCIDR: netip.MustParsePrefix(cidr)}, nil); err == nil {
			t.Errorf("podCIDR %s was accepted", cidr)
		}
	}
	if _, err := New(Config{PodCIDR: netip.MustParsePrefix("10.0.0.0/24"), Bridge: "a-very-long-name"}, nil); err == nil {
		t.Error("a bridge name of 16 bytes was accepted")
	}
}

func BenchmarkAttachDetach(b *testing.B) {
	need.Network(b)
	n, err := New(Config{Bridge: "mrtest0", Table: "mrtest", PodCIDR: netip.MustParsePrefix("10.199.0.0/24")}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Setup(b.Context()); err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.TempDir(), "pod")
	if err := sandbox.Create(sandbox.Config{Dir: dir, Kinds: []string{sandbox.Net}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := n.Attach(b.Context(), sandbox.Path(dir, sandbox.Net), "a"); err != nil {
			b.Fatal(err)
		}
		if err := n.Detach(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(sandbox.Remove(dir), n.Teardown(b.Context())); err != nil {
		b.Fatal(err)
	}
}
