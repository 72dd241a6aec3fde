// Package telemetry is the one door to meters: counters, gauges and histograms with labels from closed sets, served as
// Prometheus text. A nil *Registry gives meters that count for nobody, so that packages need no second code path in tests.
package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry holds the meters of one process.
type Registry struct{ to *prometheus.Registry }

// New makes a registry with the meters of the Go runtime and the process.
func New() *Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{to: r}
}

// Handler serves every meter as Prometheus text.
func (r *Registry) Handler() http.Handler { return promhttp.HandlerFor(r.to, promhttp.HandlerOpts{}) }

// Counter counts what only grows. Its name ends in _total.
type Counter struct{ vec *prometheus.CounterVec }

// Add counts n more under the values of the labels.
func (c Counter) Add(n int, labels ...string) { c.vec.WithLabelValues(labels...).Add(float64(n)) }

// Counter makes a counter.
func (r *Registry) Counter(name, help string, labels ...string) Counter {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.register(vec)
	return Counter{vec}
}

// Gauge shows a value that rises and falls.
type Gauge struct{ vec *prometheus.GaugeVec }

// Set shows value under the values of the labels.
func (g Gauge) Set(value float64, labels ...string) { g.vec.WithLabelValues(labels...).Set(value) }

// Gauge makes a gauge.
func (r *Registry) Gauge(name, help string, labels ...string) Gauge {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	r.register(vec)
	return Gauge{vec}
}

// Histogram shows how values are spread.
type Histogram struct{ vec *prometheus.HistogramVec }

// Observe counts value under the values of the labels.
func (h Histogram) Observe(value float64, labels ...string) {
	h.vec.WithLabelValues(labels...).Observe(value)
}

// Seconds makes a histogram of durations from 100 µs to 50 s.
func (r *Registry) Seconds(name, help string, labels ...string) Histogram {
	return r.histogram(name, help, prometheus.ExponentialBuckets(0.0001, 2, 20), labels)
}

// Sizes makes a histogram of counts from 1 to 1,024.
func (r *Registry) Sizes(name, help string, labels ...string) Histogram {
	return r.histogram(name, help, prometheus.ExponentialBuckets(1, 2, 11), labels)
}

func (r *Registry) histogram(name, help string, buckets []float64, labels []string) Histogram {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.register(vec)
	return Histogram{vec}
}

func (r *Registry) register(c prometheus.Collector) {
	if r != nil {
		r.to.MustRegister(c)
	}
}
