package telemetry_test

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"millrace.dev/pkg/telemetry"
)

// shown is what a registry serves.
func shown(t *testing.T, r *telemetry.Registry) string {
	t.Helper()
	answer := httptest.NewRecorder()
	r.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if answer.Code != 200 || !strings.HasPrefix(answer.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("code %d, %q", answer.Code, answer.Header().Get("Content-Type"))
	}
	return answer.Body.String()
}

func TestMetersAreShown(t *testing.T) {
	r := telemetry.New()
	counter := r.Counter("test_requests_total", "Requests.", "verb", "result")
	gauge := r.Gauge("test_lag_revisions", "How far behind.", "kind")
	seconds := r.Seconds("test_wait_seconds", "Waits.", "queue")
	sizes := r.Sizes("test_batch_size", "Batches.")
	counter.Add(1, "get", "ok")
	counter.Add(2, "get", "ok")
	counter.Add(0, "get", "error")
	gauge.Set(5, "pods")
	gauge.Set(2.5, "pods")
	for _, s := range []float64{0.00005, 0.00015, 60} {
		seconds.Observe(s, "bulk")
	}
	for _, n := range []float64{1, 2, 1024, 5000} {
		sizes.Observe(n)
	}
	got := shown(t, r)
	for _, want := range []string{
		"# HELP test_requests_total Requests.", "# TYPE test_requests_total counter",
		`test_requests_total{result="ok",verb="get"} 3`, `test_requests_total{result="error",verb="get"} 0`,
		"# TYPE test_lag_revisions gauge", `test_lag_revisions{kind="pods"} 2.5`,
		"# TYPE test_wait_seconds histogram", `test_wait_seconds_bucket{queue="bulk",le="0.0001"} 1`,
		`test_wait_seconds_bucket{queue="bulk",le="0.0002"} 2`, `test_wait_seconds_bucket{queue="bulk",le="52.4288"} 2`,
		`test_wait_seconds_bucket{queue="bulk",le="+Inf"} 3`, `test_wait_seconds_count{queue="bulk"} 3`,
		`test_batch_size_bucket{le="1"} 1`, `test_batch_size_bucket{le="1024"} 3`, `test_batch_size_bucket{le="+Inf"} 4`, "test_batch_size_sum 6027",
		"go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(got, "\n"+want) && !strings.HasPrefix(got, want) {
			t.Errorf("%q is not shown:\n%s", want, got)
		}
	}
}

// A nil registry gives meters that work and count for nobody.
func TestNilRegistry(t *testing.T) {
	var none *telemetry.Registry
	for range 2 { // and knows no name that is taken
		none.Counter("x_total", "X.", "l").Add(1, "v")
		none.Gauge("x", "X.").Set(1)
		none.Seconds("x_seconds", "X.").Observe(1)
		none.Sizes("x_size", "X.").Observe(1)
	}
}

func TestTwoMetersOfOneNamePanic(t *testing.T) {
	r := telemetry.New()
	r.Counter("x_total", "X.")
	defer func() {
		if recover() == nil {
			t.Error("two meters share a name")
		}
	}()
	r.Counter("x_total", "X.")
}

func TestRegistriesAreApart(t *testing.T) {
	a, b := telemetry.New(), telemetry.New()
	a.Counter("x_total", "X.").Add(1)
	b.Counter("x_total", "X.").Add(2)
	if got := shown(t, a); !strings.Contains(got, "\nx_total 1\n") {
		t.Errorf("the first registry shows\n%s", got)
	}
}

func TestMetersFromManyAtOnce(t *testing.T) {
	r := telemetry.New()
	counter := r.Counter("x_total", "X.", "l")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				counter.Add(1, "v")
			}
		})
	}
	wg.Wait()
	if got := shown(t, r); !strings.Contains(got, `x_total{l="v"} 8000`) {
		t.Errorf("8000 were counted, shown:\n%s", got)
	}
}
