package client

import (
	"errors"

	"millrace.dev/pkg/store"
)

// What a caller can act on without knowing more of an error; everything else that the api answers is a [*wire.StatusError].
var (
	// ErrUnavailable: nobody answered, or the answer broke off.
	ErrUnavailable = store.ErrUnavailable
	// ErrExpired: the version to watch from is older than what can still be told: list again.
	ErrExpired = store.ErrExpired
)

// errPatience is why a request of [Client.Within] is given up.
var errPatience = errors.New("nobody has answered in time")
