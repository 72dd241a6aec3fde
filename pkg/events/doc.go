// Package events describes the CloudEvent that every revision is: the header codec, ids, the batch in which revisions are
// written, and the catalogue of event types.
//
// There is no publish call: writing a revision is the event (binary mode, ce-* headers, the object as body). Events whose
// kind is told but is no state (Pulled, BackOff) are notes, not event types. The codec agrees with cloudevents/sdk-go's own
// reader and writer for NATS (tested); the sdk's type is used where events come from or go to people.
package events
