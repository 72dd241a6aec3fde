package client

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// The verbs of the api. Resource and namespace of a request stand in its subject.
const (
	VerbGet    = "get"
	VerbList   = "list"
	VerbWatch  = "watch"
	VerbCreate = "create"
	VerbUpdate = "update"
	VerbDelete = "delete"
	VerbLog    = "log"
	VerbExec   = "exec"
	// VerbInfo asks about the cluster itself.
	VerbInfo = "info"
)

// The subresources that are written apart from metadata and spec.
const (
	Status   = "status"
	Finalize = "finalize" // of a namespace: who has emptied it lets it go
)

// Request is the body of a request.
type Request struct {
	Name        string `json:"name,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	// Options are those of the verb in k8s.io/apimachinery: GetOptions, ListOptions, CreateOptions …; exec and log have the
	// PodExecOptions and PodLogOptions of k8s.io/api.
	Options json.RawMessage `json:"options,omitempty"`
	// Objects are what is created or updated, as JSON. Several are written together or not at all.
	Objects []json.RawMessage `json:"objects,omitempty"`
	// Manifest is one document as a person wrote it, YAML or JSON, instead of Objects: the api reads it itself, so that its
	// complaints name the person's lines.
	Manifest string `json:"manifest,omitempty"`
	// Stamp is the set that the caller decides about; it must still be at this revision (P8).
	Stamp *Stamp `json:"stamp,omitempty"`
	// Session is the offer of a byte stream, for exec and log.
	Session *wire.Offer `json:"session,omitempty"`
}

// Stamp names a set and the revision at which the caller saw it.
type Stamp struct {
	Kind     state.StampKind `json:"kind"`
	ID       string          `json:"id"`
	Revision uint64          `json:"revision"`
}

// Answer is the answer to create, update and delete.
type Answer struct {
	Objects []json.RawMessage `json:"objects"` // as they now are, with their resourceVersion
	// Warnings are what was wrong with the request although it was carried out: fields that were not read, with the field
	// validation Warn.
	Warnings []string `json:"warnings,omitempty"`
}

// List is one page of a list.
type List struct {
	metav1.ListMeta
	Items []json.RawMessage
}

// WatchEvent is one event of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and the object or Status.
type WatchEvent struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// SessionAnswer says which node takes part in a session.
type SessionAnswer struct {
	Node string `json:"node"`
}

// Info is what the cluster says about itself.
type Info struct {
	Server     json.RawMessage `json:"server"` // version.Info of the api that answered
	NATS       string          `json:"nats"`   // the server it is connected to
	Components []Component     `json:"components"`
}

// Component is one process of the control plane, as the api knows it.
type Component struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // api, scheduler, controller
	Leader  bool   `json:"leader,omitempty"`
	Healthy bool   `json:"healthy"`
	Message string `json:"message,omitempty"`
}
