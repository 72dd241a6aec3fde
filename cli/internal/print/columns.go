package print

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// columnsEncoder shows each value, and each item of a list, as a row of columns that the user has chosen.
type columnsEncoder struct {
	writer  *Writer
	names   []string
	paths   []*jsonpath.JSONPath
	noNames bool
}

// parseColumns reads the value of -o custom-columns: names and paths of fields, "NAME:.metadata.name,NODE:.spec.nodeName".
func parseColumns(out io.Writer, text string) (*columnsEncoder, error) {
	e := &columnsEncoder{writer: NewWriter(out)}
	for column := range strings.SplitSeq(text, ",") {
		name, path, found := strings.Cut(column, ":")
		if !found {
			return nil, fmt.Errorf("unexpected custom-columns spec: %s, expected <header>:<json-path-expr>", column)
		}
		if err := e.add(name, path); err != nil {
			return nil, err
		}
	}
	return e, nil
}

const columnsFormat = "Expected format is one line of space separated headers, one line of space separated column specs."

// parseColumnsFile reads what a file of -o custom-columns-file contains: a line of names and a line of paths.
func parseColumnsFile(out io.Writer, text string) (*columnsEncoder, error) {
	lines := slices.Collect(strings.Lines(text))
	switch len(lines) {
	case 0:
		return nil, fmt.Errorf("invalid template, missing header line. %s", columnsFormat)
	case 1:
		return nil, fmt.Errorf("invalid template, missing spec line. %s", columnsFormat)
	}
	names, paths := strings.Fields(lines[0]), strings.Fields(lines[1])
	if len(names) != len(paths) {
		return nil, fmt.Errorf("number of headers (%d) and field specifications (%d) don't match", len(names), len(paths))
	}
	e := &columnsEncoder{writer: NewWriter(out)}
	for i, name := range names {
		if err := e.add(name, paths[i]); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// add adds a column for the field at the end of a path.
func (e *columnsEncoder) add(name, field string) error {
	text, err := completePath(field)
	if err != nil {
		return err
	}
	path, err := parsePath(text)
	if err != nil {
		return err
	}
	e.names, e.paths = append(e.names, name), append(e.paths, path)
	return nil
}

func (e *columnsEncoder) Encode(value any) error {
	var rows [][]string
	if !e.noNames {
		rows = append(rows, e.names)
	}
	e.noNames = true // they come once
	items, isList := itemsOf(value)
	if !isList {
		items = []any{value}
	}
	for _, item := range items {
		lines, err := e.row(item)
		if err != nil {
			return err
		}
		rows = append(rows, lines...)
	}
	return e.writer.write(rows)
}

// row is what the columns show of one object. A value of several lines, or with tabs in it, stays what it is, and so the row
// may become several and have cells of its own.
func (e *columnsEncoder) row(object any) ([][]string, error) {
	cells := make([]string, len(e.paths))
	for i, path := range e.paths {
		found, err := path.FindResults(object)
		if err != nil {
			return nil, err
		}
		var values []string
		if len(found) == 0 || len(found[0]) == 0 {
			values = append(values, none)
		}
		for _, results := range found {
			for _, result := range results {
				values = append(values, Harmless(fmt.Sprint(result.Interface())))
			}
		}
		cells[i] = strings.Join(values, ",")
	}
	var lines [][]string
	for line := range strings.SplitSeq(strings.Join(cells, "\t"), "\n") {
		lines = append(lines, strings.Split(line, "\t"))
	}
	return lines, nil
}

// itemsOf are the objects of a List.
func itemsOf(value any) ([]any, bool) {
	list, _ := value.(map[string]any)
	items, ok := list["items"].([]any)
	return items, ok && list["kind"] == "List"
}
