// Package storetest is the suite that every store.Store must pass. Tests that guard a rule of the protocol bear its id.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/pkg/events"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/store"
)

const patience = 10 * time.Second

// Run runs the suite; open gives each test an empty bucket.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := map[string]func(*testing.T, store.Store){
		"P1_WriteNamesTheRevisionItReplaces":     writeNamesRevision,
		"P1_RefusesWhatCanNeverBeWritten":        refusesInvalid,
		"P2_AbsentIsTheTombstonesSequence":       absentOverTombstone,
		"P3_TombstoneBearsTheLastBodyAndGoes":    tombstoneGoes,
		"P8_LateRiserLosesAtTheStamp":            lateRiserLoses,
		"P8_OfTwoDecidersExactlyOneWins":         oneDeciderWins,
		"P9_CheckOfAnotherKey":                   checkOfAnotherKey,
		"P11_AKeyOccursOnceInABatch":             keyOnceInABatch,
		"BatchIsAllOrNothing":                    batchAllOrNothing,
		"BatchRevisionsAreContiguous":            batchContiguous,
		"ReadSeesEveryAcknowledgedWrite":         readFresh,
		"LastCoversEveryAcknowledgedWrite":       lastCovers,
		"FollowDeliversNewestThenLive":           followNewestThenLive,
		"FollowResumesBehindASequence":           followResumes,
		"P5_OverwrittenRevisionIsAVisibleHole":   overwrittenIsAHole,
		"FollowEndsWithItsContext":               followEnds,
		"CompareAndSetLosesNoUpdate":             noLostUpdate,
		"EventOfARevisionIsReadBackUnchanged":    eventReadBack,
		"LargestObjectFitsAndALargerIsRefused":   largest,
		"FullBatchIsWritten":                     fullBatch,
		"KeysOfAnyTextAreWrittenAndFollowed":     anyText,
		"WritersOfDifferentKeysDoNotGetInTheWay": independentWriters,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// Change is a change of an object called name, for tests.
func Change(name string, replaces uint64, body string) state.Change {
	ref := state.ObjectRef{Resource: "configmaps", Namespace: "test", Name: name}
	return state.Change{Key: state.ObjectKey(ref), Replaces: replaces, Body: []byte(body)}
}

// Messages makes one batch of changes, without stamps.
func Messages(t testing.TB, changes ...state.Change) []events.Message {
	t.Helper()
	b := events.ConfigWritten.Batch(events.Meta{Source: "/storetest"})
	b.Add(changes...)
	messages, err := b.Messages("storetest", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func write(t testing.TB, s store.Store, changes ...state.Change) uint64 {
	t.Helper()
	first, err := s.Write(t.Context(), Messages(t, changes...))
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	return first
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func wantConflict(t testing.TB, err error, actual uint64) {
	t.Helper()
	conflict, ok := errors.AsType[*store.ConflictError](err)
	if !ok {
		t.Fatalf("got error %v, want a conflict", err)
	}
	if !conflict.Told || conflict.Actual != actual {
		t.Fatalf("conflict names revision %d (told: %v), want %d", conflict.Actual, conflict.Told, actual)
	}
}

func writeNamesRevision(t *testing.T, s store.Store) {
	created := write(t, s, Change("a", 0, "1"))
	_, err := s.Write(t.Context(), Messages(t, Change("a", 0, "2")))
	wantConflict(t, err, created)
	updated := write(t, s, Change("a", created, "3"))
	_, err = s.Write(t.Context(), Messages(t, Change("a", created, "4")))
	wantConflict(t, err, updated)
	got, err := s.Read(t.Context(), Change("a", 0, "").Key)
	if err != nil || string(got.Body) != "3" || got.Revision != updated {
		t.Fatalf("Read = %q at %d, %v; want 3 at %d", got.Body, got.Revision, err, updated)
	}
}

func refusesInvalid(t *testing.T, s store.Store) {
	bad := Messages(t, Change("a", 0, "1"))
	bad[0].Key = "object.pods.a b"
	_, err := s.Write(t.Context(), bad)
	wantErr(t, err, store.ErrInvalid)
	bare := Messages(t, Change("a", 0, "1"))
	bare[0].Header = nil
	_, err = s.Write(t.Context(), bare)
	wantErr(t, err, store.ErrInvalid)
	_, err = s.Write(t.Context(), nil)
	wantErr(t, err, store.ErrInvalid)
	_, err = s.Read(t.Context(), Change("a", 0, "").Key)
	wantErr(t, err, store.ErrNotFound)
}

func absentOverTombstone(t *testing.T, s store.Store) {
	created := write(t, s, Change("a", 0, "1"))
	removal := Change("a", created, "1")
	removal.Remove = true
	tombstone := write(t, s, removal)
	_, err := s.Write(t.Context(), Messages(t, Change("a", 0, "2")))
	wantConflict(t, err, tombstone)
	write(t, s, Change("a", tombstone, "2"))
}

func tombstoneGoes(t *testing.T, s store.Store) {
	created := write(t, s, Change("a", 0, "last"))
	removal := Change("a", created, "last")
	removal.Remove = true
	messages := Messages(t, removal)
	if messages[0].TTL != state.TombstoneTTL {
		t.Fatalf("a removal lives %v, want %v", messages[0].TTL, state.TombstoneTTL)
	}
	messages[0].TTL = time.Second
	if _, err := s.Write(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context(), removal.Key)
	if err != nil || !got.Removed || string(got.Body) != "last" {
		t.Fatalf("Read = %+v, %v; want the tombstone with the last body", got, err)
	}
	await(t, "the tombstone to expire", func() bool {
		_, err := s.Read(t.Context(), removal.Key)
		return errors.Is(err, store.ErrNotFound)
	})
	write(t, s, Change("a", 0, "again"))
}

// await polls because a silent expiry announces itself to nobody.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !done() {
		select {
		case <-timeout.C:
			t.Fatalf("waited %v in vain for %s", patience, what)
		case <-ticker.C:
		}
	}
}

func stamped(t testing.TB, stamp state.Stamp, changes ...state.Change) []events.Message {
	t.Helper()
	b := events.PodAssigned.Batch(events.Meta{Source: "/storetest"}, stamp)
	b.Add(changes...)
	messages, err := b.Messages("storetest", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func lateRiserLoses(t *testing.T, s store.Store) {
	for _, rule := range state.Stamps {
		born, err := s.Write(t.Context(), stamped(t, state.Stamp{Kind: rule.Kind, ID: "x"}))
		if err != nil {
			t.Fatal(err)
		}
		late := state.Stamp{Kind: rule.Kind, ID: "x", Revision: born} // what a process saw before it was stopped
		if _, err := s.Write(t.Context(), stamped(t, late, Change(string(rule.Kind)+"-early", 0, "1"))); err != nil {
			t.Fatal(err)
		}
		_, err = s.Write(t.Context(), stamped(t, late, Change(string(rule.Kind)+"-late", 0, "1")))
		wantErr(t, err, store.ErrConflict)
		_, err = s.Read(t.Context(), Change(string(rule.Kind)+"-late", 0, "").Key)
		wantErr(t, err, store.ErrNotFound)
	}
}

func oneDeciderWins(t *testing.T, s store.Store) {
	for _, rule := range state.Stamps {
		seen, err := s.Write(t.Context(), stamped(t, state.Stamp{Kind: rule.Kind, ID: "y"}))
		if err != nil {
			t.Fatal(err)
		}
		var wins atomic.Int32
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				stamp := state.Stamp{Kind: rule.Kind, ID: "y", Revision: seen}
				_, err := s.Write(t.Context(), stamped(t, stamp, Change(fmt.Sprintf("%s-%d", rule.Kind, i), 0, "1")))
				if err == nil {
					wins.Add(1)
				} else if !errors.Is(err, store.ErrConflict) {
					t.Errorf("Write: %v", err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("stamp %s: %d of 4 deciders won, want exactly 1", rule.Kind, wins.Load())
		}
	}
}

func checkOfAnotherKey(t *testing.T, s store.Store) {
	guard := write(t, s, Change("guard", 0, "open"))
	beat := func(revision uint64) state.Change {
		return state.Change{Key: state.BeatKey("p", 1), Check: Change("guard", 0, "").Key, Replaces: revision, Body: []byte("{}")}
	}
	write(t, s, beat(guard), Change("a", 0, "1"))
	write(t, s, beat(guard), Change("b", 0, "1")) // the beat key itself has moved: no matter
	closed := write(t, s, Change("guard", guard, "closed"))
	_, err := s.Write(t.Context(), Messages(t, beat(guard), Change("c", 0, "1")))
	wantConflict(t, err, closed)
	_, err = s.Read(t.Context(), Change("c", 0, "").Key)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.Write(t.Context(), Messages(t, state.Change{
		Key: state.BeatKey("p", 1), Check: Change("unborn", 0, "").Key, Replaces: closed, Body: []byte("{}"),
	}, Change("d", 0, "1")))
	wantConflict(t, err, 0) // what does not exist refuses
}

func keyOnceInABatch(t *testing.T, s store.Store) {
	_, err := s.Write(t.Context(), Messages(t, Change("a", 0, "1"), Change("a", 0, "2")))
	wantErr(t, err, store.ErrInvalid)
}

func batchAllOrNothing(t *testing.T, s store.Store) {
	b := write(t, s, Change("b", 0, "1"))
	for _, order := range [][]state.Change{
		{Change("a", 0, "1"), Change("b", 0, "2"), Change("c", 0, "1")},
		{Change("a", 0, "1"), Change("c", 0, "1"), Change("b", 0, "2")},
		{Change("b", 0, "2"), Change("a", 0, "1"), Change("c", 0, "1")},
	} {
		_, err := s.Write(t.Context(), Messages(t, order...))
		wantConflict(t, err, b)
		for _, name := range []string{"a", "c"} {
			_, err := s.Read(t.Context(), Change(name, 0, "").Key)
			wantErr(t, err, store.ErrNotFound)
		}
	}
	last, err := s.Last(t.Context())
	if err != nil || last.Sequence != b {
		t.Fatalf("Last = %d, %v; want %d: a refused batch leaves no trace", last.Sequence, err, b)
	}
}

func batchContiguous(t *testing.T, s store.Store) {
	var changes []state.Change
	for i := range 7 {
		changes = append(changes, Change(fmt.Sprint(i), 0, "1"))
	}
	first := write(t, s, changes...)
	for i, c := range changes {
		got, err := s.Read(t.Context(), c.Key)
		if err != nil || got.Revision != first+uint64(i) {
			t.Fatalf("Read(%s) at %d, %v; want %d", c.Key, got.Revision, err, first+uint64(i))
		}
	}
}

func readFresh(t *testing.T, s store.Store) {
	var revision uint64
	for i := range 50 {
		revision = write(t, s, Change("a", revision, fmt.Sprint(i)))
		got, err := s.Read(t.Context(), Change("a", 0, "").Key)
		if err != nil || got.Revision != revision {
			t.Fatalf("Read at %d, %v; want %d", got.Revision, err, revision)
		}
	}
}

func lastCovers(t *testing.T, s store.Store) {
	var revision uint64
	for i := range 50 {
		revision = write(t, s, Change("a", revision, fmt.Sprint(i)))
		last, err := s.Last(t.Context())
		if err != nil || last.Sequence < revision {
			t.Fatalf("Last = %d, %v; want at least %d", last.Sequence, err, revision)
		}
		if age := time.Since(last.Time); age > time.Minute || age < -time.Minute {
			t.Fatalf("Last tells a time %v from now", age)
		}
	}
}

// follow runs a follower until the test ends; its entries come on the channel.
func follow(t testing.TB, s store.Store, after uint64) <-chan store.Entry {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	entries, done := make(chan store.Entry, 10_000), make(chan error, 1)
	go func() { done <- s.Follow(ctx, after, func(e store.Entry) { entries <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow ended with %v", err)
		}
	})
	return entries
}

func next(t testing.TB, entries <-chan store.Entry) store.Entry {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case e := <-entries:
		return e
	case <-timeout.C:
		t.Fatal("nothing was delivered")
		panic("unreachable")
	}
}

func followNewestThenLive(t *testing.T, s store.Store) {
	a := write(t, s, Change("a", 0, "1"))
	b := write(t, s, Change("b", 0, "1"))
	a = write(t, s, Change("a", a, "2"))
	entries := follow(t, s, 0)
	for _, want := range []struct {
		revision uint64
		body     string
	}{{b, "1"}, {a, "2"}} {
		if e := next(t, entries); e.Revision != want.revision || string(e.Body) != want.body {
			t.Fatalf("delivered %s=%q at %d, want %q at %d", e.Key, e.Body, e.Revision, want.body, want.revision)
		}
	}
	removal := Change("b", b, "1")
	removal.Remove = true
	gone := write(t, s, removal)
	if e := next(t, entries); e.Revision != gone || !e.Removed || string(e.Body) != "1" || e.Key != removal.Key {
		t.Fatalf("delivered %+v, want the removal of %s at %d", e, removal.Key, gone)
	}
}

func followResumes(t *testing.T, s store.Store) {
	first := write(t, s, Change("a", 0, "1"))
	second := write(t, s, Change("b", 0, "1"))
	entries := follow(t, s, first)
	if e := next(t, entries); e.Revision != second {
		t.Fatalf("delivered %d, want %d", e.Revision, second)
	}
}

func overwrittenIsAHole(t *testing.T, s store.Store) {
	first := write(t, s, Change("a", 0, "1"))
	write(t, s, Change("b", 0, "1"), Change("c", 0, "1"))
	last := write(t, s, Change("a", first, "2"))
	entries := follow(t, s, 0)
	var seen []uint64
	for range 3 {
		seen = append(seen, next(t, entries).Revision)
	}
	if want := []uint64{first + 1, first + 2, last}; seen[0] != want[0] || seen[1] != want[1] || seen[2] != want[2] {
		t.Fatalf("delivered %v, want %v: revision %d was overwritten", seen, want, first)
	}
}

func followEnds(t *testing.T, s store.Store) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx, 0, func(store.Entry) {}) }()
	cancel(cause)
	wantErr(t, <-done, cause)
}

func noLostUpdate(t *testing.T, s store.Store) {
	const writers, each = 4, 25
	write(t, s, Change("n", 0, "0"))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				got, err := s.Read(t.Context(), Change("n", 0, "").Key)
				if err != nil {
					t.Errorf("Read: %v", err)
					return
				}
				n, err := strconv.Atoi(string(got.Body))
				if err != nil {
					t.Errorf("Read: %v", err)
					return
				}
				_, err = s.Write(t.Context(), Messages(t, Change("n", got.Revision, fmt.Sprint(n+1))))
				if err == nil {
					done++
				} else if !errors.Is(err, store.ErrConflict) {
					t.Errorf("Write: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Read(t.Context(), Change("n", 0, "").Key)
	if want := fmt.Sprint(writers * each); err != nil || string(got.Body) != want {
		t.Fatalf("after %s increments the value is %q, %v", want, got.Body, err)
	}
}

func eventReadBack(t *testing.T, s store.Store) {
	meta := events.Meta{Source: "/storetest", Actor: "user:alice", Correlation: "c1", Causation: "e0", Trace: "00-1-2-01"}
	b := events.ConfigWritten.Batch(meta)
	b.Add(Change("a", 0, "{}"))
	messages, err := b.Messages("storetest", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	want, err := events.Decode(messages[0].Header)
	if err != nil {
		t.Fatal(err)
	}
	read, err := s.Read(t.Context(), Change("a", 0, "").Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []store.Entry{read, next(t, follow(t, s, 0))} {
		got, err := events.Decode(e.Header)
		if err != nil || got != want {
			t.Fatalf("event = %+v, %v; want %+v", got, err, want)
		}
	}
}

func largest(t *testing.T, s store.Store) {
	body := make([]byte, 3<<19) // 1.5 MiB, the most that Kubernetes lets an object have
	for i := range body {
		body[i] = byte('a' + i%26)
	}
	write(t, s, Change("large", 0, string(body)))
	got, err := s.Read(t.Context(), Change("large", 0, "").Key)
	if err != nil || string(got.Body) != string(body) {
		t.Fatalf("read back %d bytes, %v; want %d unchanged", len(got.Body), err, len(body))
	}
	_, err = s.Write(t.Context(), Messages(t, Change("larger", 0, string(make([]byte, 3<<20)))))
	wantErr(t, err, store.ErrInvalid)
}

func fullBatch(t *testing.T, s store.Store) {
	var changes []state.Change
	for i := range store.MaxBatch {
		changes = append(changes, Change(fmt.Sprint(i), 0, "1"))
	}
	first := write(t, s, changes...)
	last, err := s.Last(t.Context())
	if err != nil || last.Sequence != first+store.MaxBatch-1 {
		t.Fatalf("Last = %d, %v; want %d", last.Sequence, err, first+store.MaxBatch-1)
	}
	_, err = s.Write(t.Context(), Messages(t, append(changes, Change("more", 0, "1"))...))
	wantErr(t, err, store.ErrInvalid)
}

func anyText(t *testing.T, s store.Store) {
	texts := []string{"", "a.b", "a_b", "a b", "*", ">", "ü", "\x00", "=", "$KV.state.x", "a\r\nb"}
	var changes []state.Change
	for _, text := range texts {
		changes = append(changes, Change(text, 0, "1"))
	}
	write(t, s, changes...)
	entries := follow(t, s, 0)
	for _, text := range texts {
		ref, ok := state.ParseObjectKey(next(t, entries).Key)
		if !ok || ref.Name != text {
			t.Fatalf("delivered a key of %q, want %q", ref.Name, text)
		}
	}
}

func independentWriters(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			var revision uint64
			for i := range 10 + rand.IntN(10) {
				first, err := s.Write(t.Context(), Messages(t, Change(fmt.Sprint("w", w), revision, fmt.Sprint(i))))
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				revision = first
			}
		})
	}
	wg.Wait()
}
