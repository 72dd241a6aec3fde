// Command gendocs writes the documents that follow from the code, docs/events.md and docs/metrics.md. With -check it writes
// nothing and fails if one of them is not what it would write. Run it at the root of the repository.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"millrace.dev/test/arch/catalogue"
)

func main() {
	check := flag.Bool("check", false, "fail if a document is out of date, and write nothing")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintf(os.Stderr, "gendocs: %v\n", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	var errs []error
	for _, document := range []struct {
		path  string
		write func(root string) (string, error)
	}{
		{"docs/events.md", catalogue.Events},
		{"docs/metrics.md", catalogue.Metrics},
	} {
		text, err := document.write(".")
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", document.path, err))
			continue
		}
		had, err := os.ReadFile(document.path)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		case bytes.Equal(had, []byte(text)):
		case check:
			errs = append(errs, fmt.Errorf("%s is out of date: run make gen", document.path))
		default:
			errs = append(errs, os.WriteFile(document.path, []byte(text), 0o644))
		}
	}
	return errors.Join(errs...)
}
