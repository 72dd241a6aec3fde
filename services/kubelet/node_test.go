package kubelet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/kubelet/internal/checkpoint"
)

// named is the answer of an api that has this Node.
func named(uid types.UID) *corev1.Node {
	n := &corev1.Node{}
	n.UID, n.Spec.PodCIDR = uid, "10.244.1.0/24"
	return n
}

// silent is an api that does not answer.
func silent(ctx context.Context, _ state.NodeReport) (*corev1.Node, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func openPoints(t *testing.T) *checkpoint.Store {
	t.Helper()
	points, err := checkpoint.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return points
}

func boot(t *testing.T) string {
	t.Helper()
	id, err := checkpoint.Boot()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A kubelet that has no Node yet waits for the api as long as it takes.
func TestFirstJoinWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		points := openPoints(t)
		began := time.Now()
		var sent []state.Report
		id, err := join(t.Context(), func(_ context.Context, r state.NodeReport) (*corev1.Node, error) {
			sent = append(sent, r.Report)
			if time.Since(began) < time.Hour {
				return nil, store.ErrUnavailable
			}
			return named("u1"), nil
		}, points, state.NodeReport{})
		if err != nil {
			t.Fatal(err)
		}
		want := identity{Node: checkpoint.Node{UID: "u1", PodCIDR: "10.244.1.0/24", Boot: boot(t)}, start: 1}
		if *id != want || time.Since(began) != time.Hour {
			t.Errorf("after %v it is %+v, want %+v after an hour", time.Since(began), *id, want)
		}
		if diff := cmp.Diff(state.Report{Start: 1, Counter: 1}, sent[0]); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
		if kept, ok, err := points.Node(); kept != want.Node || !ok || err != nil {
			t.Errorf("kept %+v, %v, %v; want %+v", kept, ok, err, want.Node)
		}
	})
}

// P19: a kubelet that has a Node goes on without the api; from its orders only in the boot of the machine in which they were kept.
func TestP19_KnownNodeGoesOnWithoutTheAPI(t *testing.T) {
	for name, register := range map[string]registration{
		"silent": silent,
		"away":   func(context.Context, state.NodeReport) (*corev1.Node, error) { return nil, store.ErrUnavailable },
	} {
		for _, same := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					points := openPoints(t)
					known := checkpoint.Node{UID: "u1", PodCIDR: "10.244.1.0/24", Boot: "another"}
					if same {
						known.Boot = boot(t)
					}
					if err := points.SaveNode(known); err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					id, err := join(t.Context(), register, points, state.NodeReport{})
					if err != nil {
						t.Fatal(err)
					}
					if id.Node != known || id.sameBoot != same {
						t.Errorf("it is %+v, resumes %v; want %+v, %v", id.Node, id.sameBoot, known, same)
					}
					if took := time.Since(began); took < knownPatience || took > knownPatience+joinRetry {
						t.Errorf("it waited %v, want about %v", took, knownPatience)
					}
				})
			})
		}
	}
}

// P18: whoever the api refuses must not run; whoever it does not answer must not be taken for refused.
func TestP18_RefusedKubeletEnds(t *testing.T) {
	refusal := &wire.StatusError{StatusError: *apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "n1", errors.New("it is another machine's"))}
	points := openPoints(t)
	_, err := join(t.Context(), func(context.Context, state.NodeReport) (*corev1.Node, error) { return nil, refusal }, points, state.NodeReport{})
	if !errors.Is(err, refusal) {
		t.Errorf("join = %v, want the refusal", err)
	}
	if _, joined, err := points.Node(); joined || err != nil {
		t.Errorf("a refused kubelet keeps a Node: %v, %v", joined, err)
	}
}

func TestJoinEndsWithItsContext(t *testing.T) {
	ended := errors.New("ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	register := func(ctx context.Context, r state.NodeReport) (*corev1.Node, error) {
		cancel(ended)
		return silent(ctx, r)
	}
	if _, err := join(ctx, register, openPoints(t), state.NodeReport{}); !errors.Is(err, ended) {
		t.Errorf("join = %v, want %v", err, ended)
	}
}
