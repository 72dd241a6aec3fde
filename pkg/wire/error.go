package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/store"
)

// sentinels pairs the errors of a store with the reasons under which they travel.
var sentinels = []struct {
	err    error
	reason metav1.StatusReason
	code   int32
}{
	{store.ErrNotFound, metav1.StatusReasonNotFound, http.StatusNotFound},
	{store.ErrConflict, metav1.StatusReasonConflict, http.StatusConflict},
	{store.ErrExpired, metav1.StatusReasonExpired, http.StatusGone},
	{store.ErrInvalid, metav1.StatusReasonRequestEntityTooLarge, http.StatusRequestEntityTooLarge},
	{store.ErrFull, metav1.StatusReason("InsufficientStorage"), http.StatusInsufficientStorage},
	{store.ErrUnknown, metav1.StatusReasonTimeout, http.StatusGatewayTimeout},
	{store.ErrUnavailable, metav1.StatusReasonServiceUnavailable, http.StatusServiceUnavailable},
	{store.ErrReset, metav1.StatusReasonServiceUnavailable, http.StatusServiceUnavailable},
}

// StatusError is an error as it arrived: Kubernetes' Status, which is also the sentinel of package store that was sent.
type StatusError struct{ apierrors.StatusError }

// Is makes the error the sentinel it was sent as.
func (e *StatusError) Is(target error) bool {
	for _, s := range sentinels {
		if s.err == target {
			return s.reason == e.ErrStatus.Reason
		}
	}
	return false
}

// StatusOf is the Status under which err travels. An error that carries one (anything of k8s.io/apimachinery/pkg/api/errors)
// keeps it; a store's sentinel gets its reason; whatever else is an internal error.
func StatusOf(err error) *metav1.Status {
	var carrier apierrors.APIStatus
	if errors.As(err, &carrier) {
		status := carrier.Status()
		status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		return &status
	}
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: err.Error(), Reason: metav1.StatusReasonInternalError, Code: http.StatusInternalServerError,
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			status.Reason, status.Code = s.reason, s.code
			break
		}
	}
	return &status
}

// parseStatus reads a Status that arrived as the body of a failed answer. One that cannot be read is an internal error: the
// request was answered, and nobody shall make it again.
func parseStatus(body []byte) error {
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err != nil {
		return &StatusError{*apierrors.NewInternalError(fmt.Errorf("read the error that was answered: %w", err))}
	}
	return &StatusError{apierrors.StatusError{ErrStatus: status}}
}
