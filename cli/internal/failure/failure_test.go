package failure

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"millrace.dev/pkg/wire"
)

var (
	pods      = schema.GroupResource{Resource: "pods"}
	errAbsent = apierrors.NewNotFound(pods, "abc")
)

func invalidPod(faults ...*field.Error) error {
	return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", faults)
}

func TestPrint(t *testing.T) {
	image := field.Required(field.NewPath("spec", "containers").Index(0).Child("image"), "")
	name := field.Required(field.NewPath("spec", "containers").Index(0).Child("name"), "")
	for _, c := range []struct {
		name     string
		err      error
		want     string
		wantCode int
	}{
		{name: "nothing"},
		{name: "plain", err: errors.New("no"), want: "error: no\n", wantCode: 1},
		{name: "prefixed once", err: errors.New("error: no"), want: "error: no\n", wantCode: 1},
		{name: "status", err: errAbsent, want: "Error from server (NotFound): pods \"abc\" not found\n", wantCode: 1},
		{
			name: "status as it arrives", err: fmt.Errorf("get: %w", &wire.StatusError{StatusError: *errAbsent}),
			want: "Error from server (NotFound): pods \"abc\" not found\n", wantCode: 1,
		},
		{name: "status without reason", err: &apierrors.StatusError{ErrStatus: metav1.Status{Message: "m"}}, want: "Error from server: m\n", wantCode: 1},
		{name: "unauthorized", err: apierrors.NewUnauthorized("who"), want: "error: You must be logged in to the server (who)\n", wantCode: 1},
		{name: "one fault", err: invalidPod(image), want: "The Pod \"web\" is invalid: spec.containers[0].image: Required value\n", wantCode: 1},
		{
			name: "several faults, each once", err: invalidPod(image, name, image),
			want:     "The Pod \"web\" is invalid: \n* spec.containers[0].image: Required value\n* spec.containers[0].name: Required value\n",
			wantCode: 1,
		},
		{
			name: "invalid without details", err: &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonInvalid, Message: "m"}},
			want: "The request is invalid: m\n", wantCode: 1,
		},
		{name: "exit code", err: &ExitError{Code: 42, Text: "command terminated with exit code 42"}, want: "command terminated with exit code 42\n", wantCode: 42},
		{name: "silent exit", err: &ExitError{Code: 3}, wantCode: 3},
		{name: "sentence", err: Sentence(errors.New("x"), "The %s stands", "sentence"), want: "The sentence stands\n", wantCode: 1},
		{
			name: "list", err: Join(errors.New("a"), nil, Join(errAbsent, errors.New("b"))),
			want: "a\nError from server (NotFound): pods \"abc\" not found\nb\n", wantCode: 1,
		},
		{name: "list of one", err: Join(nil, errors.New("a")), want: "error: a\n", wantCode: 1},
		{name: "list of none", err: Join(nil, nil)},
		{
			name: "with source", err: While("creating", "pod.yaml", apierrors.NewBadRequest("bad")),
			want: "Error from server (BadRequest): error when creating \"pod.yaml\": bad\n", wantCode: 1,
		},
		{name: "plain with source", err: While("creating", "pod.yaml", errors.New("bad")), want: "error: error when creating \"pod.yaml\": bad\n", wantCode: 1},
		{name: "invalid with source", err: While("creating", "pod.yaml", invalidPod(image)), want: "The Pod \"web\" is invalid: spec.containers[0].image: Required value\n", wantCode: 1},
		{
			name: "usage", err: Usagef(&cobra.Command{Use: "get"}, "%s required", "type"),
			want: "error: type required\nSee 'get -h' for help and examples\n", wantCode: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := Print(&out, c.err); code != c.wantCode || out.String() != c.want {
				t.Errorf("Print: code %d\n%q, want %d\n%q", code, out.String(), c.wantCode, c.want)
			}
		})
	}
}

func TestIsNotFound(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errAbsent, true},
		{other, false},
		{ListError{errAbsent, errAbsent}, true},
		{ListError{errAbsent, other}, false},
	} {
		if got := IsNotFound(c.err); got != c.want {
			t.Errorf("IsNotFound(%v) = %v", c.err, got)
		}
	}
	if !errors.Is(ListError{other, errAbsent}, other) {
		t.Error("an error is not found in its list")
	}
}
