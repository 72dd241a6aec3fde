package natskv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/clock"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

// The streams beside the state bucket.
const (
	StreamEvents   = "EVENTS"
	StreamNotes    = "NOTES"
	StreamCommands = "COMMANDS"
	StreamLogs     = "LOGS"
	BucketLease    = "lease"
)

const (
	// maxConsumers is explicit because the server's own limit of 1,000 for 0 and -1 is silent (facts: 10026). A few a process.
	maxConsumers = 256
	// historyAge is how long the event history reaches back.
	historyAge  = 7 * 24 * time.Hour
	noteAge     = time.Hour
	ensurePause = 50 * time.Millisecond
	commandAge  = 3 * 24 * time.Hour // an older command gets the outcome "expired" (P26)
	logsBytes   = 256 << 20          // both are reserved: a store must have room for them
	notesBytes  = 64 << 20
	// leaseMarker is how long the marker of an expired lease stays; it is what wakes the next candidate.
	leaseMarker = 10 * time.Second
)

// streams is every stream of the cluster. The KV helper of nats.go hides fields that the state bucket needs, so all are made by
// CreateStream.
func streams(replicas int) []jetstream.StreamConfig {
	events := jetstream.StreamConfig{
		Name: StreamEvents, Description: "every revision of every object but Secrets, as long as the history reaches",
		Sources: []*jetstream.StreamSource{{
			Name: state.Stream,
			SubjectTransforms: []jetstream.SubjectTransformConfig{
				{Source: state.SubjectPrefix + "object.>", Destination: "events.>"},
			},
		}},
		Storage: jetstream.FileStorage, Replicas: replicas, MaxAge: historyAge, MaxConsumers: maxConsumers,
		AllowDirect: true, Compression: jetstream.S2Compression,
	}
	if replicas == 1 {
		// With sync the history loses two thirds of the revisions of a hot key, async none (facts: 50,000 of 50,000).
		events.PersistMode = jetstream.AsyncPersistMode
	}
	return []jetstream.StreamConfig{
		{
			Name: state.Stream, Description: "all state: one key an object, one revision a key",
			Subjects: []string{state.SubjectPrefix + ">"}, Storage: jetstream.FileStorage, Replicas: replicas,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, MaxMsgSize: store.MaxMessage, MaxConsumers: maxConsumers,
			AllowDirect: true, DenyDelete: true, DenyPurge: true, AllowAtomicPublish: true, AllowMsgTTL: true,
			RePublish: &jetstream.RePublish{Source: state.SubjectPrefix + "edge.>", Destination: "edge.>"},
		},
		events,
		{
			Name: StreamNotes, Description: "what is told but is no state, the newest of each kind",
			Subjects: []string{"note.>"}, Storage: jetstream.FileStorage, Replicas: replicas, MaxMsgsPerSubject: 1,
			MaxAge: noteAge, MaxBytes: notesBytes, Discard: jetstream.DiscardOld, MaxConsumers: maxConsumers, AllowDirect: true,
		},
		{
			Name: StreamCommands, Description: "commands of event-publishing clients, until they are executed",
			Subjects: []string{"command.>"}, Storage: jetstream.FileStorage, Replicas: replicas,
			MaxAge: commandAge, MaxMsgSize: store.MaxMessage, MaxConsumers: maxConsumers,
		},
		{
			Name: StreamLogs, Description: "container logs that must outlive their pod",
			Subjects: []string{"logs.>"}, Storage: jetstream.FileStorage, Replicas: replicas, MaxBytes: logsBytes,
			Discard: jetstream.DiscardOld, MaxConsumers: maxConsumers, AllowDirect: true,
		},
		{
			Name: "KV_" + BucketLease, Description: "who tries to lead", Subjects: []string{"$KV." + BucketLease + ".>"},
			Storage: jetstream.MemoryStorage, Replicas: replicas, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew,
			MaxConsumers: maxConsumers, AllowDirect: true, AllowRollup: true, DenyDelete: true, AllowMsgTTL: true,
			SubjectDeleteMarkerTTL: leaseMarker, MaxAge: 0,
		},
	}
}

// EnsureStreams makes every stream that is missing and brings the settings of the others up to date. Only the api calls it.
func EnsureStreams(ctx context.Context, js jetstream.JetStream, replicas int) error {
	for _, config := range streams(replicas) {
		if _, err := js.CreateOrUpdateStream(ctx, config); err != nil {
			return fmt.Errorf("make stream %s: %w", config.Name, err)
		}
	}
	return nil
}

// EnsureAll is [EnsureStreams] over a connection; it tries until JetStream answers.
func EnsureAll(ctx context.Context, nc *nats.Conn, replicas int) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("make streams: %w", err)
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, ackTimeout)
		err := EnsureStreams(attempt, js, replicas)
		cancel()
		if err == nil {
			return nil
		}
		if !clock.Pause(ctx, ensurePause) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
