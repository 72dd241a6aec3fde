package state_test

import (
	"bytes"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"millrace.dev/pkg/state"
)

// bucket holds revisions as the store does: it writes changes together or not at all, each only over what it replaces.
type bucket struct {
	last    uint64
	made    int // pods
	entries map[state.Key]entry
	fatalf  func(format string, args ...any)
}

type entry struct {
	revision uint64
	body     []byte
	report   string
	removed  bool
}

func newBucket(fatalf func(format string, args ...any)) *bucket {
	return &bucket{entries: map[state.Key]entry{}, fatalf: fatalf}
}

func (b *bucket) Revision(k state.Key) uint64 { return b.entries[k].revision }

func (b *bucket) Body(k state.Key) []byte {
	if e := b.entries[k]; !e.removed {
		return e.body
	}
	return nil
}

func (b *bucket) Report(k state.Key) string {
	if e := b.entries[k]; !e.removed {
		return e.report
	}
	return ""
}

// write writes all changes or none; false: a key has moved.
func (b *bucket) write(changes ...state.Change) bool {
	seen := map[state.Key]bool{}
	for _, c := range changes {
		if seen[c.Key] {
			b.fatalf("%s occurs twice in a batch", c.Key)
		}
		seen[c.Key] = true
		if b.entries[c.Key].revision != c.Replaces {
			return false
		}
	}
	for _, c := range changes {
		b.check(c)
		b.last++
		b.entries[c.Key] = entry{revision: b.last, body: c.Body, report: c.Report, removed: c.Remove}
	}
	return true
}

// check finds what no writer may do although it is written over what it replaces.
func (b *bucket) check(c state.Change) {
	had := b.Body(c.Key)
	if had == nil {
		return
	}
	if strings.HasPrefix(string(c.Key), "object.pods.") && uidOf(had) != uidOf(c.Body) {
		b.fatalf("%s lives and was overwritten by another pod of its name", c.Key)
	}
	if _, _, ok := state.ParseOrderKey(c.Key); !ok {
		return
	}
	if c.Remove && !bytes.Equal(had, c.Body) {
		b.fatalf("the tombstone of %s is not the order as it was:\n%s\nwas\n%s", c.Key, c.Body, had)
	}
	before, err := state.DecodeOrder(had)
	if err != nil {
		b.fatalf("%v", err)
	}
	after, err := state.DecodeOrder(c.Body)
	if err != nil {
		b.fatalf("%v", err)
	}
	for ref, revision := range after.Config {
		if revision < before.Config[ref] {
			b.fatalf("%s names revision %d of %s, and named %d before", c.Key, revision, ref, before.Config[ref])
		}
	}
}

func uidOf(body []byte) types.UID {
	var pod corev1.Pod
	if err := json.Unmarshal(body, &pod); err != nil {
		return ""
	}
	return pod.UID
}

// pod is the pod of a name as a reader of the bucket has it; nil if there is none.
func (b *bucket) pod(name string) *corev1.Pod {
	key := podKey(name)
	body := b.Body(key)
	if body == nil {
		return nil
	}
	var pod corev1.Pod
	if err := state.Decode(body, b.Revision(key), &pod); err != nil {
		b.fatalf("decode %s: %v", key, err)
	}
	return &pod
}

func podKey(name string) state.Key {
	return state.ObjectKey(state.ObjectRef{Resource: "pods", Namespace: "default", Name: name})
}

// interrupted is a bucket that moves while somebody decides: after so many answers something else happens.
type interrupted struct {
	*bucket
	answers   int
	meanwhile func()
}

func (i *interrupted) answer() {
	if i.answers == 0 {
		i.meanwhile()
	}
	i.answers--
}

func (i *interrupted) Revision(k state.Key) uint64 { i.answer(); return i.bucket.Revision(k) }
func (i *interrupted) Body(k state.Key) []byte     { i.answer(); return i.bucket.Body(k) }
func (i *interrupted) Report(k state.Key) string   { i.answer(); return i.bucket.Report(k) }
