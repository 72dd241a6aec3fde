package version

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"millrace.dev/cli/internal/fakeapi"
)

func TestVersion(t *testing.T) {
	api := fakeapi.Start(t)
	want := fakeapi.Result{Out: "Client Version: v0.0.0-dev\nServer Version: v0.9.0\nKubernetes Version: v1.37\n"}
	if diff := cmp.Diff(want, api.Run(New, "", "version")); diff != "" {
		t.Errorf("version (-want +got):\n%s", diff)
	}
	got := api.Run(New, "", "version", "-o", "yaml")
	for _, part := range []string{"clientVersion:\n", "  kubernetes: v1.37\n", "serverVersion:\n", "  version: v0.9.0\n"} {
		if !strings.Contains(got.Out, part) {
			t.Errorf("version -o yaml without %q:\n%s", part, got.Out)
		}
	}
	if got := api.Run(New, "", "version", "-o", "json"); !strings.HasPrefix(got.Out, "{\n    \"clientVersion\": {\n") {
		t.Errorf("version -o json:\n%s", got.Out)
	}
}

func TestVersionOfTheClientAlone(t *testing.T) {
	api := fakeapi.Start(t)
	api.Fail("info", "", errors.New("no"))
	if diff := cmp.Diff(fakeapi.Result{Out: "Client Version: v0.0.0-dev\n"}, api.Run(New, "", "version", "--client")); diff != "" {
		t.Errorf("version --client (-want +got):\n%s", diff)
	}
	api.Fail("info", "", apierrors.NewUnauthorized("who are you"))
	want := fakeapi.Result{Out: "Client Version: v0.0.0-dev\n", Err: "error: You must be logged in to the server (who are you)\n", Code: 1}
	if diff := cmp.Diff(want, api.Run(New, "", "version")); diff != "" {
		t.Errorf("version of a server that refuses (-want +got):\n%s", diff)
	}
	want = fakeapi.Result{Err: "error: --output must be 'yaml' or 'json'\n", Code: 1}
	if diff := cmp.Diff(want, api.Run(New, "", "version", "-o", "wide")); diff != "" {
		t.Errorf("version -o wide (-want +got):\n%s", diff)
	}
}
