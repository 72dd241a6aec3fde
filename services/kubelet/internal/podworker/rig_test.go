package podworker

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/note"
	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
	"millrace.dev/services/kubelet/internal/image"
	"millrace.dev/services/kubelet/internal/runtime"
	"millrace.dev/services/kubelet/internal/runtime/fake"
	"millrace.dev/services/kubelet/internal/volume"
)

// images has every image but those that a test makes it fail for.
type images struct {
	mu     sync.Mutex
	local  map[string]image.Image // by full name
	broken map[string]error       // pulls that fail
	pulls  []string
}

func (i *images) Get(_ context.Context, name string) (image.Image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if found, ok := i.local[name]; ok {
		return found, nil
	}
	return image.Image{}, image.ErrNotFound
}

func (i *images) Pull(_ context.Context, r image.PullRequest) (image.Image, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pulls = append(i.pulls, r.Name)
	if err := i.broken[r.Name]; err != nil {
		return image.Image{}, err
	}
	if found, ok := i.local[r.Name]; ok {
		return found, nil
	}
	pulled := image.Image{Names: []string{r.Name}, Digest: "sha256:" + strings.Repeat("a", 64), SizeBytes: 42}
	i.local[r.Name] = pulled
	return pulled, nil
}

func (i *images) has(name string, settings image.Settings) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.local[name] = image.Image{Names: []string{name}, Digest: "sha256:" + strings.Repeat("b", 64), Config: settings}
}

func (i *images) fail(name string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken[name] = err
}

func (i *images) pulled() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.pulls)
}

// network gives addresses in the order in which they are asked for.
type network struct {
	mu       sync.Mutex
	next     byte
	attached map[string]netip.Addr
	broken   error // of Attach
}

func (n *network) Attach(_ context.Context, _, uid string) (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken != nil {
		return netip.Addr{}, n.broken
	}
	if _, ok := n.attached[uid]; !ok {
		n.next++
		n.attached[uid] = netip.AddrFrom4([4]byte{10, 244, 0, n.next})
	}
	return n.attached[uid], nil
}

func (n *network) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = err
}

func (n *network) Detach(_ context.Context, uid string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.attached, uid)
	return nil
}

func (n *network) Address(uid string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.attached[uid]
	return a, ok
}

// contentsFunc answers requests for ConfigMaps and Secrets.
type contentsFunc func(r state.ConfigRequest) (*state.ConfigAnswer, error)

func (f contentsFunc) Config(_ context.Context, r state.ConfigRequest) (*state.ConfigAnswer, error) {
	return f(r)
}

// reports keeps what was reported.
type reports struct {
	mu  sync.Mutex
	all []state.PodReport
	ask map[types.UID]func() // tells the worker that its pod is gone
}

func (r *reports) Report(report state.PodReport, gone func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, report)
	r.ask[report.UID] = gone
}

func (r *reports) of(uid types.UID) []state.PodReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all), func(p state.PodReport) bool { return p.UID != uid })
}

// gone acknowledges as the api does when it does not have the pod any more.
func (r *reports) gone(uid types.UID) {
	r.mu.Lock()
	tell := r.ask[uid]
	r.mu.Unlock()
	tell()
}

// started is one start of a container.
type started struct {
	Name    string
	Attempt int
	At      time.Duration // since the rig was made
}

// rig is a node in a bubble of testing/synctest: a machine that outlives its kubelets, and one kubelet after the other.
type rig struct {
	t        *testing.T
	began    time.Time
	node     Node
	machine  *fake.Machine
	images   *images
	network  *network
	volumes  *volume.Volumes
	contents contentsFunc
	reports  *reports
	manager  *Manager
	stop     func() // ends the kubelet as if it were killed

	mu       sync.Mutex
	calls    []fake.Call
	starts   []started
	configs  []runtime.ContainerConfig
	notes    []string
	revision uint64
	program  func(c runtime.ContainerConfig) (fake.Program, error)
	refuse   func(c fake.Call) error
}

// newRig starts a kubelet. Its containers run until they get TERM unless program says otherwise.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{
		t: t, began: time.Now(), images: &images{local: map[string]image.Image{}, broken: map[string]error{}},
		network: &network{attached: map[string]netip.Addr{}}, reports: &reports{ask: map[types.UID]func(){}},
		contents: func(state.ConfigRequest) (*state.ConfigAnswer, error) { return &state.ConfigAnswer{}, nil },
		node: Node{
			Name: "n1", HostIP: "192.168.0.1", Allocatable: objtest.Node("n1").Obj().Status.Allocatable, MemoryBytes: 8 << 30,
			LogDir: t.TempDir(), Now: time.Now,
		},
	}
	r.volumes = volume.New(t.TempDir(), "/no/such/resolv.conf")
	r.machine = fake.NewMachine(fake.Config{
		Before: func(_ context.Context, c fake.Call) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.calls = append(r.calls, c)
			if r.refuse != nil {
				return r.refuse(c)
			}
			return nil
		},
		Program: func(c runtime.ContainerConfig) (fake.Program, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.starts = append(r.starts, started{c.Name, c.Attempt, time.Since(r.began)})
			r.configs = append(r.configs, c)
			if r.program != nil {
				return r.program(c)
			}
			return fake.Shell(slices.Concat(c.Command, c.Args))
		},
	})
	r.start()
	t.Cleanup(func() {
		r.stop()
		r.machine.Close()
	})
	return r
}

// start starts a kubelet over the machine, with orders from its disk.
func (r *rig) start(orders ...*state.Order) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	run := r.machine.Runtime()
	r.manager = NewManager(Deps{
		Runtime: run, Images: r.images, Network: r.network, Volumes: r.volumes, Contents: r.contents, Reporter: r.reports,
		Notes: note.New("kubelet", "n1", r.note), Node: r.node,
	})
	for _, o := range orders {
		r.tell(o)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	wg.Go(func() {
		if err := r.manager.Run(ctx); !errors.Is(err, context.Canceled) {
			r.t.Errorf("Run = %v, want the end of its context", err)
		}
	})
	manager := r.manager
	wg.Go(func() {
		for {
			select {
			case e := <-run.Events():
				manager.Ended(e.Container.PodUID)
			case <-ctx.Done():
				return
			}
		}
	})
	r.stop = func() {
		cancel()
		wg.Wait()
	}
	synctest.Wait()
}

// restart kills the kubelet and starts the next one, which is given orders from its disk.
func (r *rig) restart(orders ...*state.Order) {
	r.t.Helper()
	r.stop()
	r.start(orders...)
}

func (r *rig) note(e *corev1.Event, _ []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, e.Type+" "+e.Reason+" "+e.Message)
	return nil
}

// noted says how often a note was told that begins so.
func (r *rig) noted(beginning string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, text := range r.notes {
		if strings.HasPrefix(text, beginning) {
			n++
		}
	}
	return n
}

// order gives the kubelet the next revision of an order and waits until it has done what it can.
func (r *rig) order(o *state.Order) {
	r.t.Helper()
	r.tell(o)
	synctest.Wait()
}

// tell gives the kubelet the next revision of an order.
func (r *rig) tell(o *state.Order) {
	r.t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.revision++
	if err := r.manager.Apply(state.FeedEntry{Key: key(o.Pod), Revision: r.revision, Body: body}); err != nil {
		r.t.Fatal(err)
	}
}

// run orders a pod that nobody has marked.
func (r *rig) run(b *objtest.PodBuilder) *corev1.Pod {
	r.t.Helper()
	pod := b.Node("n1").Obj()
	r.order(&state.Order{Pod: pod})
	return pod
}

// mark orders the deletion of a pod with this grace.
func (r *rig) mark(pod *corev1.Pod, grace time.Duration, released bool) {
	r.t.Helper()
	r.order(&state.Order{Pod: marked(pod, time.Now(), grace), Released: released})
}

func (r *rig) remove(pod *corev1.Pod) {
	r.revision++
	if err := r.manager.Apply(state.FeedEntry{Key: key(pod), Revision: r.revision, Removed: true}); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func key(pod *corev1.Pod) state.Key { return state.OrderKey("n1", pod.Namespace, pod.Name) }

// pass lets time pass, and all that falls due in it happen.
func (r *rig) pass(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}

// status is what was last reported of a pod.
func (r *rig) status(pod *corev1.Pod) corev1.PodStatus {
	r.t.Helper()
	return r.last(pod).Status
}

func (r *rig) last(pod *corev1.Pod) state.PodReport {
	r.t.Helper()
	all := r.reports.of(pod.UID)
	if len(all) == 0 {
		r.t.Fatalf("nothing was reported of pod %s", pod.Name)
	}
	return all[len(all)-1]
}

// begun are the starts of containers so far.
func (r *rig) begun() []started {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.starts)
}

// called says how often the runtime was asked for something.
func (r *rig) called(op fake.Op) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.calls {
		if c.Op == op {
			n++
		}
	}
	return n
}

// running are the names of the containers that run, sorted.
func (r *rig) running() []string {
	names := []string{}
	for _, c := range r.machine.Containers() {
		if c.State == runtime.StateRunning {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

// behave has programs chosen by f from now on.
func (r *rig) behave(f func(c runtime.ContainerConfig) fake.Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.program = func(c runtime.ContainerConfig) (fake.Program, error) { return f(c), nil }
}

// exits is a program that runs for a while and then ends by itself. TERM does not move it.
func exits(after time.Duration, code int) fake.Program {
	return func(ctx context.Context, _ *fake.Process) int {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			return code
		case <-ctx.Done():
			return 137
		}
	}
}

// serves is a program that ends so long after TERM.
func serves(after time.Duration) fake.Program {
	return func(ctx context.Context, p *fake.Process) int {
		select {
		case <-p.Signals:
			return exits(after, 0)(ctx, p)
		case <-ctx.Done():
			return 137
		}
	}
}

// marked is a pod whose deletion was asked for at a time with a grace.
func marked(pod *corev1.Pod, at time.Time, grace time.Duration) *corev1.Pod {
	pod = pod.DeepCopy()
	deadline := at.Add(grace)
	pod.DeletionTimestamp = &metav1.Time{Time: deadline}
	pod.DeletionGracePeriodSeconds = new(int64(grace / time.Second))
	return pod
}

func orderOf(pod *corev1.Pod) *state.Order { return &state.Order{Pod: pod} }
