package resource

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"millrace.dev/pkg/scheme"
)

// Query is which objects a person means.
type Query struct {
	Args  []string // TYPE, TYPE NAME..., TYPE/NAME..., TYPE,TYPE, in kubectl's forms
	Files Filenames
	In    io.Reader // what the file "-" stands for

	Namespace     string
	Enforce       bool // a manifest may name no other namespace
	AllNamespaces bool

	Labels, Fields string // selectors
	// Everything says that a type alone means all its objects; without it, that needs All or a selector.
	Everything bool
	All        bool
	// One says that only one type may be named, as for a watch.
	One bool
	// Chunk is how many objects are read at once; 0: all.
	Chunk int64
}

// Selection is what a query asks for.
type Selection struct {
	Named []*Object // by name; those from files have their text too
	Sets  []Set
	// Single says that one object was asked for by its name: it is shown by itself, not in a list.
	Single bool

	query *Query
}

// Set is all objects of a kind, in one namespace or in all, that the selectors of the query let through.
type Set struct {
	Kind      *scheme.Kind
	Namespace string // empty: all, or the kind has none
}

const nothing = `You must provide one or more resources by argument or filename.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'
   '<resource> <name>'
   '<resource>'`

// errNothing is the error of a command that names neither types nor files.
var errNothing = errors.New(nothing)

// Select finds out what is asked for, without asking anyone. Of files that cannot be read whole, the error says what is missing
// from the selection.
func (q *Query) Select() (*Selection, error) {
	asked, err := q.parse()
	if err != nil {
		return nil, err
	}
	types, names, pairs := asked.types, asked.names, asked.pairs
	if len(q.Files.Names) > 0 {
		if len(types) > 0 || len(pairs) > 0 {
			return nil, errors.New("when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well")
		}
		objects, err := q.Documents()
		return &Selection{Named: objects, Single: q.Files.single() && len(objects) == 1, query: q}, err
	}
	selecting := q.Labels != "" || q.Fields != "" || q.All
	switch {
	case q.All && q.Labels != "":
		return nil, errors.New("setting 'all' parameter but found a non empty selector. ")
	case selecting && len(names) > 0:
		return nil, errors.New("name cannot be provided when a selector is specified")
	case selecting && len(pairs) > 0:
		return nil, errors.New("selectors and the all flag cannot be used when passing resource/name arguments")
	case selecting && len(types) == 0:
		return nil, errors.New("at least one resource must be specified to use a selector")
	case len(types) == 0 && len(pairs) == 0:
		return nil, errNothing
	case len(pairs) > 0:
		return q.byName(pairs)
	case len(names) > 0:
		for _, name := range names {
			pairs = append(pairs, pair{types[0], name})
		}
		if len(types) > 1 {
			return nil, errors.New("you must specify only one resource")
		}
		return q.byName(pairs)
	}
	kinds, err := kindsOf(types)
	if err != nil {
		return nil, err
	}
	if !selecting && !q.Everything {
		return nil, errors.New("resource(s) were provided, but no name was specified")
	}
	return q.sets(kinds)
}

// pair is one TYPE/NAME.
type pair struct{ word, name string }

// asked is what the arguments name: types with names that follow them, or pairs.
type asked struct {
	types, names []string
	pairs        []pair
}

// parse reads the arguments.
func (q *Query) parse() (a asked, err error) {
	args := q.Args
	if len(args) == 0 {
		return a, nil
	}
	slashes := 0
	for _, arg := range args {
		if strings.Contains(arg, "/") {
			slashes++
		}
	}
	switch {
	case slashes == len(args):
		for _, arg := range args {
			p, err := parsePair(arg)
			if err != nil {
				return a, err
			}
			a.pairs = append(a.pairs, p)
		}
		return a, nil
	case slashes > 0:
		return a, errors.New("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form " +
			"(e.g. 'millrace get resource/<resource_name>' instead of 'millrace get resource resource/<resource_name>'")
	}
	types := splitTypes(args[0])
	if len(types) > 1 && len(args) > 1 {
		for _, word := range types {
			for _, name := range args[1:] {
				a.pairs = append(a.pairs, pair{word, name})
			}
		}
		return a, nil
	}
	return asked{types: types, names: args[1:]}, nil
}

func splitTypes(arg string) []string {
	var types []string
	for word := range strings.SplitSeq(arg, ",") {
		if word != "" {
			types = append(types, word)
		}
	}
	return types
}

func parsePair(arg string) (pair, error) {
	word, name, _ := strings.Cut(arg, "/")
	switch {
	case strings.Contains(name, "/"):
		return pair{}, errors.New("arguments in resource/name form may not have more than one slash")
	case name == "" || len(splitTypes(word)) != 1:
		return pair{}, errors.New("arguments in resource/name form must have a single resource and name")
	}
	return pair{word, name}, nil
}

// KindOf finds the kind that a word stands for.
func KindOf(word string) (*scheme.Kind, error) {
	found := scheme.Lookup(word)
	if len(found) == 0 {
		name, _, _ := strings.Cut(word, ".")
		return nil, fmt.Errorf("the server doesn't have a resource type %q", name)
	}
	return found[0], nil
}

// kindsOf finds the kinds that words stand for, each once; a category stands for all of its kinds.
func kindsOf(words []string) ([]*scheme.Kind, error) {
	var kinds []*scheme.Kind
	seen := map[*scheme.Kind]bool{}
	for _, word := range words {
		found, err := KindOf(word)
		if err != nil {
			return nil, err
		}
		all := []*scheme.Kind{found}
		if isCategory(word) {
			all = scheme.Lookup(word)
		}
		for _, kind := range all {
			if !seen[kind] {
				seen[kind] = true
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds, nil
}

func isCategory(word string) bool {
	for _, kind := range scheme.Lookup(word) {
		for _, category := range kind.Categories {
			if strings.EqualFold(category, word) {
				return true
			}
		}
	}
	return false
}

var errOneType = errors.New("you may only specify a single resource type")

func (q *Query) byName(pairs []pair) (*Selection, error) {
	s := &Selection{Single: len(pairs) == 1, query: q}
	for _, p := range pairs {
		kind, err := KindOf(p.word)
		if err != nil {
			return nil, err
		}
		o := &Object{Kind: kind, Name: p.name}
		if !kind.ClusterScoped {
			if q.AllNamespaces {
				return nil, errors.New("a resource cannot be retrieved by name across all namespaces")
			}
			o.Namespace = q.Namespace
		}
		if q.One && len(s.Named) > 0 && s.Named[0].Kind != kind {
			return nil, errOneType
		}
		s.Named = append(s.Named, o)
	}
	return s, nil
}

func (q *Query) sets(kinds []*scheme.Kind) (*Selection, error) {
	if q.One && len(kinds) > 1 {
		return nil, errOneType
	}
	s := &Selection{query: q}
	for _, kind := range kinds {
		set := Set{Kind: kind}
		if !kind.ClusterScoped && !q.AllNamespaces {
			set.Namespace = q.Namespace
		}
		s.Sets = append(s.Sets, set)
	}
	return s, nil
}
