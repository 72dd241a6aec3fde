package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/scheme"
)

// DecodeError is the answer to a document that [scheme.Decode] refused with err: 404 if no such kind is served, 400
// otherwise, in Kubernetes' words. kind is what Decode returned. For an unknown field it adds, which Kubernetes does not,
// the field that was probably meant; every field that is at fault is a cause.
func DecodeError(kind *scheme.Kind, err error) *apierrors.StatusError {
	text := err.Error()
	var causes []metav1.StatusCause
	if strict, ok := errors.AsType[*scheme.StrictError](err); ok && kind != nil {
		text, causes = strictText(kind, strict)
	} else if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		causes = append(causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: writtenPath(wrong.Field), Message: text})
	}
	if kind != nil {
		text = fmt.Sprintf("%s in version %q cannot be handled as a %s: %s", kind.Name, kind.Version, kind.Name, text)
	}
	answer := apierrors.NewBadRequest(text)
	if _, ok := errors.AsType[*scheme.UnservedError](err); ok {
		answer.ErrStatus.Reason, answer.ErrStatus.Code = metav1.StatusReasonNotFound, http.StatusNotFound
	}
	if kind != nil && len(causes) > 0 {
		answer.ErrStatus.Details = &metav1.StatusDetails{Group: kind.Group, Kind: kind.Name, Causes: causes}
	}
	return answer
}

func strictText(kind *scheme.Kind, strict *scheme.StrictError) (text string, causes []metav1.StatusCause) {
	texts := make([]string, len(strict.Faults))
	for i, f := range strict.Faults {
		cause := metav1.StatusCause{Type: metav1.CauseTypeFieldValueDuplicate, Field: f.Path, Message: f.Error()}
		if f.Kind == scheme.UnknownField {
			cause.Type = metav1.CauseTypeFieldValueNotSupported
			if meant := nearestField(kind.New(), f.Path); meant != "" {
				cause.Message += fmt.Sprintf(" (did you mean %q?)", meant)
			}
		}
		texts[i] = cause.Message
		causes = append(causes, cause)
	}
	return "strict decoding error: " + strings.Join(texts, ", "), causes
}

// writtenPath takes out of a path of Go fields those that are embedded and do not appear in a document: they alone begin
// with a capital letter.
func writtenPath(path string) string {
	var written []string
	for name := range strings.SplitSeq(path, ".") {
		if name != "" && (name[0] < 'A' || name[0] > 'Z') {
			written = append(written, name)
		}
	}
	return strings.Join(written, ".")
}
