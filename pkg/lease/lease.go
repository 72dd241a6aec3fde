// Package lease chooses, among the replicas of a service, the one that tries. It says who tries, never who may: a replica
// that was stopped may wake and go on for a while beside its successor, and what it then writes loses at the stamps.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/state"
)

const (
	bucket = "lease"
	stream = "KV_" + bucket
	// TTL is how long a lease outlives its last renewal: the most that a dead holder costs.
	TTL = 5 * time.Second
	// renewEvery leaves a holder two further attempts before its lease runs out.
	renewEvery = TTL / 3
	callLimit  = 2 * time.Second
)

// ErrLost ends the work of a holder whose lease could not be renewed.
var ErrLost = errors.New("lease was lost")

// Leases takes leases for one process.
type Leases struct {
	nc *nats.Conn
	js jetstream.JetStream
	id string
}

// New makes the leases of the process called id.
func New(nc *nats.Conn, id string) (*Leases, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	return &Leases{nc: nc, js: js, id: id}, nil
}

// Guard runs work while this process holds the lease called name: it waits for the lease, ends work's context with [ErrLost]
// when the lease is lost, and waits again. It returns when ctx ends, or with an error of work's own.
func (l *Leases) Guard(name string, work func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			revision, err := l.await(ctx, name)
			if err != nil {
				return err
			}
			slog.Info("lease taken", "component", "lease", "lease", name, "holder", l.id)
			err = l.hold(ctx, name, revision, work)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !errors.Is(err, ErrLost) {
				return err
			}
			slog.Warn("lease lost", "component", "lease", "lease", name, "holder", l.id)
		}
	}
}

// hold works and renews until the work ends, the lease is lost or ctx ends, and gives the lease back.
func (l *Leases) hold(ctx context.Context, name string, revision uint64, work func(context.Context) error) error {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- work(working) }()
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	renewed := time.Now()
	for {
		select {
		case err := <-done:
			l.release(context.WithoutCancel(ctx), name, revision)
			return err
		case <-renew.C:
			next, err := l.write(ctx, name, revision, false)
			if err == nil {
				revision, renewed = next, time.Now()
			} else if errors.Is(err, errTaken) || time.Since(renewed) > TTL-renewEvery {
				stop(ErrLost)
				return errors.Join(ErrLost, <-done)
			}
		}
	}
}

// await waits for the lease: it tries when the holder's lease ends, and now and then in case that was missed.
func (l *Leases) await(ctx context.Context, name string) (uint64, error) {
	ended, stop, err := l.watch(ctx, name)
	if err != nil {
		return 0, err
	}
	defer stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-ended:
		case <-retry.C:
		}
		if revision, err := l.take(ctx, name); err == nil {
			return revision, nil
		}
		retry.Reset(TTL)
	}
}

// watch tells when the lease may have ended.
func (l *Leases) watch(ctx context.Context, name string) (ended chan struct{}, stop func(), err error) {
	ended = make(chan struct{}, 1)
	for {
		consumer, err := l.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{subject(name)}, DeliverPolicy: jetstream.DeliverNewPolicy,
		})
		if err == nil {
			consuming, err := consumer.Consume(func(m jetstream.Msg) {
				if removed(m.Headers()) {
					select {
					case ended <- struct{}{}:
					default:
					}
				}
			})
			if err == nil {
				return ended, consuming.Stop, nil
			}
		}
		if !clock.Pause(ctx, 100*time.Millisecond) { // the streams are made at the very first start
			return nil, nil, context.Cause(ctx)
		}
	}
}

func removed(h nats.Header) bool {
	return len(h["KV-Operation"]) > 0 || len(h["Nats-Marker-Reason"]) > 0
}

// take takes the lease if nobody has it.
func (l *Leases) take(ctx context.Context, name string) (uint64, error) {
	last, err := l.read(ctx, name)
	if err != nil {
		return 0, err
	}
	if last.holder != "" {
		return 0, errTaken
	}
	return l.write(ctx, name, last.revision, false)
}

func (l *Leases) release(ctx context.Context, name string, revision uint64) {
	if _, err := l.write(ctx, name, revision, true); err != nil {
		slog.Debug("lease was not given back", "component", "lease", "lease", name, "err", err)
	}
}

var errTaken = errors.New("lease is taken")

func subject(name string) string { return "$KV." + bucket + "." + state.EncodeToken(name) }

// write renews, takes or gives back the lease, if its last revision still is the one that is known.
func (l *Leases) write(ctx context.Context, name string, replaces uint64, end bool) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	m := nats.NewMsg(subject(name))
	m.Data = []byte(l.id)
	m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(replaces, 10))
	m.Header.Set("Nats-TTL", TTL.String())
	if end {
		m.Header.Set("KV-Operation", "DEL")
	}
	answer, err := l.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, fmt.Errorf("lease %s: %w", name, err)
	}
	var ack struct {
		Error    *struct{ Description string } `json:"error"`
		Sequence uint64                        `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("lease %s: %w", name, err)
	}
	if ack.Error != nil {
		return 0, fmt.Errorf("lease %s: %w: %s", name, errTaken, ack.Error.Description)
	}
	return ack.Sequence, nil
}

// Holder is the process that has the lease called name; empty if nobody has.
func (l *Leases) Holder(ctx context.Context, name string) (string, error) {
	last, err := l.read(ctx, name)
	return last.holder, err
}

// record is what the bucket says about a lease.
type record struct {
	revision uint64 // the last; 0 if there is none
	holder   string // empty: the lease is free
}

func (l *Leases) read(ctx context.Context, name string) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	request, err := json.Marshal(map[string]string{"last_by_subj": subject(name)})
	if err != nil {
		return record{}, err
	}
	answer, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, request)
	if err != nil {
		return record{}, fmt.Errorf("lease %s: %w", name, err)
	}
	var got struct {
		Error *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
		Message struct {
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return record{}, fmt.Errorf("lease %s: %w", name, err)
	}
	if got.Error != nil {
		if got.Error.Code == 404 {
			return record{}, nil
		}
		return record{}, fmt.Errorf("lease %s: %s", name, got.Error.Description)
	}
	h, err := nats.DecodeHeadersMsg(got.Message.Header)
	if err != nil {
		return record{}, fmt.Errorf("lease %s: %w", name, err)
	}
	last := record{revision: got.Message.Sequence, holder: string(got.Message.Data)}
	if removed(h) {
		last.holder = ""
	}
	return last, nil
}
