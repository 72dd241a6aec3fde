package natskv

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"millrace.dev/pkg/store"
)

// The codes of JetStream that a writer must tell apart (as nats-server 2.15.2 answers).
const (
	codeWrongLastSequence = 10071 // a key is at another revision, which the text names
	codeSequenceConstant  = 10164 // a key is being written at this moment; no number
	codeStorageExceeded   = 10047
	codeResourceExceeded  = 10023
	codeStoreFailed       = 10077 // the text says why: "maximum bytes exceeded" or a failed disk
	codeMessageTooLarge   = 10054
	codeHeaderTooLarge    = 10097
	codeBatchIncomplete   = 10176 // abandoned: nothing was written
	codeBatchTooLarge     = 10199
	codeBatchesInFlight   = 10210 // ambiguous
	codeNotFound          = 10037
)

// apiError is an error as JetStream answers it.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// storeError says in the words of package store what JetStream refused. This is the only place that knows the codes.
func (e *apiError) storeError() error {
	switch e.ErrCode {
	case codeWrongLastSequence:
		_, number, _ := strings.Cut(e.Description, "wrong last sequence: ")
		actual, err := strconv.ParseUint(number, 10, 64)
		return &store.ConflictError{Actual: actual, Told: err == nil}
	case codeSequenceConstant:
		return &store.ConflictError{}
	case codeStorageExceeded, codeResourceExceeded:
		return fmt.Errorf("%w: %w", store.ErrFull, e)
	case codeStoreFailed:
		if strings.Contains(e.Description, "exceeded") {
			return fmt.Errorf("%w: %w", store.ErrFull, e)
		}
		return fmt.Errorf("%w: %w", store.ErrUnknown, e)
	case codeMessageTooLarge, codeHeaderTooLarge, codeBatchTooLarge:
		return fmt.Errorf("%w: %w", store.ErrInvalid, e)
	case codeBatchIncomplete:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, e)
	default:
		return fmt.Errorf("%w: %w", store.ErrUnknown, e)
	}
}

// sendError says what a failed publish means. last: it was the message that completes the write.
func sendError(err error, last bool) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", store.ErrInvalid, err)
	case !last, errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err) // it never left, and a batch without its commit is dropped
	default:
		return fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
}
