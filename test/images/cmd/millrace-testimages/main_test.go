package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestBuildThenServe(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{"8 built, 0 kept", "0 built, 8 kept"} {
		var out strings.Builder
		if err := run(t.Context(), &out, []string{"build", "--dir", dir, "pause"}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("build says %q, want %q", out.String(), want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := run(ctx, w, []string{"serve", "--dir", dir, "--listen", "127.0.0.1:0"}); err != nil {
			t.Error(err)
		}
		_ = w.Close()
	})
	line := make([]byte, 1024)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	addr := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(string(line[:n]))
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+addr+"/v2/pause/manifests/3.8?ns=registry.k8s.io", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("manifest of pause: %s", resp.Status)
	}
	cancel()
	serving.Wait()
}

func TestList(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, []string{"list"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nginx ", "docker.io/library/nginx:1.14.2\n", "registry.k8s.io/pause:3.10.1\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("list does not say %q:\n%s", want, out.String())
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"push"}, {"build", "-h"}} {
		if err := run(t.Context(), io.Discard, args); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: %v, want %v", args, err, flag.ErrHelp)
		}
	}
	for _, args := range [][]string{{"build", "--dir", t.TempDir(), "none"}, {"serve", "--port", "1"}, {"serve", "--listen", "none"}} {
		if err := run(t.Context(), io.Discard, args); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: %v, want an error of its own", args, err)
		}
	}
}
