// Package failure turns errors into what a person reads and a script tests: kubectl's sentences on standard error and the exit
// code of the process.
package failure

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/cli/internal/terminal"
)

// Code is the exit code of whatever fails without a code of its own.
const Code = 1

// ExitError ends the process with a code of its own: that of a command that ran in a container.
type ExitError struct {
	Code int
	Text string // printed as it is; empty: nothing is
}

func (e *ExitError) Error() string { return e.Text }

// SentenceError is printed as it is, without "error: " in front.
type SentenceError struct {
	Text  string
	Cause error
}

func (e *SentenceError) Error() string { return e.Text }

func (e *SentenceError) Unwrap() error { return e.Cause }

// Sentence makes an error that is printed as it is.
func Sentence(cause error, format string, args ...any) error {
	return &SentenceError{Text: fmt.Sprintf(format, args...), Cause: cause}
}

// Usagef is an error in how cmd was called; it names the way to its help.
func Usagef(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s\nSee '%s -h' for help and examples", fmt.Sprintf(format, args...), cmd.CommandPath())
}

// ListError is several errors of one command, such as one for each object it was to make.
type ListError []error

func (l ListError) Error() string {
	texts := make([]string, len(l))
	for i, err := range l {
		texts[i] = err.Error()
	}
	return strings.Join(texts, ", ")
}

// Unwrap gives the single errors.
func (l ListError) Unwrap() []error { return l }

// AsList is the list that err itself is. One inside a sentence stays there: the sentence is what is shown.
func AsList(err error) (ListError, bool) {
	list, ok := err.(ListError) //nolint:errorlint // the list itself, not one that is wrapped
	return list, ok
}

// Join makes one error of several: nil of none, the error itself of one. Lists among them become part of the whole.
func Join(errs ...error) error {
	var list ListError
	for _, err := range errs {
		if more, ok := AsList(err); ok {
			list = append(list, more...)
		} else if err != nil {
			list = append(list, err)
		}
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	default:
		return list
	}
}

// While says in which act, with what of which file, an error happened. A Status keeps everything but its message.
func While(act, source string, err error) error {
	if err == nil || source == "" {
		return err
	}
	if status, ok := statusOf(err); ok {
		status.Message = fmt.Sprintf("error when %s %q: %s", act, source, status.Message)
		return &apierrors.StatusError{ErrStatus: *status}
	}
	return fmt.Errorf("error when %s %q: %w", act, source, err)
}

// IsNotFound says that err, or each error of a list, is an answer 404.
func IsNotFound(err error) bool {
	if list, ok := AsList(err); ok {
		return !slices.ContainsFunc(list, func(err error) bool { return !IsNotFound(err) })
	}
	status, ok := statusOf(err)
	return ok && status.Reason == metav1.StatusReasonNotFound
}

func statusOf(err error) (*metav1.Status, bool) {
	var carrier apierrors.APIStatus
	if !errors.As(err, &carrier) {
		return nil, false
	}
	status := carrier.Status()
	return &status, true
}

// Print writes what a person should read of err and returns the exit code; that of nil is 0.
func Print(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	code := Code
	if exit, ok := errors.AsType[*ExitError](err); ok {
		code = exit.Code
	}
	if text := Text(err); text != "" {
		terminal.Tell(w, "%s\n", strings.TrimSuffix(text, "\n"))
	}
	return code
}

// Text is what a person should read of err.
func Text(err error) string {
	if list, ok := AsList(err); ok {
		lines := make([]string, len(list))
		for i, err := range list {
			lines[i] = plain(err)
		}
		return strings.Join(lines, "\n")
	}
	if text, ok := standard(err); ok {
		return text
	}
	text := err.Error()
	if text == "" || strings.HasPrefix(text, "error: ") {
		return text
	}
	return "error: " + text
}

// plain is the text of an error among others, which kubectl prints without "error: " in front.
func plain(err error) string {
	if text, ok := standard(err); ok {
		return text
	}
	return err.Error()
}

// standard is the text of an error that has a form of its own.
func standard(err error) (string, bool) {
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return exit.Text, true
	}
	if sentence, ok := errors.AsType[*SentenceError](err); ok {
		return sentence.Text, true
	}
	status, ok := statusOf(err)
	if !ok {
		return "", false
	}
	switch {
	case status.Reason == metav1.StatusReasonInvalid:
		return invalid(status), true
	case status.Reason == metav1.StatusReasonUnauthorized:
		return fmt.Sprintf("error: You must be logged in to the server (%s)", status.Message), true
	case status.Reason != "":
		return fmt.Sprintf("Error from server (%s): %s", status.Reason, status.Message), true
	default:
		return "Error from server: " + status.Message, true
	}
}

// invalid lists what is wrong with an object, a line a field.
func invalid(status *metav1.Status) string {
	head := "The request is invalid"
	d := status.Details
	switch {
	case d == nil || (d.Kind == "" && d.Name == "" && len(d.Causes) == 0):
		if status.Message != "" {
			head += ": " + status.Message
		}
		return head
	case d.Kind != "" || d.Name != "":
		head = fmt.Sprintf("The %s %q is invalid", d.Kind, d.Name)
	}
	var faults []string
	for _, cause := range d.Causes {
		if fault := cause.Field + ": " + cause.Message; !slices.Contains(faults, fault) {
			faults = append(faults, fault)
		}
	}
	switch len(faults) {
	case 0:
		return head
	case 1:
		return head + ": " + faults[0]
	default:
		return head + ": \n* " + strings.Join(faults, "\n* ")
	}
}
