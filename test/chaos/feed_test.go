//go:build linux

// Package chaos breaks real processes while it watches what they promise.
package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/auth"
	"millrace.dev/pkg/commit"
	"millrace.dev/pkg/events"
	"millrace.dev/pkg/feed"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/natskv"
	"millrace.dev/pkg/view"
	"millrace.dev/pkg/wire"
	"millrace.dev/test/cluster"
)

var writes = flag.Int("feed.writes", 40_000, "how many orders the feed chaos writes")

const (
	chaosNodes   = 100
	chaosPods    = 10 // a node
	chaosWriters = 8
)

// node is one node of the chaos: a feed with its own credential over its own connection, which can be cut.
type node struct {
	name string
	nc   *wire.Conn
	feed *feed.Feed
	cut  func()
}

// cutter is a dialer that remembers its connections.
type cutter struct {
	dial func(network, address string) (net.Conn, error)
	mu   sync.Mutex
	last net.Conn
}

func (c *cutter) Dial(network, address string) (net.Conn, error) {
	conn, err := c.dial(network, address)
	c.mu.Lock()
	c.last = conn
	c.mu.Unlock()
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil {
		c.last.Close() //nolint:errcheck // it is cut
	}
}

// TestFeedLosesNothing writes tens of thousands of orders, creates, updates and deletes, while nodes are cut off and the NATS server
// and the api are killed; at the end every node must hold exactly what the state holds for it. Accounts and credentials are
// those of a real cluster, snapshots and digests come from the api.
func TestFeedLosesNothing(t *testing.T) {
	c := cluster.Processes(t, cluster.NoNode())
	authority := c.Authority()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	nodes := make([]*node, chaosNodes)
	for i := range nodes {
		nodes[i] = startNode(t, c, authority, fmt.Sprintf("node-%d.example", i))
		wg.Go(func() { nodes[i].feed.Run(ctx) }) //nolint:errcheck // it ends with ctx
	}
	w := startWriter(ctx, t, c, authority, &wg)
	var cuts, kills atomic.Int64
	breaking, stopBreaking := context.WithCancel(ctx)
	var breakers sync.WaitGroup
	breakers.Go(func() { cutNodes(breaking, nodes, &cuts) })
	breakers.Go(func() { killServers(breaking, c, &kills) })
	w.write(ctx, *writes)
	stopBreaking()
	breakers.Wait()
	c.Until(60*time.Second, "every node to be in step", func() bool { return w.mismatches(ctx, nodes) == 0 })
	t.Logf("%d writes, %d reconnects, %d kills: %d mismatches", w.done.Load(), cuts.Load(), kills.Load(), w.mismatches(ctx, nodes))
	if int(w.done.Load()) < *writes || cuts.Load() < 50 || kills.Load() < 3 {
		t.Errorf("too little happened for this to mean anything: %d writes, %d reconnects, %d kills", w.done.Load(), cuts.Load(), kills.Load())
	}
}

func startNode(t *testing.T, c *cluster.Cluster, authority *auth.Authority, name string) *node {
	t.Helper()
	credential, err := authority.Mint(auth.RoleKubelet, name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dialer := &cutter{dial: c.NetDial}
	nc, err := wire.Connect(wire.Config{
		URL: cluster.URL, Name: name, JWT: credential.JWT, Seed: credential.Seed, Inbox: wire.Inbox(name), Dialer: dialer,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	n := &node{name: name, nc: nc, cut: dialer.cut}
	n.feed = feed.New(nc, feed.Config{
		Subject: "edge.order." + state.EncodeToken(name) + ".>", Prefix: state.OrderPrefix(name), Every: 2 * time.Second,
		Handle: func(state.FeedEntry) {},
		Snapshot: func(ctx context.Context) (*state.Snapshot, error) {
			s := &state.Snapshot{}
			return s, wire.Pieces(ctx, nc, wire.Call{Subject: wire.NodeSubject(wire.NodeSnapshot, name)}, s.Append)
		},
		Beat: func(ctx context.Context) (*state.Beat, error) {
			answer, err := wire.Do(ctx, nc, wire.Call{Subject: wire.NodeSubject(wire.NodeHeartbeat, name), Body: []byte("{}")})
			if err != nil {
				return nil, err
			}
			var b state.Beat
			return &b, json.Unmarshal(answer, &b)
		},
	})
	return n
}

// writer writes orders as the api does, and knows what the state holds.
type writer struct {
	t    *testing.T
	view *view.View
	put  *commit.Writer
	done atomic.Int64
}

func startWriter(ctx context.Context, t *testing.T, c *cluster.Cluster, authority *auth.Authority, wg *sync.WaitGroup) *writer {
	t.Helper()
	credential, err := authority.Mint(auth.RoleAPI, "writer", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := wire.Connect(wire.Config{
		URL: cluster.URL, Name: "writer", JWT: credential.JWT, Seed: credential.Seed, Inbox: wire.Inbox("writer"), Commits: true, Steady: true,
		Dialer: &cutter{dial: c.NetDial},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	s, err := natskv.Open(ctx, nc)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, view: view.New(s, view.Config{Process: "chaos"})}
	w.put = commit.New(s, commit.Config{Service: state.API, Process: "chaos", View: w.view})
	wg.Go(func() { w.view.Run(ctx) }) //nolint:errcheck // it ends with ctx
	wg.Go(func() { w.put.Run(ctx) })  //nolint:errcheck // it ends with ctx
	return w
}

// write makes n writes by several hands: a fifth of them removals.
func (w *writer) write(ctx context.Context, n int) {
	var wg sync.WaitGroup
	for hand := range chaosWriters {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(hand), 7))
			for w.done.Load() < int64(n) && ctx.Err() == nil {
				w.one(ctx, random)
			}
		})
	}
	wg.Wait()
}

func (w *writer) one(ctx context.Context, random *rand.Rand) {
	node, name := fmt.Sprintf("node-%d.example", random.IntN(chaosNodes)), fmt.Sprintf("pod-%d", random.IntN(chaosPods))
	key := state.OrderKey(node, "default", name)
	had := w.view.Body(key)
	b := events.PodUpdated.Batch(events.Meta{Source: "/chaos"})
	change := state.Change{Key: key, Replaces: w.view.Revision(key), Body: had, Remove: had != nil && random.IntN(5) == 0}
	if !change.Remove {
		body, err := json.Marshal(state.Order{Pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Annotations: map[string]string{"n": fmt.Sprint(random.Uint64())}},
		}})
		if err != nil {
			w.t.Error(err)
			return
		}
		change.Body = body
	}
	b.Add(change)
	result, err := w.put.Put(ctx, b)
	switch {
	case err == nil:
		w.done.Add(1)
		w.view.Await(ctx, result.Last()) //nolint:errcheck // the end of the test
	case errors.Is(err, store.ErrInvalid):
		w.t.Errorf("write: %v", err)
	default: // the server was killed, or another hand was faster
		w.view.Fresh(ctx) //nolint:errcheck // the end of the test
	}
}

// mismatches counts the orders that a node holds otherwise than the state does.
func (w *writer) mismatches(ctx context.Context, nodes []*node) (wrong int) {
	if err := w.view.Fresh(ctx); err != nil {
		return -1
	}
	for _, n := range nodes {
		records, _ := w.view.ListPrefix(state.OrderPrefix(n.name))
		want := map[state.Key]uint64{}
		for _, r := range records {
			want[r.Key] = r.Revision
		}
		for _, e := range n.feed.Held() {
			if want[e.Key] != e.Revision {
				wrong++
			}
			delete(want, e.Key)
		}
		wrong += len(want)
	}
	return wrong
}

// cutNodes cuts the connections of nodes until ctx ends.
func cutNodes(ctx context.Context, nodes []*node, cuts *atomic.Int64) {
	random := rand.New(rand.NewPCG(1, 2))
	every := time.NewTicker(40 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			nodes[random.IntN(len(nodes))].cut()
			cuts.Add(1)
		}
	}
}

// killServers kills the NATS server and the api in turn until ctx ends.
func killServers(ctx context.Context, c *cluster.Cluster, kills *atomic.Int64) {
	every := time.NewTicker(3 * time.Second)
	defer every.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			if pid := c.PID([]string{"nats", "api"}[i%2]); pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				kills.Add(1)
			}
		}
	}
}
