package endpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/api/internal/endpoint"
)

var errOver = errors.New("the test is over")

// serve answers requests until the returned function is called, which gives what Serve returned.
func serve(t *testing.T, nc *nats.Conn, endpoints ...endpoint.Endpoint) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- endpoint.Serve(ctx, nc, func() { close(ready) }, endpoints...) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("Serve = %v", err)
	}
	stop = sync.OnceValue(func() error {
		cancel(errOver)
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); !errors.Is(err, errOver) {
			t.Errorf("Serve = %v, want the cause of its end", err)
		}
	})
	return stop
}

// users is the endpoint of users with a handler.
func users(handle wire.Handler) endpoint.Endpoint {
	return endpoint.Endpoint{Name: "users", Subject: "u.api.>", Handle: handle}
}

// echo answers with the name of the endpoint and the subject.
func echo(name string) wire.Handler {
	return func(_ context.Context, in *wire.Incoming) error { return in.Answer([]byte(name + " " + in.Subject)) }
}

// ask makes one attempt of a request.
func ask(t *testing.T, nc *nats.Conn, subject string, body []byte) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	answer, err := wire.Do(ctx, nc, wire.Call{Subject: subject, Body: body})
	return string(answer), err
}

const getPods = "u.api.eve.get.pods.default"

func wantReason(t *testing.T, err error, reason metav1.StatusReason) {
	t.Helper()
	status, ok := errors.AsType[*wire.StatusError](err)
	if !ok || status.ErrStatus.Reason != reason {
		t.Errorf("error %v, want one that was answered with the reason %s", err, reason)
	}
}

// A request goes to the endpoint of the account that it came from, with the subject that the server let its sender publish: in it
// stands who asks.
func TestRequestsAreHandedOut(t *testing.T) {
	s := natstest.Run(t)
	serve(t, s.Connect(), users(echo("users")), endpoint.Endpoint{Name: "services", Subject: "c.api.>", Handle: echo("services")})
	nc := s.Connect()
	for subject, want := range map[string]string{
		getPods:                        "users " + getPods,
		"u.api.eve.no-verb":            "users u.api.eve.no-verb",
		"c.api.controller.list.pods.=": "services c.api.controller.list.pods.=",
	} {
		if got, err := ask(t, nc, subject, nil); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", subject, got, err, want)
		}
	}
	for _, subject := range []string{"n.api.eve.get.pods.default", "api.eve.get.pods.default", "u.api"} {
		if _, err := nc.Request(subject, nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v, want nobody to hear it", subject, err)
		}
	}
}

// What a client sends along arrives, and the answer names the request.
func TestRequestArrivesWhole(t *testing.T) {
	type request struct{ ID, Correlation, Trace, Body string }
	s := natstest.Run(t)
	var got request
	serve(t, s.Connect(), users(func(_ context.Context, in *wire.Incoming) error {
		got = request{in.ID, in.Correlation, in.Trace, string(in.Body)}
		if in.Foreign {
			t.Error("it came through no import")
		}
		return in.Answer(nil)
	}))
	c := wire.Call{Subject: getPods, ID: "command-1", Correlation: "command-0", Trace: "00-1-2-01", Body: []byte(`{"name":"web"}`)}
	if _, err := wire.Do(t.Context(), s.Connect(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(request{c.ID, c.Correlation, c.Trace, string(c.Body)}, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// Whatever goes wrong in a handler is answered, and the next request is too.
func TestFailuresAreAnswered(t *testing.T) {
	s := natstest.Run(t)
	serve(t, s.Connect(), users(func(_ context.Context, in *wire.Incoming) error {
		switch string(in.Body) {
		case "refused":
			return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web", errors.New("no"))
		case "conflict":
			return store.ErrConflict
		case "panic":
			panic("a fault of ours")
		case "large":
			return in.Answer(make([]byte, 9<<20))
		}
		return in.Answer([]byte("fine"))
	}))
	nc := s.Connect()
	for body, reason := range map[string]metav1.StatusReason{
		"refused": metav1.StatusReasonForbidden, "conflict": metav1.StatusReasonConflict, "panic": metav1.StatusReasonInternalError,
		"large": metav1.StatusReasonInternalError,
	} {
		t.Run(body, func(t *testing.T) {
			_, err := ask(t, nc, getPods, []byte(body))
			wantReason(t, err, reason)
			if got, err := ask(t, nc, getPods, nil); err != nil || got != "fine" {
				t.Errorf("then: %q, %v", got, err)
			}
		})
	}
}

// What is larger than a message may be does not leave its sender, who hears of it at once.
func TestOversizedRequestIsNotSent(t *testing.T) {
	s := natstest.Run(t)
	serve(t, s.Connect(), users(echo("users")))
	nc := s.Connect()
	if _, err := ask(t, nc, getPods, make([]byte, 9<<20)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("9 MiB: %v, want %v", err, nats.ErrMaxPayload)
	}
	if got, err := ask(t, nc, getPods, make([]byte, 7<<20)); err != nil || got != "users "+getPods {
		t.Errorf("7 MiB: %q, %v", got, err)
	}
}

// A request that asks for no answer is served all the same.
func TestRequestWithoutAReply(t *testing.T) {
	s := natstest.Run(t)
	heard := make(chan error, 1)
	serve(t, s.Connect(), users(func(_ context.Context, in *wire.Incoming) error {
		heard <- in.Answer(nil)
		return nil
	}))
	if err := s.Connect().Publish(getPods, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-heard; err != nil {
		t.Errorf("answering nobody: %v", err)
	}
}

// Each request is answered by one replica.
func TestReplicasShareRequests(t *testing.T) {
	s := natstest.Run(t)
	var calls atomic.Int64
	for range 3 {
		serve(t, s.Connect(), users(func(_ context.Context, in *wire.Incoming) error {
			calls.Add(1)
			return in.Answer(nil)
		}))
	}
	nc := s.Connect()
	const requests = 50
	for range requests {
		if _, err := ask(t, nc, getPods, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := calls.Load(); got != requests {
		t.Errorf("%d requests were handled %d times", requests, got)
	}
}

// A replica that stops answers what it has begun, and takes no more.
func TestStopAnswersWhatHasBegun(t *testing.T) {
	s := natstest.Run(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	stop := serve(t, s.Connect(), users(func(_ context.Context, in *wire.Incoming) error {
		close(begun)
		<-finish
		return in.Answer([]byte("late"))
	}))
	nc := s.Connect()
	var wg sync.WaitGroup
	wg.Go(func() {
		if got, err := ask(t, nc, getPods, nil); err != nil || got != "late" {
			t.Errorf("the request that had begun: %q, %v", got, err)
		}
	})
	<-begun
	stopped := make(chan error, 1)
	wg.Go(func() { stopped <- stop() })
	for { // until the server knows that nobody listens any more
		if _, err := nc.Request("u.api.eve.get.pods.other", nil, 100*time.Millisecond); errors.Is(err, nats.ErrNoResponders) {
			break
		}
	}
	select {
	case err := <-stopped:
		t.Errorf("Serve = %v before the last answer", err)
	default:
	}
	close(finish)
	wg.Wait()
}

// Only so many are served at once; what comes meanwhile waits its turn.
func TestLimit(t *testing.T) {
	const limit, requests = 512, 600
	s := natstest.Run(t)
	var now atomic.Int64
	var once sync.Once
	full, over := make(chan struct{}), make(chan struct{})
	serve(t, s.Connect(), users(func(_ context.Context, in *wire.Incoming) error {
		switch n := now.Add(1); {
		case n == limit:
			once.Do(func() { close(full) })
		case n > limit:
			t.Errorf("%d requests at once", n)
		}
		<-over
		now.Add(-1)
		return in.Answer(nil)
	}))
	nc := s.Connect()
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if _, err := ask(t, nc, getPods, nil); err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	close(over)
	wg.Wait()
}

// The plain tools of NATS find the api.
func TestServiceIsFound(t *testing.T) {
	s := natstest.Run(t)
	serve(t, s.Connect(), users(echo("users")))
	subject, err := micro.ControlSubject(micro.InfoVerb, "millrace-api", "")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Connect().Request(subject, nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		t.Fatal(err)
	}
	if len(info.Endpoints) != 1 || info.Endpoints[0].Subject != "u.api.>" || info.Endpoints[0].QueueGroup != "api" {
		t.Errorf("endpoints %+v, want the users' in the queue api", info.Endpoints)
	}
}

func TestServeSaysWhatItCannotRegister(t *testing.T) {
	s := natstest.Run(t)
	nc := s.Connect()
	if err := endpoint.Serve(t.Context(), nc, func() { t.Error("it is ready") }, endpoint.Endpoint{Name: "two words", Subject: "u.api.>"}); err == nil {
		t.Error("an endpoint with an illegal name is served")
	}
	nc.Close()
	if err := endpoint.Serve(t.Context(), nc, func() { t.Error("it is ready") }, users(nil)); err == nil {
		t.Error("it serves without a connection")
	}
}
