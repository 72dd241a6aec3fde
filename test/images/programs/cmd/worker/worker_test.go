package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/natstest"
)

// A worker that is told to end while it is busy finishes the message in hand and leaves the next one to others.
func TestWorkerFinishesWhatItHasInHand(t *testing.T) {
	server := natstest.Run(t)
	js, err := jetstream.New(server.Connect())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	w := &worker{
		url: server.ClientURL(), stream: "WORK", consumer: "workers", work: 300 * time.Millisecond,
		busyFile: filepath.Join(t.TempDir(), "busy"), out: &out,
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.run(ctx, "127.0.0.1:0"); err != nil {
			t.Error(err)
		}
	})
	for _, job := range []string{"one", "two", "three"} {
		if _, err := js.Publish(t.Context(), "work.a", []byte(job)); err != nil {
			t.Fatal(err)
		}
	}
	awaitBusy(t, w, 1)
	if _, err := os.Stat(w.busyFile); err != nil {
		t.Errorf("busy: %v", err)
	}
	cancel()
	running.Wait()
	if got, want := out.String(), "work.a one\nwork.a two\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	if _, err := os.Stat(w.busyFile); !errors.Is(err, fs.ErrNotExist) || w.busy.Load() {
		t.Errorf("still busy: %v", err)
	}
	info, err := consumer.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := info.NumPending + uint64(info.NumAckPending); left != 1 {
		t.Errorf("%d messages are left, want 1", left)
	}
}

// awaitBusy waits until the worker has done so many messages and is at work on the next one.
func awaitBusy(t *testing.T, w *worker, done int64) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for w.done.Load() < done || !w.busy.Load() {
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Fatal("the test has ended")
		}
	}
}

func TestWorkerWithoutConsumer(t *testing.T) {
	server := natstest.Run(t)
	w := &worker{url: server.ClientURL(), stream: "WORK", consumer: "workers"}
	if err := w.run(t.Context(), "127.0.0.1:0"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("run: %v, want %v", err, jetstream.ErrStreamNotFound)
	}
}
