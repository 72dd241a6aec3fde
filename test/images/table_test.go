package images

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// manifests is the corpus that the images are there for.
const manifests = "../testdata/manifests"

// runnable returns the lines of RUNNABLE.tsv: file, images, needs, expected.
func runnable(t *testing.T) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(manifests, "RUNNABLE.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) < 90 {
		t.Fatalf("RUNNABLE.tsv has %d lines, want the whole corpus", len(lines))
	}
	return lines[1:]
}

func TestEveryImageOfTheCorpusHasAStandIn(t *testing.T) {
	names := Names()
	inFile := regexp.MustCompile(`(?m)^[ {-]*"?image"?:\s*"?([^\s",#]+)`)
	for _, line := range runnable(t) {
		used := strings.Split(line[1], ",")
		body, err := os.ReadFile(filepath.Join(manifests, line[0]))
		if err != nil {
			t.Fatal(err)
		}
		matches := inFile.FindAllStringSubmatch(string(body), -1)
		if len(matches) == 0 {
			t.Errorf("%s names no image", line[0])
		}
		for _, m := range matches {
			used = append(used, m[1])
		}
		for _, name := range used {
			if !slices.Contains(names, FullName(name)) {
				t.Errorf("%s uses %s, which no stand-in serves", line[0], name)
			}
		}
	}
}

func TestTable(t *testing.T) {
	known, used := map[string]bool{}, map[string]bool{}
	for _, l := range layers() {
		if known[l.name] {
			t.Errorf("there are two layers %s", l.name)
		}
		known[l.name] = true
	}
	names, standIns := map[string]bool{}, map[string]bool{}
	for _, s := range table() {
		if standIns[s.name] {
			t.Errorf("there are two stand-ins %s", s.name)
		}
		standIns[s.name] = true
		for _, l := range s.layers {
			used[l] = true
			if !known[l] {
				t.Errorf("%s has the layer %s, which is none", s.name, l)
			}
		}
		for _, name := range s.fullNames() {
			if names[name] || FullName(name) != name {
				t.Errorf("%s of %s is served twice or is no full name", name, s.name)
			}
			names[name] = true
		}
	}
	for l := range known {
		if !used[l] {
			t.Errorf("no image has the layer %s", l)
		}
	}
	if got := len(Names()); got != len(names) {
		t.Errorf("Names() has %d names, want %d", got, len(names))
	}
}

func TestConfigFor(t *testing.T) {
	for _, s := range table() {
		for _, name := range s.fullNames() {
			c := s.configFor(name)
			if len(c.Entrypoint)+len(c.Cmd) == 0 {
				t.Errorf("%s runs nothing", name)
			}
			if got := c.Labels["org.opencontainers.image.ref.name"]; got != name {
				t.Errorf("%s is labelled %q", name, got)
			}
			if s.tagEnv != "" && len(c.Env) != 2 {
				t.Errorf("%s has the environment %q, want PATH and its tag", name, c.Env)
			}
		}
	}
}
